"""The web server of the room, overlay and control pages: static files, one websocket of news, a few JSON actions.

`make_site` builds the application and `serve` runs it; what the pages show is `Pages`, what they may do is handed in.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import WSCloseCode, web

from bot.overlay import overlay_page
from bot.room import Room
from bot.room_commands import LONGEST_S, command
from bot.web.access import Access, dress, guard
from bot.web.feed import frame
from bot.web.pages import Pages
from corpus.errors import BackchatError, ChatError

STATIC = Path(__file__).parent / "static"
BEAT_S = 10.0
STALLED_S = 20.0
MOST_BODY_BYTES = 8 * 1024
MOST_PAGES = 200

Body = Mapping[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ActionRefusedError(ChatError):
    """What a page asked for cannot be done; its sentence is shown there."""


class Controls(Protocol):
    """What the control page may do. Every call ends with the new state handed to `Pages.on_control`.

    Each may raise a `BackchatError` whose sentence the page shows.
    """

    async def mute(self, seconds: int | None) -> None:
        """Silence the companion, for `seconds` or (None) until unmuted."""

    async def unmute(self) -> None: ...

    async def judge(self, number: int, approve: bool) -> None:
        """Say or drop one line of the shadow queue."""

    async def go_live(self) -> None:
        """End shadow mode."""


def assets() -> str:
    """A fingerprint of all static files: an open page that was made from others reloads itself."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(STATIC).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def make_site(
    pages: Pages,
    *,
    access: Access | None = None,
    room: Room | None = None,
    pause_audience: Callable[[bool], None] | None = None,
    controls: Controls | None = None,
    streamer_roles: bool = True,
) -> web.Application:
    """The application. Without `room` (on Twitch) nobody can type; without `controls` nothing can be muted here."""
    access = access or Access()
    app = web.Application(middlewares=[guard(access)], client_max_size=MOST_BODY_BYTES)
    app.on_response_prepare.append(dress(access))
    sockets: set[web.WebSocketResponse] = set()
    template = (STATIC / "overlay.html").read_text(encoding="utf-8")

    async def live(request: web.Request) -> web.WebSocketResponse:
        if len(sockets) >= MOST_PAGES:
            raise web.HTTPServiceUnavailable(text="Too many pages are open.\n")
        socket = web.WebSocketResponse(heartbeat=BEAT_S * 2, max_msg_size=1024, compress=False)
        await socket.prepare(request)
        sockets.add(socket)
        follower = pages.feed.follow()
        sending = asyncio.create_task(send(socket, follower.next, request.transport))
        try:
            async for _ in socket:
                pass  # a page has nothing to tell here; this notices that it has gone
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            pages.feed.leave(follower)
            sockets.discard(socket)
        return socket

    async def hang_up(_: web.Application) -> None:
        for socket in tuple(sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"restarting")

    async def say(body: Body) -> None:
        here = the_room()
        person = here.guest(text_of(body, "name"), frozenset({"broadcaster"}) if streamer_roles else frozenset())
        text, reply_to = text_of(body, "text"), body.get("reply_to")
        if not (streamer_roles and command(here, text.strip())):
            here.post(person, text, reply_to=reply_to if isinstance(reply_to, str) else None)

    async def moderate(body: Body) -> None:
        here = the_room()
        match text_of(body, "action"):
            case "delete":
                if not here.delete(text_of(body, "id")):
                    raise ActionRefusedError("that message is already gone")
            case "timeout":
                here.time_out(text_of(body, "login"), seconds_of(body))
            case "forgive":
                here.forgive(text_of(body, "login"))
            case "clear":
                here.clear()
            case other:
                raise ActionRefusedError(f"a moderator cannot {other!r}; choose delete, timeout, forgive or clear")

    async def audience(body: Body) -> None:
        if pause_audience is None:
            raise ActionRefusedError("there is no simulated audience; set [room] audience = true")
        pause_audience(body.get("paused") is True)

    async def control(body: Body) -> None:
        if controls is None:
            raise ActionRefusedError("the companion cannot be controlled from here yet; stop `backchat run` instead")
        match text_of(body, "action"):
            case "mute":
                await controls.mute(seconds_of(body))
            case "unmute":
                await controls.unmute()
            case "approve" | "reject" as verdict:
                await controls.judge(number_of(body, "number"), verdict == "approve")
            case "go-live":
                await controls.go_live()
            case other:
                raise ActionRefusedError(f"{other!r} is no control; choose mute, unmute, approve, reject or go-live")

    def the_room() -> Room:
        if room is None:
            raise ActionRefusedError("this page follows a Twitch channel; write in the channel itself")
        return room

    async def overlay(request: web.Request) -> web.Response:
        page = overlay_page(template, request.query)
        return web.Response(text=page, content_type="text/html")

    async def everything(_: web.Request) -> web.Response:
        return web.json_response(pages.everything())

    app.router.add_get("/", page("room.html"))
    app.router.add_get("/overlay", overlay)
    app.router.add_get("/control", page("control.html"))
    app.router.add_get("/live", live)
    app.router.add_get("/api/everything", everything)
    for name, action in {"say": say, "moderate": moderate, "audience": audience, "control": control}.items():
        app.router.add_post(f"/api/{name}", answering(action))
    app.router.add_static("/static/", STATIC)
    app.on_shutdown.append(hang_up)
    return app


@contextlib.asynccontextmanager
async def serve(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port, which the system chose where 0 was asked for. Raises `ChatError`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ChatError(
                f"the pages cannot be served on {host}:{port} ({error.strerror}); "
                "stop what uses that port or set another [web] port"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def send(
    socket: web.WebSocketResponse,
    frames: Callable[[], Awaitable[list[str]]],
    transport: asyncio.Transport | None,
) -> None:
    """Send frames for as long as the page takes them; one that stalls is dropped and will come back by itself."""
    try:
        while not socket.closed:
            try:
                async with asyncio.timeout(BEAT_S):
                    batch = await frames()
            except TimeoutError:
                batch = [frame("beat", {})]
            async with asyncio.timeout(STALLED_S):
                for text in batch:
                    await socket.send_str(text)
    except TimeoutError:
        if transport is not None:
            transport.abort()
    except ConnectionError:
        pass  # the page has gone; the reading side notices too


def page(name: str) -> Handler:
    async def read(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / name)

    return read


def answering(action: Callable[[Body], Awaitable[None]]) -> Handler:
    """An action as a handler: JSON in, `{}` or `{"error": sentence}` out."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return web.json_response({"error": "send JSON"}, status=415)
        try:
            body = await request.json()
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            return web.json_response({"error": "that is not JSON"}, status=400)
        if not isinstance(body, dict):
            return web.json_response({"error": "send a JSON object"}, status=400)
        try:
            await action(body)
        except BackchatError as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.json_response({})

    return answer


def text_of(body: Body, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise ActionRefusedError(f"{key} must be a text")
    return value


def number_of(body: Body, key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ActionRefusedError(f"{key} must be a whole number")
    return value


def seconds_of(body: Body) -> int | None:
    """How long something lasts; None where it has no end."""
    if body.get("seconds") is None:
        return None
    seconds = number_of(body, "seconds")
    if not 1 <= seconds <= LONGEST_S:
        raise ActionRefusedError(f"seconds must be between 1 and {LONGEST_S}")
    return seconds
