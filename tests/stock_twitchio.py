"""twitchio's own client, unmodified, listening to the fake: what Backchat's listener is compared with."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import twitchio
from twitchio import eventsub
from twitchio.eventsub import websockets
from twitchio.http import Route

from tests.fake_twitch import FakeTwitch, Token


class StockListener(twitchio.Client):
    """Listens to one channel's chat and notes what its handler is given."""

    def __init__(self, twitch: FakeTwitch, token: Token, channel: str, dawdle_s: float) -> None:
        assert token.user is not None
        self.handled: list[str] = []
        self.messages: list[Any] = []
        self._channel_id = twitch.user(channel).id
        self._user_token = token
        self._dawdle_s = dawdle_s
        self._chance = random.Random(1)
        super().__init__(client_id=twitch.client_id, client_secret=twitch.client_secret, bot_id=token.user.id)

    async def load_tokens(self, path: str | None = None) -> None:
        assert self._user_token.refresh is not None
        await self.add_token(self._user_token.value, self._user_token.refresh)

    async def save_tokens(self, path: str | None = None) -> None:
        """Nothing: twitchio would leave a file in the working directory."""

    async def setup_hook(self) -> None:
        subscription = eventsub.ChatMessageSubscription(broadcaster_user_id=self._channel_id, user_id=self.bot_id)
        await self.subscribe_websocket(subscription, as_bot=True)

    async def event_message(self, payload: Any) -> None:
        if self._dawdle_s:
            await asyncio.sleep(self._chance.uniform(0, self._dawdle_s))
        self.handled.append(payload.text)
        self.messages.append(payload)

    async def event_error(self, payload: Any) -> None:
        logging.getLogger(__name__).debug("a handler failed: %s", payload.error)


@contextlib.asynccontextmanager
async def stock_listening(
    twitch: FakeTwitch, *, channel: str = "streamer", login: str = "backchat", dawdle_s: float = 0.0
) -> AsyncIterator[StockListener]:
    Route.BASE, Route.ID_BASE = f"{twitch.url}/helix/", f"{twitch.url}/"
    websockets.WSS = twitch.websocket_url
    token = twitch.issue(twitch.user(login), ["user:read:chat", "user:write:chat", "user:bot"])
    client = StockListener(twitch, token, channel, dawdle_s)
    running = asyncio.create_task(client.start(with_adapter=False, load_tokens=True, save_tokens=False))
    try:
        async with asyncio.timeout(10):
            while not twitch.current():
                if running.done():
                    await running
                await asyncio.sleep(0.01)
        yield client
    finally:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(3):
                await client.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class StockShard(twitchio.AutoClient):
    """twitchio's own way to conduits (AutoBot without its commands): one shard, one channel's chat."""

    def __init__(self, twitch: FakeTwitch, channel: str, login: str, dawdle_s: float) -> None:
        self.handled: list[str] = []
        self._dawdle_s = dawdle_s
        self._chance = random.Random(1)
        wanted = eventsub.ChatMessageSubscription(
            broadcaster_user_id=twitch.user(channel).id, user_id=twitch.user(login).id
        )
        super().__init__(
            client_id=twitch.client_id,
            client_secret=twitch.client_secret,
            bot_id=twitch.user(login).id,
            conduit_id=True,
            shard_ids=[0],
            subscriptions=[wanted],
        )

    async def load_tokens(self, path: str | None = None) -> None:
        """None: a conduit needs the application's token alone."""

    async def save_tokens(self, path: str | None = None) -> None:
        """Nothing: twitchio would leave a file in the working directory."""

    async def event_message(self, payload: Any) -> None:
        if self._dawdle_s:
            await asyncio.sleep(self._chance.uniform(0, self._dawdle_s))
        self.handled.append(payload.text)


@contextlib.asynccontextmanager
async def stock_shard_listening(
    twitch: FakeTwitch, *, channel: str = "streamer", login: str = "backchat", dawdle_s: float = 0.0
) -> AsyncIterator[StockShard]:
    Route.BASE, Route.ID_BASE = f"{twitch.url}/helix/", f"{twitch.url}/"
    websockets.WSS = twitch.websocket_url
    client = StockShard(twitch, channel, login, dawdle_s)
    running = asyncio.create_task(client.start(with_adapter=False, load_tokens=True, save_tokens=False))
    try:
        async with asyncio.timeout(10):
            while not twitch.current():
                if running.done():
                    await running
                await asyncio.sleep(0.01)
        yield client
    finally:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(3):
                await client.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
