"""The stream that the simulated audience pretends to watch: bosses, deaths, snacks, songs, a cat, a raid now and then.

Pure and drawn from the given randomness: what happens next, for how long, and how much chat cares.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

from bot.persona import Script

Kind = Literal["explore", "boss", "close", "fail", "win", "snack", "music", "cat", "tech", "raid", "quiet"]

# How many times the usual pace chat jumps to, and how long it lasts before something else happens, in seconds.
HEAT: dict[Kind, float] = {
    "explore": 1.0,
    "boss": 1.6,
    "close": 2.6,
    "fail": 3.0,
    "win": 4.5,
    "snack": 1.2,
    "music": 1.2,
    "cat": 2.4,
    "tech": 1.8,
    "raid": 4.0,
    "quiet": 0.6,
}
LENGTH_S: dict[Kind, tuple[float, float]] = {
    "explore": (15, 40),
    "boss": (12, 30),
    "close": (3, 6),
    "fail": (8, 15),
    "win": (12, 20),
    "snack": (10, 25),
    "music": (10, 25),
    "cat": (8, 15),
    "tech": (8, 14),
    "raid": (15, 25),
    "quiet": (10, 25),
}
# The evening opens with something to talk about.
FIRST_LENGTH_S = (6.0, 10.0)


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing on the pretend stream: what the audience reacts to, and `title`, what a viewer would call it."""

    kind: Kind
    at_ms: int
    length_ms: int
    title: str
    values: dict[str, str]
    raider: str | None = None
    raiders: int = 0

    @property
    def heat(self) -> float:
        return HEAT[self.kind]


class Storyline:
    """Draws one happening after the other. A boss is fought until it falls, with breaks for snacks and cats."""

    def __init__(self, script: Script, random: Random) -> None:
        self._stream = script.stream
        self._random = random
        self.streamer = random.choice(script.stream["streamer"])
        self.game = random.choice(script.stream["game"])
        self.boss = random.choice(script.stream["boss"])
        self.area = random.choice(script.stream["area"])
        self.snack = random.choice(script.stream["snack"])
        self.song = random.choice(script.stream["song"])
        self.attempt = 0
        self.deaths = random.randint(3, 20)
        self._last: Kind | Literal["start"] = "start"
        self._luck = 0.0

    def next(self, now_ms: int) -> Happening:
        kind = self._kind()
        raider, raiders = None, 0
        match kind:
            case "explore":
                self.area = self._other("area", self.area)
                title = f"exploring {self.area}"
            case "boss":
                self.attempt += 1
                title = f"fighting {self.boss}, attempt {self.attempt}"
            case "close":
                title = f"{self.boss} is almost down"
            case "fail":
                self.deaths += 1
                title = f"death {self.deaths}, to {self.boss}"
            case "win":
                title = f"beat {self.boss} at attempt {self.attempt}"
            case "snack":
                self.snack = self._other("snack", self.snack)
                title = f"snack break: {self.snack}"
            case "music":
                self.song = self._other("song", self.song)
                title = f"listening to {self.song}"
            case "cat":
                title = "Tax the cat has walked in"
            case "tech":
                title = "technical difficulties"
            case "raid":
                raider = self._random.choice(self._stream["raider"])
                raiders = self._random.randint(8, 140)
                title = f"{raider} raids with {raiders} viewers"
            case "quiet":
                title = "a quiet moment"
        happening = Happening(
            kind,
            now_ms,
            int(self._random.uniform(*(FIRST_LENGTH_S if self._last == "start" else LENGTH_S[kind])) * 1000),
            title,
            self.values(raider, raiders),
            raider,
            raiders,
        )
        if kind == "win":
            self.boss = self._other("boss", self.boss)
            self.attempt = 0
            self._luck = 0.0
        self._last = kind
        return happening

    def values(self, raider: str | None = None, raiders: int = 0) -> dict[str, str]:
        """What the holes of the script stand for at this moment."""
        return {
            "streamer": self.streamer,
            "boss": self.boss,
            "area": self.area,
            "snack": self.snack,
            "song": self.song,
            "attempt": str(max(1, self.attempt)),
            "deaths": str(self.deaths),
            "raider": raider or "the raiders",
            "count": str(raiders),
        }

    def _kind(self) -> Kind:
        draw = self._random.random()
        if self._last == "boss":
            return "close" if draw < 0.35 else "fail" if draw < 0.9 - self._luck else "win"
        if self._last == "close":
            self._luck += 0.06
            return "win" if draw < 0.3 + self._luck else "fail"
        if self._last == "start":
            return "explore"
        if draw < (0.75 if self._last in ("explore", "fail") else 0.5 if self.attempt else 0.2):
            return "boss"
        kinds: tuple[Kind, ...] = ("explore", "snack", "music", "cat", "tech", "raid", "quiet")
        weights = (5.0, 2.0, 2.0, 1.2, 0.6, 1.0, 1.2)
        return self._random.choices(
            kinds, [0 if kind == self._last else weight for kind, weight in zip(kinds, weights, strict=True)]
        )[0]

    def _other(self, name: str, than: str) -> str:
        choices = [choice for choice in self._stream[name] if choice != than]
        return self._random.choice(choices) if choices else than
