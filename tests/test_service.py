"""The trainer as a program: trains when chat comes, tells its status, marks the forgotten, stops at a signal."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.message import ChatMessage
from corpus.settings import CORPUS_TABLES, load_settings
from corpus.status import read_status
from corpus.store import Corpus
from trainer import checkpoint as on_disk
from trainer.service import Service
from trainer.settings import TRAINER_TABLES

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["good", "morning", "chat", "boss", "again", "lol", "nice", "one", "well", "played"]
CONFIG = (
    "[trainer]\ndevice = 'cpu'\nthreads = 1\nevaluations = 2\nnice = 0\nminutes = 0.02\n"
    "[model]\nn_layer = 1\nn_embd = 32\nn_head = 1\nblock_size = 32\nvocab_size = 300\n"
)


def say(folder: Path, count: int, start: int = 0) -> None:
    dice = random.Random(start)
    with Corpus.open(folder / "data" / "chat.db") as corpus:
        corpus.append(
            [
                ChatMessage(
                    f"m{start + i}", "room", f"v{i % 5}",
                    " ".join(dice.choice(WORDS) for _ in range(dice.randint(1, 6))),
                    1_700_000_000_000 + (start + i) * 3000,
                )
                for i in range(count)
            ],
            live=True,
        )  # fmt: skip


def soon(what: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def status(folder: Path) -> dict[str, object]:
    return read_status(folder / "data" / "status", "trainer")


def test_it_waits_trains_when_chat_has_come_and_stops_at_a_signal(folder: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "trainer"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert soon(lambda: status(folder).get("state") == "waiting")
        say(folder, 120)
        assert soon(lambda: on_disk.latest(folder / "checkpoints") is not None)
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode == 0, errors
    assert status(folder)["state"] == "stopped"
    assert not list((folder / "checkpoints").glob("*/.*"))
    (diary,) = (folder / "checkpoints").glob("*/metrics.jsonl")
    assert json.loads(diary.read_text().splitlines()[-1])["event"] == "run_finished"


def serving(folder: Path) -> Path:
    found = on_disk.latest(folder / "checkpoints")
    assert found is not None
    return found


def test_a_forgotten_chatter_marks_the_checkpoint_and_a_clean_one_replaces_it(folder: Path) -> None:
    say(folder, 120)
    stop = threading.Event()
    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES), folder / "config.toml", {})
    program = threading.Thread(target=Service(settings, stop).run)
    program.start()
    try:
        assert soon(lambda: status(folder).get("detail", "").__contains__("more messages, or"))
        marked = serving(folder)
        with Corpus.open(folder / "data" / "chat.db") as corpus:
            gone = [stored.row for stored in corpus.messages(side="train") if stored.message.login == "v1"]
            corpus.forget("v1")
        assert on_disk.load(marked).has_seen(gone).all()
        assert soon(lambda: not on_disk.load(serving(folder)).has_seen(gone).any())
        assert on_disk.forgotten(serving(folder)) == 0
    finally:
        stop.set()
        program.join(timeout=60)
    assert not program.is_alive()


def test_after_a_restart_it_does_not_train_again_on_the_same_chat(folder: Path) -> None:
    say(folder, 120)
    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES), folder / "config.toml", {})
    for _ in range(2):
        stop = threading.Event()
        program = threading.Thread(target=Service(settings, stop).run)
        program.start()
        assert soon(lambda: str(status(folder).get("detail", "")).endswith("minutes after the last run"))
        stop.set()
        program.join(timeout=60)
        assert status(folder)["state"] == "stopped"
    assert len(list((folder / "checkpoints").glob("*/metrics.jsonl"))) == 1
