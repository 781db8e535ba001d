"""The collector against a real server on loopback: everything said is stored, whatever the connection does."""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.collector import HOUSEKEEPING_MS, Collector
from corpus.link import ANSWER_MS, IDLE_MS, WELCOME_MS, Endpoint
from corpus.settings import CorpusTable
from corpus.status import read_status
from corpus.store import Corpus
from tests.irc_server import IrcServer, privmsg


def eventually(true: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for something that other threads bring about; fails when it never happens."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@contextmanager
def collecting(
    server: IrcServer, folder: Path, *channels: str, settings: CorpusTable | None = None
) -> Iterator[Collector]:
    settings = settings or CorpusTable()
    with Corpus.open(folder / "chat.db", known_bots=settings.known_bots) as corpus:
        collector = Collector(
            corpus,
            channels or ("den",),
            Endpoint("127.0.0.1", server.port, tls=False),
            settings,
            folder / "status",
            chance=random.Random(1),
        )
        thread = threading.Thread(target=collector.run)
        thread.start()
        try:
            yield collector
        finally:
            collector.stop()
            thread.join(20)
            assert not thread.is_alive()


def texts(folder: Path) -> list[str]:
    with Corpus.open(folder / "chat.db", read_only=True) as corpus:
        return [stored.message.text for stored in corpus.messages()]


def test_what_is_said_is_stored_and_told_in_the_status(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        server.joined().say(*(privmsg(number, sent_ms=1_700_000_000_000 + number) for number in range(50)))
        eventually(lambda: collector.tally.stored == 50)
        assert texts(tmp_path) == [f"line {number}" for number in range(50)]
        eventually(lambda: read_status(tmp_path / "status", "corpus").get("messages_stored") == 50)
        assert read_status(tmp_path / "status", "corpus")["connected"] is True


def test_a_stop_commits_what_was_received_a_moment_ago(tmp_path: Path) -> None:
    patient = CorpusTable(commit_ms=10_000, commit_messages=100_000)
    with IrcServer() as server:
        with collecting(server, tmp_path, settings=patient) as collector:
            server.joined().say(privmsg(1))
            eventually(lambda: len(collector._pending) == 1)
        assert texts(tmp_path) == ["line 1"]


def test_deletions_time_outs_and_consent_are_honoured_in_order(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        visitor = server.joined()
        now = time.time_ns() // 1_000_000
        visitor.say(
            privmsg(1),
            privmsg(2, login="bob"),
            privmsg(3, login="cat"),
            privmsg(4, login="dan"),
            privmsg(5, "!optout", login="dan"),
            privmsg(6, login="dan"),
            privmsg(7, login="eve"),
            privmsg(8, "!forgetme", login="eve"),
            f"@login=ann;room-id=;target-msg-id=id-1;tmi-sent-ts={now + 9} :tmi.twitch.tv CLEARMSG #den :line 1",
            f"@ban-duration=10;room-id=1;tmi-sent-ts={now + 9} :tmi.twitch.tv CLEARCHAT #den :bob",
            privmsg(10, login="ann"),
        )
        eventually(lambda: "line 10" in texts(tmp_path))
        assert texts(tmp_path) == ["line 3", "line 10"]
        assert collector.tally.removed == 3


def test_a_reconnect_is_followed_and_the_gap_recorded(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        first = server.joined()
        first.say(privmsg(1), ":tmi.twitch.tv RECONNECT")
        second = server.joined(2)
        second.say(privmsg(2))
        eventually(lambda: collector.tally.stored == 2)
        with Corpus.open(tmp_path / "chat.db", read_only=True) as corpus:
            (gap,) = corpus.gaps("den")
        assert 0 < gap.ended_ms - gap.began_ms < 20_000


def test_chat_of_another_room_and_of_known_bots_is_left_out(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        shared = privmsg(1).replace("room-id=1;", "room-id=1;source-room-id=2;")
        server.joined().say(shared, privmsg(2, login="nightbot"), privmsg(3))
        eventually(lambda: collector.tally.stored == 1)
        assert texts(tmp_path) == ["line 3"]


def test_an_offline_channel_is_not_kept(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.set_online("den", False)
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        visitor = server.joined()
        visitor.say(privmsg(1))
        eventually(lambda: collector.tally.offline == 1)
        with Corpus.open(tmp_path / "chat.db") as corpus:
            corpus.set_online("den", True)
        visitor.say(privmsg(2))
        eventually(lambda: collector.tally.stored == 1)
        assert texts(tmp_path) == ["line 2"]


def test_two_collectors_on_one_database_keep_everything_once(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as one, collecting(server, tmp_path) as other:
        server.joined(2)
        for start in range(0, 300, 30):
            for visitor in list(server.visitors):
                visitor.say(*(privmsg(number) for number in range(start, start + 30)))
        eventually(lambda: one.tally.stored + one.tally.duplicates == 300)
        eventually(lambda: other.tally.stored + other.tally.duplicates == 300)
        assert one.tally.stored + other.tally.stored == 300
        assert sorted(texts(tmp_path)) == sorted(f"line {number}" for number in range(300))


def test_while_the_database_is_locked_chat_waits_and_the_status_says_so(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        visitor = server.joined()
        visitor.say(privmsg(1))
        eventually(lambda: collector.tally.stored == 1)
        collector._corpus._db.execute("PRAGMA busy_timeout = 50")  # instead of half a minute
        blocker = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        visitor.say(privmsg(2))
        eventually(lambda: read_status(tmp_path / "status", "corpus").get("state") == "stalled")
        sender = threading.Thread(target=visitor.say, args=tuple(privmsg(number) for number in range(3, 40_000)))
        sender.start()
        sender.join(0.5)
        assert sender.is_alive(), "nothing held the sender back"
        blocker.execute("ROLLBACK")
        blocker.close()
        sender.join(60)
        eventually(lambda: collector.tally.stored == 39_999, 60)
        assert "waits" not in read_status(tmp_path / "status", "corpus")["state"]


def test_a_server_that_goes_away_is_found_again(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        server.hang_up(server.joined())
        server.joined(2).say(privmsg(1))
        eventually(lambda: collector.tally.stored == 1)
        assert collector.tally.gaps == 1


def test_a_server_that_says_nothing_and_one_that_goes_silent_are_left_for_one_that_talks(tmp_path: Path) -> None:
    ahead = [0]
    with IrcServer(welcoming=False, answering=False) as server, Corpus.open(tmp_path / "chat.db") as corpus:
        collector = Collector(
            corpus,
            ["den"],
            Endpoint("127.0.0.1", server.port, tls=False),
            CorpusTable(commit_ms=5),
            tmp_path / "status",
            steady_ms=lambda: time.monotonic_ns() // 1_000_000 + ahead[0],
            chance=random.Random(1),
        )
        thread = threading.Thread(target=collector.run)
        thread.start()
        try:
            server.visited(1)
            server.welcoming = True
            ahead[0] += WELCOME_MS + 1_000  # the clock, not the test, waits
            first = server.joined(1)
            first.say(privmsg(1))
            eventually(lambda: collector.tally.stored == 1)
            ahead[0] += IDLE_MS + 1_000
            eventually(lambda: any(line.startswith("PING") for line in first.lines))
            ahead[0] += ANSWER_MS + 1_000
            server.joined(2).say(privmsg(2))
            eventually(lambda: collector.tally.stored == 2)
        finally:
            collector.stop()
            thread.join(20)
        assert not thread.is_alive()
        assert len(corpus.gaps("den")) == collector.tally.gaps == 1


def test_what_is_said_in_a_channel_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path) as collector:
        server.joined().say(privmsg(1, channel="elsewhere"), privmsg(2))
        eventually(lambda: collector.tally.stored == 1)
        with Corpus.open(tmp_path / "chat.db", read_only=True) as corpus:
            assert corpus.channels() == ["den"]


def test_several_channels_are_kept_apart(tmp_path: Path) -> None:
    with IrcServer() as server, collecting(server, tmp_path, "#Den", "lair") as collector:
        visitor = server.joined(channel="lair")
        visitor.say(privmsg(1), privmsg(2, channel="lair"), privmsg(3, channel="lair"))
        eventually(lambda: collector.tally.stored == 3)
        with Corpus.open(tmp_path / "chat.db", read_only=True) as corpus:
            assert {one.channel: one.messages for one in corpus.summaries()} == {"den": 1, "lair": 2}


def test_retention_runs_again_and_again_while_chat_is_collected(tmp_path: Path) -> None:
    ahead = [0]
    week = 7 * 24 * 3600 * 1000
    settings = CorpusTable(keep_days=7, commit_ms=5)
    database = tmp_path / "chat.db"
    with IrcServer() as server, Corpus.open(database, now_ms=lambda: time.time_ns() // 1_000_000 + ahead[0]) as corpus:
        collector = Collector(
            corpus,
            ["den"],
            Endpoint("127.0.0.1", server.port, tls=False),
            settings,
            tmp_path / "status",
            steady_ms=lambda: time.monotonic_ns() // 1_000_000 + ahead[0],
            chance=random.Random(1),
        )
        thread = threading.Thread(target=collector.run)
        thread.start()
        try:
            server.joined().say(privmsg(1, "zymurgyonce", login="leftann"))
            eventually(lambda: collector.tally.stored == 1)
            ahead[0] += week + HOUSEKEEPING_MS + 1_000
            eventually(lambda: corpus.count() == 0)
        finally:
            collector.stop()
            thread.join(20)
        assert not thread.is_alive()
        assert corpus.housekeeping(7) == 0
        on_disk = b"".join(file.read_bytes() for file in tmp_path.glob("chat.db*"))
        assert b"zymurgyonce" not in on_disk and b"leftann" not in on_disk
