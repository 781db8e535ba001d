"""Kneser-Ney for lines that nobody opens, such as names: each is given an opening, as a line of chat has its slot.

Without it the first token of a name would be taken for its speaker, and forgotten as a context.
"""

from collections.abc import Sequence

import numpy as np

from trainer.models.language_model import Decoder, LogProbabilities, Tokens
from trainer.models.ngram import NGram


class OpenedLines:
    """An `NGram` whose vocabulary has one token more, which opens every line and is shown to nobody."""

    def __init__(self, ngram: NGram) -> None:
        self._ngram = ngram
        self._opener = ngram.vocab_size - 1

    @classmethod
    def fit(cls, lines: Sequence[Tokens], *, vocab_size: int, order: int, line_end: int) -> "OpenedLines":
        opened = [token for line in lines for token in (np.array([vocab_size]), line)]
        return cls(NGram.fit(np.concatenate(opened), vocab_size=vocab_size + 1, order=order, line_end=line_end))

    @property
    def vocab_size(self) -> int:
        return self._opener

    @property
    def parameters(self) -> int:
        return self._ngram.parameters

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.score_documents([tokens])[0]

    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        opened = [np.concatenate([[self._opener], document]) for document in documents]
        return [scores[1:] for scores in self._ngram.score_documents(opened)]

    def decoder(self, context: Sequence[int], batch: int) -> "OpenedDecoder":
        return OpenedDecoder(self._ngram.decoder([self._opener, *context], batch), self._opener)


class OpenedDecoder:
    """Continuations of a line that is already open, so that its opener is never drawn."""

    def __init__(self, decoder: Decoder, opener: int) -> None:
        self._decoder = decoder
        self._opener = opener

    def log_probabilities(self) -> LogProbabilities:
        return self._decoder.log_probabilities()[:, : self._opener]

    def push(self, tokens: Sequence[int]) -> None:
        self._decoder.push(tokens)

    def keep(self, rows: Sequence[int]) -> None:
        self._decoder.keep(rows)
