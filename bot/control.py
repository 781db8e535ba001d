"""The hand on the companion's mouth: mute, shadow mode and its queue, budgets. Survives a restart in one small file.

Asked by the outbox just before every send. The command line writes the same file; it is read again when it changed.
"""

import json
import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.actions import Action, Line, Say
from bot.chat import ChatEvent, MessageDeleted, RoomCleared
from bot.commands import Command, Invocation
from bot.outbox import Record
from bot.settings import SafetyTable
from corpus.errors import BackchatError

QUEUE = 50
APPROVED_LIFE_MS = 60_000
LONGEST_MUTE_S = 30 * 24 * 3600
_DURATION = re.compile(r"(?:(\d{1,4})\s?h)?\s?(?:(\d{1,5})\s?m(?:in)?)?\s?(?:(\d{1,6})\s?s)?")


class ControlError(BackchatError):
    """What was asked of mute or the queue cannot be done."""


@dataclass(frozen=True, slots=True)
class ControlState:
    """What outlives a restart. `muted_until_ms`: None not muted, 0 until told otherwise. `speak`: "" as in [safety]."""

    muted_until_ms: int | None = None
    speak: str = ""

    def muted(self, now_ms: int) -> bool:
        return self.muted_until_ms is not None and (self.muted_until_ms == 0 or now_ms < self.muted_until_ms)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line of the shadow queue, by the number a moderator calls it."""

    number: int
    line: Line
    time_ms: int


def write_private(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write JSON that only its owner can read, whole or not at all; `durable`: on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def read_private(path: Path) -> dict[str, Any]:
    """What `write_private` wrote; empty when there is nothing or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_state(path: Path) -> ControlState:
    """The state as written by either side. A file that cannot be understood mutes: better silent than loose."""
    if not path.exists():
        return ControlState()
    found = read_private(path)
    until_ms, speak = found.get("muted_until_ms", None), found.get("speak", "")
    if "speak" not in found or not isinstance(until_ms, int | None) or speak not in ("", "live", "shadow"):
        return ControlState(muted_until_ms=0)
    return ControlState(until_ms, speak)


def write_state(path: Path, state: ControlState) -> None:
    """Replace the state. A mute must not be lost to a power cut, so it is on disk when this returns."""
    write_private(path, {"muted_until_ms": state.muted_until_ms, "speak": state.speak})


def seconds_of(words: str) -> int | None:
    """`10m`, `90s`, `1h30m`, `10` (minutes) → seconds; None for no words at all. Raises `ControlError`."""
    words = words.strip().lower()
    if not words:
        return None
    if words.isdigit() and len(words) < 6:
        words += "m"
    found = _DURATION.fullmatch(words)
    parts = found.groups() if found else (0, 0, 0)
    seconds = sum(int(part or 0) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    if not 0 < seconds <= LONGEST_MUTE_S:
        raise ControlError(f"{words[:20]!r} is no time; write 90s, 10m, 1h30m, or nothing for until further notice")
    return seconds


class Mouth:
    """Whether a line may be said now. Implements the outbox's `Control`, and the control page's `Controls`.

    `twitch`: on a first start on Twitch it is in shadow mode until somebody ends that. `say` hands an approved line
    to the outbox; `changed` is called with nothing whenever `report` would tell something new.
    """

    def __init__(
        self,
        settings: SafetyTable,
        file: Path,
        *,
        now_ms: Callable[[], int],
        twitch: bool = False,
        say: Callable[[Line], object] = lambda line: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._file = file
        self._now_ms = now_ms
        self._twitch = twitch
        self.say = say
        self.changed = changed
        self._stamp: tuple[int, int] | None = None
        self._state = ControlState()
        self._queue: deque[Waiting] = deque(maxlen=QUEUE)
        self._number = 0
        self._approved: list[Line] = []
        self._said_ms: deque[int] = deque(maxlen=max(settings.lines_a_hour, settings.lines_a_minute, 1))

    # ---- what the outbox asks ----------------------------------------------------------------------------------

    def hold(self, line: Line, now_ms: int) -> str | None:
        """Why this line must not be said now: `muted`, `shadow` or `budget`; None when it may."""
        if self.state.muted(now_ms):
            return "muted"
        if line in self._approved:
            self._approved.remove(line)
            return None
        if self.shadow:
            self._enqueue(line, now_ms)
            return "shadow"
        return None if self._within_budget(now_ms) else "budget"

    def on_record(self, record: Record) -> None:
        """A line that went out counts against the budgets."""
        if record.sent.drop_reason is None:
            self._said_ms.append(record.time_ms)

    def _within_budget(self, now_ms: int) -> bool:
        budgets = ((self._settings.lines_a_minute, 60_000), (self._settings.lines_a_hour, 3_600_000))
        return all(
            not most or sum(said_ms > now_ms - span_ms for said_ms in self._said_ms) < most for most, span_ms in budgets
        )

    def _enqueue(self, line: Line, now_ms: int) -> None:
        if line.kind == "narration":  # only the latest news is news
            self._drop(lambda waiting: waiting.line.kind == "narration" and waiting.line.channel == line.channel)
        self._number += 1
        self._queue.append(Waiting(self._number, line, now_ms))
        self.changed()

    def _drop(self, unwanted: Callable[[Waiting], bool]) -> None:
        kept = [waiting for waiting in self._queue if not unwanted(waiting)]
        self._queue.clear()
        self._queue.extend(kept)

    # ---- state -------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ControlState:
        """The state, read again when somebody else wrote the file."""
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            self._stamp = stamp
            self._state = read_state(self._file)
        return self._state

    @property
    def shadow(self) -> bool:
        """Whether lines wait for approval."""
        wanted = self.state.speak or self._settings.speak
        return wanted == "shadow" or (wanted == "auto" and self._twitch)

    @property
    def held(self) -> str:
        """Why it is quiet, in a few words for the streamer; empty when it may speak."""
        if self.state.muted(self._now_ms()):
            return "muted; `backchat unmute` ends it"
        if self.shadow:
            waiting = f"{len(self._queue)} waiting" if self._queue else "nothing waits"
            return f"shadow mode, it shows what it would say ({waiting}); `backchat go-live` lets it speak"
        return ""

    @property
    def queue(self) -> Sequence[Waiting]:
        return tuple(self._queue)

    def silence(self, seconds: int | None) -> None:
        """Mute, for `seconds` or (None) until unmuted. It holds when this returns, and after a restart."""
        until_ms = 0 if seconds is None else self._now_ms() + seconds * 1000
        self._write(replace(self.state, muted_until_ms=until_ms))

    def speak(self) -> None:
        """End a mute."""
        self._write(replace(self.state, muted_until_ms=None))

    def end_shadow(self) -> None:
        """Say things itself from now on; what waits is dropped, it is stale."""
        self._queue.clear()
        self._write(replace(self.state, speak="live"))

    def decide(self, number: int, approve: bool) -> Line:
        """Say or drop one line of the queue. Raises `ControlError` when there is no such line."""
        for waiting in self._queue:
            if waiting.number == number:
                self._queue.remove(waiting)
                line = replace(waiting.line, expires_ms=self._now_ms() + APPROVED_LIFE_MS)
                if approve:
                    self._approved = [other for other in self._approved if (other.expires_ms or 0) > self._now_ms()]
                    self._approved.append(line)
                self.changed()
                return line
        raise ControlError(f"no line {number} is waiting; look at the queue again")

    def withdraw(self, message_id: str) -> None:
        """What answers to a message that was deleted, or whose author has left, is not there to be approved."""
        self.drop(lambda line: line.reply_to == message_id)

    def drop(self, unwanted: Callable[[Line], bool]) -> None:
        """Take lines out of the queue."""
        before = len(self._queue)
        self._drop(lambda waiting: unwanted(waiting.line))
        if len(self._queue) != before:
            self.changed()

    def on_event(self, event: ChatEvent) -> None:
        """What answers to something that has just been deleted does not wait for approval any more."""
        if isinstance(event, MessageDeleted):
            self.withdraw(event.message_id)
        elif isinstance(event, RoomCleared):
            self.drop(lambda line: line.channel == event.channel)

    def _write(self, state: ControlState) -> None:
        write_state(self._file, state)
        self._stamp = None
        self.changed()

    # ---- the control page --------------------------------------------------------------------------------------

    async def mute(self, seconds: int | None) -> None:
        self.silence(seconds)

    async def unmute(self) -> None:
        self.speak()

    async def judge(self, number: int, approve: bool) -> None:
        line = self.decide(number, approve)
        if approve:
            self.say(line)

    async def go_live(self) -> None:
        self.end_shadow()

    def report(self) -> dict[str, Any]:
        """What the control page and the status file show."""
        now_ms, state = self._now_ms(), self.state
        return {
            "muted": state.muted(now_ms),
            "muted_until_ms": state.muted_until_ms or None,
            "speak": "shadow" if self.shadow else "live",
            "queue": [{"number": waiting.number, "text": waiting.line.text} for waiting in self._queue],
        }

    # ---- chat commands -----------------------------------------------------------------------------------------

    @property
    def commands(self) -> tuple[Command, ...]:
        """`!mute`, `!unmute`, `!ok` and `!no`, for moderators and up."""

        def moderators(name: str, summary: str, run: Callable[[Invocation], Sequence[Action]], *also: str) -> Command:
            return Command(name, summary, run, aliases=also, moderators_only=True, free=True)

        return (
            moderators("mute", "keeps me quiet, for 10m or until !unmute", self._on_mute, "shutup"),
            moderators("unmute", "lets me speak again", self._on_unmute),
            moderators("ok", "lets me say that line of the queue", self._on_ok),
            moderators("no", "drops that line of the queue", self._on_no),
        )

    def _on_mute(self, asked: Invocation) -> Sequence[Action]:
        if asked.privileged:
            try:
                self.silence(seconds_of(asked.words))
            except ControlError:
                self.silence(None)  # somebody in a hurry mistyped: quiet now, sort it out later
        return []

    def _on_unmute(self, asked: Invocation) -> Sequence[Action]:
        if not asked.privileged:
            return []
        self.speak()
        return asked.answer("I may speak again, thank you.")

    def _on_ok(self, asked: Invocation) -> Sequence[Action]:
        return self._judged(asked, True)

    def _on_no(self, asked: Invocation) -> Sequence[Action]:
        return self._judged(asked, False)

    def _judged(self, asked: Invocation, approve: bool) -> Sequence[Action]:
        number = asked.words.lstrip("#")
        if not asked.privileged or not number.isdecimal() or len(number) > 9:
            return []
        try:
            line = self.decide(int(number), approve)
        except ControlError:
            return []
        return [Say(line)] if approve else []


def shown_until(state: ControlState, now_ms: int) -> str:
    """A mute in words."""
    if not state.muted(now_ms):
        return "It may speak."
    if not state.muted_until_ms:
        return "Muted until `backchat unmute` or !unmute."
    minutes = max(1, round((state.muted_until_ms - now_ms) / 60_000))
    return f"Muted for {minutes} more minute{'' if minutes == 1 else 's'}."


def tally(counts: Mapping[str, int]) -> str:
    """Reason codes with their counts, most frequent first."""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.items(), key=lambda one: -one[1]))
