"""How long a corpus takes to become training text, and in how much memory, beside fetching its rows and nothing else.

python benchmarks/reading.py [--messages 1000000] [--database FILE]
"""

import argparse
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.made_chat import lines
from benchmarks.measured import machine, measured
from corpus.message import ChatMessage
from corpus.store import Corpus

OURS = """
import sys, time
from pathlib import Path
from corpus.cleaning import Rules
from corpus.settings import CleaningTable, CorpusTable
from corpus.store import Corpus
from trainer.material import read_chat
started, cpu = time.perf_counter(), time.process_time()
with Corpus.open(Path(sys.argv[1]), read_only=True) as corpus:
    chat = read_chat(corpus, Rules.of(CorpusTable(), CleaningTable()))
took = time.perf_counter() - started, time.process_time() - cpu
assert len(chat.train) + len(chat.validation) > 0
print(*took)
"""

ROWS_ONLY = """
import sqlite3, sys, time
started, cpu = time.perf_counter(), time.process_time()
rows = sqlite3.connect(sys.argv[1]).execute(
    "SELECT message.id, login, text, sent_ms FROM message JOIN chatter ON chatter.id = message.chatter"
    " ORDER BY channel, sent_ms").fetchall()
print(time.perf_counter() - started, time.process_time() - cpu)
"""


def messages(count: int) -> Iterator[ChatMessage]:
    for number, (at_ms, login, text) in enumerate(lines(count)):
        yield ChatMessage(str(uuid.UUID(int=number * 0x9E3779B97F4A7C15 % (1 << 128))), "den", login, text, at_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--database", type=Path, help="a database to read; made up and thrown away unless given")
    options = parser.parse_args()
    table = Table("reader", title="From the database to training text", title_justify="left")
    for heading in ("messages", "wall s", "CPU s", "peak MiB"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or Path(folder) / "chat.db"
        with Corpus.open(database) as corpus:
            if not corpus.count():
                corpus.append(messages(options.messages))
            count = corpus.count()
        for name, script in (
            ("read_chat: cleaned, speakers as slots, floods capped, unseen marked", OURS),
            ("rows into a list, and nothing else", ROWS_ONLY),
        ):
            took = measured(["-c", script, str(database)])
            wall_s, cpu_s = map(float, took.output.split())
            table.add_row(name, f"{count:,}", f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{took.peak_mib:.0f}")
    Console(width=120).print(table)
    Console().print(machine())


if __name__ == "__main__":
    main()
