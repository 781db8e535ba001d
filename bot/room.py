"""The local chat room behind the `Chat` seam: who wrote what, what moderators took away, who is listening.

Used when no Twitch channel is configured, and built so that everything a live channel does happens here too: roles,
replies, emotes, deletions, time-outs, raids. Knows neither sockets nor pages: bot/room_irc.py and bot/web listen to it.
"""

import asyncio
import hashlib
import re
import time
import unicodedata
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from bot.chat import (
    ChatEvent,
    ChatterCleared,
    ConnectionChanged,
    MessageDeleted,
    MessageReceived,
    OutgoingLine,
    Role,
    RoomCleared,
    SendLimits,
    Sent,
)
from corpus.errors import ChatError
from corpus.message import ChatMessage, Emote

ROOM_CHANNEL = "backchat_room"
LONGEST_MESSAGE = 500
REMEMBERED = 500
EVENTS_WAITING = 10_000
BOT_BADGE = "bot-badge"
ACTION = re.compile("\x01ACTION ([^\x01]*)\x01?")
NAME = re.compile(r"[A-Za-z0-9_]{1,25}")

# The room's own emotes: the word in chat and the picture in bot/web/static/emotes.
EMOTES = {
    name: f"room_{name[2:].lower()}"
    for name in ("bcHype", "bcSoup", "bcDoor", "bcCry", "bcLurk", "bcGG", "bcNoted", "bcSip", "bcWat", "bcLove")
}

Listener = Callable[[ChatEvent], None]


class RoomError(ChatError):
    """What somebody tried to do in the room cannot be done; the sentence is for them."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the room. `simulated` marks the audience that is not made of people."""

    name: str
    roles: frozenset[Role] = frozenset()
    badges: tuple[str, ...] = ()
    simulated: bool = False

    @property
    def login(self) -> str:
        return self.name.lower()


def user_id(login: str) -> str:
    """A number that always is the same for the same login, as Twitch's ids are."""
    return str(int.from_bytes(hashlib.blake2b(login.encode(), digest_size=4).digest()) + 100_000)


def find_emotes(text: str) -> tuple[Emote, ...]:
    """Where the room's emotes stand in a text, in characters."""
    words = re.finditer(r"[^\s\x01]+", text)
    return tuple(Emote(EMOTES[word.group()], word.start(), word.end()) for word in words if word.group() in EMOTES)


def tidy(text: str) -> str:
    """One line of chat: no control characters, no line breaks, `/me` as Twitch carries it. Raises `RoomError`."""
    text = "".join(
        " " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char) != "Cc"
    )
    text = text.strip()
    if not text:
        raise RoomError("an empty message cannot be sent; write something first")
    if len(text) > LONGEST_MESSAGE:
        raise RoomError(f"a message has at most {LONGEST_MESSAGE} characters, this one has {len(text)}; shorten it")
    if text.startswith("/me "):
        return f"\x01ACTION {text[4:].strip()}\x01"
    return text


class Room:
    """The state of the room. Every change reaches every listener at once, in the order it was made."""

    def __init__(
        self,
        channel: str = ROOM_CHANNEL,
        companion: str = "backchat",
        *,
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.channel = channel
        self.companion = Person(companion, frozenset({"moderator"}), ("moderator", BOT_BADGE))
        self.now_ms = now_ms
        self._new_id = new_id
        self._said: deque[MessageReceived] = deque(maxlen=REMEMBERED)
        self._simulated: set[str] = set()
        self._silent_until_ms: dict[str, float] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event from now on; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    @property
    def recent(self) -> list[MessageReceived]:
        """What can still be read, oldest first, without what was taken away."""
        return list(self._said)

    def is_simulated(self, login: str) -> bool:
        return login in self._simulated

    def reserve(self, people: Iterable[Person]) -> None:
        """Names of the simulated audience, which nobody else may use."""
        self._simulated.update(person.login for person in people if person.simulated)

    def guest(self, name: str, roles: frozenset[Role] = frozenset()) -> Person:
        """Somebody who comes in by a name of their choice. Raises `RoomError` for one that is taken or is no name."""
        if not NAME.fullmatch(name):
            raise RoomError("a name has 1 to 25 letters, digits or underscores; choose another")
        if name.lower() == self.companion.login or name.lower() in self._simulated:
            raise RoomError(f"{name} is already somebody else in this room; choose another name")
        return Person(name, roles, tuple(sorted(roles)))

    def post(self, person: Person, text: str, *, reply_to: str | None = None) -> ChatMessage:
        """Say one line. Raises `RoomError` for an empty or overlong one, and while somebody is timed out."""
        text = tidy(text)
        if self.now_ms() < self._silent_until_ms.get(person.login, 0):
            raise RoomError(f"{person.name} is timed out or banned; lift it with /untimeout {person.name}")
        if reply_to is not None and self.find(reply_to) is None:
            reply_to = None
        message = ChatMessage(
            id=self._new_id(),
            channel=self.channel,
            login=person.login,
            text=text,
            sent_ms=self.now_ms(),
            user_id=user_id(person.login),
            display_name=person.name,
            badges=person.badges,
            emotes=find_emotes(text),
            reply_to=reply_to,
        )
        if person.simulated:
            self._simulated.add(person.login)
        received = MessageReceived(message, person.roles, own=person == self.companion)
        self._said.append(received)
        self.happen(received)
        return message

    def find(self, message_id: str) -> ChatMessage | None:
        return next((said.message for said in self._said if said.message.id == message_id), None)

    def delete(self, message_id: str) -> bool:
        """Take one message away, as a moderator does; False when it is not there (any more)."""
        message = self.find(message_id)
        if message is None:
            return False
        self._keep(lambda said: said.message.id != message_id)
        self.happen(MessageDeleted(self.channel, message_id, message.login))
        return True

    def time_out(self, login: str, seconds: int | None) -> None:
        """Take away all that somebody wrote and keep them silent: for `seconds`, or until `forgive` where None."""
        login = login.lower()
        self._silent_until_ms[login] = float("inf") if seconds is None else self.now_ms() + seconds * 1000
        self._keep(lambda said: said.message.login != login)
        self.happen(ChatterCleared(self.channel, login, user_id(login), seconds))

    def forgive(self, login: str) -> None:
        """End a time-out or a ban."""
        self._silent_until_ms.pop(login.lower(), None)

    def clear(self) -> None:
        self._said.clear()
        self.happen(RoomCleared(self.channel))

    def happen(self, event: ChatEvent) -> None:
        """Tell every listener; also the way for a raid, a subscription and the like to take place."""
        for listener in tuple(self._listeners):
            listener(event)

    def _keep(self, wanted: Callable[[MessageReceived], bool]) -> None:
        kept = [said for said in self._said if wanted(said)]
        self._said.clear()
        self._said.extend(kept)


class RoomChat:
    """The room as a `Chat`: what the companion hears of it and says in it."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._waiting: asyncio.Queue[ChatEvent] = asyncio.Queue(EVENTS_WAITING)
        self._last_said: dict[str, int] = {}
        room.listen(self._put)

    async def run(self) -> None:
        self._put(ConnectionChanged(True, f"in the local room #{self.room.channel}"))
        await asyncio.Event().wait()

    async def events(self) -> AsyncIterator[ChatEvent]:
        while True:
            yield await self._waiting.get()

    async def send(self, line: OutgoingLine) -> Sent:
        """Say a line as the companion, with the same reasons to drop one that Twitch has."""
        limits = self.limits(line.channel)
        if line.channel != self.room.channel:
            return Sent(drop_reason=f"there is no room #{line.channel} here, only #{self.room.channel}")
        now_ms = self.room.now_ms()
        horizon_ms = now_ms - int(limits.identical_s * 1000)
        self._last_said = {text: at_ms for text, at_ms in self._last_said.items() if at_ms > horizon_ms}
        if line.text in self._last_said:
            return Sent(drop_reason="msg_duplicate")
        try:
            message = self.room.post(self.room.companion, line.text, reply_to=line.reply_to)
        except RoomError as error:
            return Sent(drop_reason=str(error))
        self._last_said[line.text] = now_ms
        return Sent(message_id=message.id)

    def limits(self, channel: str) -> SendLimits:
        return SendLimits(messages=100)

    def _put(self, event: ChatEvent) -> None:
        if self._waiting.full():  # nobody has listened for an hour: the oldest news is worth least
            self._waiting.get_nowait()
        self._waiting.put_nowait(event)
