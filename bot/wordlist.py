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

from bot.folding import Token, collapsed, covers, fold, letter_of, runs

WordKind = Literal["slur", "sexual", "violence", "profanity", "blocked"]
_SUFFIXES = ("s", "z")
_HEADING = re.compile(r"\[(\w+)(?: (part|word))?\]")


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
        self._innocent = frozenset(innocent)
        self._longest_innocent = tuple(sorted({collapsed(word) for word in self._innocent}, key=len, reverse=True))
        for word in words:
            forms = [word.letters, *(word.letters + suffix for suffix in _SUFFIXES)] if len(word.letters) > 2 else [
                word.letters
            ]  # fmt: skip
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

    def find(self, tokens: Iterable[Token]) -> Word | None:
        """The worst of the words that these tokens say: slurs before everything else, or None."""
        worst: Word | None = None
        for token in tokens:
            said = self._said(token)
            if said is not None and (worst is None or SEVERITY[said.kind] < SEVERITY[worst.kind]):
                worst = said
        return worst

    def _said(self, token: Token) -> Word | None:
        if token.masked:
            return self._behind_mask(token.letters)
        if token.letters in self._innocent:
            return None
        found: Word | None = None
        for word in self._whole.get(token.key, ()):
            if covers(token.letters, word.letters) and (found is None or SEVERITY[word.kind] < SEVERITY[found.kind]):
                found = word
        if token.whole:
            for part in self._parts:
                if part.key not in token.key or (found and SEVERITY[found.kind] <= SEVERITY[part.word.kind]):
                    continue
                if part.drawn_out.search(token.letters) and self._stands_alone(part.key, token.key):
                    found = part.word
        return found

    def _stands_alone(self, key: str, said: str) -> bool:
        """Whether the word is still there once every innocent word around it is taken away."""
        for innocent in self._longest_innocent:
            if key in innocent and innocent in said:
                said = said.replace(innocent, " ")
        return key in said

    def _behind_mask(self, masked: str) -> Word | None:
        """f*ck, n****r: the letters shown must fit, the first of them must be shown, and at least two of them."""
        shown = [(at, letter) for at, letter in enumerate(masked) if letter != "*"]
        if len(shown) < 2 or masked[0] == "*" or len(masked) > 20:
            return None
        for word in self._masked.get(len(masked), ()):
            for form in (word.letters, word.letters + "s", word.letters + "ing", word.letters + "er"):
                if len(form) == len(masked) and all(form[at] == letter for at, letter in shown):
                    return word
        return None


SEVERITY: dict[WordKind, int] = {"slur": 0, "violence": 1, "sexual": 2, "blocked": 3, "profanity": 4}


def built_in() -> tuple[tuple[Word, ...], tuple[str, ...]]:
    """The words of bot/data/words.rot13.txt, and the innocent ones that hold them."""
    words: list[Word] = []
    innocent: list[str] = []
    kind, part = "innocent", False
    for line in files("bot").joinpath("data/words.rot13.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        heading = _HEADING.fullmatch(line)
        if heading:
            kind, part = heading.group(1), heading.group(2) == "part"
            continue
        for word in codecs.decode(line, "rot13").split():
            if kind == "innocent":
                innocent.append(word)
            elif kind in get_args(WordKind):
                words.append(Word("".join(map(letter_of, word)), cast(WordKind, kind), part))
    return tuple(words), tuple(innocent)


def folded_words(phrase: str) -> tuple[str, ...]:
    """A streamer's own word or phrase as the fold sees it."""
    return fold(phrase).words


def main() -> None:
    """Print the list plain, for whoever edits it."""
    words, innocent = built_in()
    for word in words:
        print(f"{word.kind}\t{'part' if word.part else 'word'}\t{word.letters}")  # noqa: T201
    for letters in innocent:
        print(f"innocent\t\t{letters}")  # noqa: T201


if __name__ == "__main__":
    main()
