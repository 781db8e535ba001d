"""How large a model and how long a run, from the chat there is, the minutes allowed and this machine's speed. Pure.

Explains itself in one line. Knows no torch: the speed is measured elsewhere and passed in.
"""

import math
from dataclasses import dataclass, replace

from corpus.errors import TrainingError
from trainer.settings import ModelTable

BYTES_AND_SPECIALS = 265  # a vocabulary cannot be smaller: trainer/tokenizer.py


@dataclass(frozen=True)
class Shape:
    """What can be chosen of a GPT's size."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int

    @property
    def matrices(self) -> int:
        """Weights inside the blocks."""
        return self.n_layer * 12 * self.n_embd**2

    def flops_per_token(self, vocab_size: int) -> float:
        """Of one token of training: 6 a weight, 12 a feature and key attended to."""
        attention = 12.0 * self.n_layer * self.n_embd * self.block_size / 2
        return 6.0 * (self.matrices + self.n_embd * vocab_size) + attention


SIZES = {
    "tiny": Shape(2, 3, 96, 64),
    "small": Shape(2, 4, 128, 64),
    "medium": Shape(4, 6, 192, 128),
    "large": Shape(6, 8, 256, 256),
    "huge": Shape(8, 12, 384, 256),
}
# What `auto` chooses from; the steps between the named sizes are wide, so there is one more.
LADDER = tuple(sorted([*SIZES.values(), Shape(2, 6, 192, 64)], key=lambda shape: shape.matrices))


@dataclass(frozen=True)
class Speed:
    """What this machine does in training: floating-point operations a second, and in how many threads."""

    flops: float
    threads: int
    device: str = "cpu"

    @property
    def machine(self) -> str:
        cores = f"{self.threads} core{'s' if self.threads != 1 else ''}"
        return cores if self.device == "cpu" else f"a {self.device} device"


@dataclass(frozen=True)
class Plan:
    """One run: shape, vocabulary, batches, steps and the regularisation that many passes over little chat need.

    `steps` is what the seconds should allow; a machine that turns out faster may take up to `most_steps`.
    `matrices_rate` is a multiple of the usual rate for the matrices of blocks.
    """

    shape: Shape
    vocab_size: int
    batch_size: int
    steps: int
    most_steps: int
    seconds: float
    epochs: float
    dropout: float
    row_dropout: float
    matrices_rate: float
    orders: tuple[int, ...]
    evaluations: int
    sentence: str


def vocabulary_for(characters: int, table: ModelTable) -> int:
    """How many tokens a vocabulary should have for so much text: more chat affords rarer words."""
    if table.vocab_size:
        return table.vocab_size
    if table.tokenizer == "gpt2":
        return 50_265
    if table.tokenizer == "char":
        return 512
    if table.tokenizer == "word":
        return max(512, min(8192, round_to(characters / 200, 256)))
    # docs/experiments.md: 1,024 is best from 1 MB on; less text cannot fill that many tokens with examples.
    return max(320, min(1024, round_to(characters / 200, 64)))


def make_plan(
    train_tokens: int, minutes: float, speed: Speed, vocab_size: int, table: ModelTable, *, evaluations: int = 20
) -> Plan:
    """The plan for these tokens and minutes. Raises TrainingError for numbers that do not go together."""
    seconds = minutes * 60
    shape = _explicit(_shape(train_tokens, seconds, speed, vocab_size, table), table)
    shape = replace(shape, block_size=max(2, min(shape.block_size, train_tokens)))
    tokens_a_second = speed.flops / shape.flops_per_token(vocab_size)
    batch_size = max(
        1, round(_batch_tokens(min(tokens_a_second * seconds, MAX_EPOCHS * train_tokens)) / shape.block_size)
    )
    batch_tokens = batch_size * shape.block_size
    affordable = tokens_a_second * seconds / batch_tokens
    # More than so many passes over the same chat only overfits, whatever the time left.
    useful = max(MAX_EPOCHS * train_tokens / batch_tokens, LEAST_STEPS)
    steps = max(20, round(min(affordable, useful)))
    epochs = steps * batch_tokens / max(train_tokens, 1)
    dropout = table.dropout if table.dropout >= 0 else (0.1 if epochs > 2 * MAX_EPOCHS else 0.0)
    return Plan(
        shape=shape,
        vocab_size=vocab_size,
        batch_size=batch_size,
        steps=steps,
        most_steps=round(max(steps, min(useful, 3 * affordable))),
        seconds=seconds,
        epochs=epochs,
        dropout=dropout,
        row_dropout=row_dropout(epochs),
        matrices_rate=1.0 if epochs <= MANY_EPOCHS else 2.0,
        # A character tells little: a fourth order is worth 3 % of the loss by characters, and costs 0.6 % by BPE.
        orders=(2, 3, 4) if table.tokenizer == "char" else (2, 3),
        evaluations=max(1, min(evaluations, round(seconds / 2), steps)),
        sentence=_sentence(train_tokens, minutes, speed, shape, steps, epochs),
    )


def row_dropout(epochs: float) -> float:
    """However often the chat is read, a hashed row should learn from each example about once (docs/experiments.md)."""
    return max(0.0, 1.0 - 1.0 / max(epochs - 0.5, 0.5))


MAX_EPOCHS = 7.0
MANY_EPOCHS = 5.0  # above, twice the rate learns less by heart (docs/experiments.md)
LEAST_STEPS = 30.0  # with 60 the first hundred messages are forgotten again from the 20th on (docs/experiments.md)


def _shape(train_tokens: int, seconds: float, speed: Speed, vocab_size: int, table: ModelTable) -> Shape:
    """The largest rung of the ladder that the time can train and the chat can fill.

    Compute-optimal in Chinchilla's sense: a model should read about as many tokens a weight as the sweep in
    docs/experiments.md found best, and repeated tokens count less, so little chat keeps a model small.
    """
    if table.size != "auto":
        return SIZES[table.size]
    best = LADDER[0]
    for shape in LADDER:
        read = speed.flops * seconds / shape.flops_per_token(vocab_size)
        if read >= TOKENS_A_WEIGHT * shape.matrices and train_tokens * 2 >= shape.matrices / WEIGHTS_A_TOKEN:
            best = shape
    return best


TOKENS_A_WEIGHT = 9.0
WEIGHTS_A_TOKEN = 4.0


def _explicit(shape: Shape, table: ModelTable) -> Shape:
    """The operator's own numbers in place of the chosen ones."""
    n_embd = table.n_embd or shape.n_embd
    n_head = table.n_head or (shape.n_head if n_embd == shape.n_embd else max(1, n_embd // 32))
    if n_embd % n_head or n_embd // n_head % 2:
        raise TrainingError(
            f"[model] n_embd {n_embd} cannot be shared out to {n_head} heads of an even size; "
            f"try n_embd = {n_head * 32}, or leave n_head at 0"
        )
    return Shape(table.n_layer or shape.n_layer, n_head, n_embd, table.block_size or shape.block_size)


def _batch_tokens(total: float) -> float:
    """Tokens a step: many small steps for a run of seconds, larger ones where there is time to use them."""
    return min(8192.0, max(768.0, 768.0 * math.sqrt(total / 1_200_000)))


def _sentence(train_tokens: int, minutes: float, speed: Speed, shape: Shape, steps: int, epochs: float) -> str:
    allowed = f"{round(60 * minutes)} seconds" if minutes < 1 else f"{minutes:.3g} minute{'s' if minutes != 1 else ''}"
    passes = f"{epochs:.1f}" if epochs < 3 else f"{epochs:.0f}"
    return (
        f"{rounded(train_tokens)} tokens and {allowed} on {speed.machine}: {shape.n_layer} layers × {shape.n_embd}, "
        f"block {shape.block_size}, {steps:,} steps, about {passes} epoch{'s' if passes not in ('1', '1.0') else ''}"
    )


def rounded(number: float) -> str:
    """1.9 M, 320 k, 87."""
    if number >= 1e6:
        return f"{number / 1e6:.1f} M"
    if number >= 10_000:
        return f"{number / 1e3:.0f} k"
    return f"{number:,.0f}"


def round_to(number: float, step: int) -> int:
    return max(step, round(number / step) * step)
