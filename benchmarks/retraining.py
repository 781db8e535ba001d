"""What a retrain costs before and after its steps, against how much chat there is: 10 k, 100 k and 1 M messages.

    python benchmarks/retraining.py
    python benchmarks/retraining.py --messages 10000,100000 --log chat.jsonl.gz

Chat is made up unless a log is given ({"ts","channel","user","text"} a line), which is repeated with new ids and later
times until there is enough. Each size runs in a process of its own. The steps, so many at every size, and an excerpt of
validation messages cost the same however much chat there is; everything else should grow no faster than the chat. In no
total: every line through the tokenizer by itself, and the same contexts counted in dictionaries.
"""

import argparse
import gzip
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.made_chat import lines as made_lines  # noqa: E402
from benchmarks.measured import machine  # noqa: E402
from corpus.cleaning import Rules  # noqa: E402
from corpus.message import ChatMessage  # noqa: E402
from corpus.store import Corpus  # noqa: E402

SIZES = "10000,100000,1000000"
STEPS = 10
BATCH = 8
VALIDATION_MESSAGES = 2000
LINE_BY_LINE = "instead: encode line by line"
IN_DICTIONARIES = "instead: count in dictionaries"
INSTEAD = (LINE_BY_LINE, IN_DICTIONARIES)
COUNTED_BY_HAND = 2_000_000  # tokens; more would not fit into memory, so the rest is reckoned at the same speed


def repeated(log: Path) -> Iterator[tuple[int, str, str]]:
    """The log's messages again and again, each time as much later as the log is long, with a word that is new."""
    with gzip.open(log, "rt", encoding="utf-8") if log.suffix == ".gz" else log.open(encoding="utf-8") as file:
        entries = [json.loads(line) for line in file]
    sent = [int(datetime.fromisoformat(entry["ts"]).timestamp() * 1000) for entry in entries]
    length = max(sent) - min(sent) + 60_000
    for copy in itertools.count():
        for entry, sent_ms in zip(entries, sent, strict=True):
            text = entry["text"] if not copy or len(entry["text"]) < 20 else f"{entry['text']} {copy}"
            yield sent_ms + copy * length, entry["user"], text


def fill(database: Path, messages: int, log: Path | None) -> None:
    said = itertools.islice(repeated(log) if log else made_lines(messages), messages)
    with Corpus.open(database) as corpus:
        numbered = (
            ChatMessage(f"m{number}", "room", user, text, sent) for number, (sent, user, text) in enumerate(said)
        )
        while chunk := list(itertools.islice(numbered, 10_000)):
            corpus.append(chunk)


def retrain(messages: int, log: Path | None) -> dict[str, float]:
    """One retrain, each part timed: seconds by part, and what it worked on."""
    from collections import Counter

    import numpy as np
    import torch

    from trainer import checkpoint as on_disk
    from trainer.checkpoint import Checkpoint, Part
    from trainer.dataset import encode_lines, excerpt
    from trainer.evaluate import log_probabilities, loss_of
    from trainer.loop import Budget, train
    from trainer.material import HELD_OUT_SHARE, MOST_HELD_OUT, read_chat
    from trainer.memory import LineMemory
    from trainer.models.gpt import GPT, GPTConfig
    from trainer.models.mixture import count, mix, weigh, without
    from trainer.optim import Rates
    from trainer.plan import SIZES, vocabulary_for
    from trainer.settings import ModelTable
    from trainer.tokenizer import train_tokenizer

    found: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        found[name] = time.perf_counter() - began

    torch.manual_seed(0)
    torch.set_num_threads(1)  # two would wait for each other wherever something else runs
    shape, table = SIZES["medium"], ModelTable()
    with TemporaryDirectory() as folder:
        database = Path(folder) / "chat.db"
        fill(database, messages, log)
        with timed("read and clean"), Corpus.open(database, read_only=True) as corpus:
            chat = read_chat(corpus, Rules())
        texts = [part for line in chat.train for part in line.parts if isinstance(part, str)]
        with timed("learn the vocabulary"):
            tokenizer = train_tokenizer("bpe", texts, vocabulary_for(chat.characters, table))
        said = [part for line in chat.validation for part in line.parts if isinstance(part, str)]
        found["bytes"] = sum(len(text.encode()) for text in itertools.chain(texts, said))
        with timed("encode"):
            lines, validation = encode_lines(chat.train, tokenizer), encode_lines(chat.validation, tokenizer)
        with timed(LINE_BY_LINE):
            for line in itertools.chain(chat.train, chat.validation):
                tokenizer.encode_line(line)
        validation = excerpt(validation, VALIDATION_MESSAGES)
        unseen = np.isin(validation.rows, np.fromiter(chat.unseen_rows, np.int64))
        with timed("count (fit the n-gram)"):
            memory = LineMemory.fit(
                [line.message_id for line in chat.train], lines.rows, lines.tokens, lines.starts,
                vocab_size=tokenizer.vocab_size, order=table.ngram_order, line_end=tokenizer.end_token,
            )  # fmt: skip
        some = lines.tokens[:COUNTED_BY_HAND].tolist()
        with timed(IN_DICTIONARIES):
            for order in range(1, table.ngram_order + 1):
                Counter(zip(*(some[first:] for first in range(order)), strict=False))
        found[IN_DICTIONARIES] *= len(lines.tokens) / len(some)
        aside = lines.select(len(lines) - min(MOST_HELD_OUT, len(lines) // HELD_OUT_SHARE), len(lines))
        config = GPTConfig(
            tokenizer.vocab_size, tokenizer.end_token, shape.block_size, shape.n_layer, shape.n_head, shape.n_embd
        )
        model = GPT(config)
        model.half_precision = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        with timed(f"{STEPS} steps"):
            for _ in train(model, lines.tokens, Budget(STEPS, 3600, BATCH), Rates()):
                pass
        with timed("weigh and evaluate"):
            apart = [aside.tokens[aside.starts[i] : aside.starts[i + 1]].tolist() for i in range(len(aside))]
            with without(memory.ngram, apart):
                counted_aside = count(memory.ngram, aside.documents())
            weights = weigh(counted_aside, log_probabilities(model, aside), memory.ngram.familiarities)
            counted = count(memory.ngram, validation.documents(), weights.recalls)
            loss_of(mix(weights, counted, log_probabilities(model, validation)), validation, unseen)
        with timed("write the checkpoint"):
            parts = {
                "gpt": Part(model.config_json(), model.arrays()),
                "ngram": Part({"order": table.ngram_order}, memory.to_arrays()),
                "mixture": Part(weights.to_json(), {}),
            }
            on_disk.save(
                Path(folder),
                Checkpoint("run", STEPS, 0, tokenizer.to_json(), parts, {}, messages, 0, seen=np.sort(lines.rows)),
            )
    found["tokens"] = len(lines.tokens)
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def show(results: dict[int, dict[str, float]], console: Console) -> None:
    sizes = sorted(results)
    table = Table("seconds", *(f"{size:,} messages" for size in sizes), f"× at {sizes[-1] / sizes[-2]:g} × the chat")
    for column in table.columns[1:]:
        column.justify = "right"
    parts = [name for name in results[sizes[0]] if name not in ("bytes", "tokens", "peak MiB", *INSTEAD)]

    def add(name: str, end_section: bool = False) -> None:
        times = [results[size][name] for size in sizes]
        table.add_row(
            name, *(f"{seconds:.2f}" for seconds in times), f"{times[-1] / times[-2]:.1f}", end_section=end_section
        )

    for name in parts:
        add(name)
    totals = [sum(results[size][name] for name in parts) for size in sizes]
    table.add_section()
    table.add_row("all of it", *(f"{total:.1f}" for total in totals), f"{totals[-1] / totals[-2]:.1f}")
    growing = [total - results[size][f"{STEPS} steps"] for total, size in zip(totals, sizes, strict=True)]
    table.add_row(
        "… but for the steps, µs a message",
        *(f"{1e6 * each / size:.0f}" for each, size in zip(growing, sizes, strict=True)),
        "",
    )
    rates = [results[size]["bytes"] / 1e6 / results[size]["encode"] for size in sizes]
    table.add_row("encoding, MB/s", *(f"{rate:.1f}" for rate in rates), "")
    table.add_section()
    for name in INSTEAD:
        add(name, end_section=name == INSTEAD[-1])
    table.add_row("training tokens", *(f"{results[size]['tokens'] / 1e6:.2f} M" for size in sizes), "")
    table.add_row("most memory, MiB", *(f"{results[size]['peak MiB']:,.0f}" for size in sizes), "")
    console.print(table)
    console.print(f"one thread; {machine()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", default=SIZES)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(retrain(arguments.one, arguments.log)))
        return
    results = {}
    for size in map(int, arguments.messages.split(",")):
        command = [sys.executable, __file__, "--one", str(size)]
        if arguments.log:
            command += ["--log", str(arguments.log)]
        results[size] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    show(results, Console(width=120))


if __name__ == "__main__":
    main()
