"""A Twitch of our own on loopback: OAuth with device codes, Helix, EventSub with conduits, and all their faults.

The unmodified twitchio client talks to it (tests/test_fake_twitch.py). It keeps Twitch's rules where a client can break
them: scopes, single-use refresh tokens, a subscription within a deadline of the welcome, one user a websocket.
"""

import asyncio
import contextlib
import json
import secrets
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from tests.fake_twitch_irc import FakeIrc
from tests.fake_twitch_payloads import User, chat_message, rfc3339

SCOPE_OF = {
    "channel.chat.message": "user:read:chat",
    "channel.chat.notification": "user:read:chat",
    "channel.chat.message_delete": "user:read:chat",
    "channel.chat.clear": "user:read:chat",
    "channel.chat.clear_user_messages": "user:read:chat",
    "channel.follow": "moderator:read:followers",
    "channel.channel_points_custom_reward_redemption.add": "channel:read:redemptions",
}


@dataclass
class Token:
    value: str
    refresh: str | None
    user: User | None
    scopes: list[str]
    expires_at: float


@dataclass
class Session:
    """One websocket as Twitch's side sees it."""

    id: str
    socket: web.WebSocketResponse
    transport: asyncio.Transport
    user_id: str | None = None
    welcomed_at: float = 0.0
    silent: bool = False
    successor_of: "Session | None" = None
    keepalive: asyncio.Task[None] | None = None
    last_sent: float = 0.0

    @property
    def open(self) -> bool:
        return not self.socket.closed and not self.transport.is_closing()


@dataclass
class Subscription:
    id: str
    type: str
    version: str
    condition: dict[str, str]
    transport: dict[str, str]
    status: str = "enabled"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": self.status,
            "type": self.type,
            "version": self.version,
            "condition": self.condition,
            "transport": self.transport,
            "created_at": rfc3339(),
            "cost": 0,
        }


@dataclass
class Said:
    """A line that was posted to the fake's chat through Helix."""

    channel: str
    sender: User
    text: str
    reply_to: str | None
    message_id: str
    app_token: bool


@dataclass
class Fault:
    """What happens to the next requests of one kind: a status, or `reset` (the connection is torn down)."""

    method: str
    path: str
    status: int = 500
    reset: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    delay_s: float = 0.0


class FakeTwitch:
    """`async with FakeTwitch() as twitch:` — then point `[twitch] api_url, auth_url, eventsub_url` at it."""

    def __init__(self, *, keepalive_s: float = 10.0, subscribe_within_s: float = 10.0, device_interval_s: float = 0.02):
        self.client_id = "fakeclient"
        self.client_secret = "secret-client-" + secrets.token_hex(12)
        self.public_client = True
        self.keepalive_s = keepalive_s
        self.subscribe_within_s = subscribe_within_s
        self.device_interval_s = device_interval_s
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.secrets: set[str] = {self.client_secret}
        self.devices: dict[str, dict[str, Any]] = {}
        self.approver: User | None = None
        self.sessions: dict[str, Session] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.conduits: dict[str, dict[str, Any]] = {}
        self.said: list[Said] = []
        self.requests: list[tuple[str, str]] = []
        self.queries: list[str] = []
        self.faults: list[Fault] = []
        self.welcomes_withheld = 0
        self.welcome_delay_s = 0.0
        self.sockets_refused = 0
        self.clock_skew_s = 0.0
        self.moderators: dict[str, set[str]] = {}
        self.drop_next: deque[tuple[str, str]] = deque()
        self.echo = True
        self.irc = FakeIrc(self)
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0
        self.live: set[str] = set()
        self.full: set[str] = set()  # subscription types, alone or with a channel, of which Twitch takes no more
        self.app_sends_refused: set[str] = set()
        self._turn = 0

    # --- starting and stopping

    async def __aenter__(self) -> "FakeTwitch":
        app = web.Application(middlewares=[self._middleware])
        app.router.add_post("/oauth2/device", self._device)
        app.router.add_post("/oauth2/token", self._token)
        app.router.add_get("/oauth2/validate", self._validate)
        app.router.add_post("/oauth2/revoke", self._revoke)
        app.router.add_get("/helix/users", self._get_users)
        app.router.add_post("/helix/chat/messages", self._post_message)
        app.router.add_get("/helix/streams", self._get_streams)
        app.router.add_post("/helix/eventsub/subscriptions", self._subscribe)
        app.router.add_get("/helix/eventsub/subscriptions", self._list_subscriptions)
        app.router.add_delete("/helix/eventsub/subscriptions", self._unsubscribe)
        app.router.add_get("/helix/eventsub/conduits", self._get_conduits)
        app.router.add_post("/helix/eventsub/conduits", self._create_conduit)
        app.router.add_patch("/helix/eventsub/conduits", self._resize_conduit)
        app.router.add_get("/helix/eventsub/conduits/shards", self._get_shards)
        app.router.add_patch("/helix/eventsub/conduits/shards", self._update_shards)
        app.router.add_get("/ws", self._websocket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        await self.irc.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self.sessions.values():
            session.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.irc.stop()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def websocket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    # --- accounts and tokens

    def user(self, login: str) -> User:
        """The account of that login, made when it is new."""
        if login not in self.users:
            self.users[login] = User(str(1000 + len(self.users)), login.lower(), login.capitalize())
        return self.users[login]

    def by_id(self, user_id: str) -> User | None:
        return next((user for user in self.users.values() if user.id == user_id), None)

    def issue(self, user: User | None, scopes: list[str], *, expires_in_s: float = 14_000.0) -> Token:
        """A fresh token; every value ever issued is kept in `secrets`, for tests that look for leaks."""
        token = Token(
            "secretaccess" + secrets.token_hex(12),
            "secretrefresh" + secrets.token_hex(12) if user else None,
            user,
            scopes,
            time.monotonic() + expires_in_s,
        )
        self.tokens[token.value] = token
        self.secrets |= {value for value in (token.value, token.refresh) if value}
        return token

    def expire(self, login: str) -> None:
        """The access tokens of an account are too old from now on; its refresh tokens still work."""
        for token in self.tokens.values():
            if token.user and token.user.login == login:
                token.expires_at = 0.0

    def disconnect(self, login: str) -> None:
        """The account removed the application in its settings: every token is dead, every subscription revoked."""
        user = self.user(login)
        self.tokens = {value: token for value, token in self.tokens.items() if token.user != user}

    def deny(self) -> None:
        """Whoever is shown a code says no."""
        for device in self.devices.values():
            device["denied"] = True

    def _bearer(self, request: web.Request) -> Token | None:
        value = request.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("OAuth ")
        token = self.tokens.get(value)
        return token if token and token.expires_at > time.monotonic() else None

    # --- HTTP

    def fail(self, method: str, path: str, *, times: int = 1, **fault: Any) -> None:
        """The next `times` requests of this kind fail, with `status=`, or `reset=True`, maybe after `delay_s=`."""
        self.faults += [Fault(method, path, **fault) for _ in range(times)]

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        self.queries.append(request.query_string)
        fault = next((f for f in self.faults if f.method == request.method and request.path.endswith(f.path)), None)
        if fault is not None:
            self.faults.remove(fault)
            await asyncio.sleep(fault.delay_s)
            if fault.reset:
                assert request.transport is not None
                request.transport.abort()
                return web.Response(status=500)
            if fault.status:
                body = fault.body or {"error": "fault", "status": fault.status, "message": "injected"}
                return web.json_response(body, status=fault.status, headers=fault.headers)
        response: web.StreamResponse = await handler(request)
        if self.clock_skew_s and not response.prepared:
            from email.utils import formatdate

            response.headers["Date"] = formatdate(time.time() + self.clock_skew_s, usegmt=True)
        return response

    @staticmethod
    def _error(status: int, message: str) -> web.Response:
        return web.json_response({"error": "error", "status": status, "message": message}, status=status)

    @staticmethod
    async def _parameters(request: web.Request) -> dict[str, str]:
        """OAuth parameters, from the query (as twitchio sends them) or the body (as Twitch's documentation does)."""
        return {**dict(request.query), **dict(parse_qsl(await request.text()))}

    async def _device(self, request: web.Request) -> web.Response:
        given = await self._parameters(request)
        if given.get("client_id") != self.client_id:
            return self._error(400, "invalid client")
        device_code, user_code = "secretdevice" + secrets.token_hex(12), secrets.token_hex(4).upper()
        self.secrets.add(device_code)
        self.devices[device_code] = {"scopes": given["scopes"].split(), "user_code": user_code, "denied": False}
        return web.json_response(
            {
                "device_code": device_code,
                "expires_in": 1800,
                "interval": self.device_interval_s,
                "user_code": user_code,
                "verification_uri": f"{self.url}/activate?device-code={user_code}",
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        given = await self._parameters(request)
        if given.get("client_id") != self.client_id:
            return self._error(400, "invalid client")
        match given.get("grant_type"):
            case "urn:ietf:params:oauth:grant-type:device_code":
                device = self.devices.get(given["device_code"])
                if device is None:
                    return self._error(400, "invalid device code")
                if device["denied"]:
                    return self._error(400, "access_denied")
                if self.approver is None:
                    return self._error(400, "authorization_pending")
                del self.devices[given["device_code"]]
                return self._grant(self.issue(self.approver, device["scopes"]))
            case "refresh_token":
                if not self.public_client and given.get("client_secret") != self.client_secret:
                    return self._error(403, "invalid client secret")
                old = next((t for t in self.tokens.values() if t.refresh and t.refresh == given["refresh_token"]), None)
                if old is None:
                    return self._error(400, "Invalid refresh token")
                self.tokens.pop(old.value, None)
                return self._grant(self.issue(old.user, old.scopes))
            case "client_credentials":
                if given.get("client_secret") != self.client_secret:
                    return self._error(403, "invalid client secret")
                return self._grant(self.issue(None, []))
        return self._error(400, "unsupported grant type")

    @staticmethod
    def _grant(token: Token) -> web.Response:
        granted: dict[str, Any] = {"access_token": token.value, "expires_in": 14_000, "token_type": "bearer"}
        if token.user:
            granted |= {"refresh_token": token.refresh, "scope": token.scopes}
        return web.json_response(granted)

    async def _validate(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return self._error(401, "invalid access token")
        valid = {
            "client_id": self.client_id,
            "scopes": token.scopes,
            "expires_in": int(token.expires_at - time.monotonic()),
        }
        if token.user:
            valid |= {"login": token.user.login, "user_id": token.user.id}
        return web.json_response(valid)

    async def _revoke(self, request: web.Request) -> web.Response:
        given = await self._parameters(request)
        token = self.tokens.get(given.get("token", ""))
        if token is None or token.expires_at <= time.monotonic():
            return self._error(400, "Invalid token")
        del self.tokens[token.value]
        return web.Response(status=200)

    async def _get_users(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return self._error(401, "Invalid OAuth token")
        logins, ids = request.query.getall("login", []), request.query.getall("id", [])
        found = [user for user in self.users.values() if user.login in logins or user.id in ids]
        if not logins and not ids and token.user:
            found = [token.user]
        described = [
            {
                "id": user.id,
                "login": user.login,
                "display_name": user.name,
                "type": "",
                "broadcaster_type": "",
                "description": "",
                "profile_image_url": "",
                "offline_image_url": "",
                "view_count": 0,
                "created_at": "2020-01-01T00:00:00Z",
            }
            for user in found
        ]
        return web.json_response({"data": described})

    async def _get_streams(self, request: web.Request) -> web.Response:
        if self._bearer(request) is None:
            return self._error(401, "Invalid OAuth token")
        live = [self.user(login) for login in sorted(self.live)]
        wanted = request.query.getall("user_id", []) + request.query.getall("user_login", [])
        data = [
            {"id": "9001", "user_id": user.id, "user_login": user.login, "user_name": user.name, "type": "live"}
            for user in live
            if user.id in wanted or user.login in wanted
        ]
        return web.json_response({"data": data[: int(request.query.get("first", 20))], "pagination": {}})

    async def _post_message(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return self._error(401, "Invalid OAuth token")
        given = await request.json()
        broadcaster, sender = self.by_id(given["broadcaster_id"]), self.by_id(given["sender_id"])
        if broadcaster is None or sender is None:
            return self._error(400, "The ID in broadcaster_id was not found.")
        if token.user is not None and (token.user != sender or "user:write:chat" not in token.scopes):
            return self._error(401, "Missing scope: user:write:chat")
        if token.user is None and broadcaster.login in self.app_sends_refused:
            return self._error(403, "the broadcaster did not allow it")
        if len(given["message"]) > 500:
            return self._error(422, "The message is too large.")
        message_id = str(uuid.uuid4())
        if self.drop_next:
            code, why = self.drop_next.popleft()
            dropped = {"message_id": "", "is_sent": False, "drop_reason": {"code": code, "message": why}}
            return web.json_response({"data": [dropped]})
        reply_to = given.get("reply_parent_message_id")
        self.said.append(
            Said(broadcaster.login, sender, given["message"], reply_to, message_id, app_token=token.user is None)
        )
        if self.echo:
            badges = ("moderator",) if sender.login in self.moderators.get(broadcaster.login, set()) else ()
            badges = ("broadcaster",) if sender == broadcaster else badges
            await self.chat(broadcaster.login, sender.login, given["message"], message_id=message_id, badges=badges)
        return web.json_response({"data": [{"message_id": message_id, "is_sent": True, "drop_reason": None}]})

    # --- EventSub: subscriptions and conduits

    def _refusal(self, token: Token, given: dict[str, Any]) -> web.Response | None:
        """Why Twitch would not make this subscription."""
        kind, condition, transport = given["type"], given["condition"], given["transport"]
        if transport["method"] == "websocket":
            session = self.sessions.get(transport["session_id"])
            if session is None or not session.open:
                return self._error(400, "websocket transport session does not exist or has already disconnected")
            if token.user is None:
                return self._error(400, "invalid transport and auth combination")
            if session.user_id not in (None, token.user.id):
                return self._error(400, "websocket transport session belongs to another user")
            scope = SCOPE_OF.get(kind)
            if scope and scope not in token.scopes:
                return self._error(403, "subscription missing proper authorization")
            if condition.get("user_id", token.user.id) != token.user.id:
                return self._error(403, "subscription missing proper authorization")
            if "moderator" in scope.split(":") if scope else False:
                broadcaster = self.by_id(condition["broadcaster_user_id"])
                assert broadcaster is not None
                if token.user != broadcaster and token.user.login not in self.moderators.get(broadcaster.login, set()):
                    return self._error(403, "subscription missing proper authorization")
            if scope == "channel:read:redemptions" and condition["broadcaster_user_id"] != token.user.id:
                return self._error(403, "subscription missing proper authorization")
        elif token.user is not None:
            return self._error(400, "invalid transport and auth combination")
        elif transport["conduit_id"] not in self.conduits:
            return self._error(400, "conduit does not exist")
        where = self.by_id(condition.get("broadcaster_user_id", ""))
        if kind in self.full or (where and f"{kind} {where.login}" in self.full):
            return self._error(429, "subscription limit exceeded")
        same = [
            other
            for other in self.subscriptions.values()
            if (other.type, other.condition, other.transport) == (kind, condition, transport)
        ]
        if any(other.status == "enabled" for other in same):
            return self._error(409, "subscription already exists")
        return None

    async def _subscribe(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return self._error(401, "Invalid OAuth token")
        given = await request.json()
        refusal = self._refusal(token, given)
        if refusal is not None:
            return refusal
        made = Subscription(
            str(uuid.uuid4()), given["type"], given["version"], given["condition"], dict(given["transport"])
        )
        if made.transport["method"] == "websocket":
            assert token.user is not None
            self.sessions[made.transport["session_id"]].user_id = token.user.id
        self.subscriptions[made.id] = made
        return web.json_response(
            {"data": [made.as_json()], "total": 1, "total_cost": 0, "max_total_cost": 10}, status=202
        )

    async def _list_subscriptions(self, request: web.Request) -> web.Response:
        token = self._bearer(request)
        if token is None:
            return self._error(401, "Invalid OAuth token")
        owned = [
            made
            for made in self.subscriptions.values()
            if (made.transport["method"] == "conduit") == (token.user is None)
            and (
                token.user is None
                or getattr(self.sessions.get(made.transport.get("session_id", "")), "user_id", None) == token.user.id
            )
        ]
        data = [made.as_json() for made in owned]
        return web.json_response(
            {"data": data, "total": len(data), "total_cost": 0, "max_total_cost": 10, "pagination": {}}
        )

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        self.subscriptions.pop(request.query["id"], None)
        return web.Response(status=204)

    async def _app_only(self, request: web.Request) -> web.Response | None:
        token = self._bearer(request)
        return None if token and token.user is None else self._error(401, "Invalid OAuth token")

    def _conduit_json(self, conduit_id: str) -> dict[str, Any]:
        return {"id": conduit_id, "shard_count": len(self.conduits[conduit_id]["shards"])}

    async def _get_conduits(self, request: web.Request) -> web.Response:
        refusal = await self._app_only(request)
        return refusal or web.json_response({"data": [self._conduit_json(conduit) for conduit in self.conduits]})

    async def _create_conduit(self, request: web.Request) -> web.Response:
        refusal = await self._app_only(request)
        if refusal:
            return refusal
        count = int(request.query.get("shard_count") or (await request.json())["shard_count"])
        conduit_id = str(uuid.uuid4())
        self.conduits[conduit_id] = {"shards": {str(number): None for number in range(count)}}
        return web.json_response({"data": [self._conduit_json(conduit_id)]})

    async def _resize_conduit(self, request: web.Request) -> web.Response:
        conduit = self.conduits[request.query["id"]]
        count = int(request.query["shard_count"])
        conduit["shards"] = {str(number): conduit["shards"].get(str(number)) for number in range(count)}
        return web.json_response({"data": [self._conduit_json(request.query["id"])]})

    async def _get_shards(self, request: web.Request) -> web.Response:
        shards = self.conduits[request.query["conduit_id"]]["shards"]
        data = []
        for number, session_id in shards.items():
            session = self.sessions.get(session_id or "")
            status = "enabled" if session and session.open else "websocket_disconnected"
            data.append(
                {
                    "id": number,
                    "status": status,
                    "transport": {
                        "method": "websocket",
                        "session_id": session_id or "",
                        "connected_at": rfc3339(),
                        "disconnected_at": None,
                    },
                }
            )
        return web.json_response({"data": data, "pagination": {}})

    async def _update_shards(self, request: web.Request) -> web.Response:
        refusal = await self._app_only(request)
        if refusal:
            return refusal
        given = await request.json()
        shards = self.conduits[request.query.get("conduit_id") or given["conduit_id"]]["shards"]
        data, errors = [], []
        for shard in given["shards"]:
            session = self.sessions.get(shard["transport"]["session_id"])
            if str(shard["id"]) not in shards or session is None or not session.open:
                errors.append({"id": shard["id"], "message": "The shard id or session is invalid", "code": "invalid"})
                continue
            shards[str(shard["id"])] = session.id
            session.user_id = "conduit"
            data.append({"id": shard["id"], "status": "enabled", "transport": shard["transport"]})
        return web.json_response({"data": data, "errors": errors}, status=202)

    # --- EventSub: the websocket

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self.sockets_refused:
            self.sockets_refused -= 1
            return self._error(503, "no sockets now")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        old = self.sessions.get(request.query.get("reconnect", ""))
        session = Session(str(uuid.uuid4()), socket, request.transport, successor_of=old)
        if self.welcomes_withheld:
            self.welcomes_withheld -= 1
        else:
            delay_s, self.welcome_delay_s = self.welcome_delay_s, 0.0  # of the next welcome alone
            await asyncio.sleep(delay_s)
            self.sessions[session.id] = session
            await self._welcome(session, old)
        with contextlib.suppress(ConnectionError):
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.close(code=4001, message=b"sent inbound traffic")
        if session.keepalive:
            session.keepalive.cancel()
        return socket

    async def _welcome(self, session: Session, old: Session | None) -> None:
        if old is not None:
            session.user_id = old.user_id
            for made in self.subscriptions.values():
                if made.transport.get("session_id") == old.id:
                    made.transport["session_id"] = session.id
            for conduit in self.conduits.values():
                for number, session_id in conduit["shards"].items():
                    if session_id == old.id:
                        conduit["shards"][number] = session.id
        session.welcomed_at = time.monotonic()
        described = {
            "id": session.id,
            "status": "connected",
            "connected_at": rfc3339(),
            "keepalive_timeout_seconds": self.keepalive_s,
            "reconnect_url": None,
        }
        await self.send(session, "session_welcome", {"session": described})
        session.keepalive = self._spawn(self._keep_alive(session))

    async def _keep_alive(self, session: Session) -> None:
        """Keepalives where nothing else was sent, and Twitch's deadline for the first subscription."""
        while session.open:
            await asyncio.sleep(min(self.keepalive_s, self.subscribe_within_s) / 4)
            idle = time.monotonic() - session.welcomed_at > self.subscribe_within_s
            if idle and session.user_id is None:
                await session.socket.close(code=4003, message=b"connection unused")
                return
            if time.monotonic() - session.last_sent >= self.keepalive_s / 2 and not session.silent:
                await self.send(session, "session_keepalive", {})

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def send(self, session: Session, kind: str, payload: dict[str, Any], **metadata: Any) -> bool:
        """One frame; False when the socket is gone or (a zombie) says nothing any more."""
        if session.silent or not session.open:
            return False
        frame = {
            "metadata": {
                "message_id": str(uuid.uuid4()),
                "message_type": kind,
                "message_timestamp": rfc3339(),
                **metadata,
            },
            "payload": payload,
        }
        try:
            await session.socket.send_str(json.dumps(frame))
        except (ConnectionError, RuntimeError):
            return False
        session.last_sent = time.monotonic()
        return True

    def _target(self, made: Subscription) -> Session | None:
        if made.transport["method"] == "websocket":
            return self.sessions.get(made.transport["session_id"])
        shards = self.conduits[made.transport["conduit_id"]]["shards"]
        attached = [self.sessions.get(session_id or "") for session_id in shards.values()]
        working = [session for session in attached if session and session.open]
        self._turn += 1
        return working[self._turn % len(working)] if working else None

    async def notify(self, kind: str, event: dict[str, Any], *, copies: int = 1, message_id: str | None = None) -> int:
        """Send an event to everyone subscribed to it, `copies` times with the same id; to how many it went out."""
        reached = 0
        for made in list(self.subscriptions.values()):
            wanted = made.condition.get("broadcaster_user_id") or made.condition.get("to_broadcaster_user_id")
            if made.type != kind or made.status != "enabled" or wanted != event["broadcaster_user_id"]:
                continue
            session = self._target(made)
            if session is None:
                continue
            metadata = {
                "message_id": message_id or str(uuid.uuid4()),
                "subscription_type": kind,
                "subscription_version": made.version,
            }
            payload = {"subscription": made.as_json(), "event": event}
            for copy in range(copies):
                delivered = await self.send(session, "notification", payload, **metadata)
                reached += delivered and copy == 0
        return reached

    async def chat(self, channel: str, login: str, text: str, *, copies: int = 1, **kwargs: Any) -> tuple[str, int]:
        """Somebody writes in a channel: over EventSub and IRC, with one id. Returns it, and how many sockets got it."""
        event = chat_message(self.user(channel), self.user(login), text, **kwargs)
        await self.irc.message(event)
        return event["message_id"], await self.notify("channel.chat.message", event, copies=copies)

    # --- faults of the websocket

    def later(self, seconds: float, work: Any) -> None:
        """Do something to a client after a while, unless the fake is gone by then."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await work

        self._spawn(wait()).add_done_callback(lambda _: work.close())

    def current(self) -> list[Session]:
        """The open sessions that somebody has subscribed on."""
        return [session for session in self.sessions.values() if session.open and session.user_id is not None]

    def abort(self, session: Session) -> None:
        """The connection is reset."""
        session.transport.abort()

    async def close(self, session: Session, code: int, message: str = "") -> None:
        await session.socket.close(code=code, message=message.encode())

    def silence(self, session: Session) -> None:
        """A zombie: the socket stays open and nothing comes any more."""
        session.silent = True

    async def ask_to_reconnect(self, session: Session, url: str | None = None) -> None:
        """`session_reconnect`; a `url` of one's own may lead nowhere."""
        described = {
            "id": session.id,
            "status": "reconnecting",
            "connected_at": rfc3339(),
            "keepalive_timeout_seconds": None,
            "reconnect_url": url or f"{self.websocket_url}?reconnect={session.id}",
        }
        await self.send(session, "session_reconnect", {"session": described})

    async def revoke(self, kind: str, status: str = "authorization_revoked") -> int:
        """Take every subscription of a type away, and say so."""
        gone = [made for made in self.subscriptions.values() if made.type == kind]
        for made in gone:
            made.status = status
            session = self._target(made)
            del self.subscriptions[made.id]
            if session is not None:
                payload = {"subscription": made.as_json()}
                await self.send(
                    session, "revocation", payload, subscription_type=kind, subscription_version=made.version
                )
        return len(gone)

    def lose_subscriptions(self) -> None:
        """Subscriptions vanish without a word."""
        self.subscriptions.clear()
