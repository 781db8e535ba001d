"""The house rules of imports and of where things may be: corpus < trainer < bot, SQL, torch, twitchio, aiohttp."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RANK = {"corpus": 0, "trainer": 1, "bot": 2}
ONLY_IN = {
    "torch": "trainer",
    "safetensors": "trainer",
    "tiktoken": "trainer",
    "rustbpe": "trainer",
    "twitchio": "bot",
    "aiohttp": "bot",
}
SQL_FILES = {"corpus/store.py", "corpus/migrations.py"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|DELETE\s+FROM|UPDATE\s+\w+\s+SET|CREATE\s+(TABLE|INDEX|TRIGGER|VIRTUAL)|PRAGMA\s+\w+)\b",
    re.DOTALL,
)


def sources() -> list[Path]:
    return [file for package in RANK for file in sorted((ROOT / package).rglob("*.py"))]


def imported(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_point_downwards_and_heavy_libraries_stay_in_their_package(file: Path) -> None:
    package = file.relative_to(ROOT).parts[0]
    for name, line in imported(file):
        where = f"{file.relative_to(ROOT)}:{line}"
        assert RANK.get(name, -1) <= RANK[package], f"{where}: {package} must not import {name}"
        assert ONLY_IN.get(name, package) == package, f"{where}: {name} belongs to {ONLY_IN[name]}"
        assert name != "sqlite3" or package == "corpus", f"{where}: SQL is for corpus/store.py"


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_sql_lives_in_the_store_and_its_migrations_only(file: Path) -> None:
    if file.relative_to(ROOT).as_posix() in SQL_FILES:
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not SQL.search(node.value), f"{file.relative_to(ROOT)}:{node.lineno}: SQL outside the store"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import bot.cli", ("torch", "twitchio")),
        ("import bot.program, bot.run", ("torch", "twitchio")),
        ("import corpus.settings, corpus.message", ("torch", "twitchio", "aiohttp")),
        (
            "import trainer.settings, trainer.metrics, trainer.schedule, trainer.promotion, trainer.plan",
            ("torch", "twitchio"),
        ),
        ("import trainer.checkpoint, trainer.cli, trainer.service", ("torch", "twitchio")),
    ],
)
def test_light_programs_never_load_heavy_libraries(statement: str, absent: tuple[str, ...]) -> None:
    check = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_the_help_page_leaves_torch_unloaded() -> None:
    check = (
        "import sys\nfrom bot.cli import main\nsys.argv = ['backchat', '--help']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules and 'twitchio' not in sys.modules, 'loaded'"
    )
    result = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
