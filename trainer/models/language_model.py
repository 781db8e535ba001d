"""The one interface every model keeps, so that one evaluation and one sampler serve them all.

NumPy at the border, so that counting models need no torch; a model may use what it likes inside.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
LogProbabilities = npt.NDArray[np.float32]


class Decoder(Protocol):
    """A batch of continuations of one context, grown token by token (a KV cache, or an n-gram state)."""

    def log_probabilities(self) -> LogProbabilities:
        """Natural-log probabilities of the next token, shape (batch, vocab_size)."""

    def push(self, tokens: Sequence[int]) -> None:
        """Append one token to each continuation; len(tokens) == batch."""

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows of the batch, in this order: finished continuations cost nothing more."""


class LanguageModel(Protocol):
    """Next-token log-probabilities."""

    @property
    def vocab_size(self) -> int: ...

    def score(self, tokens: Tokens) -> LogProbabilities:
        """ln P(tokens[t] | tokens[:t]) for every t, shape (len(tokens),): the first is given no context."""

    def decoder(self, context: Sequence[int], batch: int) -> Decoder:
        """Start `batch` continuations of `context` (any length; a model uses as much of its end as it can)."""
