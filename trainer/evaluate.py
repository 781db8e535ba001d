"""The one evaluation for every LanguageModel: nats a token, and bits a character of all and of unseen messages.

Knows nothing of how a model works, nor of how it was trained.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from trainer.dataset import EncodedLines
from trainer.metrics import Loss
from trainer.models.language_model import LanguageModel, LogProbabilities, Tokens


@runtime_checkable
class ScoresDocuments(Protocol):
    """A model that scores many documents faster together than one by one."""

    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]: ...


def log_probabilities(model: LanguageModel, lines: EncodedLines) -> LogProbabilities:
    """ln P of every token given what came before it in its conversation; shape (tokens,)."""
    documents = lines.documents()
    if not documents:
        return np.zeros(0, dtype=np.float32)
    if isinstance(model, ScoresDocuments):
        return np.concatenate(model.score_documents(documents))
    return np.concatenate([model.score(document) for document in documents])


def evaluate(model: LanguageModel, lines: EncodedLines, unseen: npt.NDArray[np.bool_] | None = None) -> Loss:
    """The loss of `model` on `lines`; `unseen` tells which of them occur nowhere in training.

    The speaker's slot that opens a line counts in nats a token but not in bits a character: the text is predicted
    given who speaks. Raises ValueError without lines: a loss on nothing would be a lie.
    """
    if not len(lines):
        raise ValueError("a loss needs at least one validation message")
    return loss_of(log_probabilities(model, lines), lines, unseen)


def loss_of(scores: LogProbabilities, lines: EncodedLines, unseen: npt.NDArray[np.bool_] | None = None) -> Loss:
    """`evaluate`, for scores that are already there (mixtures are weighed many times over the same scores)."""
    bits = bits_per_line(scores, lines)
    unseen_bits = None
    if unseen is not None and unseen.any():
        unseen_bits = float(bits[unseen].sum() / lines.characters[unseen].sum())
    return Loss(
        nats_per_token=-float(scores.mean(dtype=np.float64)),
        bits_per_character=float(bits.sum() / lines.characters.sum()),
        unseen_bits_per_character=unseen_bits,
    )


def bits_per_line(scores: LogProbabilities, lines: EncodedLines) -> npt.NDArray[np.float64]:
    """What each line's text and end cost in bits, its opening slot left out; shape (lines,)."""
    counted = scores.astype(np.float64)
    counted[lines.starts[:-1]] = 0.0
    return np.asarray(np.add.reduceat(counted, lines.starts[:-1]) / -math.log(2), dtype=np.float64)
