"""The one way out: the gate, the service's limits, then chat. Answers go before narration, and nothing goes stale.

Knows nothing of where a line came from or of which service takes it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from bot.actions import Line, LineKind
from bot.chat import Chat, OutgoingLine, SendLimits, Sent
from corpus.errors import ChatError

__all__ = ["Control", "Line", "LineKind", "Outbox", "Passed", "Record"]

# Narration waits for answers, and answers to people wait for nobody.
PRIORITY: dict[LineKind, int] = {"command": 0, "reply": 1, "narration": 2}
LIFETIME_MS: dict[LineKind, int] = {"command": 20_000, "reply": 30_000, "narration": 60_000}
WAITING_LINES = 50
RECORDS = 200
FIRST_RETRY_S = 1.0


class Passed(Protocol):
    """A gate's verdict: `text` is the line as it may be said, `reason` the code of a refusal."""

    @property
    def allowed(self) -> bool: ...
    @property
    def text(self) -> str: ...
    @property
    def reason(self) -> str | None: ...


class LineGate(Protocol):
    """What bot/safety.py's Gate is to the outbox."""

    def check(self, line: str, kind: LineKind = "reply") -> Passed: ...


class Control(Protocol):
    """The streamer's hand on the companion's mouth: mute and shadow mode."""

    def hold(self, line: Line, now_ms: int) -> str | None:
        """Why this finished line must not be said now (`muted`, `shadow` …), or None. Asked just before the send."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one line."""

    time_ms: int
    line: Line
    sent: Sent


@dataclass(slots=True)
class _Waiting:
    line: Line
    expires_ms: int
    order: int
    done: asyncio.Future[Sent]
    text: str = ""  # as it will be said: what the service compares with what was said before
    not_before_ms: int = 0
    failures: int = 0
    unwanted: str | None = None  # why it must not be tried again, found out while it was being sent


class Outbox:
    """Says lines one at a time, at most as fast as the service allows.

    `offer` queues a line and returns a future; `say` waits for it. Either ends in a `Sent`: with the id the service
    gave, or with a `drop_reason`: `refused:<code>` (the gate), `muted` or `shadow` (control), `silenced` (the kill
    switch), `expired`, `superseded` (newer narration), `full`, `stopped`, or the service's own.
    `run` does the sending, until cancelled.
    """

    def __init__(
        self,
        chat: Chat,
        gate: LineGate,
        *,
        now_ms: Callable[[], int],
        control: Control | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._chat = chat
        self._gate = gate
        self._control = control
        self._now_ms = now_ms
        self._sleep = sleep
        self._waiting: list[_Waiting] = []
        self._under_way: _Waiting | None = None
        self._order = 0
        self._wake = asyncio.Event()
        self._silenced = False
        self._sent_at: deque[int] = deque()
        self._said: dict[tuple[str, str], int] = {}
        self._last_in: dict[str, int] = {}
        self.records: deque[Record] = deque(maxlen=RECORDS)
        self.counts: Counter[str] = Counter()
        self.listeners: list[Callable[[Record], None]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def silenced(self) -> bool:
        return self._silenced

    def silence(self) -> None:
        """The kill switch: forget what waits and say nothing until `speak`. A send under way cannot be called back."""
        self._silenced = True
        self._drop(lambda waiting: True, "silenced")

    def speak(self) -> None:
        self._silenced = False

    def offer(self, line: Line) -> "asyncio.Future[Sent]":
        """Queue a line. What the gate refuses is known at once, so that a generator can try again."""
        done: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        now_ms = self._now_ms()
        expires_ms = now_ms + LIFETIME_MS[line.kind] if line.expires_ms is None else line.expires_ms
        self._order += 1
        waiting = _Waiting(line, expires_ms, self._order, done)
        if self._silenced:
            return self._settle(waiting, Sent(drop_reason="silenced"))
        verdict = self._gate.check(line.text, line.kind)
        if not verdict.allowed:
            return self._settle(waiting, Sent(drop_reason=f"refused:{verdict.reason}"))
        if line.kind == "narration":
            self._drop(
                lambda older: older.line.kind == "narration" and older.line.channel == line.channel, "superseded"
            )
        waiting.text = shortened(verdict.text, self._chat.limits(line.channel).characters)
        if len(self._waiting) >= WAITING_LINES:
            return self._settle(waiting, Sent(drop_reason="full"))
        self._waiting.append(waiting)
        self._wake.set()
        return done

    async def say(self, line: Line) -> Sent:
        """Queue a line and wait for what becomes of it."""
        return await self.offer(line)

    def withdraw(self, reply_to: str) -> None:
        """Drop what waits as an answer to a message that a moderator has just deleted."""
        self._drop(lambda waiting: waiting.line.reply_to == reply_to, "withdrawn")

    def _drop(self, unwanted: Callable[[_Waiting], bool], reason: str) -> None:
        """What waits ends now; what is being sent cannot be called back, but is not tried again."""
        for waiting in [other for other in self._waiting if unwanted(other)]:
            self._finish(waiting, Sent(drop_reason=reason))
        if self._under_way is not None and unwanted(self._under_way):
            self._under_way.unwanted = reason

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                wait_s = await self._send_next()
                if wait_s == 0:
                    continue
                await self._rest(wait_s)
        finally:
            for waiting in list(self._waiting):
                self._finish(waiting, Sent(drop_reason="stopped"))

    async def _rest(self, seconds: float | None) -> None:
        """Until a line is offered, or `seconds` have passed."""
        if seconds is None:
            await self._wake.wait()
            return
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()

    async def _send_next(self) -> float | None:
        """Send the most urgent line that may go now. Returns the seconds to wait, 0 to go on, None for ever."""
        now_ms = self._now_ms()
        for waiting in [other for other in self._waiting if other.expires_ms <= now_ms]:
            self._finish(waiting, Sent(drop_reason="expired"))
        if not self._waiting:
            return None
        soonest = None
        for waiting in sorted(self._waiting, key=lambda other: (PRIORITY[other.line.kind], other.order)):
            ready_ms = max(waiting.not_before_ms, self._allowed_ms(waiting.line.channel, waiting.text, now_ms))
            if ready_ms <= now_ms:
                self._under_way = waiting
                try:
                    await self._send(waiting)
                finally:
                    self._under_way = None
                return 0
            soonest = min(ready_ms, waiting.expires_ms, ready_ms if soonest is None else soonest)
        return None if soonest is None else max(0.001, (soonest - now_ms) / 1000)

    def _allowed_ms(self, channel: str, text: str, now_ms: int) -> int:
        """When the service's limits let this line go: its window, its pause, and its rule on identical lines."""
        limits = self._chat.limits(channel)
        window_ms = int(limits.seconds * 1000)
        while self._sent_at and self._sent_at[0] <= now_ms - max(window_ms, 60_000):
            self._sent_at.popleft()
        in_window = [sent_ms for sent_ms in self._sent_at if sent_ms > now_ms - window_ms]
        ready_ms = now_ms
        if len(in_window) >= limits.messages:
            ready_ms = in_window[-limits.messages] + window_ms
        if channel in self._last_in:
            ready_ms = max(ready_ms, self._last_in[channel] + int(limits.pause_s * 1000))
        said_ms = self._said.get((channel, text.casefold()))
        if said_ms is not None:
            ready_ms = max(ready_ms, said_ms + int(limits.identical_s * 1000))
        return ready_ms

    async def _send(self, waiting: _Waiting) -> None:
        line = waiting.line
        reason = self._control.hold(line, self._now_ms()) if self._control else None
        if reason is not None:
            self._finish(waiting, Sent(drop_reason=reason))
            return
        # Asked again: while it waited, its words may have been forgotten, deleted or said.
        verdict = self._gate.check(line.text, line.kind)
        if not verdict.allowed:
            self._finish(waiting, Sent(drop_reason=f"refused:{verdict.reason}"))
            return
        limits = self._chat.limits(line.channel)
        text = shortened(verdict.text, limits.characters)
        self._waiting.remove(waiting)
        try:
            sent = await self._chat.send(OutgoingLine(line.channel, text, line.reply_to))
        except ChatError as error:
            sent = Sent(drop_reason=f"unreachable: {error}", retry_after_s=FIRST_RETRY_S * 2**waiting.failures)
        except asyncio.CancelledError:
            self._settle(waiting, Sent(drop_reason="stopped"))
            raise
        now_ms = self._now_ms()
        # A drop counts too: the service counted it, and asking for more would lengthen its silence.
        self._sent_at.append(now_ms)
        self._last_in[line.channel] = now_ms
        if sent.drop_reason is not None and sent.retry_after_s is not None:
            waiting.failures += 1
            waiting.not_before_ms = now_ms + int(sent.retry_after_s * 1000)
            if waiting.unwanted is not None:
                self._settle(waiting, Sent(drop_reason=waiting.unwanted))
                return
            if waiting.not_before_ms < waiting.expires_ms:
                self._waiting.append(waiting)
                return
        if sent.drop_reason is None:
            self._remember(line.channel, text, now_ms, limits)
        self._settle(replace_line(waiting, text), sent)

    def _remember(self, channel: str, text: str, now_ms: int, limits: SendLimits) -> None:
        oldest_ms = now_ms - int(limits.identical_s * 1000)
        self._said = {key: said_ms for key, said_ms in self._said.items() if said_ms > oldest_ms}
        self._said[(channel, text.casefold())] = now_ms

    def _finish(self, waiting: _Waiting, sent: Sent) -> None:
        self._waiting.remove(waiting)
        self._settle(waiting, sent)

    def _settle(self, waiting: _Waiting, sent: Sent) -> "asyncio.Future[Sent]":
        self.counts["said" if sent.drop_reason is None else sent.drop_reason.split(":")[0]] += 1
        record = Record(self._now_ms(), waiting.line, sent)
        self.records.append(record)
        if not waiting.done.done():
            waiting.done.set_result(sent)
        for listener in self.listeners:
            listener(record)
        return waiting.done


def replace_line(waiting: _Waiting, text: str) -> _Waiting:
    """The same, with the text as it was really said: what the overlay and the screen show."""
    waiting.line = replace(waiting.line, text=text)
    return waiting


def shortened(text: str, characters: int) -> str:
    """At most `characters`, cut at a word where there is one, with an ellipsis."""
    if len(text) <= characters:
        return text
    cut = text[: characters - 1]
    at_word = cut.rsplit(" ", 1)[0]
    return (at_word if len(at_word) > characters // 2 else cut).rstrip() + "…"
