"""Live memory: what it costs to learn and unlearn a message, and what that is worth on the next hour of chat.

    python benchmarks/live_memory.py [LOG ...] [--hours 6] [--messages 1000000]

For each log, busy hours are chosen all over its second half. Before each, everything said until then is counted; then
the hour is read message by message, once with the counts frozen and once learning each message after it was scored.
`--messages N` adds the cost of a memory of N messages, the log's own repeated with their words changed.
"""

import argparse
import gc
import gzip
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from corpus.cleaning import Rules  # noqa: E402
from corpus.message import ChatMessage  # noqa: E402
from corpus.store import StoredMessage  # noqa: E402
from corpus.transcript import transcript  # noqa: E402
from trainer.dataset import EncodedLines, encode_lines  # noqa: E402
from trainer.evaluate import bits_per_line  # noqa: E402
from trainer.memory import LineMemory  # noqa: E402
from trainer.models.mixture import Weights, count, mix  # noqa: E402
from trainer.models.recent import DEFAULT_RECALLS  # noqa: E402
from trainer.tokenizer import Tokenizer, train_tokenizer  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
LOGS = [DATA / "twitch_vtuber_400k.jsonl.gz", DATA / "twitch_esports_137k.jsonl.gz"]
HOUR_MS = 3_600_000
ORDER = 6
VOCAB_SIZE = 1024


@dataclass(frozen=True)
class Log:
    """One channel's lines in time order, with the time of each."""

    name: str
    lines: EncodedLines
    message_ids: list[str]
    sent_ms: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    tokenizer: Tokenizer


def read(path: Path) -> Log:
    """Everything on one side: the question is not how well the split generalises but how well an hour is foreseen."""
    stored = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row, entry in enumerate(map(json.loads, file), start=1):
            sent_ms = int(datetime.fromisoformat(entry["ts"]).timestamp() * 1000)
            message = ChatMessage(str(row), entry["channel"], entry["user"], entry["text"], sent_ms)
            stored.append(StoredMessage(row, message, "train"))
    stored.sort(key=lambda each: each.message.sent_ms or 0)
    times = {each.message.id: each.message.sent_ms or 0 for each in stored}
    lines = list(transcript(stored, Rules()))
    texts = [part for line in lines[: len(lines) // 2] for part in line.parts if isinstance(part, str)]
    tokenizer = train_tokenizer("bpe", texts, VOCAB_SIZE)
    sent_ms = np.array([times[line.message_id] for line in lines], np.int64)
    return Log(path.stem, encode_lines(lines, tokenizer), [line.message_id for line in lines], sent_ms, tokenizer)


def busy_hours(log: Log, hours: int) -> list[tuple[int, int]]:
    """Half-open ranges of lines: the busiest hour of each of `hours` equal parts of the log's second half."""
    edges = np.linspace(len(log.sent_ms) // 2, len(log.sent_ms), hours + 1).astype(int)
    chosen = []
    for start, end in itertools.pairwise(edges):
        ends = np.searchsorted(log.sent_ms, log.sent_ms[start:end] + HOUR_MS)
        first = start + int(np.argmax(np.minimum(ends, end) - np.arange(start, end)))
        chosen.append((first, min(int(np.searchsorted(log.sent_ms, log.sent_ms[first] + HOUR_MS)), end)))
    return chosen


def memory_of(log: Log, end: int) -> LineMemory:
    before = log.lines.select(0, end)
    return LineMemory.fit(
        log.message_ids[:end],
        before.rows,
        before.tokens,
        before.starts,
        vocab_size=log.tokenizer.vocab_size,
        order=ORDER,
        line_end=log.tokenizer.end_token,
    )


@dataclass
class Hour:
    """Bits of one hour by model, its characters, and seconds by operation."""

    bits: dict[str, float]
    characters: int
    learn: list[float]
    unlearn: list[float]


def live_through(log: Log, first: int, end: int) -> Hour:
    """Read lines first … end, frozen and live."""
    memory = memory_of(log, first)
    hour = log.lines.select(first, end)
    documents = hour.documents()
    weights = Weights(())
    frozen = count(memory.ngram, documents)
    scores = []
    learn, unlearn = [], []
    for number in range(len(hour)):
        line = hour.tokens[hour.starts[number] : hour.starts[number + 1]]
        scores.append(memory.ngram.score(line))
        message_id, tokens = log.message_ids[first + number], line.tolist()
        began = time.perf_counter()
        memory.learn(message_id, tokens)
        learn.append(time.perf_counter() - began)
    live = count(memory.ngram, documents)
    live = type(live)(np.concatenate(scores), live.familiarity, live.recent)
    for number in range(len(hour)):
        began = time.perf_counter()
        memory.unlearn(log.message_ids[first + number])
        unlearn.append(time.perf_counter() - began)
    assert np.array_equal(count(memory.ngram, documents).ngram, frozen.ngram), "unlearning left a trace"
    every = {
        "n-gram, frozen": frozen.ngram,
        "n-gram, live": live.ngram,
        "with what was just said, frozen": mix(weights, frozen, None),
        "with what was just said, live": mix(weights, live, None),
    }
    bits = {name: float(bits_per_line(score, hour).sum()) for name, score in every.items()}
    return Hour(bits, int(hour.characters.sum()), learn, unlearn)


def microseconds(seconds: Sequence[float]) -> str:
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e6
    return f"{p50:.0f} / {p99:.0f}"


def large(log: Log, messages: int) -> tuple[int, float, float, float]:
    """Tokens, seconds to fit, megabytes in memory and megabytes saved of a memory of so many messages.

    Lines beyond the log's own are its lines with every token moved by a number that differs from copy to copy, so that
    the copies are as new to each other as another channel's chat would be: the worst case for a memory of counts.
    """
    text_tokens = log.tokenizer.text_tokens
    copies = -(-messages // len(log.lines))
    pieces = []
    for copy in range(copies):
        moved = log.lines.tokens.copy()
        text = moved < text_tokens
        moved[text] = (moved[text] + copy * 131) % text_tokens
        pieces.append(moved)
    starts = np.concatenate([log.lines.starts[:-1] + copy * len(log.lines.tokens) for copy in range(copies)])
    starts = starts[: messages + 1] if len(starts) > messages else np.append(starts, copies * len(log.lines.tokens))
    tokens = np.concatenate(pieces)[: starts[-1]]
    began = time.perf_counter()
    memory = LineMemory.fit(
        [str(number) for number in range(messages)],
        np.arange(messages),
        tokens,
        starts,
        vocab_size=log.tokenizer.vocab_size,
        order=ORDER,
        line_end=log.tokenizer.end_token,
    )
    seconds = time.perf_counter() - began
    saved = sum(array.nbytes for array in memory.to_arrays().values())
    return len(tokens), seconds, memory.nbytes() / 1e6, saved / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="*", type=Path, default=LOGS)
    parser.add_argument("--hours", type=int, default=6)
    parser.add_argument("--messages", type=int, default=0)
    arguments = parser.parse_args()
    console = Console(width=120)
    table = Table("log", "model", "bits a character", "against frozen n-gram", title="the next hour of chat")
    costs = Table("log", "messages counted", "learn µs p50 / p99", "unlearn µs p50 / p99", title="one message")
    sizes = Table("messages", "tokens", "fit s", "in memory MB", "saved MB", title="a large memory, every copy new")
    for path in arguments.logs:
        log = read(path)
        gc.freeze()  # the benchmark's own millions of objects are no part of the memory's cost
        hours = [live_through(log, first, end) for first, end in busy_hours(log, arguments.hours)]
        characters = sum(hour.characters for hour in hours)
        base = sum(hour.bits["n-gram, frozen"] for hour in hours) / characters
        for name in hours[0].bits:
            each = sum(hour.bits[name] for hour in hours) / characters
            table.add_row(log.name, name, f"{each:.4f}", f"{each / base - 1:+.2%}")
        learn = [seconds for hour in hours for seconds in hour.learn]
        unlearn = [seconds for hour in hours for seconds in hour.unlearn]
        costs.add_row(log.name, f"{len(log.lines):,}", microseconds(learn), microseconds(unlearn))
        if arguments.messages and path == arguments.logs[0]:
            tokens, seconds, in_memory, saved = large(log, arguments.messages)
            sizes.add_row(
                f"{arguments.messages:,}", f"{tokens:,}", f"{seconds:.1f}", f"{in_memory:.0f}", f"{saved:.0f}"
            )
    console.print(table, costs)
    if arguments.messages:
        console.print(sizes)
    console.print(f"recalls: {[recall.order for recall in DEFAULT_RECALLS]}; python {' '.join(sys.argv)}", style="dim")


if __name__ == "__main__":
    main()
