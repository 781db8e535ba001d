"""kill -9 of the collector, again and again, while chat streams: nothing committed is lost, gaps are known."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from corpus.store import Corpus
from tests.irc_server import IrcServer, Visitor, privmsg

ROOT = Path(__file__).resolve().parent.parent
KILLS = 25
PACE_S = 0.002


class Streamer:
    """Says numbered lines to whoever listens and never repeats one. `sent_ms` is when each was said."""

    def __init__(self, server: IrcServer) -> None:
        self.sent_ms: list[int] = []
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._stream)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def _stream(self) -> None:
        while not self._stop.wait(PACE_S):
            now = time.time_ns() // 1_000_000
            number = len(self.sent_ms)
            self.sent_ms.append(now)
            for visitor in self._listeners():
                try:
                    visitor.say(privmsg(number, sent_ms=now, login=f"viewer{number % 40}"))
                except OSError:
                    visitor.gone.set()  # it was killed: nobody hears this one

    def _listeners(self) -> list[Visitor]:
        with self._server.changed:
            return [visitor for visitor in self._server.visitors if visitor.joined and not visitor.gone.is_set()]


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    environ = {
        **os.environ,
        "BACKCHAT_PATHS__DATA": str(folder),
        "BACKCHAT_TWITCH__CHANNELS": '["den"]',
        "BACKCHAT_TWITCH__IRC_HOST": "127.0.0.1",
        "BACKCHAT_TWITCH__IRC_PORT": str(port),
        "BACKCHAT_TWITCH__IRC_TLS": "false",
        "BACKCHAT_CORPUS__COMMIT_MS": "20",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "corpus"], cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def committed(database: Path) -> set[str]:
    connection = sqlite3.connect(database)
    try:
        return {text for (text,) in connection.execute("SELECT id FROM message")}
    finally:
        connection.close()


@pytest.mark.timeout(300)
def test_no_committed_message_is_lost_to_25_kills_and_what_was_missed_is_in_a_gap(tmp_path: Path) -> None:
    database = tmp_path / "chat.db"
    chance = random.Random(25)
    acknowledged: set[str] = set()
    with IrcServer() as server:
        streamer = Streamer(server)
        try:
            for kill in range(KILLS):
                collector = start(tmp_path, server.port)
                server.joined(kill + 1, timeout_s=60)
                time.sleep(chance.uniform(0, 0.3))  # the instant of the kill is what is random here
                if database.is_file():
                    acknowledged |= committed(database)
                collector.send_signal(signal.SIGKILL)
                assert collector.wait(20) == -signal.SIGKILL
            collector = start(tmp_path, server.port)
            server.joined(KILLS + 1, timeout_s=60)
            time.sleep(0.2)
        finally:
            streamer.stop()
        collector.send_signal(signal.SIGTERM)
        assert collector.wait(20) == 0

    stored = committed(database)
    assert len(acknowledged) > 100
    assert acknowledged <= stored

    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) - count(DISTINCT text) FROM message").fetchone() == (0,)
    connection.close()

    with Corpus.open(database, read_only=True) as corpus:
        gaps = corpus.gaps("den")
    first = min(int(name.removeprefix("id-")) for name in stored)
    last = max(int(name.removeprefix("id-")) for name in stored)
    missed = [number for number in range(first, last) if f"id-{number}" not in stored]
    assert missed
    unexplained = [
        number for number in missed if not any(gap.began_ms <= streamer.sent_ms[number] <= gap.ended_ms for gap in gaps)
    ]
    assert unexplained == []
