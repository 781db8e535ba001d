"""How soon our GPT is as good as the plain recipe, and how good it, the n-gram and both are when that one is done.

    python benchmarks/speedrun.py                 three seeds, medians: about three minutes each on two cores
    python benchmarks/speedrun.py --seeds 1
    python benchmarks/speedrun.py --tune          the same on a play of the training text instead of validation

tinyshakespeare by characters, the first 90 % for training, in order. Time counts from the text in memory: vocabulary,
encoding, building, training, counting and weighing; not the starting of Python, and not the scoring of the validation
text, which is the same for all. Each is scored on the whole validation text. Sizes and rates were chosen with `--tune`:
nine tenths of a comedy are scored and left out of training, because most of the validation text is of plays, too, that
training does not see.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measured import machine  # noqa: E402
from benchmarks.plain_recipe import train_plain  # noqa: E402
from trainer.loop import Budget, train  # noqa: E402
from trainer.machine import use_threads  # noqa: E402
from trainer.models.gpt import GPT, GPTConfig  # noqa: E402
from trainer.models.language_model import Tokens  # noqa: E402
from trainer.models.mixture import count, mix, weigh  # noqa: E402
from trainer.models.ngram import NGram  # noqa: E402
from trainer.optim import Rates  # noqa: E402

TEXT = ROOT.parent / "shared" / "data" / "tinyshakespeare.txt"
PLAIN_STEPS = 2000
HELD_OUT = 20_000  # characters at the start of the training text by which the two memories are weighed
# The whole text and, for tuning, `The Winter's Tale` as validation: it begins at 0.637, `Measure for Measure` at 0.759.
PARTS = {False: ((0.0, 0.9),), True: ((0.0, 0.66), (0.758, 0.9))}
VALIDATION = {False: (0.9, 1.0), True: (0.66, 0.758)}
COUNTED_ORDER = 8
LEAST_TRAINING_S = 5.0


@dataclass(frozen=True)
class Recipe:
    """A GPT and how it is trained: `steps` of `batch_size` blocks."""

    config: Callable[[int], GPTConfig]
    steps: int
    batch_size: int
    rates: Rates


# A run of a second: one layer, and tables of the last two to five characters, which overfit only later.
SPRINT = Recipe(
    lambda vocab_size: GPTConfig(
        vocab_size, start_token=0, block_size=32, n_layer=1, n_head=2, n_embd=64, orders=(2, 3, 4, 5), rows=65_536
    ),
    steps=100,
    batch_size=16,
    rates=Rates(matrices=0.02),
)
# A run of a minute: tables of so few characters only learn the plays by heart.
DISTANCE = Recipe(
    lambda vocab_size: GPTConfig(
        vocab_size,
        start_token=0,
        block_size=128,
        n_layer=2,
        n_head=4,
        n_embd=128,
        orders=(),
    ),
    steps=1_000_000,
    batch_size=12,
    rates=Rates(matrices=0.02),
)


class Text:
    """The text as numbers of its own characters, in two parts."""

    def __init__(self, text: str, tune: bool) -> None:
        characters, tokens = np.unique(np.array(list(text)), return_inverse=True)
        self.vocab_size = len(characters)

        def part(first: float, last: float) -> Tokens:
            return tokens[round(len(tokens) * first) : round(len(tokens) * last)].astype(np.int64)

        self.train = np.concatenate([part(*edges) for edges in PARTS[tune]])
        self.validation = part(*VALIDATION[tune])


def trained(text: Text, tokens: Tokens, recipe: Recipe, seconds: float, seed: int) -> GPT:
    torch.manual_seed(seed)
    model = GPT(recipe.config(text.vocab_size))
    model.half_precision = HALF_PRECISION
    for _ in train(model, tokens, Budget(recipe.steps, seconds, recipe.batch_size, seed), recipe.rates):
        pass
    return model


@dataclass(frozen=True)
class Row:
    """One contender of one seed: seconds spent, nats a character of the validation text."""

    name: str
    seconds: float
    nats: float


def race(read: Callable[[], Text], seed: int) -> list[Row]:
    """Every contender, one after the other on the same machine."""
    rows = []
    began = time.perf_counter()
    text = read()
    plain = train_plain(text.train, text.vocab_size, steps=PLAIN_STEPS, seed=seed)
    allowed = time.perf_counter() - began
    scores = plain.scores([text.validation], 0)
    rows.append(Row("plain recipe", allowed, -float(scores.mean(dtype=np.float64))))

    began = time.perf_counter()
    text = read()
    sprinter = trained(text, text.train, SPRINT, 1e9, seed)
    rows.append(Row("our GPT, a sprint", time.perf_counter() - began, nats(sprinter, text)))

    began = time.perf_counter()
    text = read()
    apart, learned = text.train[:HELD_OUT], text.train[HELD_OUT:]
    young = NGram.fit(learned, vocab_size=text.vocab_size, order=COUNTED_ORDER, line_end=None)
    counted_apart = count(young, [apart])
    ngram = NGram.fit(text.train, vocab_size=text.vocab_size, order=COUNTED_ORDER, line_end=None)
    counting = time.perf_counter() - began
    weighing = 0.04 * allowed  # what reading and weighing the held-out text takes at the end, at most
    network = trained(text, learned, DISTANCE, max(allowed - counting - weighing, LEAST_TRAINING_S), seed)
    weights = weigh(counted_apart, network.score(apart), young.familiarities)
    spent = time.perf_counter() - began
    counted = count(ngram, [text.validation])
    both = mix(weights, counted, network.score(text.validation))
    rows.append(Row("our GPT, its time", spent, nats(network, text)))
    rows.append(Row(f"our n-gram, order {COUNTED_ORDER}", counting / 2, -float(counted.ngram.mean(dtype=np.float64))))
    rows.append(Row("both, its time", spent, -float(both.mean(dtype=np.float64))))
    return rows


def nats(model: GPT, text: Text) -> float:
    return -float(model.score(text.validation).mean(dtype=np.float64))


HALF_PRECISION = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="score a play of the training text, not validation")
    arguments = parser.parse_args()
    if not TEXT.exists():
        parser.exit(1, f"{TEXT} is not there; put tinyshakespeare at this place\n")
    console = Console(width=100)
    threads = use_threads(0)
    source = TEXT.read_text(encoding="utf-8")
    runs = []
    for seed in range(1337, 1337 + arguments.seeds):
        console.print(f"seed {seed}", style="dim")
        runs.append(race(lambda: Text(source, arguments.tune), seed))
        console.print("  ".join(f"{row.name} {row.seconds:.1f} s {row.nats:.3f}" for row in runs[-1]), style="dim")
    table = Table("what", "seconds", "nats a character", "speed", title="tinyshakespeare by characters")
    plain = statistics.median(run[0].seconds for run in runs)
    plain_nats = statistics.median(run[0].nats for run in runs)
    for each in zip(*runs, strict=True):
        seconds = statistics.median(row.seconds for row in each)
        loss = statistics.median(row.nats for row in each)
        ratios = [run[0].seconds / row.seconds for run, row in zip(runs, each, strict=True)]
        faster = f"{statistics.median(ratios):.0f}x" if loss <= plain_nats and seconds < plain / 2 else ""
        spread = f"{min(row.nats for row in each):.3f} to {max(row.nats for row in each):.3f}"
        table.add_row(each[0].name, f"{seconds:.2f}", f"{loss:.3f} ({spread})", faster)
    table.caption = f"medians of {len(runs)} seeds; {threads} threads; speed where the plain recipe's loss is reached"
    console.print(table)
    console.print(machine(), style="dim")


if __name__ == "__main__":
    main()
