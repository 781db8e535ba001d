"""The companion's side of the fake Twitch: a TwitchChat signed in to it, with impatient timings, and what it heard."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bot.actions import LineKind
from bot.auth import BROADCASTER_SCOPES, COMPANION_SCOPES, Account, SignedIn, TokenFile
from bot.chat import ChatEvent, ConnectionChanged, MessageReceived
from bot.eventsub import Timings
from bot.twitch import TwitchChat, open_twitch
from tests.fake_twitch import FakeTwitch

# Twitch's patience, a hundred times shorter.
QUICK = Timings(
    keepalive_s=0.2,
    grace_s=0.1,
    connect_s=1.0,
    welcome_s=0.2,
    drain_quiet_s=0.03,
    drain_s=0.3,
    repair_every_s=0.25,
    repair_after_revocation_s=0.01,
    backoff_first_s=0.02,
    backoff_longest_s=0.1,
    healthy_after_s=0.2,
)
KEEPALIVE_S = 0.2
SUBSCRIBE_WITHIN_S = 0.3

Any_ = TypeVar("Any_")


def sign_in(
    twitch: FakeTwitch,
    tokens: TokenFile,
    login: str = "backchat",
    *,
    scopes: tuple[str, ...] = COMPANION_SCOPES,
    companion: bool = True,
    secret: bool = False,
) -> Account:
    """Put an account's fresh tokens into the file, as `backchat login` would."""
    token = twitch.issue(twitch.user(login), list(scopes))
    assert token.user is not None and token.refresh is not None
    expires_ms = int((time.time() + 14_000) * 1000)
    account = Account(token.user.id, login, token.value, token.refresh, tuple(scopes), expires_ms)
    before = tokens.read()
    secret_value = twitch.client_secret if secret else before.client_secret
    signed_in = SignedIn(twitch.client_id, secret_value, before.companion, before.accounts)
    tokens.write(signed_in.with_account(account, companion=companion))
    return account


def broadcaster_signs_in(twitch: FakeTwitch, tokens: TokenFile, login: str = "streamer") -> Account:
    return sign_in(twitch, tokens, login, scopes=BROADCASTER_SCOPES, companion=False)


@dataclass(frozen=True)
class Open:
    """A gate that lets everything pass: what is said here is not the point."""

    allowed: bool = True
    text: str = ""
    reason: str | None = None

    def check(self, line: str, kind: LineKind = "reply") -> "Open":
        return Open(text=line)


class Heard:
    """Everything a chat's events said, and a way to wait for what is due without sleeping for luck."""

    def __init__(self, chat: TwitchChat) -> None:
        self.chat = chat
        self.events: list[ChatEvent] = []
        self.times: dict[str, float] = {}
        self._more = asyncio.Event()

    async def follow(self, dawdle_s: float = 0.0) -> None:
        chance = random.Random(1)
        async for event in self.chat.events():
            if dawdle_s:
                await asyncio.sleep(chance.uniform(0, dawdle_s))
            self.events.append(event)
            if isinstance(event, MessageReceived):
                self.times.setdefault(event.message.id, time.monotonic())
            self._more.set()

    @property
    def texts(self) -> list[str]:
        return [event.message.text for event in self.events if isinstance(event, MessageReceived)]

    @property
    def connected(self) -> bool:
        states = [event.connected for event in self.events if isinstance(event, ConnectionChanged)]
        return bool(states) and states[-1]

    def of(self, kind: type[Any_]) -> list[Any_]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
        """Until it holds; fails after `within_s`."""
        async with asyncio.timeout(within_s):
            while not condition():
                self._more.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await self._more.wait()


async def eventually(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def open_chat(
    twitch: FakeTwitch,
    tokens: TokenFile,
    channels: tuple[str, ...] = ("streamer",),
    *,
    timings: Timings = QUICK,
    **more: object,
) -> TwitchChat:
    for channel in channels:
        twitch.user(channel.lstrip("#").lower())
    return open_twitch(
        channels,
        tokens,
        client_id=twitch.client_id,
        api_url=twitch.url,
        auth_url=twitch.url,
        eventsub_url=twitch.websocket_url,
        timings=timings,
        **more,  # type: ignore[arg-type]
    )


@contextlib.asynccontextmanager
async def listening(chat: TwitchChat, *, dawdle_s: float = 0.0, wait: bool = True) -> AsyncIterator[Heard]:
    """Run a chat and collect what it hears; connected when the block begins."""
    heard = Heard(chat)
    running = [asyncio.create_task(chat.run()), asyncio.create_task(heard.follow(dawdle_s))]
    try:
        if wait:
            await heard.until(lambda: heard.connected)
        yield heard
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def token_file(folder: Path) -> TokenFile:
    return TokenFile(folder / "tokens.json")
