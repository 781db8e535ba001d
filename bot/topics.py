"""Topics that are off limits as whole phrases: a small phrase language, compiled once from bot/data/phrases.toml.

The file's own examples are its tests; `Topics.complaints` runs them, for a streamer's file too. A floor, not a promise.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from bot.folding import fold
from corpus.errors import SettingsError

_UNDER_AGE = "(?:[5-9]|1[0-7]|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
_PIECE = re.compile(r"\([^()\s]*\)\?|\S+")
_WORD = re.compile(r"[\w'’]+")
_KEYS = {"phrases", "must", "may", "unless"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One table of the file. `said` finds a phrase in a folded sentence; `unless` are readings that excuse it."""

    name: str
    said: re.Pattern[str]
    unless: re.Pattern[str] | None
    must: tuple[str, ...]
    may: tuple[str, ...]


class Topics:
    """Which off-limits topic a folded sentence touches."""

    def __init__(self, topics: tuple[Topic, ...]) -> None:
        self.topics = topics

    def find(self, sentence: str) -> str | None:
        """The topic's name, or None. `sentence` is single-spaced folded words with a space around, see `Folded`."""
        for topic in self.topics:
            found = topic.said.search(sentence)
            if found and not (topic.unless and topic.unless.search(sentence)):
                return topic.name
        return None

    def complaints(self) -> list[str]:
        """What the file's own examples say against it; empty when all hold."""
        said: list[str] = []
        for topic in self.topics:
            alone = Topics((topic,))
            said += [
                f"[{topic.name}] must refuse {line!r}" for line in topic.must if not alone.find(fold(line).sentence)
            ]
            said += [f"[{topic.name}] may not refuse {line!r}" for line in topic.may if self.find(fold(line).sentence)]
        return said


def built_in(own: Path | None = None) -> Topics:
    """The package's topics, and those of the streamer's own file. Raises `SettingsError` for a file that is none."""
    topics = read(files("bot").joinpath("data/phrases.toml").read_text(encoding="utf-8"), "phrases.toml")
    if own is not None:
        try:
            topics += read(own.read_text(encoding="utf-8"), own.name)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"config.toml: [safety] phrases: {own.name} cannot be read: {error}") from error
    return Topics(topics)


def read(text: str, name: str) -> tuple[Topic, ...]:
    """The topics of one file. Raises `SettingsError` that names the file, the topic and the phrase."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not valid TOML: {error}") from error
    return tuple(_topic(name, topic, table) for topic, table in tables.items())


def _topic(file: str, name: str, table: Any) -> Topic:
    if not isinstance(table, Mapping) or set(table) - _KEYS or not table.get("phrases"):
        raise SettingsError(f"{file}: [{name}] takes phrases, must, may and unless, lists of lines; phrases is needed")
    for key, lines in table.items():
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise SettingsError(f"{file}: [{name}] {key} must be a list of lines in quotes")
    said = [pattern(phrase) for phrase in table["phrases"]]
    excuses = [pattern(phrase) for phrase in table.get("unless", ())]
    return Topic(
        name,
        re.compile(f"(?= )(?:{'|'.join(said)}) "),
        re.compile(f"(?= )(?:{'|'.join(excuses)}) ") if excuses else None,
        tuple(table.get("must", ())),
        tuple(table.get("may", ())),
    )


def pattern(phrase: str) -> str:
    """A phrase as a regular expression over ` word word `, each word with its space before. Never backtracks far."""
    pieces = []
    for piece in _PIECE.findall(phrase):
        if piece == "..":
            pieces.append(r"(?: \S+){0,3}?")
        elif piece == "_":
            pieces.append(r" \S+")
        elif piece == "<n>":
            pieces.append(f" {_UNDER_AGE}")
        elif piece.endswith(")?"):
            pieces.append(f"(?: (?:{_words(piece[1:-2])}))?")
        else:
            pieces.append(f" (?:{_words(piece)})")
    return "".join(pieces)


def _words(alternatives: str) -> str:
    return "|".join(re.escape("".join(fold(word).words)) for word in alternatives.split("|") if _WORD.search(word))
