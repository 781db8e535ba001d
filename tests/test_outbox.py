"""The one way out keeps the service's limits, goes by priority, and lets nothing go stale."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.actions import Line, LineKind
from bot.chat import ChatEvent, OutgoingLine, SendLimits, Sent
from bot.outbox import Outbox, shortened
from corpus.errors import ChatError


class Clock:
    """Time that passes only when somebody waits for it, and then at once."""

    def __init__(self) -> None:
        self.ms = 1_000_000
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        until = self.ms + round(seconds * 1000)
        event = asyncio.Event()
        self._waiting.append((until, event))
        await event.wait()

    async def pass_until(self, ms: int) -> None:
        """Let time run to `ms`, stopping at every moment that somebody waits for."""
        while True:
            for _ in range(8):
                await asyncio.sleep(0)
            due = sorted(until for until, event in self._waiting if not event.is_set())
            if not due or due[0] > ms:
                self.ms = max(self.ms, ms)
                return
            self.ms = max(self.ms, due[0])
            for until, event in self._waiting:
                if until <= self.ms:
                    event.set()
            self._waiting = [(until, event) for until, event in self._waiting if not event.is_set()]


@dataclass
class Service:
    """A chat service that writes down when it was given what, and can be told to fail."""

    clock: Clock
    allowed: SendLimits = field(default_factory=SendLimits)
    received: list[tuple[int, OutgoingLine]] = field(default_factory=list)
    answers: list[Sent | ChatError] = field(default_factory=list)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def events(self) -> AsyncIterator[ChatEvent]:
        return
        yield

    async def send(self, line: OutgoingLine) -> Sent:
        self.received.append((self.clock.ms, line))
        while self.meanwhile:
            self.meanwhile.pop(0)()
        answer = self.answers.pop(0) if self.answers else Sent(message_id=f"id-{len(self.received)}")
        if isinstance(answer, ChatError):
            raise answer
        return answer

    def limits(self, channel: str) -> SendLimits:
        return self.allowed

    @property
    def texts(self) -> list[str]:
        return [line.text for _, line in self.received]


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    text: str
    reason: str | None = None


class NoSwearing:
    def __init__(self) -> None:
        self.forbidden = {"darn"}

    def check(self, line: str, kind: LineKind = "reply") -> Verdict:
        bad = any(word in line for word in self.forbidden)
        return Verdict(not bad, line, "profanity" if bad else None)


class Muted:
    reason: str | None = None

    def hold(self, line: Line, now_ms: int) -> str | None:
        return self.reason


@dataclass
class Bench:
    clock: Clock
    service: Service
    gate: NoSwearing
    control: Muted
    outbox: Outbox


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = Clock()
    service, gate, control = Service(clock), NoSwearing(), Muted()
    outbox = Outbox(service, gate, now_ms=clock.now_ms, control=control, sleep=clock.sleep)
    running = asyncio.ensure_future(outbox.run())
    yield Bench(clock, service, gate, control, outbox)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


def line(text: str, kind: LineKind = "reply", **more: int | str) -> Line:
    return Line("here", text, kind, **more)  # type: ignore[arg-type]


async def test_answers_go_before_narration_that_was_there_first(bench: Bench) -> None:
    for text, kind in (("loss 3", "narration"), ("hello", "reply"), ("help", "command")):
        bench.outbox.offer(line(text, kind))  # type: ignore[arg-type]
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert bench.service.texts == ["help", "hello", "loss 3"]


async def test_newer_narration_replaces_older_that_is_still_waiting(bench: Bench) -> None:
    older, newer = bench.outbox.offer(line("loss 3", "narration")), bench.outbox.offer(line("loss 2", "narration"))
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert bench.service.texts == ["loss 2"]
    assert (await older).drop_reason == "superseded"
    assert (await newer).message_id is not None


async def test_what_the_gate_refuses_is_known_at_once_and_never_sent(bench: Bench) -> None:
    refused = bench.outbox.offer(line("darn it"))
    assert refused.result().drop_reason == "refused:profanity"
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert bench.service.texts == []


async def test_a_line_that_became_forbidden_while_it_waited_is_not_said(bench: Bench) -> None:
    bench.outbox.offer(line("first"))
    await bench.clock.pass_until(bench.clock.ms)
    secret = bench.outbox.offer(line("alice lives here"))
    bench.gate.forbidden.add("alice")
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert bench.service.texts == ["first"]
    assert (await secret).drop_reason == "refused:profanity"


async def test_an_identical_line_waits_until_the_service_takes_it_again(bench: Bench) -> None:
    start = bench.clock.ms
    bench.outbox.offer(line("GG"))
    again = bench.outbox.offer(line("gg", expires_ms=start + 60_000))
    await bench.clock.pass_until(start + 29_000)
    assert bench.service.texts == ["GG"]
    await bench.clock.pass_until(start + 31_000)
    assert bench.service.texts == ["GG", "gg"]
    assert (await again).drop_reason is None


async def test_a_stale_line_is_dropped_instead_of_said_late(bench: Bench) -> None:
    bench.outbox.offer(line("gg"))
    late = bench.outbox.offer(line("gg", expires_ms=bench.clock.ms + 10_000))
    await bench.clock.pass_until(bench.clock.ms + 60_000)
    assert (await late).drop_reason == "expired"
    assert bench.service.texts == ["gg"]


async def test_the_kill_switch_empties_the_queue_and_keeps_silent(bench: Bench) -> None:
    bench.outbox.offer(line("one"))
    await bench.clock.pass_until(bench.clock.ms)
    waiting = bench.outbox.offer(line("two"))
    bench.outbox.silence()
    after = bench.outbox.offer(line("three"))
    await bench.clock.pass_until(bench.clock.ms + 10_000)
    assert bench.service.texts == ["one"]
    assert {waiting.result().drop_reason, after.result().drop_reason} == {"silenced"}
    bench.outbox.speak()
    bench.outbox.offer(line("four"))
    await bench.clock.pass_until(bench.clock.ms + 10_000)
    assert bench.service.texts == ["one", "four"]


async def test_a_muted_companion_says_nothing_and_says_why(bench: Bench) -> None:
    bench.control.reason = "muted"
    held = bench.outbox.offer(line("hello"))
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert (bench.service.texts, held.result().drop_reason) == ([], "muted")


async def test_an_unreachable_service_is_tried_again_within_the_lifetime_of_the_line(bench: Bench) -> None:
    bench.service.answers = [ChatError("gone"), Sent(drop_reason="429", retry_after_s=2.0)]
    said = bench.outbox.offer(line("hello"))
    await bench.clock.pass_until(bench.clock.ms + 20_000)
    assert bench.service.texts == ["hello"] * 3
    assert said.result().drop_reason is None


async def test_an_unreachable_service_is_given_up_on_when_the_line_is_stale(bench: Bench) -> None:
    bench.service.answers = [ChatError("gone")] * 50
    said = bench.outbox.offer(line("hello"))
    await bench.clock.pass_until(bench.clock.ms + 60_000)
    assert (said.result().drop_reason or "").startswith("unreachable")
    assert len(bench.service.texts) <= 6


async def test_an_answer_to_a_deleted_message_is_withdrawn(bench: Bench) -> None:
    bench.outbox.offer(line("first"))
    await bench.clock.pass_until(bench.clock.ms)
    answer = bench.outbox.offer(line("well said", reply_to="m1"))
    bench.outbox.withdraw("m1")
    await bench.clock.pass_until(bench.clock.ms + 5_000)
    assert (bench.service.texts, answer.result().drop_reason) == (["first"], "withdrawn")


async def test_narration_that_failed_gives_way_to_newer_that_came_meanwhile(bench: Bench) -> None:
    bench.service.answers = [ChatError("gone")]
    newer: list[asyncio.Future[Sent]] = []
    bench.service.meanwhile = [lambda: newer.append(bench.outbox.offer(line("loss 2", "narration")))]
    older = bench.outbox.offer(line("loss 3", "narration"))
    await bench.clock.pass_until(bench.clock.ms + 20_000)
    assert bench.service.texts == ["loss 3", "loss 2"]
    assert (older.result().drop_reason, newer[0].result().drop_reason) == ("superseded", None)


async def test_an_answer_that_failed_is_not_tried_again_when_its_message_was_deleted_meanwhile(bench: Bench) -> None:
    bench.service.answers = [ChatError("gone")]
    bench.service.meanwhile = [lambda: bench.outbox.withdraw("m1")]
    answer = bench.outbox.offer(line("well said", reply_to="m1"))
    await bench.clock.pass_until(bench.clock.ms + 20_000)
    assert (bench.service.texts, answer.result().drop_reason) == (["well said"], "withdrawn")


async def test_the_kill_switch_reaches_a_line_that_is_being_sent(bench: Bench) -> None:
    bench.service.answers = [ChatError("gone")]
    bench.service.meanwhile = [bench.outbox.silence, bench.outbox.speak]
    killed = bench.outbox.offer(line("hello"))
    await bench.clock.pass_until(bench.clock.ms + 20_000)
    assert (bench.service.texts, killed.result().drop_reason) == (["hello"], "silenced")


async def test_lines_that_become_identical_when_they_are_cut_are_identical(bench: Bench) -> None:
    start = bench.clock.ms
    for ending in ("one", "another"):
        bench.outbox.offer(line("word " * 99 + "that is cut off " + ending, expires_ms=start + 60_000))
    await bench.clock.pass_until(start + 29_000)
    assert len(bench.service.received) == 1
    await bench.clock.pass_until(start + 31_000)
    assert len(bench.service.received) == 2
    assert len(set(bench.service.texts)) == 1 and len(bench.service.texts[0]) <= 500


async def test_stopping_leaves_nobody_waiting() -> None:
    clock = Clock()
    outbox = Outbox(Service(clock), NoSwearing(), now_ms=clock.now_ms, sleep=clock.sleep)
    running = asyncio.ensure_future(outbox.run())
    outbox.offer(line("one"))
    waiting = outbox.offer(line("one"))
    await clock.pass_until(clock.ms)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert waiting.result().drop_reason == "stopped"


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(
        st.tuples(st.integers(0, 40_000), st.sampled_from("abcdef"), st.sampled_from(["reply", "narration"]))
    ),
    limits=st.builds(
        SendLimits, messages=st.integers(1, 6), seconds=st.just(30.0), pause_s=st.sampled_from([0.0, 1.0, 2.5])
    ),
)
def test_no_window_of_time_ever_holds_more_than_the_limits_allow(
    lines: list[tuple[int, str, LineKind]], limits: SendLimits
) -> None:
    async def play() -> list[tuple[int, OutgoingLine]]:
        clock = Clock()
        service = Service(clock, limits)
        outbox = Outbox(service, NoSwearing(), now_ms=clock.now_ms, sleep=clock.sleep)
        running = asyncio.ensure_future(outbox.run())
        start = clock.ms
        for at_ms, text, kind in sorted(lines):
            await clock.pass_until(start + at_ms)
            outbox.offer(line(text, kind))
        await clock.pass_until(start + 200_000)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return service.received

    received = asyncio.run(play())
    times = [at_ms for at_ms, _ in received]
    for index, at_ms in enumerate(times):
        assert sum(at_ms <= other < at_ms + 30_000 for other in times[index:]) <= limits.messages
    assert all(later - earlier >= limits.pause_s * 1000 for earlier, later in itertools.pairwise(times))
    for index, (at_ms, said) in enumerate(received):
        assert all(other.text != said.text or later - at_ms >= 30_000 for later, other in received[index + 1 :])


def test_a_long_line_is_cut_at_a_word() -> None:
    assert shortened("one two three", 13) == "one two three"
    assert shortened("one two three four", 13) == "one two…"
    assert shortened("x" * 600, 500) == "x" * 499 + "…"
