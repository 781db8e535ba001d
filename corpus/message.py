"""The shapes chat has between a service, a log file, the database and the companion: messages and moderation."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Emote:
    """One emote inside a message's text: which, and the half-open range of characters it covers."""

    id: str
    start: int
    end: int


class ChatMessage(NamedTuple):
    """One line somebody wrote. It never changes: it is kept or it is deleted. A named tuple, for millions are made.

    `id` is the chat service's own id where there is one; an importer makes a stable one from the content where
    there is none, so that the same log imported twice adds nothing. `channel` and `login` are lower case without
    `#` or `@`. `sent_ms` is UTC milliseconds since 1970, None where the log had no time. `badges` are names such
    as `moderator`. `reply_to` is the id of the message answered.
    """

    id: str
    channel: str
    login: str
    text: str
    sent_ms: int | None = None
    user_id: str | None = None
    display_name: str = ""
    badges: tuple[str, ...] = ()
    emotes: tuple[Emote, ...] = ()
    reply_to: str | None = None

    @property
    def name(self) -> str:
        """What viewers see: the display name where there is one."""
        return self.display_name or self.login


@dataclass(frozen=True, slots=True)
class DeletedMessage:
    """A moderator deleted one message. `message_id` is empty where a log names it by `login` and `text` only."""

    channel: str
    message_id: str
    login: str = ""
    text: str = ""
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClearedChatter:
    """A chatter was timed out (`seconds`) or banned (None): everything they had written goes."""

    channel: str
    login: str
    at_ms: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class ClearedRoom:
    """A moderator cleared the whole chat."""

    channel: str
    at_ms: int | None = None


Moderation = DeletedMessage | ClearedChatter | ClearedRoom
