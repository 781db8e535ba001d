"""The seam to a chat service: a stream of typed events in, one `send` out. Twitch and the local room implement it.

Everything above this file thinks in these events and knows neither IRC, EventSub nor aiohttp.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from corpus.message import ChatMessage

Role = Literal["broadcaster", "moderator", "vip", "subscriber"]


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """Somebody wrote. Roles come with the message, because they change while a stream runs.

    `own` marks the companion's own line coming back; `other_room` a shared-chat line that belongs to another channel.
    """

    message: ChatMessage
    roles: frozenset[Role] = frozenset()
    own: bool = False
    other_room: bool = False


@dataclass(frozen=True, slots=True)
class MessageDeleted:
    """A moderator deleted one message."""

    channel: str
    message_id: str
    login: str = ""


@dataclass(frozen=True, slots=True)
class ChatterCleared:
    """A chatter was timed out (`seconds`) or banned (None): everything of theirs goes."""

    channel: str
    login: str
    user_id: str | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class RoomCleared:
    """A moderator cleared the whole chat."""

    channel: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    channel: str
    name: str
    tier: int = 1
    months: int = 1
    gifted: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class SubsGifted:
    channel: str
    name: str
    count: int
    tier: int = 1


@dataclass(frozen=True, slots=True)
class Raided:
    channel: str
    from_channel: str
    viewers: int


@dataclass(frozen=True, slots=True)
class Cheered:
    channel: str
    name: str
    bits: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    channel: str
    name: str


@dataclass(frozen=True, slots=True)
class PointsRedeemed:
    channel: str
    name: str
    reward: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class StreamChanged:
    channel: str
    online: bool


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The service can or cannot be heard; `detail` is one line for the operator."""

    connected: bool
    detail: str = ""


ChatEvent = (
    MessageReceived
    | MessageDeleted
    | ChatterCleared
    | RoomCleared
    | Subscribed
    | SubsGifted
    | Raided
    | Cheered
    | Followed
    | PointsRedeemed
    | StreamChanged
    | ConnectionChanged
)


@dataclass(frozen=True, slots=True)
class OutgoingLine:
    """One finished line that passed the gate. `reply_to` threads it below a message."""

    channel: str
    text: str
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What the service made of a line: its id, or why it was dropped; `retry_after_s` where trying again may help."""

    message_id: str | None = None
    drop_reason: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How fast the service lets the companion speak."""

    messages: int = 20
    seconds: float = 30.0
    pause_s: float = 1.0
    identical_s: float = 30.0
    characters: int = 500


class Chat(Protocol):
    """A chat service. `run` serves it until cancelled and reconnects by itself; `events` may be read once."""

    async def run(self) -> None: ...

    def events(self) -> AsyncIterator[ChatEvent]: ...

    async def send(self, line: OutgoingLine) -> Sent:
        """Raises `ChatError` when the service cannot be reached; only bot/outbox.py calls this."""

    def limits(self, channel: str) -> SendLimits: ...
