"""The untrained model: every token equally likely. Its loss is ln(vocab_size), from where every rung climbs."""

from collections.abc import Sequence

import numpy as np

from trainer.models.language_model import LogProbabilities, Tokens


class Uniform:
    """Knows how many tokens there are and nothing else."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.parameters = 0

    def score(self, tokens: Tokens) -> LogProbabilities:
        return np.full(len(tokens), -np.log(self.vocab_size), dtype=np.float32)

    def decoder(self, context: Sequence[int], batch: int) -> "UniformDecoder":
        return UniformDecoder(self.vocab_size, batch)


class UniformDecoder:
    """A continuation that never learns anything from what was said."""

    def __init__(self, vocab_size: int, batch: int) -> None:
        self._row = np.full(vocab_size, -np.log(vocab_size), dtype=np.float32)
        self._batch = batch

    def log_probabilities(self) -> LogProbabilities:
        return np.tile(self._row, (self._batch, 1))

    def push(self, tokens: Sequence[int]) -> None:
        pass

    def keep(self, rows: Sequence[int]) -> None:
        self._batch = len(rows)
