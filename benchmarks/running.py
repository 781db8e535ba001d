"""A `backchat run` of its own in a temporary folder, watched from outside: files, pages, processes."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from corpus.status import read_status
from corpus.store import Corpus
from trainer.metrics import read_events

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.05


class Running:
    """Starts on entry, stops on exit; nothing of it touches the checkout's own data."""

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data, self.checkpoints = folder / "data", folder / "checkpoints"
        self.environ = (
            os.environ
            | {
                "BACKCHAT_PATHS__DATA": str(self.data),
                "BACKCHAT_PATHS__CHECKPOINTS": str(self.checkpoints),
                "BACKCHAT_WEB__PORT": "0",
                "BACKCHAT_ROOM__IRC_PORT": "0",
            }
            | dict(environ or {})
        )
        self.started_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.pids: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.started_s = time.monotonic()
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bot.cli", "run"],
                cwd=ROOT,
                env=self.environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def stop(self) -> float:
        """SIGTERM; seconds until the supervisor is gone."""
        assert self.process is not None
        self.programs()
        asked_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - asked_s

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def until(self, found: Callable[[], Any], within_s: float) -> float:
        """Seconds since the start when `found` first gave something true. Raises TimeoutError with the output."""
        give_up_s = time.monotonic() + within_s
        while not found():
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"backchat run ended with {self.process.returncode}:\n{self.output}")
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"not within {within_s:g} s:\n{self.output[-4000:]}")
            time.sleep(POLL_S)
        return self.seconds

    def status(self, program: str) -> dict[str, Any]:
        return read_status(self.data / "status", program)

    def page(self) -> dict[str, Any]:
        """What the room's page shows; empty while nobody answers."""
        url = self.status("bot").get("url")
        if not url:
            return {}
        try:
            with urllib.request.urlopen(f"{url}api/everything", timeout=1) as answer:
                shown: dict[str, Any] = json.load(answer)
        except (OSError, ValueError, http.client.HTTPException):
            return {}
        return shown

    def stored(self) -> int:
        """Messages in the database right now."""
        if not (self.data / "chat.db").is_file():
            return 0
        with Corpus.open(self.data / "chat.db", read_only=True) as corpus:
            return corpus.count()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind of every run, oldest first."""
        return [
            event
            for diary in sorted(self.checkpoints.glob("*/metrics.jsonl"))
            for event, _ in read_events(diary)
            if event["event"] == kind
        ]

    def latest(self) -> str:
        """What LATEST names."""
        file = self.checkpoints / "LATEST"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""

    def said(self, kind: str = "", by: str = "") -> list[dict[str, Any]]:
        """Lines the companion has said lately, of a kind, and written by a voice whose description contains `by`."""
        return [
            line
            for line in self.status("bot").get("said") or []
            if (not kind or line["kind"] == kind) and (not by or by in (line.get("by") or ""))
        ]

    def programs(self) -> dict[str, psutil.Process]:
        """The running children by program."""
        assert self.process is not None
        found = {}
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return {}
        for child in children:
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            if "bot.tether" in words:
                found[words[-1]] = child
                self.pids.add(child.pid)
        return found

    def left_over(self) -> list[int]:
        """Children seen so far that are still there."""
        return [pid for pid in self.pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def ids(database: Path) -> set[str]:
    """Ids of every message that is stored."""
    with Corpus.open(database, read_only=True) as corpus:
        return {stored.message.id for stored in corpus.messages()}
