"""How fast chat goes from a socket into the database: the real collector beside a loop that commits every message.

python benchmarks/ingest.py [--messages 1000000] [--other-messages 100000]

A server in a process of its own speaks Twitch's IRC as fast as its reader takes it, or at a steady rate. When a message
was handed to the kernel the server writes down; when its row was committed a third process sees in the database.
"""

import argparse
import array
import contextlib
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.made_chat import lines as made_lines
from benchmarks.measured import ROOT, machine, memory_of
from corpus.errors import CorpusError
from corpus.store import Corpus

BLOCK = 50  # lines that are sent at once
DELETED_EVERY = 1_000  # now and then a moderator deletes a line, somebody is banned, somebody subscribes
LOOK_S = 0.004

PLAIN_LOOP = """
import re, socket, sqlite3, sys
port, database = int(sys.argv[1]), sys.argv[2]
db = sqlite3.connect(database)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = NORMAL")
db.execute("CREATE TABLE message (id TEXT PRIMARY KEY, sent INTEGER, login TEXT, text TEXT)")
said = re.compile(r"@(\\S+) :(\\w+)!\\S+ PRIVMSG #\\w+ :(.*)")
chat = socket.create_connection(("127.0.0.1", port))
chat.sendall(b"CAP REQ :twitch.tv/tags twitch.tv/commands\\r\\nNICK justinfan1\\r\\nJOIN #den\\r\\n")
for line in chat.makefile("r", encoding="utf-8", newline="\\r\\n"):
    if found := said.match(line.rstrip("\\r\\n")):
        tags = dict(tag.split("=", 1) for tag in found[1].split(";"))
        db.execute("INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?)",
                   (tags["id"], int(tags["tmi-sent-ts"]), found[2], found[3]))
        db.commit()
"""

SQLITE_UTILS_LOOP = """
import re, socket, sys
from sqlite_utils import Database
port, database = int(sys.argv[1]), sys.argv[2]
db = Database(database)
db.enable_wal()
said = re.compile(r"@(\\S+) :(\\w+)!\\S+ PRIVMSG #\\w+ :(.*)")
chat = socket.create_connection(("127.0.0.1", port))
chat.sendall(b"CAP REQ :twitch.tv/tags twitch.tv/commands\\r\\nNICK justinfan1\\r\\nJOIN #den\\r\\n")
for line in chat.makefile("r", encoding="utf-8", newline="\\r\\n"):
    if found := said.match(line.rstrip("\\r\\n")):
        tags = dict(tag.split("=", 1) for tag in found[1].split(";"))
        db["message"].insert({"id": tags["id"], "sent": int(tags["tmi-sent-ts"]), "login": found[2],
                              "text": found[3]}, pk="id", ignore=True)
"""


# ---- the server, in its own process --------------------------------------------------------------------------------


def message_id(number: int) -> str:
    """As Twitch's: spread over all of 128 bits, so that neighbours in time are none in an index."""
    spread = (number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)
    return str(uuid.UUID(int=spread))


def chat_blocks(messages: int, chance: random.Random) -> Iterator[tuple[int, str]]:
    """How many messages were said after each block, and the block; the time stands in it as `{now}`."""
    pool = [(login, text) for _, login, text in made_lines(50_000)]
    said = 0
    while said < messages:
        block = []
        for number in range(said, min(said + BLOCK, messages)):
            login, text = pool[(number * 7919) % len(pool)]
            block.append(
                f"@badge-info=subscriber/3;badges=subscriber/3;client-nonce={number:032x};color=#FF7F50;"
                f"display-name={login};emotes=;first-msg=0;flags=;id={message_id(number)};mod=0;"
                f"returning-chatter=0;room-id=1;subscriber=1;tmi-sent-ts={{now}};turbo=0;user-id=9{login[7:]};"
                f"user-type= :{login}!{login}@{login}.tmi.twitch.tv PRIVMSG #den :{text}\r\n"
            )
            if number % DELETED_EVERY == DELETED_EVERY - 1:
                gone = chance.randrange(max(0, number - 500), number)
                block.append(
                    f"@login=x;room-id=;target-msg-id={message_id(gone)};tmi-sent-ts={{now}} "
                    ":tmi.twitch.tv CLEARMSG #den :gone\r\n"
                    "@ban-duration=600;room-id=1;target-user-id=5;tmi-sent-ts={now} "
                    f":tmi.twitch.tv CLEARCHAT #den :troll{number}\r\n"
                    "@msg-id=resub;tmi-sent-ts={now} :tmi.twitch.tv USERNOTICE #den :still here\r\n"
                )
        said += BLOCK
        yield min(said, messages), "".join(block)


def serve(messages: int, rate: float, handed: Path) -> None:
    """Serve one reader; then write down when each block had been handed to the kernel, and wait until it leaves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        reader, _ = listener.accept()
    blocks = chat_blocks(messages, random.Random(1))
    with reader, reader.makefile("r", encoding="utf-8", newline="\r\n") as asked:
        for line in asked:
            if line.startswith("NICK"):
                reader.sendall(b":tmi.twitch.tv 001 me :Welcome, GLHF!\r\n")
            if line.startswith("JOIN"):
                break
        reader.sendall(b":me!me@me JOIN #den\r\n:tmi.twitch.tv 366 me #den :End of /NAMES\r\n")
        times = array.array("q")
        started = time.monotonic()
        for said, block in blocks:
            if rate:
                time.sleep(max(0.0, started + said / rate - time.monotonic()))
            reader.sendall(block.replace("{now}", str(time.time_ns() // 1_000_000)).encode())
            times.append(time.monotonic_ns())
        handed.write_bytes(times.tobytes())
        print("sent", flush=True)
        with contextlib.suppress(OSError):  # a reader may well be killed
            for _ in asked:
                reader.sendall(b":tmi.twitch.tv PONG tmi.twitch.tv :backchat\r\n")


# ---- one run -------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What one reader did with so many messages."""

    messages: int
    wall_s: float
    cpu_s: float
    memory_mib: list[float]
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def memory_at(self) -> list[float]:
        """After a tenth, a half and all of the time."""
        return [self.memory_mib[(len(self.memory_mib) - 1) * part // 10] for part in (1, 5, 10)]


def rows_of(database: Path, ours: bool) -> Iterator[int]:
    """How many messages are committed, looked at again and again through one connection."""
    if ours:
        while True:
            try:
                with Corpus.open(database, read_only=True) as corpus:
                    while True:
                        yield corpus.last_row()
            except CorpusError:
                yield 0
    import sqlite3

    while not database.is_file():
        yield 0
    connection = sqlite3.connect(database, timeout=30)
    while True:
        try:
            yield connection.execute("SELECT coalesce(max(rowid), 0) FROM message").fetchone()[0]
        except sqlite3.OperationalError:
            yield 0


def run(folder: Path, arguments: Sequence[str], messages: int, *, ours: bool, rate: float = 0) -> Run:
    """Start a server and a reader, watch the database until every message is there, and stop both."""
    handed = folder / "handed"
    handed.unlink(missing_ok=True)
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(handed), "--messages", str(messages), "--rate", str(rate)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    database = folder / "chat.db"
    environ = {
        **os.environ,
        "BACKCHAT_PATHS__DATA": str(folder),
        "BACKCHAT_TWITCH__CHANNELS": '["den"]',
        "BACKCHAT_TWITCH__IRC_HOST": "127.0.0.1",
        "BACKCHAT_TWITCH__IRC_PORT": port,
        "BACKCHAT_TWITCH__IRC_TLS": "false",
    }
    reader = subprocess.Popen(
        [sys.executable, *({"PORT": port, "DATABASE": str(database)}.get(one, one) for one in arguments)],
        cwd=ROOT, env=environ, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    watched = psutil.Process(reader.pid)
    memory: list[float] = []
    seen: list[tuple[int, int]] = [(0, 0)]  # rows, and when they were first seen

    def look() -> None:
        for rows in rows_of(database, ours):
            if rows > seen[-1][0]:
                seen.append((rows, time.monotonic_ns()))
            if rows >= messages or reader.poll() is not None:
                return
            time.sleep(LOOK_S)

    looking = threading.Thread(target=look)
    looking.start()
    while looking.is_alive():
        if seen[-1][0]:
            memory.append(memory_of(watched) / 2**20)
        looking.join(0.25)
    memory.append(memory_of(watched) / 2**20)
    cpu_s = sum(watched.cpu_times()[:2])
    assert server.stdout.readline() == "sent\n"
    reader.terminate()
    reader.wait(30)
    server.wait(30)
    if seen[-1][0] < messages:
        sys.exit(f"only {seen[-1][0]} of {messages} messages were stored")
    times = array.array("q", handed.read_bytes())
    return Run(messages, (seen[-1][1] - times[0]) / 1e9, cpu_s, memory, latencies(times, seen, messages))


def latencies(times: "array.array[int]", seen: Sequence[tuple[int, int]], messages: int) -> list[float]:
    """Of each block's last message: from the kernel having it to its row being seen, in ms."""
    found, place = [], 0
    for block, at in enumerate(times):
        number = min((block + 1) * BLOCK, messages)
        while seen[place][0] < number:
            place += 1
        found.append(max(0, seen[place][1] - at) / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--other-messages", type=int, default=100_000, help="for the loops that commit every message")
    parser.add_argument("--rate", type=float, default=0, help="messages a second; 0: as fast as they are taken")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.messages, options.rate, options.serve)
        return
    table = Table("reader", title="From the socket into the database", title_justify="left")
    for heading in ("messages", "messages/s", "p50 ms", "p99 ms", "CPU µs each", "MiB at 1/10, 1/2, end"):
        table.add_column(heading, justify="right")
    collector = ["-m", "corpus"]
    cases = [
        ("collector, full speed", collector, options.messages, True, 0.0),
        ("collector, 1,000 a second", collector, 20_000, True, 1_000.0),
        ("loop, commit each, full speed", ["-c", PLAIN_LOOP, "PORT", "DATABASE"], options.other_messages, False, 0.0),
        (
            "loop, sqlite-utils insert each", ["-c", SQLITE_UTILS_LOOP, "PORT", "DATABASE"],
            options.other_messages // 5, False, 0.0,
        ),
    ]  # fmt: skip
    for name, arguments, messages, ours, rate in cases:
        with tempfile.TemporaryDirectory() as folder:
            took = run(Path(folder), arguments, messages, ours=ours, rate=rate)
        ranked = statistics.quantiles(took.latencies_ms, n=100)
        table.add_row(
            name, f"{messages:,}", f"{messages / took.wall_s:,.0f}", f"{ranked[49]:,.0f}", f"{ranked[98]:,.0f}",
            f"{took.cpu_s / messages * 1e6:.0f}", ", ".join(f"{mib:.0f}" for mib in took.memory_at),
        )  # fmt: skip
    Console(width=120).print(table)
    Console().print(machine())


if __name__ == "__main__":
    main()
