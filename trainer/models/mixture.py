"""The production voice: GPT and n-gram weighed against each other token by token, and what was just said on top.

How much the GPT is trusted depends on how well the n-gram knows the context, and is fitted on chat that neither has
seen. Works without a GPT: then it is the n-gram and what was just said.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import Decoder, LanguageModel, LogProbabilities, Tokens
from trainer.models.ngram import NGram
from trainer.models.recent import DEFAULT_RECALLS, Heard, Recall, faded_counts, recalled

Floats = npt.NDArray[np.float64]

# Before anything speaks for it, the GPT is hardly trusted: a mixture must never be worse than its n-gram.
TRUST_AT_FIRST = 0.02
TOKENS_AT_FIRST = 50.0  # how many held-out tokens outweigh that
TOKENS_TO_DIFFER = 30.0  # … and the common trust, in one degree of familiarity
STRENGTH_OF_DEFAULT_DOUBTS = 4.0
STRENGTH_OF_EQUAL_CAUTION = 2.0
CAUTIONS = np.exp(np.linspace(-2.5, 2.5, 41))  # what is tried, from believing at once to hardly ever
MOST_TRUST = 0.98
# When speaking: only what is remembered for so long is recalled, and believed that many times less.
LASTING_TOKENS = 1000
ECHO_DOUBT = 5.0


@dataclass(frozen=True)
class Weights:
    """`trust` in the GPT by the n-gram's familiarity with the context, each from 0 to 1; and how to recall.

    What was just said counts for less where the n-gram knows the context well: `caution`, by familiarity too,
    multiplies the doubts; empty where it was never fitted.
    """

    trust: tuple[float, ...]
    recalls: tuple[Recall, ...] = DEFAULT_RECALLS
    caution: tuple[float, ...] = ()

    def for_speaking(self) -> "Weights":
        """The same, hardly echoing: a good forecast of chat repeats what was just said, a good voice must not."""
        lasting = (recall for recall in self.recalls if recall.decay_tokens >= LASTING_TOKENS)
        return replace(self, recalls=tuple(replace(each, doubt=each.doubt * ECHO_DOUBT) for each in lasting))

    def to_json(self) -> dict[str, Any]:
        recalls = [[recall.order, recall.decay_tokens, recall.doubt] for recall in self.recalls]
        return {"trust": list(self.trust), "recalls": recalls, "caution": list(self.caution)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "Weights":
        """Raises `ValueError` for anything that `to_json` has not written."""
        try:
            recalls = tuple(Recall(int(order), float(fade), float(doubt)) for order, fade, doubt in saved["recalls"])
            trust = tuple(float(share) for share in saved["trust"])
            caution = tuple(float(factor) for factor in saved.get("caution", ()))
        except (KeyError, TypeError) as error:
            raise ValueError(f"the weights of a mixture are damaged ({error!r})") from error
        if not all(0 <= share <= 1 for share in trust):
            raise ValueError(f"trust in the GPT is between 0 and 1, not {trust}")
        if caution and (len(caution) != len(trust) or not all(0 < factor < math.inf for factor in caution)):
            raise ValueError(f"caution is a positive number for each degree of familiarity, not {caution}")
        return cls(trust, recalls, caution)


@dataclass(frozen=True)
class Counted:
    """All that counting has to say of some conversations: it stays as it is while the network trains.

    One entry a token: the n-gram's score, its familiarity with the context, and the faded counts of what was said.
    """

    ngram: LogProbabilities
    familiarity: npt.NDArray[np.int64]
    recent: npt.NDArray[np.float32]


def count(ngram: NGram, documents: Sequence[Tokens], recalls: Sequence[Recall] = DEFAULT_RECALLS) -> Counted:
    """Ask the counts about conversations of whole lines."""
    scores = [ngram.score_with_familiarity(document) for document in _joined(ngram, documents)]
    line_end = ngram.vocab_size if ngram.line_end is None else ngram.line_end
    return Counted(
        np.concatenate([score for score, _ in scores] or [np.zeros(0, np.float32)]),
        np.concatenate([familiarity for _, familiarity in scores] or [np.zeros(0, np.int64)]),
        faded_counts(documents, recalls, line_end, ngram.vocab_size),
    )


def mix(weights: Weights, counted: Counted, gpt: LogProbabilities | None) -> LogProbabilities:
    """The mixture's scores from its parts'. Without a GPT its share is the n-gram's."""
    counts = np.exp(counted.ngram.astype(np.float64))
    mixed = counts
    if gpt is not None:
        trust = np.array(weights.trust)[counted.familiarity]
        mixed = counts + trust * (np.exp(gpt.astype(np.float64)) - counts)
    caution = np.array(weights.caution)[counted.familiarity] if weights.caution else 1.0
    factor, addend = recalled(mixed, counted.recent, weights.recalls, caution)
    return np.asarray(np.log(factor * mixed + addend), np.float32)


def weigh(counted: Counted, gpt: LogProbabilities | None, familiarities: int, rounds: int = 3) -> Weights:
    """The weights under which held-out chat is likeliest. Neither part may have learned from that chat.

    Few tokens to judge by leave the weights where the mixture cannot be much worse than the n-gram alone.
    """
    counts = np.exp(counted.ngram.astype(np.float64))
    other = counts if gpt is None else np.exp(gpt.astype(np.float64))
    recalls = DEFAULT_RECALLS
    trust, caution = np.zeros(familiarities), np.ones(familiarities)
    for _ in range(rounds):
        cautions = caution[counted.familiarity]
        if gpt is not None:
            factor, addend = recalled(counts, counted.recent, recalls, cautions)
            trust = _best_trust(factor * counts + addend, factor * (other - counts), counted.familiarity, familiarities)
        mixed = counts + trust[counted.familiarity] * (other - counts)
        recalls = _best_recalls(mixed, counted.recent, recalls, cautions)
        caution = _best_caution(mixed, counted, recalls, familiarities)
    return Weights(tuple(trust.tolist()), recalls, tuple(caution.tolist()))


@contextmanager
def without(ngram: NGram, lines: Sequence[Sequence[int]]) -> Iterator[NGram]:
    """The n-gram as if it had never counted these lines, for as long as the block lasts; then as before, exactly."""
    taken: list[Sequence[int]] = []
    try:
        for line in lines:
            ngram.unlearn(line)
            taken.append(line)
        yield ngram
    finally:
        for line in taken:
            ngram.learn(line)


class Mixture:
    """A `LanguageModel` of the parts that there are."""

    def __init__(self, gpt: LanguageModel | None, ngram: NGram, weights: Weights) -> None:
        if gpt is not None and (gpt.vocab_size != ngram.vocab_size or len(weights.trust) != ngram.familiarities):
            raise ValueError(
                f"parts that do not fit: vocabularies of {gpt.vocab_size} and {ngram.vocab_size} tokens, "
                f"{len(weights.trust)} weights for {ngram.familiarities} degrees of familiarity"
            )
        self.gpt = gpt
        self.ngram = ngram
        self.weights = weights

    @property
    def vocab_size(self) -> int:
        return self.ngram.vocab_size

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.score_documents([tokens])[0]

    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        """`score` of each conversation, in one go."""
        if not documents:
            return []
        counted = count(self.ngram, documents, self.weights.recalls)
        gpt = None if self.gpt is None else np.concatenate(_scores(self.gpt, documents))
        edges = np.cumsum([len(document) for document in documents])[:-1]
        return np.split(mix(self.weights, counted, gpt), edges)

    def decoder(self, context: Sequence[int], batch: int) -> "MixtureDecoder":
        return MixtureDecoder(self, context, batch)


class MixtureDecoder:
    """A batch of continuations: the parts' decoders side by side, and what each continuation has said itself."""

    def __init__(self, model: Mixture, context: Sequence[int], batch: int) -> None:
        ngram = model.ngram
        self._model = model
        self._gpt: Decoder | None = None if model.gpt is None else model.gpt.decoder(context, batch)
        self._states = [ngram.state(context)] * batch
        line_end = ngram.vocab_size if ngram.line_end is None else ngram.line_end
        heard = Heard(model.weights.recalls, line_end, context)
        self._heard = [heard.copy() for _ in range(batch)]

    def log_probabilities(self) -> LogProbabilities:
        ngram, trust, caution = self._model.ngram, self._model.weights.trust, self._model.weights.caution
        gpt = None if self._gpt is None else np.exp(self._gpt.log_probabilities())
        rows = np.empty((len(self._states), ngram.vocab_size), np.float32)
        for row, (state, heard) in enumerate(zip(self._states, self._heard, strict=True)):
            mixed = ngram.distribution(state)
            familiarity = ngram.familiarity(state)
            if gpt is not None:
                share = trust[familiarity]
                mixed *= 1.0 - share
                mixed += share * gpt[row]
            heard.recall(mixed, caution[familiarity] if caution else 1.0)
            rows[row] = mixed
        return np.log(rows, out=rows)

    def push(self, tokens: Sequence[int]) -> None:
        self._states = [
            self._model.ngram.advance(state, int(token)) for state, token in zip(self._states, tokens, strict=True)
        ]
        for heard, token in zip(self._heard, tokens, strict=True):
            heard.push(int(token))
        if self._gpt is not None:
            self._gpt.push(tokens)

    def keep(self, rows: Sequence[int]) -> None:
        self._states = [self._states[row] for row in rows]
        self._heard = [self._heard[row].copy() for row in rows]
        if self._gpt is not None:
            self._gpt.keep(rows)


def _joined(ngram: NGram, documents: Sequence[Tokens]) -> Sequence[Tokens]:
    """Whole lines depend on nothing before them, so that many conversations can be counted as one."""
    whole = ngram.line_end is not None and all(
        len(document) and document[-1] == ngram.line_end for document in documents
    )
    return [np.concatenate(documents)] if whole and documents else documents


def _scores(model: LanguageModel, documents: Sequence[Tokens]) -> list[LogProbabilities]:
    together = getattr(model, "score_documents", None)
    scores: list[LogProbabilities] = together(documents) if together else [model.score(each) for each in documents]
    return scores


def _best_trust(base: Floats, gain: Floats, familiarity: npt.NDArray[np.int64], familiarities: int) -> Floats:
    """By degree of familiarity, the trust that makes `base + trust * gain` likeliest, drawn to a common one."""
    common = _likeliest_share(base, gain, np.zeros(len(base), np.int64), np.array([TRUST_AT_FIRST]), TOKENS_AT_FIRST)
    drawn_to = np.full(familiarities, common[0])
    return _likeliest_share(base, gain, familiarity, drawn_to, TOKENS_TO_DIFFER)


def _likeliest_share(
    base: Floats, gain: Floats, groups: npt.NDArray[np.int64], drawn_to: Floats, strength: float
) -> Floats:
    """Bisection on the slope of the log-likelihood, which is concave in the share, for all groups at once."""
    low, high = np.zeros(len(drawn_to)), np.full(len(drawn_to), MOST_TRUST)
    for _ in range(30):
        middle = (low + high) / 2
        slope = np.bincount(groups, weights=gain / (base + middle[groups] * gain), minlength=len(middle))
        slope = slope + strength * (drawn_to / np.maximum(middle, 1e-12) - (1 - drawn_to) / (1 - middle))
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return low


def _best_caution(mixed: Floats, counted: Counted, recalls: tuple[Recall, ...], familiarities: int) -> Floats:
    """By degree of familiarity, the factor on all doubts that makes the chat likeliest, drawn to none."""
    found = np.empty((len(CAUTIONS), familiarities))
    for number, caution in enumerate(CAUTIONS):
        factor, addend = recalled(mixed, counted.recent, recalls, caution)
        likelihood = np.log(factor * mixed + addend)
        found[number] = np.bincount(counted.familiarity, weights=likelihood, minlength=familiarities)
        found[number] -= STRENGTH_OF_EQUAL_CAUTION * np.log(caution) ** 2
    return np.asarray(CAUTIONS[found.argmax(axis=0)])


def _best_recalls(
    mixed: Floats, recent: npt.NDArray[np.float32], recalls: tuple[Recall, ...], caution: Floats
) -> tuple[Recall, ...]:
    """One doubt after the other, halved or doubled and ever finer, as long as that makes the chat likelier."""

    def loss(candidate: tuple[Recall, ...]) -> float:
        factor, addend = recalled(mixed, recent, candidate, caution)
        strayed = sum(
            np.log(now.doubt / default.doubt) ** 2 for now, default in zip(candidate, DEFAULT_RECALLS, strict=True)
        )
        return float(-np.log(factor * mixed + addend).sum() + STRENGTH_OF_DEFAULT_DOUBTS * strayed)

    best = loss(recalls)
    for step in (2.0, 1.4, 1.2):
        for number in range(len(recalls)):
            for change in (step, 1 / step):
                while True:
                    changed = replace(recalls[number], doubt=recalls[number].doubt * change)
                    candidate = (*recalls[:number], changed, *recalls[number + 1 :])
                    now = loss(candidate)
                    if now >= best:
                        break
                    best, recalls = now, candidate
    return recalls
