"""Listening to EventSub's websocket without ever going deaf: one stream of notifications over sockets that come and go.

Why not twitchio's websocket (3.3.2): its reader itself follows a `session_reconnect`, so nothing reads the old socket
meanwhile and what arrives there is lost; it gives up after a bad reconnect URL, a missing welcome or close code 4003;
a task an event loses the order. A watchdog outside could not mend that without losing messages. So this module owns the
socket and knows nothing of chat: who subscribes, and to what, is the `Attachment`'s business.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from bot.eventsub_dedup import Deduplicator
from corpus.errors import BackchatError, SignInError

log = logging.getLogger(__name__)

UNUSED = 4003


class Attachment(Protocol):
    """Makes Twitch send the wanted events to a session: subscriptions of its own, or a shard of a conduit."""

    async def attach(self, session_id: str) -> None:
        """Subscribe. Returns when the events that matter flow; raises a `BackchatError` when they cannot now."""

    async def repair(self, session_id: str) -> None:
        """Put right what is missing; called now and then, and soon after something was revoked."""

    def revoked(self, subscription: dict[str, Any]) -> None:
        """Twitch took a subscription away."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient the listener is, in seconds. Twitch's own numbers; tests shorten them."""

    keepalive_s: float = 10.0  # asked for; Twitch answers with what it grants
    grace_s: float = 5.0  # silence beyond the keepalive that is still no death
    connect_s: float = 10.0
    welcome_s: float = 10.0
    drain_quiet_s: float = 0.5  # an old socket is empty when it said nothing for so long …
    drain_s: float = 3.0  # … or after this long
    repair_every_s: float = 30.0
    repair_after_revocation_s: float = 1.0
    backoff_first_s: float = 0.5
    backoff_longest_s: float = 60.0
    healthy_after_s: float = 10.0  # a session that held for so long starts the back-off anew


class Lost(Exception):  # noqa: N818 - a state of affairs, never shown
    """This socket is of no use any more; the words say why, for the operator."""


class _Session:
    """One open websocket that has been welcomed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session_id: str, keepalive_s: float) -> None:
        self.socket = socket
        self.id = session_id
        self.keepalive_s = keepalive_s

    async def close(self) -> None:
        # Twitch does not always answer a close, and aiohttp would wait for it.
        try:
            async with asyncio.timeout(1):
                await self.socket.close()
        except (TimeoutError, aiohttp.ClientError, OSError):
            log.debug("an old EventSub socket did not close in time")


@dataclass(slots=True)
class Heard:
    """What has come in, counted; `backchat doctor` and the soak look at it."""

    notifications: int = 0
    duplicates: int = 0
    sessions: int = 0
    handovers: int = 0
    losses: int = 0


class EventSub:
    """`run` listens until cancelled. Every notification is handed to `deliver` once, in the order it was sent."""

    def __init__(
        self,
        url: str,
        attachment: Attachment,
        deliver: Callable[[dict[str, Any]], None],
        *,
        changed: Callable[[bool, str], None] = lambda connected, detail: None,
        timings: Timings | None = None,
        chance: random.Random | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._attachment = attachment
        self._deliver = deliver
        self._changed = changed
        self._timings = timings or Timings()
        self._chance = chance or random.Random()
        self._now = now
        self._dedup = Deduplicator(now)
        self._repair_soon = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self.heard = Heard()
        self.connected = False
        self.last_frame_s: float | None = None

    async def run(self) -> None:
        """Listen, and come back after every loss, with back-off, until cancelled. Raises `SignInError` alone."""
        failures = 0
        async with aiohttp.ClientSession() as self._http:
            while True:
                began_s = self._now()
                try:
                    await self._listen()
                except Lost as lost:
                    reason = str(lost)
                except SignInError:
                    self._set_connected(False, "the sign-in is dead")
                    raise
                except BackchatError as error:
                    reason = str(error)
                except (
                    Exception
                ) as error:  # a fault of ours must not make the companion deaf for the rest of the stream
                    log.exception("EventSub: the listener failed and starts again")
                    reason = f"the listener failed ({type(error).__name__})"
                if self.connected:
                    self.heard.losses += 1
                    if self._now() - began_s >= self._timings.healthy_after_s:
                        failures = 0
                delay_s = self._backoff_s(failures)
                failures += 1
                self._set_connected(False, f"{reason}; trying again in {delay_s:.0f} s")
                await asyncio.sleep(delay_s)

    def _backoff_s(self, failures: int) -> float:
        """Exponential, with jitter so that a thousand bots do not come back in one second."""
        longest_s = min(self._timings.backoff_longest_s, self._timings.backoff_first_s * 2.0 ** min(failures, 16))
        return longest_s * self._chance.uniform(0.5, 1.0)

    def _set_connected(self, connected: bool, detail: str) -> None:
        self.connected = connected
        self._changed(connected, detail)

    async def _listen(self) -> None:
        """One chain of sessions, each handing over to the next, until one is lost."""
        session = await self._connect(self._with_keepalive())
        try:
            async with asyncio.TaskGroup() as tasks:
                attaching = tasks.create_task(self._attach(session))
                tasks.create_task(self._keep_repaired(lambda: session.id, attaching))
                while True:
                    reconnect_url = await self._read(session)
                    session = await self._hand_over(session, reconnect_url)
                    self._repair_soon.set()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await session.close()

    def _with_keepalive(self) -> str:
        joint = "&" if "?" in self._url else "?"
        return f"{self._url}{joint}keepalive_timeout_seconds={max(10, int(self._timings.keepalive_s))}"

    async def _connect(self, url: str) -> _Session:
        """Open a socket and wait for its welcome."""
        assert self._http is not None
        try:
            async with asyncio.timeout(self._timings.connect_s):
                socket = await self._http.ws_connect(url, autoping=True, max_msg_size=1 << 20)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Lost(f"EventSub cannot be reached ({type(error).__name__})") from None
        try:
            async with asyncio.timeout(self._timings.welcome_s):
                frame = await self._frame(socket)
        except TimeoutError:
            await _Session(socket, "", 0).close()
            raise Lost("EventSub sent no welcome") from None
        except BaseException:
            await _Session(socket, "", 0).close()
            raise
        if _kind(frame) != "session_welcome":
            await _Session(socket, "", 0).close()
            raise Lost("EventSub did not begin with a welcome")
        described = frame["payload"]["session"]
        self.heard.sessions += 1
        granted_s = described.get("keepalive_timeout_seconds")
        return _Session(socket, described["id"], self._timings.keepalive_s if granted_s is None else float(granted_s))

    async def _frame(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        """The next frame. Raises `Lost` when the socket has ended."""
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self.last_frame_s = self._now()
                try:
                    frame = json.loads(message.data)
                except ValueError:
                    log.warning("EventSub: a frame that is no JSON was skipped")
                    continue
                if isinstance(frame, dict):
                    return frame
            elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
                raise Lost(f"EventSub closed the connection ({socket.close_code or 'reset'})")
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise Lost("the connection to EventSub broke")

    async def _attach(self, session: _Session) -> None:
        """Raises what the attachment raises: the session is of no use without its events."""
        await self._attachment.attach(session.id)
        self._set_connected(True, "listening")

    async def _keep_repaired(self, session_id: Callable[[], str], attached: "asyncio.Task[None]") -> None:
        """See now and then, and soon after a revocation, that all subscriptions are still there."""
        await attached
        delay_s = self._timings.repair_after_revocation_s
        while True:
            try:
                async with asyncio.timeout(self._timings.repair_every_s):
                    await self._repair_soon.wait()
            except TimeoutError:
                pass
            else:
                self._repair_soon.clear()
                await asyncio.sleep(delay_s)
            try:
                await self._attachment.repair(session_id())
                delay_s = self._timings.repair_after_revocation_s
            except SignInError:
                raise
            except BackchatError as error:
                log.warning("EventSub: subscriptions could not be checked: %s", error)
                delay_s = min(self._timings.repair_every_s, delay_s * 2)
                self._repair_soon.set()

    async def _read(self, session: _Session, *, quiet_s: float | None = None) -> str:
        """Deliver what comes until Twitch asks for a reconnect; returns its URL. Raises `Lost` when the socket is dead.

        A socket on which not even a keepalive came in time is dead, whatever TCP says. `quiet_s` is shorter patience.
        """
        patience_s = session.keepalive_s + self._timings.grace_s if quiet_s is None else quiet_s
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    frame = await self._frame(session.socket)
            except TimeoutError:
                raise Lost(f"EventSub was silent for {patience_s:.0f} s") from None
            reconnect_url = self._take(session, frame)
            if reconnect_url is not None and quiet_s is None:
                return reconnect_url

    def _take(self, session: _Session, frame: dict[str, Any]) -> str | None:
        """One frame: a notification is delivered unless it is a repetition; a reconnect's URL is returned."""
        payload = frame.get("payload") or {}
        match _kind(frame):
            case "notification":
                self.heard.notifications += 1
                if not self._dedup.is_new(session.id, frame):
                    self.heard.duplicates += 1
                    return None
                try:
                    self._deliver(frame)
                except Exception:
                    # One event that cannot be understood must not cost the thousand after it.
                    log.exception("EventSub: an event of type %s was skipped", _subscription_type(frame))
            case "revocation":
                self._attachment.revoked(payload.get("subscription") or {})
                self._repair_soon.set()
            case "session_reconnect":
                return str((payload.get("session") or {}).get("reconnect_url") or "")
        return None

    async def _hand_over(self, old: _Session, reconnect_url: str) -> _Session:
        """Move to the session Twitch points to, or to a fresh one, while the old one is still read.

        Twitch keeps the old socket for up to 30 s. What comes on it until the new one is welcomed would be lost to
        a reader who leaves at once; and what comes on both is told apart by its id. The old socket is emptied before
        the new one is read, so the order holds. Raises `Lost` when the old one ends before a new one stands.
        """
        self.heard.handovers += 1
        reading = asyncio.create_task(self._read_on(old))
        try:
            new = await self._successor(reconnect_url, reading)
        except BaseException:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            raise
        # From here on the old reader may only finish what is under way: it is asked to stop when the line is quiet.
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        try:
            async with asyncio.timeout(self._timings.drain_s):
                await self._read(old, quiet_s=self._timings.drain_quiet_s)
        except (TimeoutError, Lost):
            log.debug("the old EventSub session is empty")
        await old.close()
        return new

    async def _read_on(self, session: _Session) -> None:
        """Deliver what the old socket still says, deaf to further reconnects, until it ends."""
        while True:
            await self._read(session)

    async def _successor(self, reconnect_url: str, old_reading: "asyncio.Task[None]") -> _Session:
        failures = 0
        url = reconnect_url
        while True:
            try:
                return await self._new_session(url, fresh=url != reconnect_url)
            except (Lost, BackchatError) as problem:
                log.info("EventSub: a handover failed: %s", problem)
                url = self._with_keepalive()
                if failures:
                    # The old socket still brings events: nothing is lost by waiting on it.
                    await asyncio.wait({old_reading}, timeout=self._backoff_s(failures))
                failures += 1
                if old_reading.done():
                    raise Lost(f"the handover failed and the old session ended ({problem})") from None

    async def _new_session(self, url: str, *, fresh: bool) -> _Session:
        session = await self._connect(url)
        if fresh:
            try:
                await self._attachment.attach(session.id)
            except BaseException:
                await session.close()
                raise
        return session


def _kind(frame: dict[str, Any]) -> str:
    return str((frame.get("metadata") or {}).get("message_type", ""))


def _subscription_type(frame: dict[str, Any]) -> str:
    return str((frame.get("metadata") or {}).get("subscription_type", ""))
