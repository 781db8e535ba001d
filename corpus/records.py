"""What goes into the database and what comes out: a message packed into columns, and the shapes of the answers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from corpus.message import ChatMessage, Emote
from corpus.split import Side
from corpus.textkey import text_key

Reason = Literal["deleted", "cleared", "forgotten", "opted_out", "bot", "quarantined"]

# id, channel, login, text, sent_ms, text_key, user_id, display_name, badges, emotes, reply_to: plain values, so that
# another process can pack what this one stores.
Packed = tuple[str, str, str, str, int | None, int, str | None, str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the messages handed in. Refused: opted out, forgotten, deleted before, or a bot."""

    kept: int = 0
    duplicates: int = 0
    refused: int = 0

    def __add__(self, other: "Appended") -> "Appended":
        return Appended(self.kept + other.kept, self.duplicates + other.duplicates, self.refused + other.refused)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message with its row, which only ever grows, and its side, which never changes."""

    row: int
    message: ChatMessage
    side: Side


@dataclass(frozen=True, slots=True)
class Removal:
    """One message taken away. Models follow this feed to unlearn. `message_id` is blank once a day old."""

    number: int
    row: int
    message_id: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which nobody listened to a channel."""

    channel: str
    began_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class ChannelSummary:
    """One channel in figures. `withheld`: of chatters who have opted out; `duplicates`: texts said before."""

    channel: str
    messages: int
    chatters: int
    train: int
    validation: int
    withheld: int
    duplicates: int
    first_ms: int | None
    last_ms: int | None


def pack(message: ChatMessage) -> Packed:
    """A message as plain values, its text hashed."""
    return (
        message.id,
        message.channel,
        message.login,
        message.text,
        message.sent_ms,
        text_key(message.text),
        message.user_id,
        message.display_name,
        ",".join(message.badges) or None,
        emotes_to_text(message.emotes) if message.emotes else None,
        message.reply_to,
    )


def emotes_to_text(emotes: Iterable[Emote]) -> str:
    """As in Twitch's own tag, but half-open: `25:0-5,6-11/30:12-15`."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for emote in emotes:
        places[emote.id].append(f"{emote.start}-{emote.end}")
    return "/".join(f"{name}:{','.join(ranges)}" for name, ranges in places.items())


def emotes_from_text(text: str) -> tuple[Emote, ...]:
    """The emotes again, in the order of the text."""
    emotes = []
    for part in text.split("/"):
        name, _, ranges = part.rpartition(":")
        for one in ranges.split(","):
            start, _, end = one.partition("-")
            emotes.append(Emote(name, int(start), int(end)))
    return tuple(sorted(emotes, key=lambda emote: emote.start))
