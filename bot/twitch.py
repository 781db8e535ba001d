"""Twitch behind the `Chat` seam: signs in, listens over EventSub, speaks through Helix, and says what it may not do.

Knows nothing of what the companion makes of it. Rate and priority are the outbox's business; this tells it the limits.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twitchio.http import Route

from bot.auth import Account, SignedIn, TokenFile, TokenKeeper, open_keeper
from bot.chat import ChatEvent, ConnectionChanged, MessageReceived, OutgoingLine, SendLimits, Sent, StreamChanged
from bot.eventsub import EventSub, Timings
from bot.settings import BotTable
from bot.twitch_events import events_of
from bot.twitch_http import Helix
from bot.twitch_overheard import Irc, overhear
from bot.twitch_speech import Speech
from bot.twitch_subscriptions import (
    ConduitShard,
    SessionSubscriptions,
    Wanted,
    allowed,
    heard_by_broadcaster,
    heard_by_companion,
)
from corpus.errors import BackchatError, ChatError, SignInError
from corpus.settings import PathsTable, TwitchTable

log = logging.getLogger(__name__)

EVENTS_WAITING = 10_000
SPEAKING = "user:write:chat"
VALIDATE_EVERY_S = 3600.0
LOOK_AT_TOKENS_EVERY_S = 5.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
SIGN_IN_AGAIN_S = 300.0  # a dead sign-in is mended by a person, whose `backchat login` is noticed at once
OVERHEAR_FROM_S = 8.0
AT_ONCE = 100  # how many accounts Twitch looks up in one question


class SignInChanged(Exception):  # noqa: N818 - a turn of events, not an error
    """Other accounts or scopes are signed in than the listeners were built from."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How this process shares the listening: alone on a websocket, or as one shard of the application's conduit."""

    conduit: bool = False
    shard: int = 0
    shards: int = 1


@dataclass(slots=True)
class _Ear:
    """One EventSub listener and whether it hears."""

    listener: EventSub
    name: str
    connected: bool = False


@dataclass(frozen=True, slots=True)
class _SignedInAs:
    """What the listeners were built from; when it changes, they are built anew."""

    companion: str | None
    accounts: frozenset[tuple[str, tuple[str, ...]]] = field(default_factory=frozenset)


class TwitchChat:
    """Twitch as a `Chat`. `run` never gives up: what it cannot do it says, and tries again."""

    def __init__(
        self,
        channels: Sequence[str],
        keeper: TokenKeeper,
        helix: Helix,
        eventsub_url: str,
        *,
        irc: Irc | None = None,
        scale: Scale | None = None,
        timings: Timings | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        validate_every_s: float = VALIDATE_EVERY_S,
        look_at_tokens_every_s: float = LOOK_AT_TOKENS_EVERY_S,
    ) -> None:
        self._channels = tuple(channel.lstrip("#").lower() for channel in channels)
        self._keeper = keeper
        self._helix = helix
        self._eventsub_url = eventsub_url
        self._scale = scale or Scale()
        self._timings = timings or Timings()
        self._irc = irc
        self._sleep = sleep
        self._validate_every_s = validate_every_s
        self._look_at_tokens_every_s = look_at_tokens_every_s
        self._waiting: deque[ChatEvent] = deque(maxlen=EVENTS_WAITING)
        self._arrived = asyncio.Event()
        self._ids: dict[str, str] = {}
        self._companion: Account | None = None
        self._problem: BackchatError = ChatError("Twitch is not connected yet")
        self._speech = Speech(helix, keeper, self._tell, speakers=self._scale.shards if self._scale.conduit else 1)
        self._told: set[str] = set()
        self._asking: asyncio.Task[None] | None = None
        self.ears: list[_Ear] = []
        self.overrun = 0

    # --- the seam

    async def run(self) -> None:
        try:
            retry_s = FIRST_RETRY_S
            while True:
                try:
                    companion = await self._sign_in()
                    await self._find_channels(companion)
                    retry_s = FIRST_RETRY_S
                    await self._serve(companion)
                except SignInChanged:
                    self._put(ConnectionChanged(False, "the sign-in changed; listening anew"))
                except BackchatError as error:
                    self._companion, self._problem = None, error
                    self._tell(str(error))
                    self._put(ConnectionChanged(False, str(error)))
                    await self._pause(error, retry_s)
                    retry_s = min(LONGEST_RETRY_S, retry_s * 2)
        finally:
            if self._asking is not None:
                self._asking.cancel()
            await self._helix.close()
            await self._keeper.close()

    async def events(self) -> AsyncIterator[ChatEvent]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            self._arrived.clear()
            if not self._waiting:
                await self._arrived.wait()

    async def send(self, line: OutgoingLine) -> Sent:
        """Say a line. A passing fault raises `ChatError` (the outbox tries again), a refusal is a `drop_reason`."""
        broadcaster_id = self._ids.get(line.channel)
        if self._companion is None:
            if isinstance(self._problem, SignInError):
                return Sent(drop_reason=str(self._problem))
            raise ChatError(str(self._problem))
        if SPEAKING not in self._companion.scopes:
            return Sent(drop_reason=_mute(self._companion))
        if broadcaster_id is None:
            return Sent(drop_reason=f"#{line.channel} is not one of [twitch] channels")
        return await self._speech.send(self._companion, broadcaster_id, line)

    def limits(self, channel: str) -> SendLimits:
        return self._speech.limits(channel)

    # --- signing in

    async def _sign_in(self) -> Account:
        signed_in = self._keeper.signed_in
        user_id = signed_in.companion
        self._helix.use_client(signed_in.client_id)
        if user_id is None:
            raise SignInError("not signed in to Twitch; run `backchat login`")
        self._companion = await self._keeper.validate(user_id)
        await self._validate(other for other in signed_in.accounts if other != user_id)
        return self._companion

    async def _validate(self, user_ids: Iterable[str]) -> None:
        """Twitch wants every token validated at start and each hour. A streamer's that is dead costs one line."""
        for user_id in user_ids:
            try:
                await self._keeper.validate(user_id)
            except BackchatError as error:
                if isinstance(error, SignInError) and user_id == self._keeper.signed_in.companion:
                    raise
                self._tell(str(error))

    async def _find_channels(self, companion: Account) -> None:
        self._ids = {}
        for some in batched(self._channels, AT_ONCE):
            answer = await self._helix.get_users(logins=list(some), token_for=companion.user_id)
            self._ids |= {user["login"].lower(): user["id"] for user in answer["data"]}
        for channel in self._channels:
            if channel not in self._ids:
                self._tell(f"#{channel}: Twitch knows no such channel; mend [twitch] channels in config.toml")
            elif self._ids[channel] == companion.user_id:
                self._speech.roles[channel] = frozenset({"broadcaster"})
        if not self._ids:
            raise ChatError("Twitch knows none of [twitch] channels; mend them in config.toml")

    def _signed_in_as(self) -> _SignedInAs | None:
        """None while the token file cannot be read: that is no reason to stop listening."""
        now = self._tokens_or_none()
        if now is None:
            return None
        return _SignedInAs(now.companion, frozenset((one.user_id, one.scopes) for one in now.accounts.values()))

    async def _pause(self, error: BackchatError, retry_s: float) -> None:
        """Until it is worth trying again. Where that takes long, listen without an account meanwhile."""
        seconds = SIGN_IN_AGAIN_S if isinstance(error, SignInError) else retry_s
        if self._irc is None or seconds < OVERHEAR_FROM_S:
            await self._wait_for_tokens(seconds)
            return

        def connected(is_connected: bool, detail: str) -> None:
            where = ", ".join(f"#{channel}" for channel in self._channels)
            self._put(ConnectionChanged(is_connected, f"{where} without an account: {detail}; {error}"))

        reading = asyncio.create_task(overhear(self._irc, self._channels, self._put, connected=connected))
        try:
            await self._wait_for_tokens(seconds)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _wait_for_tokens(self, seconds: float) -> None:
        """For `seconds`, or until the token file changes: `backchat login` works while the companion runs."""
        before = self._tokens_or_none()
        waited_s = 0.0
        while waited_s < seconds and self._tokens_or_none() == before:
            step_s = min(self._look_at_tokens_every_s, seconds - waited_s)
            await self._sleep(step_s)
            waited_s += step_s

    def _tokens_or_none(self) -> SignedIn | None:
        try:
            return self._keeper.signed_in
        except SignInError:
            return None

    # --- listening

    async def _serve(self, companion: Account) -> None:
        """Listen until cancelled, or until other accounts or scopes are signed in."""
        self._told.clear()
        before = self._signed_in_as()
        self.ears = self._build_ears(companion)
        try:
            async with asyncio.TaskGroup() as tasks:
                for ear in self.ears:
                    tasks.create_task(self._listen(ear))
                tasks.create_task(self._validate_hourly())
                while self._signed_in_as() in (before, None):
                    await self._sleep(self._look_at_tokens_every_s)
                raise SignInChanged
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _listen(self, ear: _Ear) -> None:
        """A broadcaster whose sign-in died costs their events; the companion's own costs the connection."""
        while True:
            try:
                await ear.listener.run()
            except SignInError as error:
                if ear is self.ears[0]:
                    raise
                self._tell(str(error))
                await self._wait_for_tokens(SIGN_IN_AGAIN_S)

    def _build_ears(self, companion: Account) -> list[_Ear]:
        of_companion: list[Wanted] = []
        of_broadcasters: dict[str, list[Wanted]] = {}
        for channel, broadcaster_id in self._ids.items():
            of_companion += heard_by_companion(channel, broadcaster_id, companion.user_id)
            of_broadcasters.setdefault(broadcaster_id, []).extend(heard_by_broadcaster(channel, broadcaster_id))
        signed_in = self._keeper.signed_in
        if SPEAKING not in companion.scopes:
            self._tell(_mute(companion))
        mine = allowed(of_companion, companion, self._tell)
        if not any(wanted.essential for wanted in mine):
            raise SignInError(
                f"{companion.login} may not read chat: the scope user:read:chat is missing; run `backchat login`"
            )
        theirs = {
            broadcaster_id: allowed(wanted, signed_in.account(broadcaster_id), self._tell)
            for broadcaster_id, wanted in of_broadcasters.items()
        }
        if self._scale.conduit:
            every = mine + [wanted for some in theirs.values() for wanted in some]
            shard = ConduitShard(
                self._helix,
                every,
                shard=self._scale.shard,
                shards=self._scale.shards,
                tell=self._tell,
                sleep=self._sleep,
            )
            return [self._ear(shard, companion.login)]
        # A websocket takes the subscriptions of one user only, so a broadcaster who signed in too has another.
        wanted_by: dict[str, list[Wanted]] = {companion.user_id: mine}
        for broadcaster_id, wanted in theirs.items():
            wanted_by[broadcaster_id] = wanted_by.get(broadcaster_id, []) + wanted
        ears = []
        for user_id, wanted in wanted_by.items():
            account = signed_in.account(user_id)
            if wanted and account is not None:
                own = SessionSubscriptions(self._helix, wanted, user_id=user_id, tell=self._tell, sleep=self._sleep)
                ears.append(self._ear(own, account.login))
        return ears

    def _ear(self, attachment: SessionSubscriptions, name: str) -> _Ear:
        listener = EventSub(
            self._eventsub_url,
            attachment,
            self._hear,
            changed=lambda connected, detail: self._ear_changed(ear, connected, detail),
            timings=self._timings,
        )
        ear = _Ear(listener, name)
        return ear

    def _ear_changed(self, ear: _Ear, connected: bool, detail: str) -> None:
        """Chat counts: only the companion's own ear makes the connection of the seam."""
        newly = connected and not ear.connected
        ear.connected = connected
        if ear is not self.ears[0]:
            if not connected:
                log.warning("the events of %s: %s", ear.name, detail)
            return
        where = ", ".join(f"#{channel}" for channel in self._ids)
        self._put(ConnectionChanged(connected, f"{where} as {ear.name}: {detail}"))
        if newly:
            self._asking = asyncio.get_running_loop().create_task(self._tell_who_is_live())

    async def _tell_who_is_live(self) -> None:
        """Streams may have begun or ended while nobody listened."""
        companion = self._companion
        if companion is None:
            return
        try:
            live = set[str]()
            for some in batched(list(self._ids.values()), AT_ONCE):
                parameters: dict[str, Any] = {"user_id": list(some), "first": AT_ONCE}
                answer = await self._helix.request_json(
                    Route("GET", "streams", params=parameters, token_for=companion.user_id)
                )
                live |= {str(stream.get("user_id")) for stream in answer.get("data") or ()}
        except BackchatError as error:
            log.warning("Twitch does not say who is live: %s", error)
            return
        for channel, broadcaster_id in self._ids.items():
            self._put(StreamChanged(channel, online=broadcaster_id in live))

    def _hear(self, frame: Mapping[str, Any]) -> None:
        """One notification, in the order they were sent; it is never waited for, so a slow companion loses nothing."""
        metadata = frame["metadata"]
        companion_id = self._companion.user_id if self._companion else None
        for event in events_of(
            metadata.get("subscription_type", ""),
            frame["payload"]["event"],
            timestamp=metadata.get("message_timestamp", ""),
            own_id=companion_id,
        ):
            if isinstance(event, MessageReceived) and event.own and not event.other_room:
                self._speech.roles[event.message.channel] = event.roles
            self._put(event)

    def _put(self, event: ChatEvent) -> None:
        if len(self._waiting) == EVENTS_WAITING:  # the companion hangs: the oldest news is worth least
            self.overrun += 1
        self._waiting.append(event)
        self._arrived.set()

    def _tell(self, line: str) -> None:
        """One line for the operator, once."""
        if line not in self._told:
            self._told.add(line)
            log.warning("%s", line)

    async def _validate_hourly(self) -> None:
        """A dead sign-in is told within the hour, not at the next send."""
        while True:
            await self._sleep(self._validate_every_s)
            await self._validate(list(self._keeper.signed_in.accounts))


def _mute(companion: Account) -> str:
    return f"{companion.login} may not speak: that needs the scope {SPEAKING}; run `backchat login`"


def batched(every: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """In pieces of at most `size`, as Twitch takes them."""
    for start in range(0, len(every), size):
        yield every[start : start + size]


def open_twitch(
    channels: Sequence[str],
    tokens: TokenFile,
    *,
    client_id: str,
    api_url: str,
    auth_url: str,
    eventsub_url: str,
    irc: Irc | None = None,
    scale: Scale | None = None,
    timings: Timings | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    validate_every_s: float = VALIDATE_EVERY_S,
    look_at_tokens_every_s: float = LOOK_AT_TOKENS_EVERY_S,
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
) -> TwitchChat:
    """A TwitchChat with its parts put together, from [twitch] settings and the token file. Makes no connection yet."""
    keeper = open_keeper(tokens, client_id=client_id, api_url=api_url, auth_url=auth_url, now_ms=now_ms)
    helix = Helix(keeper, client_id=client_id, api_url=api_url, auth_url=auth_url, now_ms=now_ms)
    return TwitchChat(
        channels,
        keeper,
        helix,
        eventsub_url,
        irc=irc,
        scale=scale,
        timings=timings,
        sleep=sleep,
        validate_every_s=validate_every_s,
        look_at_tokens_every_s=look_at_tokens_every_s,
    )


def chat_on_twitch(twitch: TwitchTable, paths: PathsTable, bot: BotTable) -> TwitchChat:
    """Twitch as the settings describe it. Without a sign-in it only listens, and says how to log in."""
    return open_twitch(
        twitch.channels,
        TokenFile(paths.tokens),
        client_id=twitch.client_id,
        api_url=twitch.api_url,
        auth_url=twitch.auth_url,
        eventsub_url=twitch.eventsub_url,
        irc=Irc(twitch.irc_host, twitch.irc_port, twitch.irc_tls),
        scale=Scale(bot.scale == "conduit", bot.shard, bot.shards),
    )
