"""Is a model that has read a large channel a better start for a small one than nothing? `backchat train --init-from`.

    python benchmarks/fine_tuning.py [--small 5000] [--pretrain-minutes 3] [--minutes 1]

Trains on a large channel, then on the latest messages of another one: from nothing with a vocabulary of its own, and
from the large channel's weights with its vocabulary kept. The same validation messages judge both.
"""

import argparse
import gzip
import tempfile
from collections import deque
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from corpus.cleaning import Rules
from corpus.settings import CleaningTable, CorpusTable
from trainer.dataset import normalised, unseen
from trainer.ladder_chat import read_log
from trainer.machine import measure, use_threads
from trainer.material import Chat
from trainer.metrics import Loss
from trainer.run import Desk, Result, run
from trainer.settings import ModelTable, TrainerTable

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
RULES = Rules.of(CorpusTable(), CleaningTable())


def latest_messages(log: Path, count: int, folder: Path) -> Chat:
    """The latest messages of a gzipped JSON-lines log, a fifth of them from its validation side however that lies in
    time: a few busy hours may hold no half-hour that validates."""
    cut = folder / "small.jsonl"
    with gzip.open(log, "rt", encoding="utf-8") as lines:
        cut.write_text("".join(deque(lines, max(20 * count, 50_000))), encoding="utf-8")
    chat = read_log(cut, CorpusTable(), RULES)
    train, validation = chat.train[-count * 4 // 5 :], chat.validation[-count // 5 :]
    strange = unseen(validation, {normalised(line) for line in train})
    rows = frozenset(line.row for line, new in zip(validation, strange.tolist(), strict=True) if new)
    return replace(chat, train=train, validation=validation, unseen_rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=Path, default=DATA / "twitch_esports_137k.jsonl.gz")
    parser.add_argument("--small-log", type=Path, default=DATA / "twitch_vtuber_400k.jsonl.gz")
    parser.add_argument("--small", type=int, nargs="+", default=[5000])
    parser.add_argument("--pretrain-minutes", type=float, default=3.0)
    parser.add_argument("--minutes", type=float, default=1.0)
    given = parser.parse_args()
    console = Console()
    machine = measure(torch.device("cpu"), use_threads(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def trained(name: str, chat: Chat, minutes: float, init_from: Path | None = None) -> Result:
            desk = Desk(TrainerTable(device="cpu"), ModelTable(), machine, folder / name)
            result = run(chat, desk, minutes=minutes, init_from=init_from)
            console.print(f"{name}: {result.reason}", highlight=False)
            return result

        large = trained("large", read_log(given.large, CorpusTable(), RULES), given.pretrain_minutes)
        table = Table(title=f"bits a character, {given.minutes:g} min on the small channel, {machine.speed.machine}")
        for heading in ("small channel", "start", "GPT", "n-gram", "mixture", "unseen: GPT", "unseen: mixture"):
            table.add_column(heading, justify="left" if heading in ("small channel", "start") else "right")
        for count in given.small:
            small = latest_messages(given.small_log, count, folder)
            losses = {
                "from nothing": trained(f"nothing-{count}", small, given.minutes).best,
                f"{given.large.name.split('.')[0]}, {given.pretrain_minutes:g} min": trained(
                    f"tuned-{count}", small, given.minutes, large.folder
                ).best,
            }
            for start, best in losses.items():
                table.add_row(f"{count:,} messages", start, *_cells(best))
            before, after = losses.values()
            gain = [1 - _bits(after[name]) / _bits(before[name]) for name in ("gpt", "ngram", "mixture")]
            table.add_row("", "gain", *(f"{share:.1%}" for share in gain), end_section=True)
        console.print(table)


def _cells(best: dict[str, Loss]) -> list[str]:
    unseen = [best[name].unseen_bits_per_character or float("nan") for name in ("gpt", "mixture")]
    return [f"{_bits(best[name]):.3f}" for name in ("gpt", "ngram", "mixture")] + [f"{bits:.3f}" for bits in unseen]


def _bits(loss: Loss) -> float:
    return loss.bits_per_character


if __name__ == "__main__":
    main()
