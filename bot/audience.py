"""The simulated audience of the local room: when somebody speaks, who, about what, and in answer to whom.

Pure: the clock and the randomness are handed in, so a whole evening can be replayed in a test. `attend` is the one
impure function here; it sits the audience down in a `Room`. Nothing in it knows how the companion works.
"""

import asyncio
import heapq
import itertools
import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bot.chat import ChatEvent, ChatterCleared, MessageReceived, Raided
from bot.persona import Persona, PersonaTable, Script, as_person, expand, made_up_name, typed
from bot.room import ACTION, EMOTES, Person, Room, RoomError
from bot.storyline import Happening, Storyline
from corpus.message import ChatMessage

WORD = re.compile(r"[A-Za-z]{4,12}")
NUMBERS_OF_TRAINING = re.compile(r"\b(loss|nats?|bits?|validation|step|train\w*|checkpoint)\b", re.IGNORECASE)
TOPICS_OF_A_CALM = {
    "explore": 3.0,
    "chat": 3.0,
    "quiet": 0.7,
    "callback": 0.6,
    "ask_bot": 0.6,
    "pasta": 0.12,
    "late": 0.05,
}
# A gap in time longer than this was no pause in chat: the machine slept, or its clock was set.
SLEPT_MS = 20_000
# Words too plain to be worth quoting.
PLAIN = frozenset(
    ("this", "that", "with", "have", "what", "when", "where", "your", "they", "them", "then", "there", "here", "just")
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One made-up viewer says one line."""

    person: Person
    text: str
    topic: str
    reply_to: str | None = None


@dataclass(order=True, slots=True)
class _Intention:
    """Somebody is going to say something about a topic; the words are found when the time has come."""

    at_ms: int
    serial: int
    persona: Persona
    topic: str
    values: Mapping[str, str]
    reply_to: str | None = None
    text: str | None = None


@dataclass(slots=True)
class _Presence:
    """Attention comes and goes: a viewer is here for a while, then away from the keyboard for a while."""

    here: bool
    until_ms: int
    last_command_ms: int = -(10**9)
    last_line_ms: int = -(10**9)


def usual_pace(elapsed_s: float) -> float:
    """Messages a second that chat says of its own accord: brisk while it arrives, settling over the second minute."""
    settled = 0.42
    if elapsed_s < 12:
        return 2.6
    if elapsed_s < 60:
        return 1.9
    return settled + (1.9 - settled) * math.exp(-(elapsed_s - 60) / 30)


class Audience:
    """The whole audience. `due` says what is said up to now; `hear` tells it what was really said in the room."""

    def __init__(self, script: Script, companion: str, started_ms: int, random: Random) -> None:
        self.script = script
        self.companion = companion
        self.story = Storyline(script, random)
        self.happening = self.story.next(started_ms)
        self._random = random
        self._started_ms = started_ms
        self._serial = itertools.count()
        self._agenda: list[_Intention] = []
        self._personas = list(script.personas)
        self._presence = {
            persona.name: _Presence(random.random() < 0.85, started_ms + self._for(random.uniform(20, 90)))
            for persona in self._personas
        }
        self._next_line_ms = started_ms + 300
        self._next_happening_ms = started_ms + self.happening.length_ms
        self._next_command_ms = started_ms + 9_000
        self._budget = 6.0
        self._budget_ms = started_ms
        self._coined: deque[str] = deque(maxlen=6)
        self._lately: deque[str] = deque(maxlen=160)
        self._used: deque[str] = deque(maxlen=90)
        self._said: str = "soup"
        self._guests: set[str] = set()
        self._answered_to: dict[str, tuple[Persona, int]] = {}
        self._greeters(started_ms)

    @property
    def next_ms(self) -> int:
        """When something is due next."""
        soonest = min(self._next_line_ms, self._next_happening_ms)
        return min(soonest, self._agenda[0].at_ms) if self._agenda else soonest

    def due(self, now_ms: int) -> list[Utterance | Happening]:
        """Everything that is said or happens up to `now_ms`, in order; each is returned once."""
        done: list[Utterance | Happening] = []
        while self.next_ms <= now_ms:
            at_ms = self.next_ms
            if self._agenda and self._agenda[0].at_ms == at_ms:
                utterance = self._speak(heapq.heappop(self._agenda))
                if utterance is not None:
                    done.append(utterance)
            elif self._next_happening_ms == at_ms:
                done.append(self._happen(at_ms))
            else:
                self._think_of_something(at_ms)
        return done

    def wake(self, now_ms: int) -> None:
        """Time has jumped: go on from now, without catching up on what would have been said meanwhile."""
        self._agenda.clear()
        self._started_ms = min(self._started_ms, now_ms - 600_000)  # nobody arrives anew
        self._next_line_ms = now_ms + 300
        self._next_happening_ms = now_ms + 5_000
        self._next_command_ms = now_ms + 10_000
        self._budget_ms = now_ms
        for presence in self._presence.values():
            presence.until_ms = min(presence.until_ms, now_ms + 60_000)
            presence.last_line_ms = presence.last_command_ms = now_ms - 60_000

    def hear(self, message: ChatMessage, at_ms: int, *, own: bool = False) -> None:
        """Notice what was said in the room, by the companion (`own`), by a person or by one of the audience."""
        action = ACTION.fullmatch(message.text)
        text = action[1] if action else message.text
        words = [word for word in WORD.findall(text) if word.lower() not in PLAIN and word not in EMOTES]
        words = [word for word in words if word.lower() != self.companion.lower()]
        if words:
            self._said = self._random.choice(words).lower()
        values = {"who": message.name, "said": self._said}
        if own:
            self._hear_companion(message, text, values, at_ms)
        elif message.login in {persona.person.login for persona in self._personas}:
            self._hear_each_other(message, values, at_ms)
        else:
            self._hear_guest(message, text, values, at_ms)

    def lose(self, login: str) -> None:
        """Somebody was timed out or banned: what they were about to say is not said."""
        self._agenda = [intention for intention in self._agenda if intention.persona.person.login != login]
        heapq.heapify(self._agenda)

    # What happens

    def _happen(self, at_ms: int) -> Happening:
        self.happening = happening = self.story.next(at_ms)
        self._next_happening_ms = at_ms + happening.length_ms
        self._personas = [persona for persona in self._personas if not persona.raider or self._random.random() < 0.85]
        if happening.raider:
            self._let_in(happening, at_ms)
        reactions = min(9, int(self._random.expovariate(1) * happening.heat + happening.heat * 0.4))
        for _ in range(reactions):
            persona = self._somebody(at_ms, happening.kind)
            delay_s = self._random.lognormvariate(0.7, 0.6) + persona.table.late_s
            self._intend(at_ms, delay_s, persona, happening.kind)
        if happening.kind in ("fail", "win", "close") and self._random.random() < 0.3:
            coiner = self._somebody(at_ms, "coin")
            what = f"the {{thing}} {self._random.choice(self.script.words['coin_what'])}"
            coined = expand(what, (coiner.table.words, self.script.words), {}, self._random)
            self._coined.append(coined)
            self._intend(at_ms, self._random.uniform(4, 9), coiner, "coin", {"coined": coined})
        if happening.kind == "win" and self._random.random() < 0.4:
            self._wave(at_ms, self._somebody(at_ms, "pasta"))
        return happening

    def _let_in(self, happening: Happening, at_ms: int) -> None:
        for _ in range(self._random.randint(3, 6)):
            table = PersonaTable(
                name=made_up_name(self._random),
                pace=0.5,
                attention=0.3,
                lower=self._random.random() < 0.6,
                emote=self._random.uniform(0, 0.4),
                topics={"raider": 3},
            )
            if table.name in self._presence:
                continue
            persona = Persona(as_person(table), table, raider=True)
            self._personas.append(persona)
            self._presence[table.name] = _Presence(True, at_ms + 120_000)
            self._intend(at_ms, self._random.uniform(0.5, 7), persona, "raider", free=True)

    def _greeters(self, at_ms: int) -> None:
        """People are there from the first second: an empty room would look broken."""
        for place, persona in enumerate(self._random.sample(self._personas, min(5, len(self._personas)))):
            self._intend(at_ms, 0.4 + place * self._random.uniform(0.3, 1.1), persona, "hello", free=True)

    def _think_of_something(self, at_ms: int) -> None:
        elapsed_s = (at_ms - self._started_ms) / 1000
        since_s = max(0, at_ms - self.happening.at_ms) / 1000
        heat = 1 + (self.happening.heat - 1) * math.exp(-since_s / 9)
        self._next_line_ms = at_ms + max(60, int(1000 * self._random.expovariate(usual_pace(elapsed_s) * heat)))
        if at_ms >= self._next_command_ms and self._command(at_ms):
            return
        kind = self.happening.kind
        weights = dict(TOPICS_OF_A_CALM)
        weights[kind] = weights.get(kind, 0) + 4 * heat
        if not self._coined:
            weights.pop("callback")
        topic = self._random.choices(list(weights), list(weights.values()))[0]
        persona = self._somebody(at_ms, topic)
        if topic not in persona.table.topics and self._random.random() < 0.35 and persona.table.topics:
            own = {name: weight for name, weight in persona.table.topics.items() if name in self._fitting(kind)}
            topic = self._random.choices(list(own), list(own.values()))[0] if own else topic
        if topic == "pasta":
            self._wave(at_ms, persona)
        else:
            self._intend(at_ms, 0, persona, topic, free=True)

    def _fitting(self, kind: str) -> set[str]:
        """Topics one may bring up oneself while this happens."""
        return {"chat", "quiet", "snack", "music", "explore", kind} | ({"callback"} if self._coined else set())

    def _command(self, at_ms: int) -> bool:
        minute = (at_ms - self._started_ms) / 60_000
        self._next_command_ms = at_ms + self._for(self._random.uniform(14, 30) * (1 + min(2.0, minute / 2)))
        topic = self._random.choices(("say", "loss", "model", "help"), (7, 3, 1, 1 if minute > 1 else 4))[0]
        persona = self._somebody(at_ms, topic)
        presence = self._presence[persona.name]
        if at_ms - presence.last_command_ms < 60_000:
            return False
        presence.last_command_ms = at_ms
        self._intend(at_ms, 0, persona, topic, free=True)
        return True

    def _wave(self, at_ms: int, author: Persona) -> None:
        """A copypasta: one writes it, others paste it, ever later, some with a word of their own."""
        text = self._words(author, "pasta", {})
        self._intend(at_ms, 0, author, "pasta", text=text, free=True)
        delay_s = 2.0
        for persona in self._random.sample(self._personas, len(self._personas)):
            if persona is author or self._random.random() > 0.3:
                continue
            delay_s += self._random.uniform(0.4, 2.5)
            copy = text if self._random.random() < 0.75 else f"{text} {self._random.choice(list(EMOTES))}"
            self._intend(at_ms, delay_s, persona, "pasta", text=copy)

    # Who answers

    def _hear_companion(self, message: ChatMessage, text: str, values: dict[str, str], at_ms: int) -> None:
        asked = self._answered_to.pop(message.reply_to or "", None)
        if asked and self._random.random() < 0.6:
            self._intend(at_ms, self._random.uniform(2, 5), asked[0], "bot_answered", values, message.id)
        topic = "bot_loss" if NUMBERS_OF_TRAINING.search(text) else "bot_spoke"
        for chance in (0.6, 0.25):
            if self._random.random() < chance:
                persona = self._somebody(at_ms, topic)
                reply_to = message.id if self._random.random() < 0.35 else None
                self._intend(
                    at_ms, self._random.uniform(1.5, 6) + persona.table.late_s, persona, topic, values, reply_to
                )
        if topic == "bot_loss" and self._random.random() < 0.12:
            self._next_command_ms = min(self._next_command_ms, at_ms + 5_000)

    def _hear_guest(self, message: ChatMessage, text: str, values: dict[str, str], at_ms: int) -> None:
        if message.login not in self._guests:
            self._guests.add(message.login)
            for _ in range(self._random.randint(1, 3)):
                self._intend(
                    at_ms, self._random.uniform(1, 5), self._somebody(at_ms, "newcomer"), "newcomer", values, free=True
                )
        lowered = text.lower()
        for persona in self._personas:
            if persona.person.login in lowered:
                self._intend(at_ms, self._random.uniform(1.5, 4), persona, "addressed", values, message.id, free=True)
                return
        if text.startswith("!") or self.companion.lower() in lowered:
            return
        if self._random.random() < 0.5:
            topic = "answer" if "?" in text else "reply"
            self._intend(at_ms, self._random.uniform(1.5, 5), self._somebody(at_ms, topic), topic, values, message.id)

    def _hear_each_other(self, message: ChatMessage, values: dict[str, str], at_ms: int) -> None:
        persona = next(persona for persona in self._personas if persona.person.login == message.login)
        if self.companion.lower() in message.text.lower() or message.text.startswith("!say"):
            self._answered_to[message.id] = (persona, at_ms)
            for old in [key for key, (_, since_ms) in self._answered_to.items() if at_ms - since_ms > 60_000]:
                del self._answered_to[old]
            return
        if message.text.startswith("!") or (message.reply_to and self._random.random() < 0.6):
            return
        listener = self._somebody(at_ms, "reply")
        if listener is persona or self._random.random() > 0.16 * (0.4 + listener.table.attention):
            return
        topic = "answer" if "?" in message.text else "reply"
        self._intend(at_ms, self._random.uniform(1.2, 6), listener, topic, values, message.id)

    # Saying it

    def _intend(
        self,
        at_ms: int,
        delay_s: float,
        persona: Persona,
        topic: str,
        values: Mapping[str, str] | None = None,
        reply_to: str | None = None,
        *,
        text: str | None = None,
        free: bool = False,
    ) -> None:
        """Plan a line. Reactions draw on a budget, so that an audience which answers itself cannot run away."""
        self._budget = min(8.0, self._budget + (at_ms - self._budget_ms) * 0.00045)
        self._budget_ms = at_ms
        if not free:
            if self._budget < 1:
                return
            self._budget -= 1
        when_ms = at_ms + self._for(delay_s)
        heapq.heappush(
            self._agenda, _Intention(when_ms, next(self._serial), persona, topic, values or {}, reply_to, text)
        )

    def _speak(self, intention: _Intention) -> Utterance | None:
        persona = intention.persona
        text = intention.text
        if text is None:
            for _ in range(6):
                text = typed(self._words(persona, intention.topic, intention.values), persona.table, self._random)
                if text.lower() not in self._lately:
                    break
        if not text:
            return None
        self._lately.append(text.lower())
        return Utterance(persona.person, text[:500], intention.topic, intention.reply_to)

    def _words(self, persona: Persona, topic: str, values: Mapping[str, str]) -> str:
        own = persona.table.lines.get(topic, ())
        lines = own if own and self._random.random() < 0.6 else self.script.lines[topic]
        moment = (
            self.story.values() | self.happening.values | {"bot": self.companion, "said": self._said, "who": "chat"}
        )
        moment["coined"] = self._random.choice(self._coined) if self._coined else "the soup incident"
        lists = (persona.table.words, self.script.words)
        return expand(self._fresh(lines), lists, {**moment, **values}, self._random)

    def _fresh(self, lines: Sequence[str]) -> str:
        """A line that has not been used lately, where there is one."""
        unused = [line for line in lines if line not in self._used]
        line = self._random.choice(unused or lines)
        self._used.append(line)
        return line

    def _somebody(self, at_ms: int, topic: str) -> Persona:
        """Somebody for a topic: who talks much, cares about it and is at the keyboard is likelier."""
        weights = []
        for persona in self._personas:
            presence = self._presence[persona.name]
            if at_ms >= presence.until_ms:
                presence.here = not presence.here
                mean_s = 100.0 if presence.here else persona.table.away_s
                presence.until_ms = at_ms + self._for(5 + self._random.expovariate(1 / max(1.0, mean_s)))
            interest = persona.table.topics.get(topic, 0.5)
            weight = persona.table.pace * interest * (1.0 if presence.here else 0.08)
            # Nobody types two lines in three seconds.
            weights.append(weight * (0.02 if at_ms - presence.last_line_ms < 3_000 else 1.0))
        chosen = self._random.choices(self._personas, weights)[0]
        self._presence[chosen.name].last_line_ms = at_ms
        return chosen

    @staticmethod
    def _for(seconds: float) -> int:
        return int(seconds * 1000)


async def attend(
    audience: Audience,
    room: Room,
    *,
    on_happening: Callable[[Happening], None] = lambda happening: None,
    paused: Callable[[], bool] = lambda: False,
) -> None:
    """Sit the audience down in a room until cancelled. While `paused`, they listen and say nothing."""
    room.reserve(persona.person for persona in audience.script.personas)

    def hear(event: ChatEvent) -> None:
        if isinstance(event, MessageReceived):
            audience.hear(event.message, room.now_ms(), own=event.own)
        elif isinstance(event, ChatterCleared):
            audience.lose(event.login)

    stop = room.listen(hear)
    on_happening(audience.happening)
    try:
        while True:
            await asyncio.sleep(min(1.0, max(0.02, (audience.next_ms - room.now_ms()) / 1000)))
            now_ms = room.now_ms()
            if not -SLEPT_MS < now_ms - audience.next_ms < SLEPT_MS:
                audience.wake(now_ms)
            for item in audience.due(now_ms):
                if paused():
                    continue
                if isinstance(item, Happening):
                    on_happening(item)
                    if item.raider:
                        room.happen(Raided(room.channel, item.raider, item.raiders))
                    continue
                try:
                    room.post(item.person, item.text, reply_to=item.reply_to)
                except RoomError:
                    continue  # timed out by a moderator: they keep their thought to themselves
    finally:
        stop()
