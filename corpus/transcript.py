"""Messages as lines to learn from: cleaned, each speaker a slot, floods capped. And back: slots to plain names."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from corpus.cleaning import Dropped, Rules, clean
from corpus.message import ChatMessage
from corpus.slots import SPEAKER_SLOTS, SpeakerWindow
from corpus.split import BLOCK_MS, ROWS_A_BLOCK, Side
from corpus.store import StoredMessage

GAP_MS = 30 * 60 * 1000  # after so long a silence nobody answers what was said before
NOBODY = SPEAKER_SLOTS - 1  # the slot of somebody who is not in the window
SOMEONE = "someone"

_MENTION = re.compile(r"@(\w+)")


@dataclass(slots=True)
class TranscriptLine:
    """One line as the models see it.

    `parts` are text and, where somebody was mentioned, the int slot of who: slots as they stood before this line's
    speaker took the floor, like `slot` itself. `conversation` changes where context must not carry over: another
    channel, another side, a silence of more than half an hour.
    """

    row: int
    message_id: str
    side: Side
    slot: int
    parts: tuple[str | int, ...]
    conversation: int


class FloodGate:
    """Lets the first few identical lines of a half-hour through, so that one copypasta wave does not take over."""

    def __init__(self, identical_lines: int) -> None:
        self._identical_lines = identical_lines
        self._block = -1
        self._seen: dict[str, int] = {}

    def admits(self, text: str, block: int) -> bool:
        """`block` numbers the half-hour; another number starts counting anew."""
        if block != self._block:
            self._block = block
            self._seen = {}
        key = text.casefold()
        seen = self._seen.get(key, 0)
        self._seen[key] = seen + 1
        return seen < self._identical_lines


def transcript(
    messages: Iterable[StoredMessage], rules: Rules, dropped: Counter[str] | None = None
) -> Iterator[TranscriptLine]:
    """The messages as lines, in the order given (`Corpus.messages` gives the right one).

    `dropped`, when given, counts what was left out by reason: bot, command, empty, flood.
    """
    window, flood = SpeakerWindow(), FloodGate(rules.identical_lines)
    conversation, position = -1, 0
    channel = side = None
    last_ms: int | None = None
    for stored in messages:
        message = stored.message
        text = clean(message, rules)
        if isinstance(text, Dropped):
            if dropped is not None:
                dropped[text.reason] += 1
            continue
        sent_ms = message.sent_ms
        position += 1
        if not flood.admits(text, position // ROWS_A_BLOCK if sent_ms is None else sent_ms // BLOCK_MS):
            if dropped is not None:
                dropped["flood"] += 1
            continue
        if (
            message.channel != channel
            or stored.side != side
            or (sent_ms is None) != (last_ms is None)
            or (sent_ms is not None and last_ms is not None and abs(sent_ms - last_ms) > GAP_MS)
        ):
            conversation += 1
            window = SpeakerWindow()
        channel, side, last_ms = message.channel, stored.side, sent_ms
        parts = _parts(text, window)
        slot = window.turn(message.login)
        yield TranscriptLine(stored.row, message.id, stored.side, slot, parts, conversation)


def live_line(
    window: SpeakerWindow, message: ChatMessage, rules: Rules, flood: FloodGate | None = None
) -> TranscriptLine | None:
    """The line of one message as it arrives, None when it is not to be learned from. Moves `window` on."""
    text = clean(message, rules)
    if isinstance(text, Dropped):
        return None
    if flood is not None and not flood.admits(text, (message.sent_ms or 0) // BLOCK_MS):
        return None
    parts = _parts(text, window)
    return TranscriptLine(0, message.id, "train", window.turn(message.login), parts, 0)


def render(parts: Sequence[str | int], window: SpeakerWindow) -> str:
    """Slots back to plain names, never a ping: what the companion may say."""
    return "".join(part if isinstance(part, str) else _plain_name(part, window) for part in parts)


def _plain_name(slot: int, window: SpeakerWindow) -> str:
    speaker = window.speaker(slot)
    return SOMEONE if speaker is None else str(speaker).lstrip("@")


def _parts(text: str, window: SpeakerWindow) -> tuple[str | int, ...]:
    if "@" not in text:
        return (text,)
    parts: list[str | int] = []
    end = 0
    for found in _MENTION.finditer(text):
        slot = window.slot(found.group(1).lower())
        if found.start() > end:
            parts.append(text[end : found.start()])
        parts.append(NOBODY if slot is None else slot)
        end = found.end()
    if end < len(text):
        parts.append(text[end:])
    return tuple(parts)
