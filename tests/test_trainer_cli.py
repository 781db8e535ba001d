"""The trainer's commands as an operator types them, on a small corpus of their own."""

import gzip
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.cli import app
from corpus.errors import BackchatError
from corpus.message import ChatMessage
from corpus.store import Corpus
from trainer.cli import _visible

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["good", "morning", "chat", "boss", "again", "lol", "nice", "one", "well", "played"]


@dataclass(frozen=True)
class Done:
    """How a command ended. `complaint` is the one sentence that `backchat` puts on stderr."""

    output: str
    complaint: str


def backchat(folder: Path, *words: str) -> Done:
    environ = {"BACKCHAT_CONFIG": str(folder / "config.toml"), "COLUMNS": "120"}
    ended = CliRunner(env=environ).invoke(app, words)
    if isinstance(ended.exception, BackchatError):
        return Done(ended.output, str(ended.exception))
    if ended.exception is not None:
        raise ended.exception
    return Done(ended.output, "")


def line(dice: random.Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randint(1, 6)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, trained on once through the command."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "config.toml").write_text(
        "[trainer]\ndevice = 'cpu'\nthreads = 1\nevaluations = 2\nnice = 0\n"
        "[model]\nn_layer = 1\nn_embd = 32\nn_head = 1\nblock_size = 32\nvocab_size = 300\n"
    )
    dice = random.Random(1)
    with Corpus.open(folder / "data" / "chat.db") as corpus:
        corpus.append(
            [ChatMessage(f"m{i}", "room", f"v{i % 5}", line(dice), 1_700_000_000_000 + i * 3000) for i in range(150)],
            live=True,
        )
    done = backchat(folder, "train", "--minutes", "0.03")
    assert done.complaint == ""
    assert "speaks now" in done.output
    return folder


def test_sample_says_as_many_lines_as_asked_and_the_same_for_a_seed(folder: Path) -> None:
    once = backchat(folder, "sample", "--count", "5", "--seed", "7", "--prompt", "good")
    assert once.complaint == ""
    assert len(once.output.splitlines()) == 5
    assert all(said.startswith("good") for said in once.output.splitlines())
    assert backchat(folder, "sample", "--count", "5", "--seed", "7", "--prompt", "good").output == once.output


@pytest.mark.parametrize("model", ["gpt", "ngram", "mixture"])
def test_each_memory_speaks_alone(folder: Path, model: str) -> None:
    assert backchat(folder, "sample", "--count", "2", "--model", model).complaint == ""


def test_eval_tells_all_losses_on_all_validation_messages(folder: Path) -> None:
    done = backchat(folder, "eval", "--json")
    assert done.complaint == ""
    report = json.loads(done.output)
    with Corpus.open(folder / "data" / "chat.db", read_only=True) as corpus:
        assert report["lines"] == corpus.count(side="validation")
    assert set(report["losses"]) == {"gpt", "ngram", "mixture"}
    assert 0 < report["losses"]["mixture"]["bits_per_character"] < report["losses"]["gpt"]["bits_per_character"] + 0.1


def test_eval_reads_another_log(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "other.jsonl.gz"
    rows = [
        {"ts": f"2024-01-01T00:00:{i:02d}Z", "channel": "c", "user": "u", "text": f"good boss {i}"} for i in range(20)
    ]
    with gzip.open(log, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    done = backchat(folder, "eval", "--data", str(log))
    assert done.complaint == ""
    assert "20 messages, 20 of them unseen" in done.output


def test_next_shows_chances_of_each_memory(folder: Path) -> None:
    done = backchat(folder, "next", "good", "morning", "--count", "3")
    assert done.complaint == ""
    assert all(name in done.output for name in ("ngram", "gpt", "mixture"))
    assert done.output.count("%") == 9
    assert "␣" in done.output


def test_next_shows_tokens_as_they_are_and_not_as_markup() -> None:
    shown = [_visible(token).plain for token in (" hello", "[red]", "\\xf0", "\n", "é")]
    assert shown == ["␣hello", "[red]", "\\xf0", "\\n", "é"]


def test_a_checkpoint_that_is_not_there_is_one_sentence(folder: Path) -> None:
    done = backchat(folder, "sample", "nonsense")
    assert done.complaint.startswith("nonsense is no checkpoint; there are ")
    assert "\n" not in done.complaint


def test_training_on_too_little_chat_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with Corpus.open(tmp_path / "data" / "chat.db") as corpus:
        corpus.append([ChatMessage("m", "room", "v", "hello", 1_700_000_000_000)])
    done = backchat(tmp_path, "train")
    assert "more messages to learn from are needed" in done.complaint


def test_training_before_anything_was_collected_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    done = backchat(tmp_path, "train")
    assert "backchat import" in done.complaint


def test_torchrun_trains_with_two_processes_and_writes_once(folder: Path) -> None:
    before = set((folder / "checkpoints").glob("*/metrics.jsonl"))
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "bot.cli", "train", "--minutes", "0.03",
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "BACKCHAT_TRAINER__DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (diary,) = set((folder / "checkpoints").glob("*/metrics.jsonl")) - before
    events = [json.loads(each) for each in diary.read_text().splitlines()]
    assert events[-1]["event"] == "run_finished"
    assert events[-1]["reason"] in ("the plan is done", "no better in 6 looks at the validation messages")


SCRIPTS = [0x41, 0x3B1, 0x430, 0x5D0, 0x627, 0x905, 0xE01, 0x10D0, 0x1200, 0x3041, 0x4E00, 0xAC00, 0x10300, 0x1F600]
ODD_CHAT = {
    "one repeated line": ["good morning chat"] * 300,
    "only emotes": ["Kappa", "KEKW KEKW", "Pog"] * 100,
    "one enormous message": ["word " * 10_000, *(f"hi {number}" for number in range(300))],
    "one enormous word": ["a" * 20_000, *(f"hi {number}" for number in range(300))],
    "many scripts": ["".join(chr(SCRIPTS[n % len(SCRIPTS)] + n * k % 20) for k in range(7)) for n in range(300)],
}


@pytest.mark.parametrize("texts", ODD_CHAT.values(), ids=ODD_CHAT)
def test_odd_chat_is_trained_on_all_the_same(folder: Path, tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "config.toml").write_text((folder / "config.toml").read_text())
    with Corpus.open(tmp_path / "data" / "chat.db") as corpus:
        corpus.append(
            [ChatMessage(f"m{i}", "room", "v", text, 1_700_000_000_000 + i * 600_000) for i, text in enumerate(texts)]
        )
    done = backchat(tmp_path, "train", "--minutes", "0.01")
    assert done.complaint == ""
    assert "speaks now" in done.output
    assert len(backchat(tmp_path, "sample", "--count", "2", "--seed", "1").output.splitlines()) == 2


def test_chat_that_is_only_one_line_at_once_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    with Corpus.open(tmp_path / "data" / "chat.db") as corpus:
        corpus.append([ChatMessage(f"m{i}", "room", "v", "good", 1_700_000_000_000 + i) for i in range(500)])
    assert "are needed before the first run" in backchat(tmp_path, "train").complaint
