"""Bits a character on real chat: GPT, n-gram and mixture against the best Kneser-Ney of any unit and order, and xz.

    python benchmarks/chat_quality.py                        the table of what is known so far
    python benchmarks/chat_quality.py run --log vtuber --messages 10000 --cells counts,voice-1
    python benchmarks/chat_quality.py run --budget 20        every cell that is missing, for at most 20 minutes

Every cell is one measurement, made on its own and kept in data/benchmarks/chat_quality.json. A size is so many of the
log's latest messages, four fifths of them training and one fifth validation; all models of a size are scored on the
same validation messages. Cells: `xz`; `bpe`
and `characters` (Kneser-Ney of every order); `counts` (our n-gram and what was just said); `voice-M` (a run of the
trainer of M minutes); `plain-M` (the plain GPT-2 recipe for M minutes).
"""

import argparse
import gzip
import json
import lzma
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from corpus.cleaning import Rules  # noqa: E402
from corpus.message import ChatMessage  # noqa: E402
from corpus.store import Corpus  # noqa: E402
from trainer.dataset import EncodedLines, encode_lines, normalised, unseen  # noqa: E402
from trainer.device import choose_device  # noqa: E402
from trainer.evaluate import loss_of  # noqa: E402
from trainer.machine import measure, use_threads  # noqa: E402
from trainer.material import Chat, Material, prepare, read_chat, recoded  # noqa: E402
from trainer.metrics import Loss  # noqa: E402
from trainer.models.mixture import count, mix, weigh, without  # noqa: E402
from trainer.models.ngram import NGram  # noqa: E402
from trainer.run import Desk, run  # noqa: E402
from trainer.settings import ModelTable, TrainerTable  # noqa: E402
from trainer.tokenizer import Tokenizer, train_tokenizer  # noqa: E402

KEPT = ROOT / "data" / "benchmarks"
DATA = ROOT.parent / "shared" / "data"
LOGS = {"vtuber": "twitch_vtuber_400k.jsonl.gz", "esports": "twitch_esports_137k.jsonl.gz"}
SIZES = {"10000": 10_000, "50000": 50_000, "all": 10**9}
MINUTES = (1, 3, 10)
BPE_ORDERS = range(3, 9)
CHARACTER_ORDERS = (6, 8, 10, 12)
VALIDATION_MESSAGES = 12_000
CHARACTER_VOCAB_SIZE = 2048


@dataclass
class Cell:
    """One measurement: bits a character by model, of all and of unseen validation messages."""

    bits: dict[str, float]
    unseen: dict[str, float | None]
    seconds: float
    note: str


def corpus_of(log: str) -> Path:
    """The log in a database, made once."""
    database = KEPT / f"{log}.db"
    if database.exists():
        return database
    KEPT.mkdir(parents=True, exist_ok=True)
    with gzip.open(DATA / LOGS[log], "rt", encoding="utf-8") as file:
        entries = list(map(json.loads, file))
    partial = database.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with Corpus.open(partial) as corpus:
        chunk: list[ChatMessage] = []
        for number, entry in enumerate(entries):
            sent_ms = int(datetime.fromisoformat(entry["ts"]).timestamp() * 1000)
            chunk.append(ChatMessage(f"{log}-{number}", entry["channel"], entry["user"], entry["text"], sent_ms))
            if len(chunk) == 5000:
                corpus.append(chunk)
                chunk = []
        corpus.append(chunk)
    for leftover in (f"{partial}-wal", f"{partial}-shm"):
        Path(leftover).unlink(missing_ok=True)
    return partial.rename(database)


def latest(log: str, messages: int) -> Chat:
    """The log's latest messages, a fifth of them from its validation side however that lies in time."""
    with Corpus.open(corpus_of(log)) as corpus:
        chat = read_chat(corpus, Rules())
    train, validation = chat.train[-messages * 4 // 5 :], chat.validation[-messages // 5 :]
    strange = unseen(validation, {normalised(line) for line in train})
    rows = frozenset(line.row for line, new in zip(validation, strange.tolist(), strict=True) if new)
    return replace(chat, train=train, validation=validation, unseen_rows=rows)


def texts(lines: list[object]) -> bytes:
    """What xz compresses: the same text that the models are scored on, a mention as one character."""
    said = ("".join("@" if isinstance(part, int) else part for part in line.parts) for line in lines)  # type: ignore[attr-defined]
    return "".join(text + "\n" for text in said).encode()


class Measuring:
    """One log at one size, read and encoded once for all its cells."""

    def __init__(self, log: str, size: str) -> None:
        self.name = f"{log}-{size}"
        self.chat = latest(log, SIZES[size])
        self.material: Material = prepare(self.chat, ModelTable(), validation_messages=VALIDATION_MESSAGES)

    def cell(self, name: str) -> Cell:
        kind, _, minutes = name.partition("-")
        make: dict[str, Callable[[], Cell]] = {
            "xz": self.xz,
            "bpe": self.bpe,
            "characters": self.characters,
            "counts": self.counts,
            "voice": lambda: self.voice(float(minutes)),
            "plain": lambda: self.plain(float(minutes)),
        }
        return make[kind]()

    def xz(self) -> Cell:
        """What the validation text adds to the compressed training text."""
        began = time.perf_counter()
        chosen = {int(row) for row in self.material.validation.rows}
        train, validation = texts(self.chat.train), texts([line for line in self.chat.validation if line.row in chosen])  # type: ignore[arg-type]
        sizes = [len(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)) for text in (train, train + validation)]
        bits = 8 * (sizes[1] - sizes[0]) / int(self.material.validation.characters.sum())
        return Cell({"xz": bits}, {"xz": None}, time.perf_counter() - began, "preset 9e")

    def bpe(self) -> Cell:
        return self._kneser_ney("bpe", self.material.tokenizer, BPE_ORDERS)

    def characters(self) -> Cell:
        said = (part for line in self.chat.train for part in line.parts if isinstance(part, str))
        return self._kneser_ney("char", train_tokenizer("char", said, CHARACTER_VOCAB_SIZE), CHARACTER_ORDERS)

    def counts(self) -> Cell:
        """Our own counts: the n-gram of the default order, and with what was just said, weighed on held-out chat."""
        began = time.perf_counter()
        material = self.material
        lines, aside = material.train.join(material.held_out), material.held_out
        ngram = self._fit(lines, material.tokenizer, ModelTable().ngram_order)
        apart = [aside.tokens[aside.starts[i] : aside.starts[i + 1]].tolist() for i in range(len(aside))]
        with without(ngram, apart):
            weights = weigh(count(ngram, aside.documents()), None, ngram.familiarities)
        counted = count(ngram, material.validation.documents(), weights.recalls)
        scores = {"n-gram": counted.ngram, "n-gram and what was just said": mix(weights, counted, None)}
        losses = {name: loss_of(each, material.validation, material.unseen) for name, each in scores.items()}
        doubts = ", ".join(f"{recall.order}/{recall.decay_tokens:g}: {recall.doubt:.3g}" for recall in weights.recalls)
        return _cell(losses, time.perf_counter() - began, f"doubts {doubts}")

    def voice(self, minutes: float) -> Cell:
        """The trainer's own run, as `backchat train` makes it."""
        began = time.perf_counter()
        table = TrainerTable(minutes=minutes, validation_messages=VALIDATION_MESSAGES, evaluations=3, patience=100)
        device = choose_device("cpu")
        machine = measure(device, use_threads(0))
        plans: list[str] = []
        # Kept, so that `backchat sample` can show what such a run says.
        folder = KEPT / f"{self.name}-{minutes:g}-minutes"
        shutil.rmtree(folder, ignore_errors=True)
        desk = Desk(
            table, ModelTable(), machine, folder, watch=lambda event: plans.append(getattr(event, "plan", ""))
        )  # fmt: skip
        result = run(self.chat, desk, minutes=minutes)
        return _cell(result.best, time.perf_counter() - began, next(filter(None, plans), ""))

    def plain(self, minutes: float) -> Cell:
        """The plain recipe on characters for the same time."""
        from benchmarks.plain_recipe import train_plain

        began = time.perf_counter()
        said = (part for line in self.chat.train for part in line.parts if isinstance(part, str))
        tokenizer = train_tokenizer("char", said, CHARACTER_VOCAB_SIZE)
        tokens = encode_lines(self.chat.train, tokenizer).tokens
        model = train_plain(tokens, tokenizer.vocab_size, seconds=60 * minutes)
        validation = recoded(self.material, tokenizer)
        scores = model.scores(validation.documents(), tokenizer.end_token)
        return _cell(
            {"plain": loss_of(scores, validation, self.material.unseen)}, time.perf_counter() - began, "characters"
        )

    def _kneser_ney(self, unit: str, tokenizer: Tokenizer, orders: "range | tuple[int, ...]") -> Cell:
        began = time.perf_counter()
        lines = encode_lines(self.chat.train, tokenizer)
        validation = recoded(self.material, tokenizer)
        losses = {}
        for order in orders:
            ngram = self._fit(lines, tokenizer, order)
            scores = np.concatenate(ngram.score_documents(validation.documents()))
            losses[f"Kneser-Ney {unit} {order}"] = loss_of(scores, validation, self.material.unseen)
        return _cell(losses, time.perf_counter() - began, f"{tokenizer.vocab_size} tokens")

    @staticmethod
    def _fit(lines: EncodedLines, tokenizer: Tokenizer, order: int) -> NGram:
        return NGram.fit(lines.tokens, vocab_size=tokenizer.vocab_size, order=order, line_end=tokenizer.end_token)


def _cell(losses: dict[str, Loss], seconds: float, note: str) -> Cell:
    return Cell(
        {name: loss.bits_per_character for name, loss in losses.items()},
        {name: loss.unseen_bits_per_character for name, loss in losses.items()},
        seconds,
        note,
    )


def known(file: Path) -> dict[str, Cell]:
    return {name: Cell(**cell) for name, cell in json.loads(file.read_text()).items()} if file.exists() else {}


def show(cells: dict[str, Cell], console: Console) -> None:
    """One table a log and size: every model against the best Kneser-Ney there is."""
    for log in LOGS:
        for size in SIZES:
            own = {name.split("|")[2]: cell for name, cell in cells.items() if name.startswith(f"{log}|{size}|")}
            if not own:
                continue
            rivals = [
                (bits, cell.unseen[name])
                for cell in own.values()
                for name, bits in cell.bits.items()
                if name.startswith("Kneser-Ney")
            ]
            best = min(rivals, default=(float("nan"), None))
            table = Table("cell", "model", "all", "unseen", "all", "unseen", "seconds", title=f"{log}, {size} messages")
            table.caption = "bits a character, and against the best Kneser-Ney of any unit and order"
            for name, cell in sorted(own.items()):
                for model, bits in cell.bits.items():
                    unseen = cell.unseen[model]
                    table.add_row(
                        name,
                        model,
                        f"{bits:.4f}",
                        "" if unseen is None else f"{unseen:.4f}",
                        f"{bits / best[0] - 1:+.1%}" if rivals else "",
                        "" if unseen is None or best[1] is None else f"{unseen / best[1] - 1:+.1%}",
                        f"{cell.seconds:.0f}",
                    )
            console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("show", "run"), default="show")
    parser.add_argument("--log", choices=tuple(LOGS), action="append")
    parser.add_argument("--messages", choices=tuple(SIZES), action="append")
    parser.add_argument("--cells", help="comma-separated; all of them by default")
    parser.add_argument("--budget", type=float, default=1e9, help="minutes; the last cell begun is finished")
    parser.add_argument("--again", action="store_true", help="measure even what is known")
    arguments = parser.parse_args()
    file = KEPT / "chat_quality.json"
    console = Console(width=120)
    timed = [f"{kind}-{minutes}" for kind in ("voice", "plain") for minutes in MINUTES]
    wanted = arguments.cells.split(",") if arguments.cells else ["xz", "bpe", "characters", "counts", *timed]
    began = time.monotonic()
    if arguments.what == "run":
        torch.manual_seed(0)
        for log in arguments.log or LOGS:
            for size in arguments.messages or SIZES:
                missing = [name for name in wanted if arguments.again or f"{log}|{size}|{name}" not in known(file)]
                measuring = Measuring(log, size) if missing else None
                for name in missing:
                    if measuring is None or time.monotonic() - began > 60 * arguments.budget:
                        break
                    console.print(f"{log}, {size} messages: {name}", style="dim")
                    cell = measuring.cell(name)
                    cells = known(file) | {f"{log}|{size}|{name}": cell}
                    partial = file.with_suffix(".partial")
                    partial.write_text(json.dumps({each: asdict(kept) for each, kept in cells.items()}, indent=1))
                    partial.replace(file)
    show(known(file), console)


if __name__ == "__main__":
    main()
