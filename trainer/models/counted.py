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
Probabilities = npt.NDArray[np.float64]


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
        every = _gram_numbers(list(documents), order, vocab_size, start_token)
        grams, counts = np.unique(every, return_counts=True)
        running = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        return cls(order, vocab_size, start_token, grams, running, pseudo_counts, prior)

    @property
    def parameters(self) -> int:
        """How many numbers it keeps: one a distinct n-gram, and those of the prior."""
        return len(self.grams) + (self.prior.parameters if self.prior else 0)

    def table(self) -> npt.NDArray[np.float64]:
        """Counts with the pseudo-counts among them, (contexts, vocab_size): what a network is trained on that should
        find the same chances."""
        counted = np.full(self.vocab_size**self.order, self.add_k)
        counted[self.grams] += np.diff(self.running)
        return counted.reshape(-1, self.vocab_size)

    @property
    def add_k(self) -> float:
        """The lectures' k: pseudo-counts a token of the vocabulary."""
        return self.pseudo_counts / self.vocab_size

    def smoothed(self, pseudo_counts: float, prior: "Counted | None") -> "Counted":
        """The same counts under another smoothing; nothing is counted again."""
        return replace(self, pseudo_counts=pseudo_counts, prior=prior)

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.score_documents([tokens])[0]

    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        """`score` of each, looked up all at once: names are many and short."""
        if not documents:
            return []
        scores = np.log(self.probabilities_of(documents)).astype(np.float32)
        return np.split(scores, np.cumsum([len(tokens) for tokens in documents])[:-1])

    def probabilities_of(self, documents: Sequence[Tokens]) -> Probabilities:
        """P(token | those before it in its document) of every token, document behind document."""
        prior = 1.0 / self.vocab_size if self.prior is None else self.prior.probabilities_of(documents)
        return smooth(*self.occurrences(documents), self.pseudo_counts, prior)

    def occurrences(self, documents: Sequence[Tokens]) -> tuple[Counts, Counts]:
        """How often each token of `documents` was counted behind its context, and how often its context was."""
        wanted = _gram_numbers(documents, self.order, self.vocab_size, self.start_token)
        first = np.searchsorted(self.grams, wanted)
        count = self.running[np.searchsorted(self.grams, wanted, side="right")] - self.running[first]
        low, high = self._range_of(wanted // self.vocab_size)
        return count, self.running[high] - self.running[low]

    def row(self, context: Sequence[int]) -> Probabilities:
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


def smooth(count: Counts, total: Counts, pseudo_counts: float, prior: Probabilities | float) -> Probabilities:
    """Counts as probabilities: `pseudo_counts` more of them were seen, shared out as `prior` says."""
    return np.asarray((count + pseudo_counts * prior) / (total + pseudo_counts), dtype=np.float64)


def _gram_numbers(documents: Sequence[Tokens], order: int, vocab_size: int, start_token: int) -> Counts:
    """The n-gram that ends at each token, as one number; document behind document, each begun with `start_token`s."""
    lengths = [len(tokens) for tokens in documents]
    before = order - 1
    places = np.arange(sum(lengths)) + before * np.repeat(np.arange(1, len(lengths) + 1), lengths)
    padded = np.full(sum(lengths) + before * len(lengths), start_token, dtype=np.int64)
    if lengths:
        padded[places] = np.concatenate(documents)
    numbers = np.zeros(len(places), dtype=np.int64)
    for back in range(before, -1, -1):
        numbers = numbers * vocab_size + padded[places - back]
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
    occurrences = counted.occurrences(held_out)
    for prior, shared_out in ((None, "evenly"), *(((shorter, "by the shorter model"),) if shorter else ())):
        scale = counted.vocab_size if prior is None else 1.0
        chances = 1.0 / counted.vocab_size if prior is None else prior.probabilities_of(held_out)
        for exponent in range(-9, 7):
            candidate = counted.smoothed(scale * 10 ** (exponent / 3), prior)
            loss = -float(np.log(smooth(*occurrences, candidate.pseudo_counts, chances)).mean())
            tried.append((Smoothing(candidate.pseudo_counts, shared_out, loss), candidate))
    best = min(tried, key=lambda entry: entry[0].nats_per_token)
    return best[1], [smoothing for smoothing, _ in tried]
