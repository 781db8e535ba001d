"""The n-gram and what it was told, line by line, so that any message can be taken back from the counts by its id.

Counts alone cannot tell which of them a message made, and its row is gone when word of its removal arrives: so the
tokens of every counted line are kept beside the counts, 2 bytes a token. Knows nothing of text.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import Tokens
from trainer.models.ngram import NGram

NO_ROW = -1  # of a message that was learned live, before anyone could know its row
COMPACT_FROM = 2_000_000  # grams beside the arrays, about 300 MB of dictionaries


class LineMemory:
    """Fast memory with a receipt for every line. Message ids are kept as 8-byte hashes, names not at all."""

    def __init__(
        self,
        ngram: NGram,
        keys: npt.NDArray[np.uint64],
        rows: npt.NDArray[np.int64],
        tokens: npt.NDArray[Any],
        starts: Tokens,
    ) -> None:
        self.ngram = ngram
        self._keys = keys
        self._rows = rows
        self._by_row = np.argsort(rows)
        self._tokens = tokens
        self._starts = starts
        self._by_key = np.argsort(keys)
        self._sorted_keys = keys[self._by_key]
        self._gone = np.zeros(len(keys), bool)
        self._live: dict[int, array[int]] = {}

    @classmethod
    def fit(
        cls,
        message_ids: Sequence[str],
        rows: Sequence[int] | npt.NDArray[np.int64],
        tokens: Tokens,
        starts: Tokens,
        *,
        vocab_size: int,
        order: int,
        line_end: int,
    ) -> "LineMemory":
        """Count lines given back to back: line i is tokens[starts[i]:starts[i + 1]], of the message message_ids[i].

        `rows` are the messages' rows in the corpus, by which a removal of long ago still names them.
        """
        if len(starts) != len(message_ids) + 1 or len(rows) != len(message_ids) or starts[-1] != len(tokens):
            raise ValueError(
                f"{len(message_ids)} messages and {len(tokens)} tokens do not fit {len(starts)} line starts"
            )
        ngram = NGram.fit(tokens, vocab_size=vocab_size, order=order, line_end=line_end)
        keys = np.array([_key(message_id) for message_id in message_ids], np.uint64)
        kind = np.uint16 if vocab_size <= 2**16 else np.uint32
        return cls(ngram, keys, np.asarray(rows, np.int64), tokens.astype(kind), np.asarray(starts, np.int64))

    def __len__(self) -> int:
        """How many messages are remembered."""
        return len(self._keys) - int(self._gone.sum()) + len(self._live)

    def __contains__(self, message_id: str) -> bool:
        key = _key(message_id)
        return key in self._live or self._fitted(key) is not None

    def learn(self, message_id: str, line: Sequence[int]) -> bool:
        """Count a message once: False, and nothing happens, when it is remembered already."""
        key = _key(message_id)
        if key in self._live or self._fitted(key) is not None:
            return False
        self.ngram.learn(line)
        self._live[key] = array("I", line)
        if self.ngram.grown > COMPACT_FROM:
            self.ngram.compact()
        return True

    def line(self, message_id: str) -> list[int] | None:
        """What was counted of a message, None when it is not remembered."""
        key = _key(message_id)
        if key in self._live:
            return self._live[key].tolist()
        place = self._fitted(key)
        return None if place is None else self._tokens[self._starts[place] : self._starts[place + 1]].tolist()

    def lines(self) -> Iterator[list[int]]:
        """What was counted of each remembered message."""
        for place in np.flatnonzero(~self._gone):
            yield self._tokens[self._starts[place] : self._starts[place + 1]].tolist()
        for live in self._live.values():
            yield live.tolist()

    def unlearn(self, message_id: str) -> bool:
        """Take a message back, fitted or learned later; False when it is not remembered."""
        key = _key(message_id)
        line = self._live.pop(key, None)
        if line is not None:
            self.ngram.unlearn(line)
            return True
        place = self._fitted(key)
        return place is not None and self._take_back(place)

    def unlearn_row(self, row: int) -> bool:
        """Take back a message that was there at the fit, by its row; False when it was not, or is gone already."""
        at = int(np.searchsorted(self._rows, row, sorter=self._by_row))
        if at == len(self._rows) or self._rows[self._by_row[at]] != row or self._gone[self._by_row[at]]:
            return False
        return self._take_back(int(self._by_row[at]))

    def _take_back(self, place: int) -> bool:
        start, stop = int(self._starts[place]), int(self._starts[place + 1])
        self.ngram.unlearn(self._tokens[start:stop].tolist())
        self._tokens[start:stop] = 0
        self._gone[place] = True
        return True

    def nbytes(self) -> int:
        """Memory of the arrays, in bytes; what was learned since the fit comes on top."""
        own = (self._keys, self._rows, self._by_row, self._by_key, self._sorted_keys, self._tokens, self._starts)
        return self.ngram.nbytes() + sum(each.nbytes for each in own)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as plain arrays: the counts, and the lines that they are made of."""
        kept = np.flatnonzero(~self._gone)
        lines = [self._tokens[self._starts[place] : self._starts[place + 1]] for place in kept]
        lines += [np.array(line, self._tokens.dtype) for line in self._live.values()]
        return {
            **{f"counts.{name}": values for name, values in self.ngram.to_arrays().items()},
            "lines.keys": np.concatenate([self._keys[kept], np.array(list(self._live), np.uint64)]),
            "lines.rows": np.concatenate([self._rows[kept], np.full(len(self._live), NO_ROW)]),
            "lines.tokens": np.concatenate([*lines, np.zeros(0, self._tokens.dtype)]),
            "lines.lengths": np.array([len(line) for line in lines], np.uint32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "LineMemory":
        """Raises `ValueError` for arrays that do not belong together."""
        counts = {name.removeprefix("counts."): values for name, values in arrays.items() if name.startswith("counts.")}
        try:
            keys, rows, tokens, lengths = (arrays[f"lines.{name}"] for name in ("keys", "rows", "tokens", "lengths"))
        except KeyError as error:
            raise ValueError(f"a memory without its {error}") from error
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if not len(keys) == len(rows) == len(lengths) or starts[-1] != len(tokens):
            raise ValueError(f"{len(keys)} messages, {len(lengths)} lines, {len(tokens)} tokens for {starts[-1]}")
        return cls(NGram.from_arrays(counts), keys, rows, tokens.copy(), starts)

    def _fitted(self, key: int) -> int | None:
        """Where the line of a message is that was there at the fit and has not been taken back."""
        place = int(np.searchsorted(self._sorted_keys, np.uint64(key)))
        if place == len(self._sorted_keys) or int(self._sorted_keys[place]) != key:
            return None
        line = int(self._by_key[place])
        return None if self._gone[line] else line


def _key(message_id: str) -> int:
    return int.from_bytes(blake2b(message_id.encode(), digest_size=8).digest(), "little")
