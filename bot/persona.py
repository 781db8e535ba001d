"""Who the simulated audience are and how each of them types: the script file, its small grammar, and a voice a persona.

Pure: knows neither time nor the room. The texts are in bot/data/audience.toml, which a streamer may edit.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.chat import Role
from bot.room import EMOTES, NAME, Person
from corpus.errors import SettingsError

SCRIPT_FILE = Path(__file__).parent / "data" / "audience.toml"
HOLE = re.compile(r"\{([^{}]*)\}")
DEEPEST = 8
A_VOWEL = re.compile(r"\b([Aa]) (?=[aeio](?!ne\b))")

# Filled in by what happens rather than from a list of words.
FILLED = frozenset(
    {
        "boss",
        "area",
        "snack",
        "song",
        "attempt",
        "deaths",
        "streamer",
        "raider",
        "count",
        "bot",
        "who",
        "said",
        "coined",
    }
)
STREAM_LISTS = ("streamer", "game", "boss", "area", "snack", "song", "raider")
# Topics the audience asks for by name: a script without one of them would fall silent there.
TOPICS = frozenset(
    (
        "hello", "bye", "chat", "explore", "boss", "close", "fail", "win", "snack", "music", "cat", "tech",
        "raid", "raider", "quiet", "callback", "coin", "reply", "newcomer", "answer", "addressed",
        "ask_bot", "bot_spoke", "bot_loss", "bot_answered", "say", "loss", "model", "help", "pasta", "late",
    )
)  # fmt: skip
ROLES: Mapping[str, Role] = {"moderator": "moderator", "vip": "vip", "subscriber": "subscriber"}

Share = Annotated[float, Field(ge=0, le=1)]


class PersonaTable(BaseModel):
    """One [[persona]] of the script."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    badges: tuple[str, ...] = ()
    pace: Annotated[float, Field(ge=0, le=10)] = 1.0
    attention: Share = 0.5
    away_s: Annotated[float, Field(ge=0)] = 40.0
    late_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    caps: Share = 0.0
    lower: bool = False
    capital: bool = False
    ending: str = ""
    typo: Share = 0.004
    stretch: Share = 0.03
    emote: Share = 0.1
    topics: Mapping[str, float] = {}
    words: Mapping[str, tuple[str, ...]] = {}
    lines: Mapping[str, tuple[str, ...]] = {}


class ScriptTable(BaseModel):
    """The whole script file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stream: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, tuple[str, ...]]
    persona: tuple[PersonaTable, ...]


@dataclass(frozen=True)
class Persona:
    """One made-up viewer."""

    person: Person
    table: PersonaTable
    raider: bool = False

    @property
    def name(self) -> str:
        return self.person.name


@dataclass(frozen=True)
class Script:
    """What may be said, about what, by whom."""

    stream: Mapping[str, tuple[str, ...]]
    words: Mapping[str, tuple[str, ...]]
    lines: Mapping[str, tuple[str, ...]]
    personas: tuple[Persona, ...] = field(repr=False)


def load_script(file: Path = SCRIPT_FILE) -> Script:
    """Read and check a script. Raises `SettingsError` with the first mistake, in one sentence that says where it is."""
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file.name}: cannot be read as TOML: {error}") from error
    try:
        table = ScriptTable.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{file.name}: {where}: {first['msg'][:1].lower()}{first['msg'][1:]}") from error
    _check(file.name, table)
    personas = tuple(Persona(as_person(persona), persona) for persona in table.persona)
    return Script(table.stream, table.words, table.lines, personas)


def as_person(table: PersonaTable) -> Person:
    roles = frozenset(ROLES[badge] for badge in table.badges if badge in ROLES)
    return Person(table.name, roles, table.badges, simulated=True)


def _check(source: str, table: ScriptTable) -> None:
    for name in STREAM_LISTS:
        if not table.stream.get(name):
            raise SettingsError(f"{source}: [stream] {name} is missing; give it a list of at least one")
    for topic in sorted(TOPICS):
        if not table.lines.get(topic):
            raise SettingsError(f"{source}: [lines] {topic} is missing; give it at least one line")
    if len(table.persona) < 2:
        raise SettingsError(f"{source}: an audience needs at least two [[persona]] tables")
    known = FILLED | set(table.words)
    lists = [("[words]", table.words), ("[lines]", table.lines)]
    for persona in table.persona:
        lists += [(f"persona {persona.name} words", persona.words), (f"persona {persona.name} lines", persona.lines)]
        for topic in [*persona.topics, *persona.lines]:
            if topic not in table.lines:
                raise SettingsError(f"{source}: persona {persona.name}: {topic} is not a topic of [lines]")
    for where, group in lists:
        for key, texts in group.items():
            if not texts:
                raise SettingsError(f"{source}: {where} {key} is empty; give it at least one entry")
            for name in (hole for text in texts for hole in HOLE.findall(text) if "|" not in hole):
                if name not in known:
                    raise SettingsError(f"{source}: {where} {key}: {{{name}}} is not a list of [words]")


def expand(
    template: str, lists: Iterable[Mapping[str, tuple[str, ...]]], values: Mapping[str, str], random: Random
) -> str:
    """Fill every hole of a template: a choice, a value of the moment, or a draw from the first list of that name."""
    lists = list(lists)

    def fill(found: re.Match[str]) -> str:
        name: str = found[1]
        if "|" in name:
            choices: list[str] = name.split("|")
            return random.choice(choices)
        for words in lists:
            # A persona whose own {snack} is eggs says eggs even while the streamer eats toast, most of the time.
            if name in words and (name not in values or random.random() < 0.7):
                return random.choice(words[name])
        return values.get(name, "")

    text = template
    for _ in range(DEEPEST):
        if not HOLE.search(text):
            break
        text = HOLE.sub(fill, text)
    return A_VOWEL.sub(r"\1n ", " ".join(HOLE.sub("", text).split()))


_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuiopqsdfghjklaxcvbnmz", strict=True))


def typed(text: str, table: PersonaTable, random: Random) -> str:
    """A text as this persona would type it: case, stretched words, slips, a full stop or none, an emote behind."""
    if text.startswith("!"):
        return text  # a command, which has to be typed as it is
    shout = random.random() < table.caps
    words = []
    for word in text.split(" "):
        if word in EMOTES or word[:1] in "!@" or not word.isascii():
            words.append(word)
            continue
        if random.random() < table.typo and len(word) > 3 and word.isalpha():
            word = _slip(word, random)
        if random.random() < table.stretch and len(word) > 2 and word[-1:] in "aouyhm":
            word += word[-1] * random.randint(1, 5)
        if shout:
            word = word.upper()
        elif table.lower:
            word = word.lower()
        words.append(word)
    line = " ".join(words)
    if table.capital and not shout and "_" not in words[0] and words[0] not in EMOTES:
        line = line[:1].upper() + line[1:]
    last = words[-1]
    if table.ending and last not in EMOTES and last[-1:].isalnum() and random.random() < 0.8:
        line += table.ending
    if random.random() < table.emote and last not in EMOTES:
        line += " " + random.choice(table.words.get("emote_any", tuple(EMOTES)))
    return line


def _slip(word: str, random: Random) -> str:
    place = random.randrange(1, len(word) - 1)
    match random.randrange(4):
        case 0:  # two letters change places
            return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
        case 1:  # one is left out
            return word[:place] + word[place + 1 :]
        case 2:  # one is typed twice
            return word[:place] + word[place] + word[place:]
        case _:  # the key beside it
            return word[:place] + _NEIGHBOURS.get(word[place], word[place]) + word[place + 1 :]


_SYLLABLES = (
    "mo",
    "ka",
    "fizz",
    "lu",
    "tater",
    "bee",
    "plum",
    "zo",
    "mint",
    "ra",
    "noodle",
    "pip",
    "wob",
    "ni",
    "cricket",
)
_ENDINGS = ("", "", "_", "tv", "42", "x", "ish", "ster", "7", "_ttv", "bean")


def made_up_name(random: Random) -> str:
    """A name for somebody who came with a raid."""
    name = "".join(random.choice(_SYLLABLES) for _ in range(random.randint(2, 3))) + random.choice(_ENDINGS)
    return name[:25]
