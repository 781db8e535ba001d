"""The words that must not be said, and whether a folded line says one. `python -m bot.wordlist` prints them plain.

Slurs are kept in ROT13 in bot/data/words.rot13.txt, so that nobody who merely opens the folder has to read them.
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, cast, get_args

from bot.folding import Folded, Token, collapsed, covers, letter_of, runs

WordKind = Literal["slur", "sexual", "violence", "profanity", "blocked"]
REMEMBERED = 50_000
SHORTEST_REVERSED = 5
LONG = 6
PIECES = 7  # of one word taken apart; else a line of one letter again and again would cost its square
_SUFFIXES = ("s", "z")
_HEADING = re.compile(r"\[(\w+)(?: (part|word|phrases))?\]")


@dataclass(frozen=True, slots=True)
class Word:
    letters: str
    kind: WordKind
    part: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    word: Word
    key: str
    drawn_out: re.Pattern[str]


class WordList:
    """Looks words up by their collapsed letters, then compares how long each run of a letter is.

    A word found inside an innocent one (the place name, the cutlery) does not count.
    """

    def __init__(self, words: Iterable[Word], innocent: Iterable[str] = ()) -> None:
        self._whole: dict[str, list[Word]] = defaultdict(list)
        self._parts: list[_Part] = []
        self._masked: dict[int, list[Word]] = defaultdict(list)
        self._known: dict[Token, Word | None] = {}
        self._innocent = frozenset(innocent)
        longest_first = sorted(self._innocent, key=len, reverse=True)
        self._longest_innocent = tuple((innocent, collapsed(innocent)) for innocent in longest_first)
        for word in words:
            forms = [word.letters, *(word.letters + suffix for suffix in _SUFFIXES)] if len(word.letters) > 2 else [
                word.letters
            ]  # fmt: skip
            if word.kind == "slur" and word.part and len(word.letters) >= SHORTEST_REVERSED:
                forms += [form[::-1] for form in forms]
            for form in forms:
                self._whole[collapsed(form)].append(Word(form, word.kind, word.part))
            if word.part:
                drawn_out = "".join(
                    f"{letter}{{{length},}}" if length > 1 else f"{letter}+"
                    for letter, length in zip(collapsed(word.letters), runs(word.letters), strict=True)
                )
                self._parts.append(_Part(word, collapsed(word.letters), re.compile(drawn_out)))
            for form in (word.letters, word.letters + "s", word.letters + "ing", word.letters + "er"):
                if len(form) > 3:
                    self._masked[len(form)].append(word)
        self._beginnings = frozenset(key[:end] for key in self._whole for end in range(1, len(key)))

    def find(self, folded: Folded) -> Word | None:
        """The worst of the words that a line says: slurs before everything else, or None."""
        worst: Word | None = None
        for token in folded.tokens:
            if token not in self._known:
                if len(self._known) > REMEMBERED:
                    self._known.clear()
                self._known[token] = self._said(token)
            worst = worse(worst, self._known[token])
        return worse(worst, self._taken_apart(folded))

    def _taken_apart(self, folded: Folded) -> Word | None:
        """A word written in several pieces. Follows only what may still become one, so it is quick."""
        worst: Word | None = None
        for pieces, all_odd in folded.apart:
            for start, letters in enumerate(pieces):
                odd = all_odd[start]
                for piece, piece_odd in zip(
                    pieces[start + 1 : start + PIECES], all_odd[start + 1 : start + PIECES], strict=True
                ):
                    if collapsed(letters) not in self._beginnings:
                        break
                    letters += piece
                    odd = odd or piece_odd
                    if odd and len(letters) > 3:
                        worst = worse(worst, self._exactly(letters))
        return worst

    def _exactly(self, letters: str) -> Word | None:
        worst: Word | None = None
        for word in self._whole.get(collapsed(letters), ()):
            if covers(letters, word.letters):
                worst = worse(worst, word)
        return worst

    def _said(self, token: Token) -> Word | None:
        if token.masked:
            return self._behind_mask(token.letters)
        if token.letters in self._innocent:
            return None
        found = self._exactly(token.letters)
        if token.whole:
            for part in self._parts:
                if part.key not in token.key or (found and SEVERITY[found.kind] <= SEVERITY[part.word.kind]):
                    continue
                if part.drawn_out.search(token.letters) and self._stands_alone(part, token.letters):
                    found = part.word
        return found

    def _stands_alone(self, part: _Part, said: str) -> bool:
        """Whether the word is still there once every innocent word is taken away, as that is spelled and not drawn out.

        Run lengths matter: with one g it is a country, with two it is not.
        """
        for innocent, key in self._longest_innocent:
            if part.key in key and innocent in said:
                said = said.replace(innocent, " ")
        return bool(part.drawn_out.search(said))

    def _behind_mask(self, masked: str) -> Word | None:
        """f*ck, n****r: the letters shown must fit, and at least two of them must be shown, the first among them.

        A single star at an edge is more often a correction, a shout or an *action* than a letter: there only a long
        word counts whose other letters all are shown.
        """
        shown = [(at, letter) for at, letter in enumerate(masked) if letter != "*"]
        if len(shown) < 2 or len(masked) > 20:
            return None
        first, last = masked[0] == "*", "*" not in masked[1:-1]
        if (first or last) and (len(shown) < 4 or len(masked) - len(shown) > 1):
            return None
        for word in self._masked.get(len(masked), ()):
            if (first and (word.kind != "slur" or len(word.letters) < LONG)) or (last and not word.part):
                continue
            for form in (word.letters, word.letters + "s", word.letters + "ing", word.letters + "er"):
                if len(form) == len(masked) and all(form[at] == letter for at, letter in shown):
                    return word
        return None


def worse(one: Word | None, other: Word | None) -> Word | None:
    """The worse of two finds, either of which may be none."""
    if one is None or other is None:
        return one or other
    return other if SEVERITY[other.kind] < SEVERITY[one.kind] else one


SEVERITY: dict[WordKind, int] = {"slur": 0, "violence": 1, "sexual": 2, "blocked": 3, "profanity": 4}


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What the package's list holds: words, innocent words that hold them, and whole innocent phrases."""

    words: tuple[Word, ...]
    innocent: tuple[str, ...]
    phrases: re.Pattern[str]


def built_in() -> BuiltIn:
    """The package's own list, bot/data/words.rot13.txt."""
    words: list[Word] = []
    innocent: list[str] = []
    phrases: list[str] = []
    kind, mode = "innocent", ""
    for line in files("bot").joinpath("data/words.rot13.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        heading = _HEADING.fullmatch(line)
        if heading:
            kind, mode = heading.group(1), heading.group(2) or ""
            continue
        plain = codecs.decode(line, "rot13")
        if mode == "phrases":
            phrases.append(re.escape(plain))
        elif kind == "innocent":
            innocent += plain.split()
        elif kind in get_args(WordKind):
            letters = ["".join(map(letter_of, word)) for word in plain.split()]
            words += [Word(word, cast(WordKind, kind), mode == "part") for word in letters]
    return BuiltIn(tuple(words), tuple(innocent), re.compile(rf"\b(?:{'|'.join(phrases)})\b", re.IGNORECASE))


def main() -> None:
    """Print the list plain, for whoever edits it."""
    listed = built_in()
    for word in listed.words:
        print(f"{word.kind}\t{'part' if word.part else 'word'}\t{word.letters}")  # noqa: T201 - its output
    for letters in listed.innocent:
        print(f"innocent\t\t{letters}")  # noqa: T201 - its output


if __name__ == "__main__":
    main()
