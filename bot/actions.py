"""What the companion can decide to do. Plain values: deciding is pure, doing is for bot/program.py.

Also home of `Line`, because everything that wants to be said becomes one.
"""

from dataclasses import dataclass
from typing import Literal

from corpus.message import ChatMessage

LineKind = Literal["reply", "command", "narration"]


@dataclass(frozen=True, slots=True)
class Line:
    """Something that wants to be said. It has passed nothing yet: gate and limits are the outbox's.

    `expires_ms` is the moment (UTC milliseconds) after which it is better unsaid; the outbox sets one by kind where
    it is None.
    """

    channel: str
    text: str
    kind: LineKind = "reply"
    reply_to: str | None = None
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Say:
    line: Line


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask the model for a line.

    `conversation` is oldest first and holds nothing deleted; `prompt` is how the answer must begin; `login` asked
    for it (empty when nobody did) and gets the cooldown back should it fail; `excuse` is said when nothing fit to
    say came out, and empty where silence is better.
    """

    channel: str
    conversation: tuple[ChatMessage, ...]
    kind: LineKind = "reply"
    prompt: str = ""
    reply_to: str | None = None
    login: str = ""
    excuse: str = ""


@dataclass(frozen=True, slots=True)
class Learn:
    """Feed one message to the live memory."""

    message: ChatMessage


@dataclass(frozen=True, slots=True)
class Unlearn:
    """Take messages back out of the live memory, because they were deleted."""

    message_ids: tuple[str, ...]


Action = Say | Generate | Learn | Unlearn
