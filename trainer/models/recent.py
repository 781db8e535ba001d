"""What was just said is likely to be said again: decayed counts of the conversation so far, on top of any model.

Nothing is learned here that outlives the conversation: it is context, as a GPT's block is. Chat repeats itself so
much, within a line and between lines, that this alone is worth more than two more orders of n-gram.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import Tokens

Floats = npt.NDArray[np.float64]

OPENING = -1  # in contexts, whoever opened the line
CONTEXT_TOKENS = 4096  # of a decoder's context; older ones have decayed


@dataclass(frozen=True, slots=True)
class Recall:
    """One way to remember: what followed the last `order` - 1 tokens, fading by a factor e every `decay_tokens`.

    `doubt` is how many fresh repetitions it takes to be believed as much as everything before: with n (faded)
    occurrences of the context, c of them followed by the token, p becomes (c + doubt * p) / (n + doubt).
    """

    order: int
    decay_tokens: float
    doubt: float


# Applied one after the other. Fitted on one channel's chat (docs/experiments.md); a run fits `doubt` anew.
DEFAULT_RECALLS: tuple[Recall, ...] = (
    Recall(2, 4000, 900.0),
    Recall(2, 100, 20.0),
    Recall(3, 4000, 24.0),
    Recall(3, 100, 1.6),
    Recall(4, 4000, 4.0),
)


def faded_counts(
    documents: Sequence[Tokens], recalls: Sequence[Recall], line_end: int, vocab_size: int
) -> npt.NDArray[np.float32]:
    """For each recall and token: how often the token followed its context before, and how often anything did.

    Shape (recalls, 2, tokens of all documents). Each document is a conversation of whole lines; contexts begin with
    the opening of a line, whoever opened it. The opening tokens themselves are not recalled: zeros.
    """
    lengths = np.array([len(document) for document in documents], np.int64)
    tokens = np.concatenate([*documents, np.zeros(0, np.int64)]).astype(np.int64)
    found = np.zeros((len(recalls), 2, len(tokens)), np.float32)
    if not len(tokens):
        return found
    document = np.repeat(np.arange(len(documents)), lengths)
    place = np.arange(len(tokens))
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    opening = place == first
    opening[1:] |= tokens[:-1] == line_end
    since_opening = place - np.maximum.accumulate(np.where(opening, place, 0))
    symbols = np.where(opening, vocab_size, tokens)
    grams = _numbered(document * (vocab_size + 1) + symbols)
    for order in range(2, max(recall.order for recall in recalls) + 1):
        inside = np.flatnonzero(since_opening >= order - 1)
        contexts = grams[inside - 1]
        longer = _numbered(contexts * (vocab_size + 1) + symbols[inside])
        for number, recall in enumerate(recalls):
            if recall.order == order:
                found[number, 0, inside] = _faded(longer, place[inside], recall.decay_tokens)
                found[number, 1, inside] = _faded(contexts, place[inside], recall.decay_tokens)
        grams = np.zeros(len(tokens), np.int64)
        grams[inside] = longer
    return found


def recalled(
    probabilities: Floats, counts: npt.NDArray[np.float32], recalls: Sequence[Recall], caution: Floats | float = 1.0
) -> tuple[Floats, Floats]:
    """The factor and the addend by which the recalls change each token's probability, for `faded_counts`.

    `probabilities` gives the shape: (tokens,). Doubts are multiplied by `caution`, of that shape or one for all.
    """
    factor, addend = np.ones_like(probabilities), np.zeros_like(probabilities)
    for recall, (followed, occurred) in zip(recalls, counts, strict=True):
        doubt = recall.doubt * caution
        scale = 1.0 / (occurred + doubt)
        factor *= doubt * scale
        addend = (followed + doubt * addend) * scale
    return factor, addend


class Heard:
    """The same for a decoder: the counts of one conversation so far, grown token by token."""

    def __init__(self, recalls: Sequence[Recall], line_end: int, context: Sequence[int]) -> None:
        self._recalls = recalls
        self._line_end = line_end
        self._longest = max((recall.order for recall in recalls), default=1) - 1
        self._clock = 0
        self._line: list[int] | None = None  # the last tokens of this line, OPENING first; None before its opening
        # By recall and context: all weight, and the weight of each token. Weights grow with the clock instead of
        # fading with age, which comes to the same once they are divided by today's.
        self._shared: list[dict[tuple[int, ...], dict[int, float]]] = [{} for _ in recalls]
        self._own: list[dict[tuple[int, ...], dict[int, float]]] = [{} for _ in recalls]
        recent = [int(token) for token in context[-CONTEXT_TOKENS:]]
        if len(context) > CONTEXT_TOKENS and line_end in recent:
            recent = recent[recent.index(line_end) + 1 :]
        for token in recent:
            self.push(token)
        self._shared, self._own = self._own, self._shared

    def copy(self) -> "Heard":
        """Another continuation of the same conversation; what was heard so far is shared."""
        other = Heard(self._recalls, self._line_end, ())
        other._clock, other._shared = self._clock, self._shared
        other._line = None if self._line is None else list(self._line)
        other._own = [{key: dict(words) for key, words in counts.items()} for counts in self._own]
        return other

    def push(self, token: int) -> None:
        line = self._line
        if line is None:
            self._line = [OPENING]
        else:
            for recall, counts in zip(self._recalls, self._own, strict=True):
                if len(line) >= recall.order - 1:
                    words = counts.setdefault(tuple(line[len(line) - recall.order + 1 :]), {})
                    weight = math.exp(self._clock / recall.decay_tokens)
                    words[token] = words.get(token, 0.0) + weight
            self._line = None if token == self._line_end else [*line, token][-self._longest :]
        self._clock += 1

    def recall(self, probabilities: Floats, caution: float = 1.0) -> None:
        """Change the next token's distribution, shape (vocab_size,), in place; doubts are multiplied by `caution`."""
        line = self._line
        if line is None:
            return
        for recall, shared, own in zip(self._recalls, self._shared, self._own, strict=True):
            if len(line) < recall.order - 1:
                continue
            context = tuple(line[len(line) - recall.order + 1 :])
            heard, said = shared.get(context), own.get(context)
            if not heard and not said:
                continue
            fade = math.exp(-self._clock / recall.decay_tokens)
            total = fade * (sum(heard.values() if heard else ()) + sum(said.values() if said else ()))
            doubt = recall.doubt * caution
            probabilities *= doubt / (total + doubt)
            share = fade / (total + doubt)
            for words in (heard, said):
                if words and len(words) > 16:
                    tokens = np.fromiter(words, np.int64, len(words))
                    probabilities[tokens] += share * np.fromiter(words.values(), np.float64, len(words))
                elif words:
                    for word, weight in words.items():
                        probabilities[word] += weight * share


def _numbered(keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Small numbers for equal keys."""
    return np.asarray(np.unique(keys, return_inverse=True)[1], np.int64)


def _faded(groups: npt.NDArray[np.int64], places: npt.NDArray[np.int64], decay_tokens: float) -> Floats:
    """For each item the sum over earlier items of its group, each faded by its distance. Places ascend."""
    order = np.argsort(groups, kind="stable")
    group, place = groups[order], places[order]
    sums = np.ones(len(order))
    # Doubling: after each round, an item has summed up twice as many neighbours of its group.
    reach, largest = 1, int(np.bincount(groups).max(initial=1))
    while reach < largest:
        same = group[reach:] == group[:-reach]
        fade = np.exp(-(place[reach:] - place[:-reach]) / decay_tokens, where=same, out=np.zeros(len(same)))
        grown = sums.copy()
        grown[reach:] += sums[:-reach] * fade
        sums, reach = grown, 2 * reach
    result = np.empty(len(order))
    result[order] = sums - 1.0
    return result
