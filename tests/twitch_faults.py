"""The faults that make a Twitch client deaf, each done to the fake while viewers talk, and what a listener made of it.

Used by tests/test_eventsub.py with impatient timings, and by benchmarks/twitch_faults.py on Backchat and on twitchio
itself.
"""

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.fake_twitch import FakeTwitch

GRACE = 3.0  # Twitch closes an old session 30 s after it asked for a reconnect: three keepalives


class Listener(Protocol):
    """Whoever listens: the numbered texts it handled, in order, repetitions included."""

    handled: list[str]


@dataclass(frozen=True)
class FaultRow:
    """One fault: how it is done to the fake, for how many keepalives it lasts, how often each message comes, and how
    long a handler may dawdle over one (chosen anew for each)."""

    name: str
    inject: Callable[[FakeTwitch], Awaitable[None]]
    lasts: float = 0.0
    copies: int = 1
    dawdle_s: float = 0.0


@dataclass
class Outcome:
    """What a listener made of a fault. `lost` are messages that went out on an open socket and were never handled."""

    recovered: bool = False
    seconds: float = 0.0
    sent: int = 0
    unheard: int = 0
    lost: int = 0
    twice: int = 0
    disordered: int = 0


@dataclass
class Talk:
    """Viewers who talk without pause, and what became of each line on Twitch's side."""

    twitch: FakeTwitch
    channel: str = "streamer"
    every_s: float = 0.01
    copies: int = 1
    on_socket: list[str] = field(default_factory=list)
    in_the_air: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        number = 0
        chance = random.Random(1)
        while True:
            await self.say(number, f"viewer{chance.randrange(3)}")
            number += 1
            await asyncio.sleep(self.every_s)

    async def say(self, number: int, login: str) -> None:
        text = f"{login} {number}"
        self.times[text] = time.monotonic()
        _, reached = await self.twitch.chat(self.channel, login, text, copies=self.copies)
        (self.on_socket if reached else self.in_the_air).append(text)


async def abrupt_close(twitch: FakeTwitch) -> None:
    for session in twitch.current():
        twitch.abort(session)


async def clean_close(twitch: FakeTwitch) -> None:
    for session in twitch.current():
        await twitch.close(session, 4000, "internal server error")


async def no_keepalive(twitch: FakeTwitch) -> None:
    for session in twitch.current():
        twitch.silence(session)


async def reconnect(twitch: FakeTwitch) -> None:
    for session in twitch.current():
        await twitch.ask_to_reconnect(session)


async def reconnect_with_a_slow_welcome(twitch: FakeTwitch) -> None:
    """The chat goes on over the old socket until the new one is welcomed, as Twitch promises."""
    twitch.welcome_delay_s = twitch.keepalive_s / 2
    await reconnect(twitch)


async def reconnect_to_nowhere(twitch: FakeTwitch) -> None:
    """The URL refuses, and Twitch closes the old socket when its time is up."""
    for session in twitch.current():
        await twitch.ask_to_reconnect(session, "ws://127.0.0.1:9/ws")
        twitch.later(twitch.keepalive_s * GRACE, twitch.close(session, 4004, "reconnect grace time expired"))


async def reconnect_without_welcome(twitch: FakeTwitch) -> None:
    twitch.welcomes_withheld = 1
    for session in twitch.current():
        await twitch.ask_to_reconnect(session)
        twitch.later(twitch.keepalive_s * GRACE, twitch.close(session, 4004, "reconnect grace time expired"))


async def no_welcome_after_loss(twitch: FakeTwitch) -> None:
    twitch.welcomes_withheld = 1
    await abrupt_close(twitch)


async def refused_after_loss(twitch: FakeTwitch) -> None:
    twitch.sockets_refused = 2
    await abrupt_close(twitch)


async def error_while_resubscribing(twitch: FakeTwitch) -> None:
    twitch.fail("POST", "eventsub/subscriptions", status=500, times=2)
    await abrupt_close(twitch)


async def reset_while_resubscribing(twitch: FakeTwitch) -> None:
    twitch.fail("POST", "eventsub/subscriptions", reset=True, times=2)
    await abrupt_close(twitch)


async def unused_4003(twitch: FakeTwitch) -> None:
    """Every subscription fails until Twitch closes the session for being unused, and then once more."""
    twitch.fail("POST", "eventsub/subscriptions", status=500, times=12)
    await abrupt_close(twitch)


async def nothing_more(twitch: FakeTwitch) -> None:
    """No fault but the duplicates themselves."""


async def revocation(twitch: FakeTwitch) -> None:
    await twitch.revoke("channel.chat.message")


async def lost_subscriptions(twitch: FakeTwitch) -> None:
    twitch.lose_subscriptions()


async def expired_token_while_resubscribing(twitch: FakeTwitch) -> None:
    twitch.expire("backchat")
    await abrupt_close(twitch)


async def senseless_events(twitch: FakeTwitch) -> None:
    """Frames that no reader expects: no JSON, no object, an event without its keys."""
    for session in twitch.current():
        for text in ("no json", "[]", '{"metadata": {"message_type": "notification"}, "payload": {"event": {}}}'):
            with contextlib.suppress(ConnectionError):
                await session.socket.send_str(text)
        event = {"broadcaster_user_id": twitch.user("streamer").id}
        await twitch.notify("channel.chat.message", event)


WEBSOCKET_FAULTS = (
    FaultRow("abrupt close", abrupt_close),
    FaultRow("close with a code (4000)", clean_close),
    FaultRow("no keepalive: connected but silent", no_keepalive),
    FaultRow("session_reconnect", reconnect),
    FaultRow("session_reconnect, slow welcome", reconnect_with_a_slow_welcome),
    FaultRow("session_reconnect to a bad URL", reconnect_to_nowhere, lasts=GRACE),
    FaultRow("session_reconnect without a welcome", reconnect_without_welcome, lasts=GRACE),
    FaultRow("no welcome after a loss", no_welcome_after_loss),
    FaultRow("refused (503) after a loss", refused_after_loss),
    FaultRow("500 while resubscribing", error_while_resubscribing),
    FaultRow("TCP reset while resubscribing", reset_while_resubscribing),
    FaultRow("nothing subscribed in time (4003)", unused_4003),
    FaultRow("duplicate notifications", nothing_more, copies=2),
    FaultRow("slow handler", nothing_more, dawdle_s=0.03),
    FaultRow("revocation", revocation),
    FaultRow("subscriptions vanish silently", lost_subscriptions),
    FaultRow("expired token while resubscribing", expired_token_while_resubscribing),
    FaultRow("frames that make no sense", senseless_events),
)


async def suffer(
    row: FaultRow,
    twitch: FakeTwitch,
    listener: Listener,
    *,
    before_s: float,
    after_s: float,
    patience_s: float,
    every_s: float = 0.01,
) -> Outcome:
    """Do a fault to a listener that hears already, while viewers talk before, during and after it.

    Recovered is who handles a line said `after_s` and more after the fault is over; the seconds are from the fault to
    the first line handled after the last that was not.
    """
    talk = Talk(twitch, every_s=every_s, copies=row.copies)
    talking = asyncio.create_task(talk.run())
    outcome = Outcome()
    try:
        await asyncio.sleep(before_s)
        began_s = time.monotonic()
        await row.inject(twitch)
        while time.monotonic() - began_s < patience_s and not outcome.recovered:
            await asyncio.sleep(0.02)
            over_s = began_s + row.lasts * twitch.keepalive_s + after_s
            fresh = {text for text, said_s in talk.times.items() if said_s >= over_s}
            outcome.recovered = bool(fresh & set(listener.handled))
        if outcome.recovered:
            await asyncio.sleep(before_s)
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    patient_until_s = time.monotonic() + 3.0  # what is on its way arrives
    while time.monotonic() < patient_until_s and not set(talk.on_socket) <= set(listener.handled):
        await asyncio.sleep(0.02)
    await asyncio.sleep(min(0.1, after_s))
    handled = set(listener.handled)
    outcome.sent = len(talk.on_socket) + len(talk.in_the_air)
    outcome.unheard = len(talk.in_the_air)
    outcome.lost = len([text for text in talk.on_socket if text not in handled])
    outcome.twice = len(listener.handled) - len(handled)
    outcome.disordered = disorder(listener.handled)
    missed = [said_s for text, said_s in talk.times.items() if said_s >= began_s - 0.05 and text not in handled]
    heard = [said_s for text, said_s in talk.times.items() if text in handled]
    back_s = min((said_s for said_s in heard if said_s > max(missed)), default=began_s) if missed else began_s
    outcome.seconds = max(0.0, back_s - began_s)
    return outcome


def disorder(handled: list[str]) -> int:
    """How often a chatter's line was handled after a later one of theirs."""
    latest: dict[str, int] = defaultdict(lambda: -1)
    wrong = 0
    for text in dict.fromkeys(handled):
        login, number = text.split()
        wrong += int(number) < latest[login]
        latest[login] = max(latest[login], int(number))
    return wrong
