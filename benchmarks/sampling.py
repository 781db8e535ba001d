"""A reply of 40 tokens to a prompt of 60: what it takes, by each memory, against a loop that keeps no cache.

    python benchmarks/sampling.py                  every size that `auto` picks, one continuation and eight at once
    python benchmarks/sampling.py --sizes medium --threads 2
    python benchmarks/sampling.py --first          the first reply of a voice just loaded, and those after it
    python benchmarks/sampling.py --products       one product of a few rows with a matrix, every way there is
    python benchmarks/sampling.py --processor      in processor time, on a machine that others are using, too

The network has random weights, which take as long as any others; the counts are of made-up chat. Without a cache the
same network reads everything said so far again for each token, in torch; the rest of the loop is the same.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.made_chat import lines as made_lines  # noqa: E402
from benchmarks.measured import machine  # noqa: E402
from corpus.message import ChatMessage  # noqa: E402
from trainer import checkpoint as on_disk  # noqa: E402
from trainer.dataset import encode_lines  # noqa: E402
from trainer.memory import LineMemory  # noqa: E402
from trainer.models.gpt import GPT, GPTConfig, GPTDecoder  # noqa: E402
from trainer.models.gpt_decoder import Matrix  # noqa: E402
from trainer.models.language_model import Decoder, LanguageModel, LogProbabilities, Tokens  # noqa: E402
from trainer.models.mixture import Mixture, Weights  # noqa: E402
from trainer.models.ngram import NGram  # noqa: E402
from trainer.plan import LADDER, SIZES  # noqa: E402
from trainer.sample import Choice, continuations  # noqa: E402
from trainer.settings import SamplingTable  # noqa: E402
from trainer.tokenizer import Tokenizer, train_tokenizer  # noqa: E402
from trainer.voice import Request, load_voice  # noqa: E402

Clock = Callable[[], float]

PROMPT_TOKENS = 60
REPLY_TOKENS = 40
VOCAB_SIZE = 1024
MESSAGES = 50_000
# The sizes with a name, and those between them that `auto` picks too.
SHAPES = SIZES | {f"{shape.n_layer}x{shape.n_embd}": shape for shape in LADDER if shape not in SIZES.values()}


class ThroughTorch:
    """A GPT that speaks as it did before it had a decoder without torch: a cache, and eager torch."""

    def __init__(self, gpt: GPT) -> None:
        self.gpt = gpt
        self.vocab_size = gpt.vocab_size

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.gpt.score(tokens)

    def decoder(self, context: Sequence[int], batch: int) -> Decoder:
        return GPTDecoder(self.gpt, context, batch)


class WithoutCache(ThroughTorch):
    """A GPT that reads everything again for each token."""

    def decoder(self, context: Sequence[int], batch: int) -> Decoder:
        return Reading(self.gpt, context, batch)


class Reading:
    def __init__(self, gpt: GPT, context: Sequence[int], batch: int) -> None:
        self._gpt = gpt
        self._rows = [[gpt.config.start_token, *context] for _ in range(batch)]

    @torch.inference_mode()
    def log_probabilities(self) -> LogProbabilities:
        size, reach = self._gpt.config.block_size, self._gpt.reach
        rows = torch.tensor([[self._gpt.config.start_token] * reach + row for row in self._rows])
        time = min(len(self._rows[0]), size)
        features = self._gpt.features(rows[:, -time:], before=rows[:, -time - reach : -time])
        logits = self._gpt.logits(features[:, -1])
        return np.asarray(logits.log_softmax(-1).numpy(), np.float32)

    def push(self, tokens: Sequence[int]) -> None:
        for row, token in zip(self._rows, tokens, strict=True):
            row.append(token)

    def keep(self, rows: Sequence[int]) -> None:
        self._rows = [list(self._rows[row]) for row in rows]


@dataclass(frozen=True)
class Chat:
    tokenizer: Tokenizer
    tokens: Tokens
    memory: LineMemory

    @property
    def ngram(self) -> NGram:
        return self.memory.ngram


def made_chat() -> Chat:
    """Counts of made-up chat, and its tokens to take prompts from."""

    @dataclass(frozen=True)
    class Line:
        row: int
        slot: int
        parts: tuple[str | int, ...]
        conversation: int = 0

    said = [Line(row, row % 4, (text,)) for row, (_, _, text) in enumerate(made_lines(MESSAGES))]
    tokenizer = train_tokenizer("bpe", (str(line.parts[0]) for line in said), VOCAB_SIZE)
    encoded = encode_lines(said, tokenizer)
    ids = [str(line.row) for line in said]
    memory = LineMemory.fit(
        ids, encoded.rows, encoded.tokens, encoded.starts, vocab_size=tokenizer.vocab_size, order=6,
        line_end=tokenizer.end_token,
    )  # fmt: skip
    return Chat(tokenizer, encoded.tokens, memory)


def network(size: str, chat: Chat) -> GPT:
    shape = SHAPES[size]
    torch.manual_seed(0)
    config = GPTConfig(
        chat.tokenizer.vocab_size, chat.tokenizer.end_token, shape.block_size, shape.n_layer, shape.n_head, shape.n_embd
    )
    return GPT(config).eval()


def reply_ms(model: LanguageModel, chat: Chat, batch: int, seed: int, clock: Clock) -> float:
    """One reply: the prompt read, and 40 tokens drawn for each continuation."""
    place = np.random.default_rng(seed).integers(len(chat.tokens) - PROMPT_TOKENS)
    prompt = chat.tokens[place : place + PROMPT_TOKENS].tolist()
    began = clock()
    drawn = continuations(
        model, prompt, count=batch, max_tokens=REPLY_TOKENS, stop=(), choice=Choice(), seed=seed,
        forbidden=(chat.tokenizer.end_token,),
    )  # fmt: skip
    took = 1000 * (clock() - began)
    assert all(len(each.tokens) == REPLY_TOKENS for each in drawn)
    return took


def measured(
    ways: dict[str, LanguageModel], chat: Chat, batch: int, seconds: float, clock: Clock
) -> dict[str, list[float]]:
    """All ways in turns, so that whatever else the machine does meets each of them alike. Sorted milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for model in ways.values():
        reply_ms(model, chat, batch, 0, clock)
    until = clock() + seconds
    seed = 1
    while clock() < until or seed < 6:
        for name, model in ways.items():
            times[name].append(reply_ms(model, chat, batch, seed, clock))
        seed += 1
    return {name: sorted(each) for name, each in times.items()}


def at(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def table(sizes: Sequence[str], batches: Sequence[int], seconds: float, clock: Clock, console: Console) -> None:
    chat = made_chat()
    shown = Table("size", "at once", "who speaks", "tokens/s", "p50 ms", "p95 ms", "torch, cache", "no cache", "ratio")
    for column in shown.columns[3:]:
        column.justify = "right"
    for size in sizes:
        gpt = network(size, chat)
        weights = Weights((0.5,) * chat.ngram.familiarities).for_speaking()
        for batch in batches:
            ways: dict[str, LanguageModel] = {
                "GPT": gpt,
                "GPT, torch": ThroughTorch(gpt),
                "GPT, no cache": WithoutCache(gpt),
                "n-gram": chat.ngram,
                "mixture": Mixture(gpt, chat.ngram, weights),
                "mixture, torch": Mixture(ThroughTorch(gpt), chat.ngram, weights),
                "mixture, no cache": Mixture(WithoutCache(gpt), chat.ngram, weights),
            }
            times = measured(ways, chat, batch, seconds, clock)
            for name in ("n-gram", "GPT", "mixture"):
                own = at(times[name], 0.5)
                row = [f"{size}, {gpt.parameters_count / 1e6:.1f} M", str(batch), name]
                row += [f"{1000 * batch * REPLY_TOKENS / own:,.0f}", f"{own:.1f}", f"{at(times[name], 0.95):.1f}"]
                if name != "n-gram":
                    slower = [at(times[f"{name}, {other}"], 0.5) for other in ("torch", "no cache")]
                    row += [f"{slower[0]:.1f}", f"{slower[1]:.1f}", f"{slower[1] / own:.1f}×"]
                shown.add_row(*row, end_section=name == "mixture")
    console.print(shown)
    told = "of processor time" if clock is time.process_time else "by the clock"
    console.print(f"milliseconds {told}; {torch.get_num_threads()} threads for torch; {machine()}")


def first_replies(sizes: Sequence[str], console: Console) -> None:
    """Load each size as the bot does, and ask."""
    chat = made_chat()
    shown = Table("size", "loaded in ms", "first reply ms", "later ones, p50", "p95")
    for column in shown.columns[1:]:
        column.justify = "right"
    said = [ChatMessage(str(n), "room", user, text, sent) for n, (sent, user, text) in enumerate(made_lines(60))]
    for size in sizes:
        gpt = network(size, chat)
        weights = Weights((0.5,) * chat.ngram.familiarities)
        parts = {
            "gpt": on_disk.Part(gpt.config_json(), gpt.arrays()),
            "ngram": on_disk.Part({"order": 6}, chat.memory.to_arrays()),
            "mixture": on_disk.Part(weights.to_json(), {}),
        }
        with TemporaryDirectory() as folder:
            path = on_disk.save(
                Path(folder), on_disk.Checkpoint("made", 1, 0, chat.tokenizer.to_json(), parts, {}, MESSAGES, 0)
            )
            began = time.perf_counter()
            voice = load_voice(path, "cpu", SamplingTable())
            loaded = 1000 * (time.perf_counter() - began)
            times = []
            for seed in range(40):
                began = time.perf_counter()
                voice.generate(Request(said, seed=seed, max_tokens=REPLY_TOKENS))
                times.append(1000 * (time.perf_counter() - began))
        later = sorted(times[1:])
        shown.add_row(size, f"{loaded:.0f}", f"{times[0]:.0f}", f"{at(later, 0.5):.0f}", f"{at(later, 0.95):.0f}")
    console.print(shown)
    console.print(f"four candidates, 60 messages of context, at most {REPLY_TOKENS} tokens; {machine()}")


def products(console: Console) -> None:
    """What a step is made of: µs, median and 99th percentile, beside two programs that do nothing but compute."""
    console.print(machine())
    shown = Table("weights", "rows", "NumPy", "NumPy in pieces", "torch", "torch bfloat16", "torch int8, dynamic")
    for column in shown.columns[1:]:
        column.justify = "right"
    endless = [sys.executable, "-c", "while True: pass"]
    beside = [subprocess.Popen(endless) for _ in range(2)]
    try:
        for inputs, outputs in ((96, 288), (192, 576), (192, 1024), (384, 1152), (384, 2048)):
            weights = np.random.default_rng(0).standard_normal((inputs, outputs), np.float32)
            matrix, rounded = Matrix(weights), torch.from_numpy(weights.T.copy()).bfloat16()
            linear = torch.nn.Linear(inputs, outputs, bias=False)
            whole = linear.weight.detach()
            small = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(linear), {torch.nn.Linear})
            for rows in (1, 4, 8):
                x = np.random.default_rng(1).standard_normal((rows, inputs), np.float32)
                tensor = torch.from_numpy(x)
                half = tensor.bfloat16()
                ways: list[Callable[[], object]] = [
                    partial(np.matmul, x, weights),
                    partial(matrix.after, x),
                    partial(torch.nn.functional.linear, tensor, whole),
                    partial(torch.nn.functional.linear, half, rounded),
                    partial(small, tensor),
                ]
                with torch.inference_mode():
                    found = [microseconds(way) for way in ways]
                shown.add_row(f"{inputs} × {outputs}", str(rows), *(f"{p50:,.0f} / {p99:,.0f}" for p50, p99 in found))
    finally:
        for process in beside:
            process.kill()
            process.wait()
    console.print(shown)


def microseconds(way: Callable[[], object], times: int = 300) -> tuple[float, float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        way()
        found.append(1e6 * (time.perf_counter() - began))
    found.sort()
    return at(found, 0.5), at(found, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(SHAPES))
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", type=int, default=1, help="for torch; the rest always takes one")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each size and batch")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--products", action="store_true")
    parser.add_argument("--processor", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    console = Console(width=120)
    if arguments.products:
        products(console)
    elif arguments.first:
        first_replies(arguments.sizes.split(","), console)
    else:
        batches = [int(batch) for batch in arguments.batches.split(",")]
        clock = time.process_time if arguments.processor else time.perf_counter
        table(arguments.sizes.split(","), batches, arguments.seconds, clock, console)


if __name__ == "__main__":
    main()
