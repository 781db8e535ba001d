"""Bigram and trigram by counting, smoothed with pseudo-counts. Counts are kept sparse, so any vocabulary fits.

The lectures' `(count + k) / (total + k · V)` is the case of `k · V` pseudo-counts shared out evenly; sharing them out
as the next shorter model would is what keeps a trigram useful where the vocabulary is thousands of word pieces.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import LogProbabilities, Tokens

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """P(next | the last `order - 1` tokens) = (count + pseudo_counts · prior(next)) / (total + pseudo_counts).

    `prior` is the uniform distribution where it is None, else a shorter model. Before a text begins stands
    `start_token`, as often as needed. `grams` are the sorted distinct n-grams, read as numbers in base vocab_size;
    `running[i]` counts all occurrences of grams before the i-th, so that any range is totalled by one subtraction.
    """

    order: int
    vocab_size: int
    start_token: int
    grams: Counts
    running: Counts
    pseudo_counts: float
    prior: "Counted | None" = None

    @classmethod
    def fit(
        cls,
        documents: Iterable[Tokens],
        *,
        order: int,
        vocab_size: int,
        start_token: int,
        pseudo_counts: float,
        prior: "Counted | None" = None,
    ) -> "Counted":
        """Count every n-gram of `documents`; one pass and one sort."""
        numbered = [_gram_numbers(tokens, order, vocab_size, start_token) for tokens in documents]
        every = np.concatenate(numbered) if numbered else np.empty(0, dtype=np.int64)
        grams, counts = np.unique(every, return_counts=True)
        running = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return cls(order, vocab_size, start_token, grams, running, pseudo_counts, prior)

    @property
    def parameters(self) -> int:
        """How many numbers it keeps: one a distinct n-gram, and those of the prior."""
        return len(self.grams) + (self.prior.parameters if self.prior else 0)

    @property
    def add_k(self) -> float:
        """The lectures' k: pseudo-counts a token of the vocabulary."""
        return self.pseudo_counts / self.vocab_size

    def smoothed(self, pseudo_counts: float, prior: "Counted | None") -> "Counted":
        """The same counts under another smoothing; nothing is counted again."""
        return replace(self, pseudo_counts=pseudo_counts, prior=prior)

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.log(self.probabilities_of(tokens)).astype(np.float32)

    def probabilities_of(self, tokens: Tokens) -> npt.NDArray[np.float64]:
        """P(tokens[t] | tokens[:t]) for every t."""
        wanted = _gram_numbers(tokens, self.order, self.vocab_size, self.start_token)
        first = np.searchsorted(self.grams, wanted)
        count = self.running[np.searchsorted(self.grams, wanted, side="right")] - self.running[first]
        low, high = self._range_of(wanted // self.vocab_size)
        total = self.running[high] - self.running[low]
        prior = 1.0 / self.vocab_size if self.prior is None else self.prior.probabilities_of(tokens)
        return np.asarray((count + self.pseudo_counts * prior) / (total + self.pseudo_counts), dtype=np.float64)

    def row(self, context: Sequence[int]) -> npt.NDArray[np.float64]:
        """P(· | context), shape (vocab_size,); `context` holds at least `order - 1` tokens."""
        number = 0
        for token in context[len(context) - (self.order - 1) :]:
            number = number * self.vocab_size + int(token)
        low, high = self._range_of(np.int64(number))
        row = np.full(self.vocab_size, 1.0 / self.vocab_size) if self.prior is None else self.prior.row(context)
        row = row * self.pseudo_counts
        row[self.grams[low:high] % self.vocab_size] += np.diff(self.running[low : high + 1])
        return np.asarray(row / (self.running[high] - self.running[low] + self.pseudo_counts), dtype=np.float64)

    def decoder(self, context: Sequence[int], batch: int) -> "CountedDecoder":
        known = [self.start_token] * (self.order - 1) + [int(token) for token in context]
        return CountedDecoder(self, [known[len(known) - (self.order - 1) :] for _ in range(batch)])

    def _range_of(self, contexts: Counts | np.int64) -> tuple[Counts, Counts]:
        """The half-open range of `grams` that begin with each context."""
        return (
            np.searchsorted(self.grams, contexts * self.vocab_size),
            np.searchsorted(self.grams, (contexts + 1) * self.vocab_size),
        )


class CountedDecoder:
    """Continuations that remember as many tokens as the counts look back."""

    def __init__(self, model: Counted, contexts: list[list[int]]) -> None:
        self._model = model
        self._contexts = contexts

    def log_probabilities(self) -> LogProbabilities:
        return np.log(np.stack([self._model.row(context) for context in self._contexts])).astype(np.float32)

    def push(self, tokens: Sequence[int]) -> None:
        for context, token in zip(self._contexts, tokens, strict=True):
            context.append(int(token))
            del context[: len(context) - (self._model.order - 1)]

    def keep(self, rows: Sequence[int]) -> None:
        self._contexts = [list(self._contexts[row]) for row in rows]


def _gram_numbers(tokens: Tokens, order: int, vocab_size: int, start_token: int) -> Counts:
    """The n-gram that ends at each token, as one number; shape (len(tokens),)."""
    padded = np.concatenate([np.full(order - 1, start_token, dtype=np.int64), np.asarray(tokens, dtype=np.int64)])
    numbers = np.zeros(len(tokens), dtype=np.int64)
    for place in range(order):
        numbers = numbers * vocab_size + padded[place : place + len(tokens)]
    return numbers


@dataclass(frozen=True)
class Smoothing:
    """One smoothing that was tried: how many pseudo-counts, shared out how, and the loss on the held-out text."""

    pseudo_counts: float
    shared_out: str
    nats_per_token: float


def tune_smoothing(
    counted: Counted, held_out: Sequence[Tokens], shorter: Counted | None = None
) -> tuple[Counted, list[Smoothing]]:
    """The best smoothing on `held_out` of a grid: pseudo-counts shared out evenly, and by `shorter` where given.

    Ties and noise do not matter here: the loss is flat round its minimum, so the grid is coarse (a third of a decade).
    """
    tried: list[tuple[Smoothing, Counted]] = []
    for prior, shared_out in ((None, "evenly"), *(((shorter, "by the shorter model"),) if shorter else ())):
        scale = counted.vocab_size if prior is None else 1.0
        for exponent in range(-9, 7):
            candidate = counted.smoothed(scale * 10 ** (exponent / 3), prior)
            scores = np.concatenate([candidate.score(tokens) for tokens in held_out])
            loss = -float(scores.mean(dtype=np.float64))
            tried.append((Smoothing(candidate.pseudo_counts, shared_out, loss), candidate))
    best = min(tried, key=lambda entry: entry[0].nats_per_token)
    return best[1], [smoothing for smoothing, _ in tried]
