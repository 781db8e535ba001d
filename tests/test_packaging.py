"""Both archives hold the three packages and never chat, checkpoints or tokens."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Build from a copy that has the very files that must not travel."""
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    for secret in (
        "data/chat.db",
        "data/tokens.json",
        "checkpoints/LATEST",
        "checkpoints/run/step-1/weights.safetensors",
    ):
        (tree / secret).parent.mkdir(parents=True, exist_ok=True)
        (tree / secret).write_text("private")
    (tree / "checkpoints" / "run" / "metrics.jsonl").write_text("{}")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(tree)],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as zipped, tarfile.open(sdist) as tarred:
        return {"wheel": zipped.namelist(), "sdist": [name.split("/", 1)[-1] for name in tarred.getnames()]}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_chat_and_no_checkpoint_is_ever_packed(archives: dict[str, list[str]], kind: str) -> None:
    private = [
        name
        for name in archives[kind]
        if name.startswith(("data/", "checkpoints/")) and name != "checkpoints/README.md"
    ]
    assert private == []


def test_the_wheel_holds_the_three_packages_and_their_data(archives: dict[str, list[str]]) -> None:
    tops = {name.split("/")[0] for name in archives["wheel"] if ".dist-info/" not in name}
    assert tops == {"bot", "corpus", "trainer"}
    assert "bot/cli.py" in archives["wheel"]


def test_the_sdist_holds_what_a_builder_needs(archives: dict[str, list[str]]) -> None:
    assert {"pyproject.toml", "README.md", "LICENSE", "config.toml", "Makefile", "constraints.txt"} <= set(
        archives["sdist"]
    )
