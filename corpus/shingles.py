"""Words and three-word runs of a text as salted hashes: enough to know them when said again, not to read them."""

import hashlib
import re
from collections.abc import Iterator, Sequence

Shingle = int

RUN = 3
SHORTEST_WORD = 4
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared: case and punctuation make no difference, apostrophes least of all."""
    return _WORD.findall(text.casefold().replace("'", "").replace("’", ""))


class Shingler:
    """Hashes of one database. The salt stays in it, so hashes of two databases cannot be compared.

    A single word's hash is even, a run's is odd: whoever suppresses may treat them differently.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt[:64]

    def shingles(self, text: str) -> Iterator[Shingle]:
        """Every word of at least four letters, and every run of three words."""
        words = words_of(text)
        for word in words:
            if len(word) >= SHORTEST_WORD:
                yield self._hash(word) & ~1
        for at in range(len(words) - RUN + 1):
            yield self._hash(*words[at : at + RUN]) | 1

    def runs(self, text: str) -> Iterator[Shingle]:
        """The runs alone."""
        return (shingle for shingle in self.shingles(text) if shingle & 1)

    def _hash(self, *words: str) -> Shingle:
        digest = hashlib.blake2b(
            "\0".join(words).encode("utf-8", "surrogatepass"), key=self._salt, digest_size=8
        ).digest()
        return int.from_bytes(digest, "big", signed=True)


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of `one`'s three-word runs that `other` has too; for shorter texts 1 when they are equal, else 0."""
    if len(one) < RUN:
        return float(bool(one) and list(one) == list(other))
    runs = {tuple(one[at : at + RUN]) for at in range(len(one) - RUN + 1)}
    others = {tuple(other[at : at + RUN]) for at in range(len(other) - RUN + 1)}
    return len(runs & others) / len(runs)
