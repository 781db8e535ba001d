"""Never deaf: whatever happens to the websocket, what was sent while one was open is heard, once and in order."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.auth import TokenFile
from bot.eventsub import EventSub
from bot.eventsub_dedup import REMEMBERED, REMEMBERED_S, Deduplicator
from bot.twitch import Scale
from tests.fake_twitch import FakeTwitch
from tests.twitch_faults import WEBSOCKET_FAULTS, FaultRow, Talk, disorder, suffer
from tests.twitch_rig import (
    KEEPALIVE_S,
    QUICK,
    SUBSCRIBE_WITHIN_S,
    Heard,
    eventually,
    listening,
    open_chat,
    sign_in,
    token_file,
)


@pytest.fixture
async def twitch() -> AsyncIterator[FakeTwitch]:
    async with FakeTwitch(keepalive_s=KEEPALIVE_S, subscribe_within_s=SUBSCRIBE_WITHIN_S) as fake:
        yield fake


@pytest.fixture
def tokens(twitch: FakeTwitch, tmp_path: Path) -> TokenFile:
    file = token_file(tmp_path)
    sign_in(twitch, file)
    return file


class Numbered:
    """What a chat heard, as the fault rows want it."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    @property
    def handled(self) -> list[str]:
        return [text for text in self._heard.texts if text.startswith("viewer")]


@pytest.mark.parametrize("row", WEBSOCKET_FAULTS, ids=lambda row: row.name)
async def test_it_comes_back_and_loses_nothing_that_was_sent(
    row: FaultRow, twitch: FakeTwitch, tokens: TokenFile
) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat, dawdle_s=row.dawdle_s) as heard:
        outcome = await suffer(row, twitch, Numbered(heard), before_s=0.1, after_s=0.3, patience_s=8.0)
        assert outcome.recovered
        assert outcome.lost == 0
        assert outcome.twice == 0
        assert outcome.disordered == 0
        assert heard.connected
        if row.copies > 1:
            assert chat.ears[0].listener.heard.duplicates >= outcome.sent - outcome.unheard


OVER_A_CONDUIT = ("abrupt close", "no keepalive: connected but silent", "session_reconnect without a welcome",
                  "revocation", "subscriptions vanish silently", "500 while resubscribing")  # fmt: skip


@pytest.mark.parametrize(
    "row", [row for row in WEBSOCKET_FAULTS if row.name in OVER_A_CONDUIT], ids=lambda row: row.name
)
async def test_a_shard_of_a_conduit_comes_back_and_loses_nothing(
    row: FaultRow, twitch: FakeTwitch, tmp_path: Path
) -> None:
    file = token_file(tmp_path)
    sign_in(twitch, file, secret=True)
    async with listening(open_chat(twitch, file, scale=Scale(conduit=True))) as heard:
        outcome = await suffer(row, twitch, Numbered(heard), before_s=0.1, after_s=0.3, patience_s=8.0)
        await heard.until(lambda: heard.connected)  # the subscriptions were there all the while
        assert outcome.recovered
        assert (outcome.lost, outcome.twice, outcome.disordered) == (0, 0, 0)


class Faulty:
    """An attachment with a fault of its own, no matter which: it breaks `times` times in each of its methods."""

    def __init__(self, times: int) -> None:
        self.attached, self.repaired, self._times = 0, 0, times

    async def attach(self, session_id: str) -> None:
        self.attached += 1
        if self.attached <= self._times:
            raise ZeroDivisionError

    async def repair(self, session_id: str) -> None:
        self.repaired += 1
        if self.repaired <= self._times:
            raise KeyError(session_id)

    def revoked(self, subscription: dict[str, Any]) -> None:
        raise AssertionError(subscription)


async def test_a_task_that_dies_of_a_fault_of_ours_is_started_again() -> None:
    states: list[tuple[bool, str]] = []
    attachment = Faulty(times=2)
    async with FakeTwitch(keepalive_s=KEEPALIVE_S, subscribe_within_s=60) as twitch:
        listener = EventSub(
            twitch.websocket_url, attachment, lambda frame: None,
            changed=lambda connected, detail: states.append((connected, detail)), timings=QUICK,
        )  # fmt: skip
        running = asyncio.create_task(listener.run())
        await eventually(lambda: attachment.repaired == 3 and listener.connected)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    reasons = [detail.split(";")[0] for connected, detail in states if not connected]
    assert reasons == ["the listener failed (ZeroDivisionError)"] * 2 + ["the listener failed (KeyError)"] * 2


async def test_a_slow_companion_loses_nothing(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat, dawdle_s=0.006) as heard:
        talk = Talk(twitch)
        for number in range(200):
            await talk.say(number, f"viewer{number % 3}")
        assert len(talk.on_socket) == 200
        await heard.until(lambda: len(heard.texts) == 200)
        assert disorder(heard.texts) == 0
        assert chat.ears[0].listener.heard.losses == 0


async def test_stopping_during_the_back_off_leaves_nothing_behind(twitch: FakeTwitch, tokens: TokenFile) -> None:
    chat = open_chat(twitch, tokens)
    tasks_before = asyncio.all_tasks()
    async with listening(chat) as heard:
        twitch.sockets_refused = 1_000
        for session in twitch.current():
            twitch.abort(session)
        await heard.until(lambda: not heard.connected)
    await eventually(lambda: not twitch.current())
    refused = twitch.sockets_refused
    twitch.sockets_refused = 0
    await asyncio.sleep(0.15)  # longer than the longest back-off: a zombie would be back by now
    assert twitch.current() == []
    assert refused > 0
    ours = {task for task in asyncio.all_tasks() - tasks_before if "bot/" in str(task.get_coro())}
    assert ours == set()


async def test_what_comes_on_the_old_socket_during_a_handover_is_heard_before_what_comes_on_the_new(
    twitch: FakeTwitch, tokens: TokenFile
) -> None:
    chat = open_chat(twitch, tokens)
    async with listening(chat) as heard:
        (old,) = twitch.current()
        # The late lines arrive on the old socket when the new one stands already and has something to say, too.
        await twitch.ask_to_reconnect(old)
        await eventually(lambda: len(twitch.current()) == 2)
        await twitch.chat("streamer", "viewer1", "viewer1 2")
        made = next(one for one in twitch.subscriptions.values() if one.type == "channel.chat.message")
        new_id, made.transport["session_id"] = made.transport["session_id"], old.id
        await twitch.chat("streamer", "viewer1", "viewer1 1")
        made.transport["session_id"] = new_id
        await heard.until(lambda: len(heard.texts) == 2)
        assert heard.texts == ["viewer1 1", "viewer1 2"]


async def test_an_event_brought_by_two_sessions_counts_once_and_two_alike_count_twice() -> None:
    dedup = Deduplicator(lambda: 0.0)

    def frame(message_id: str, bits: int) -> dict[str, object]:
        metadata = {"message_id": message_id, "subscription_type": "channel.cheer"}
        return {"metadata": metadata, "payload": {"event": {"bits": bits}}}

    assert dedup.is_new("old", frame("a", 100))
    assert not dedup.is_new("old", frame("a", 100))
    assert not dedup.is_new("new", frame("b", 100))
    assert dedup.is_new("new", frame("c", 100)), "a second cheer of the same size is another cheer"
    assert not dedup.is_new("old", frame("d", 100))
    assert dedup.is_new("old", frame("e", 500))


async def test_what_is_remembered_against_duplicates_is_bounded() -> None:
    clock = [0.0]
    dedup = Deduplicator(lambda: clock[0])

    def frame(number: int) -> dict[str, object]:
        metadata = {"message_id": str(number), "subscription_type": "channel.chat.message"}
        return {"metadata": metadata, "payload": {"event": {"message_id": number}}}

    for number in range(REMEMBERED + 100):
        dedup.is_new("one", frame(number))
    assert len(dedup) <= 2 * (REMEMBERED + 1)
    clock[0] = REMEMBERED_S + 1
    dedup.is_new("one", frame(-1))
    assert len(dedup) <= 2
