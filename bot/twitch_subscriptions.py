"""What the companion wants to hear from Twitch, which scope each needs, and how a session comes to hear it.

A scope that is missing costs one line that names it, never the rest.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twitchio.eventsub import subscriptions as twitchio_subscriptions
from twitchio.eventsub.enums import SubscriptionType
from twitchio.http import Route

from bot.auth import Account
from bot.twitch_http import Helix, TwitchError
from corpus.errors import SignInError

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 5.0
TRIES = 6
AT_A_TIME = 5
LOGIN = "`backchat login`"
BROADCASTER_LOGIN = "`backchat login --broadcaster`"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription: `what` is its name for people, `scope` what it needs; without `essential` ones it is deaf."""

    type: str
    version: str
    condition: tuple[tuple[str, str], ...]
    channel: str
    what: str
    scope: str | None = None
    remedy: str = LOGIN
    essential: bool = False

    @property
    def key(self) -> tuple[str, frozenset[tuple[str, str]]]:
        return self.type, frozenset(self.condition)


def _wanted(payload: Any, channel: str, what: str, **more: Any) -> Wanted:
    return Wanted(payload.type, payload.version, tuple(sorted(payload.condition.items())), channel, what, **more)


def heard_by_companion(channel: str, broadcaster_id: str, companion_id: str) -> list[Wanted]:
    """What an ordinary account hears of a channel. Subs, gifts and raids come as chat notices: no scope of the
    broadcaster's is needed for them."""
    place = {"broadcaster_user_id": broadcaster_id, "user_id": companion_id}
    chat = {"scope": "user:read:chat"}
    names = twitchio_subscriptions
    return [
        _wanted(names.ChatMessageSubscription(**place), channel, "chat messages", essential=True, **chat),
        _wanted(names.ChatMessageDeleteSubscription(**place), channel, "deleted messages", **chat),
        _wanted(names.ChatClearUserMessagesSubscription(**place), channel, "time-outs and bans", **chat),
        _wanted(names.ChatClearSubscription(**place), channel, "cleared chat", **chat),
        _wanted(names.ChatNotificationSubscription(**place), channel, "subs, gifts and raids", **chat),
        _wanted(names.StreamOnlineSubscription(broadcaster_user_id=broadcaster_id), channel, "stream start"),
        _wanted(names.StreamOfflineSubscription(broadcaster_user_id=broadcaster_id), channel, "stream end"),
    ]


def heard_by_broadcaster(channel: str, broadcaster_id: str) -> list[Wanted]:
    """What only the broadcaster's own sign-in may hear."""
    names = twitchio_subscriptions
    own = {"remedy": BROADCASTER_LOGIN}
    return [
        _wanted(
            names.ChannelFollowSubscription(broadcaster_user_id=broadcaster_id, moderator_user_id=broadcaster_id),
            channel,
            "follows",
            scope="moderator:read:followers",
            **own,
        ),
        _wanted(
            names.ChannelPointsRedeemAddSubscription(broadcaster_user_id=broadcaster_id),
            channel,
            "channel points",
            scope="channel:read:redemptions",
            **own,
        ),
    ]


def allowed(wanted: Iterable[Wanted], account: Account | None, tell: Callable[[str], None]) -> list[Wanted]:
    """Those the account's scopes allow; of the others one line each scope and channel."""
    kept, lacking = [], dict[tuple[str, str, str], list[str]]()
    for one in wanted:
        if account is not None and (one.scope is None or one.scope in account.scopes):
            kept.append(one)
        else:
            lacking.setdefault((one.channel, one.scope or "", one.remedy), []).append(one.what)
    for (channel, scope, remedy), whats in lacking.items():
        tell(f"#{channel}: not listening for {', '.join(whats)}: that needs the scope {scope}; run {remedy}")
    return kept


class SessionSubscriptions:
    """An `Attachment` whose session carries its own subscriptions, all made by one account."""

    def __init__(
        self,
        helix: Helix,
        wanted: Sequence[Wanted],
        *,
        user_id: str | None,
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._helix = helix
        self._wanted = list(wanted)
        self._user_id = user_id
        self._tell = tell
        self._sleep = sleep
        self._refused: set[Wanted] = set()
        self._hears_chat = False
        self._at_a_time = asyncio.Semaphore(AT_A_TIME)

    async def attach(self, session_id: str) -> None:
        """Subscribe to everything, chat first: Twitch closes a session that has nothing after ten seconds."""
        self._refused.clear()
        self._hears_chat = False
        transport = await self._transport(session_id)
        essential = [one for one in self._wanted if one.essential]
        await self._create_all(essential, transport)
        if essential and self._refused.issuperset(essential):
            raise SignInError(
                f"Twitch lets this account read no chat in {', '.join(f'#{one.channel}' for one in essential)}; "
                f"see the lines above, then run {LOGIN}"
            )
        await self._create_all([one for one in self._wanted if not one.essential], transport)

    async def repair(self, session_id: str) -> None:
        transport = await self._transport(session_id)
        there = await self._there(transport)
        missing = [one for one in self._wanted if one.key not in there and one not in self._refused]
        self._hears_chat = any(one.essential and one.key in there for one in self._wanted)
        if missing:
            log.info("EventSub: %d subscriptions had gone and are made again", len(missing))
            await self._create_all(missing, transport)

    def revoked(self, subscription: dict[str, Any]) -> None:
        self._tell(f"Twitch took back {subscription.get('type')}: {subscription.get('status')}; asking for it again")

    async def _transport(self, session_id: str) -> dict[str, str]:
        return {"method": "websocket", "session_id": session_id}

    async def _create_all(self, wanted: Iterable[Wanted], transport: dict[str, str]) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for one in wanted:
                    tasks.create_task(self._create(one, transport))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _create(self, one: Wanted, transport: dict[str, str]) -> None:
        """Until it is there, however often Twitch fails meanwhile. What Twitch will not allow is told, once.

        Where some chat is heard nothing may hold that up: Twitch answers 429 as long as a limit on subscriptions is
        reached. What is left is asked for again at the next look at what is missing.
        """
        retry_s = FIRST_RETRY_S
        for tried in itertools.count(1):
            try:
                async with self._at_a_time:
                    await self._helix.create_eventsub_subscription(
                        type=SubscriptionType(one.type),
                        version=one.version,
                        condition=dict(one.condition),
                        transport=dict(transport),
                        token_for=self._user_id,
                    )
                self._hears_chat |= one.essential
                return
            except TwitchError as error:
                if error.status == 409:  # it is there already
                    self._hears_chat |= one.essential
                    return
                if error.status == 403 or (error.status == 401 and "scope" in error.reason.lower()):
                    self._refused.add(one)
                    self._tell(f"#{one.channel}: not listening for {one.what}: Twitch refuses ({error.reason})")
                    return
                if not error.passing:
                    raise
                if tried >= TRIES and (self._hears_chat or not one.essential):
                    self._tell(f"#{one.channel}: not listening for {one.what} yet: {error}; it is asked for again")
                    return
                await self._sleep(error.retry_after_s or retry_s)
                retry_s = min(LONGEST_RETRY_S, retry_s * 2)

    async def _there(self, transport: dict[str, str]) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """The subscriptions Twitch has for this transport."""
        found = set()
        cursor: str | None = None
        while True:
            route = Route("GET", "eventsub/subscriptions", params={"after": cursor}, token_for=self._user_id or "")
            page = await self._helix.request_json(route)
            for made in page["data"]:
                theirs = made.get("transport") or {}
                same = all(theirs.get(name) == value for name, value in transport.items())
                if same and made.get("status") == "enabled":
                    condition = {name: value for name, value in made["condition"].items() if value}
                    found.add((made["type"], frozenset(condition.items())))
            cursor = (page.get("pagination") or {}).get("cursor")
            if not cursor:
                return found


class ConduitShard(SessionSubscriptions):
    """An `Attachment` that makes a session one shard of the application's conduit, so that several processes share
    its subscriptions. Needs the client secret; twitchio's AutoBot does the same over the websocket that goes deaf.
    """

    def __init__(
        self,
        helix: Helix,
        wanted: Sequence[Wanted],
        *,
        shard: int,
        shards: int,
        tell: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(helix, wanted, user_id=None, tell=tell, sleep=sleep)
        self._shard = shard
        self._shards = shards
        self._conduit_id: str | None = None

    async def attach(self, session_id: str) -> None:
        await self._take_shard(session_id)
        await super().attach(session_id)

    async def repair(self, session_id: str) -> None:
        """A shard that Twitch disabled, or that points to a session before this one, is taken again."""
        assert self._conduit_id is not None
        mine, cursor = None, None
        while mine is None:
            parameters = {"conduit_id": self._conduit_id, "after": cursor}
            page = await self._helix.request_json(Route("GET", "eventsub/conduits/shards", params=parameters))
            mine = next((shard for shard in page["data"] if str(shard["id"]) == str(self._shard)), None)
            cursor = (page.get("pagination") or {}).get("cursor")
            if not cursor:
                break
        if not mine or mine["status"] != "enabled" or mine["transport"].get("session_id") != session_id:
            await self._take_shard(session_id)
        await super().repair(session_id)

    async def _transport(self, session_id: str) -> dict[str, str]:
        assert self._conduit_id is not None
        return {"method": "conduit", "conduit_id": self._conduit_id}

    async def _take_shard(self, session_id: str) -> None:
        conduits = (await self._helix.get_conduits())["data"]
        if not conduits:
            conduits = (await self._helix.create_conduit(self._shards))["data"]
        conduit = conduits[0]
        if conduit["shard_count"] < self._shards:
            conduit = (await self._helix.update_conduits(conduit["id"], self._shards))["data"][0]
        self._conduit_id = conduit["id"]
        transport = {"method": "websocket", "session_id": session_id}
        answer = await self._helix.update_conduit_shards(
            conduit["id"], shards=[{"id": str(self._shard), "transport": transport}]
        )
        for error in answer.get("errors") or ():
            raise TwitchError(f"Twitch does not give shard {self._shard} of the conduit: {error.get('message')}")
