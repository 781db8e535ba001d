"""The one sampler for every LanguageModel: temperature, top-k, top-p, min-p, repetition penalty, stop, seed, batches.

Knows tokens only; it asks a model's Decoder for the chances and draws.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import LanguageModel, LogProbabilities

Floats = npt.NDArray[np.float32]

FAVOUR = 8.0
LEAST_CHANCE = float(np.finfo(np.float32).tiny)  # beside the likeliest token's 1; what is below is never drawn


@dataclass(frozen=True, slots=True)
class Choice:
    """How a token is drawn. Temperature 0 takes the likeliest; top_k 0, top_p 1, min_p 0 and penalty 1 are off.

    min_p leaves out tokens less likely than this share of the likeliest one. A repetition penalty above 1 makes
    tokens that the continuation already has less likely: their logits are divided by it, as CTRL does.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Continuation:
    """What was drawn, without the stop token; `nats_per_token` under the model itself, the stop token included."""

    tokens: tuple[int, ...]
    nats_per_token: float
    stopped: bool


def continuations(
    model: LanguageModel,
    context: Sequence[int],
    *,
    count: int,
    max_tokens: int,
    stop: Collection[int],
    choice: Choice,
    seed: int | None,
    forbidden: Collection[int] = (),
    forbidden_first: Collection[int] = (),
    favoured: Collection[int] = (),
    min_tokens: int = 0,
) -> list[Continuation]:
    """`count` continuations of `context`, drawn together; the same seed draws the same ones.

    A continuation ends at a token of `stop` or after `max_tokens`. `forbidden` tokens are never drawn, those of
    `forbidden_first` not as the first one, and no stop token before `min_tokens` (an empty line is no answer). Until
    a continuation has one of the `favoured` tokens they are `FAVOUR` times likelier. Finished continuations leave the
    batch at once.
    """
    random = np.random.default_rng(seed)
    decoder = model.decoder(context, count)
    drawn: list[list[int]] = [[] for _ in range(count)]
    nats = [0.0] * count
    stopped = [False] * count
    running = list(range(count))
    stops = frozenset(stop)
    banned = np.array(sorted(forbidden), dtype=np.int64)
    banned_early = np.array(sorted({*forbidden, *stops}), dtype=np.int64)
    banned_first = np.array(sorted(forbidden_first), dtype=np.int64)
    wanted = np.array(sorted(favoured), dtype=np.int64)
    wanting = [bool(favoured)] * count
    for position in range(max_tokens):
        known = decoder.log_probabilities()
        allowed = known.copy()
        never = banned_early if position < min_tokens else banned
        if len(never):
            allowed[:, never] = -np.inf
        if position == 0:
            allowed[:, banned_first] = -np.inf
        for row, number in enumerate(running):
            if wanting[number]:
                allowed[row, wanted] += math.log(FAVOUR)
        if choice.repetition_penalty != 1.0:
            for row, number in enumerate(running):
                _penalise(allowed[row], drawn[number], choice.repetition_penalty)
        tokens = draw(allowed, choice, random)
        going: list[int] = []
        for row, number in enumerate(running):
            token = int(tokens[row])
            nats[number] -= float(known[row, token])
            if token in stops:
                stopped[number] = True
            else:
                drawn[number].append(token)
                wanting[number] = wanting[number] and token not in favoured
                going.append(row)
        if not going or position == max_tokens - 1:
            break
        if len(going) < len(running):
            decoder.keep(going)
            running = [running[row] for row in going]
        decoder.push([int(tokens[row]) for row in going])
    return [
        Continuation(tuple(tokens), nats[number] / max(1, len(tokens) + stopped[number]), stopped[number])
        for number, tokens in enumerate(drawn)
    ]


def draw(log_probabilities: LogProbabilities, choice: Choice, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """One token a row. Filters apply in the usual order: temperature, top-k, top-p, min-p. Shape (batch,)."""
    if choice.temperature == 0:
        return np.asarray(log_probabilities.argmax(axis=1), dtype=np.int64)
    uniform = random.random(len(log_probabilities))
    chances = log_probabilities / np.float32(choice.temperature)
    chances -= np.maximum.reduce(chances, axis=1, keepdims=True)
    np.exp(chances, out=chances)
    return np.array([_pick(row, choice, value) for row, value in zip(chances, uniform, strict=True)])


def _pick(chances: Floats, choice: Choice, uniform: float) -> int:
    """A token by these (unnormalised) chances, of which the largest is 1. Never one whose chance is zero.

    As few tokens as possible are sorted, and only by value: those exactly as likely as the last that passes do, too.
    """
    if 0 < choice.top_k < len(chances):
        least = np.partition(chances, len(chances) - choice.top_k)[len(chances) - choice.top_k]
        chances = np.where(chances >= least, chances, np.float32(0.0))
    lowest = max(choice.min_p, LEAST_CHANCE)
    if choice.top_p < 1.0:
        lowest = max(lowest, _least_of_top_p(chances, choice.top_p))
    tokens = np.flatnonzero(chances >= lowest)
    running = chances[tokens].cumsum(dtype=np.float64)
    return int(tokens[min(int(running.searchsorted(uniform * running[-1], side="right")), len(tokens) - 1)])


def _least_of_top_p(chances: Floats, top_p: float) -> float:
    """The chance of the last of the likeliest tokens that add up to `top_p`, the one that crosses the line included.

    Tokens with less than an equal share of what top-p leaves out cannot be among them, and are not sorted.
    """
    total = float(np.add.reduce(chances))
    ranked = np.sort(chances[chances >= (1.0 - top_p) * total / len(chances)])[::-1]
    crossing = int(ranked.cumsum().searchsorted(top_p * total))
    # Where rounding keeps the sum below the line to the end, all of them pass.
    return float(ranked[min(crossing, len(ranked) - 1)])


def _penalise(log_probabilities: Floats, tokens: Sequence[int], penalty: float) -> None:
    """Divide the logits of `tokens`, which as log-probabilities are negative, so they are multiplied."""
    if tokens:
        log_probabilities[list(set(tokens))] *= penalty
