"""The pages' server: who may talk to it, what it pushes, how little a page that stops reading costs."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.chat import MessageReceived, Raided, RoomCleared
from bot.facts import Speaking
from bot.room import EMOTES, ROOM_CHANNEL, Person, Room
from bot.web.access import Access, token_for
from bot.web.curve import POINTS, RunView
from bot.web.feed import Feed
from bot.web.pages import LINES_KEPT, Pages
from bot.web.site import STATIC, assets, make_site, serve
from corpus.errors import BackchatError, ChatError
from corpus.message import ChatMessage

ANNA = Person("Anna")


@dataclass
class Served:
    """A running server with a room behind it, and a browser-like client."""

    room: Room
    pages: Pages
    port: int
    http: aiohttp.ClientSession
    paused: list[bool] = field(default_factory=list)
    controlled: list[Any] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.http.post(self.url(path), json=body, headers=headers) as answer:
            if answer.content_type != "application/json":
                return answer.status, {}
            return answer.status, await answer.json()

    @asynccontextmanager
    async def live(self, **headers: str) -> AsyncIterator["Page"]:
        async with self.http.ws_connect(self.url("/live"), headers=headers) as live:
            yield Page(live)


class Page:
    def __init__(self, live: aiohttp.ClientWebSocketResponse) -> None:
        self.live = live

    async def next(self, kind: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = await self.live.receive_json(timeout=5)
            if frame["kind"] == kind:
                return frame


class RecordingControls:
    """What the control page asked for."""

    def __init__(self, asked: list[Any]) -> None:
        self.asked = asked

    async def mute(self, seconds: int | None) -> None:
        self.asked.append(("mute", seconds))

    async def unmute(self) -> None:
        self.asked.append("unmute")

    async def judge(self, number: int, approve: bool) -> None:
        if number == 404:
            raise BackchatError("there is no line 404 in the queue")
        self.asked.append((number, approve))

    async def go_live(self) -> None:
        self.asked.append("go live")


@asynccontextmanager
async def running(access: Access | None = None, local: bool = True) -> AsyncIterator[Served]:
    room = Room()
    pages = Pages(
        channel=ROOM_CHANNEL,
        companion="backchat",
        local=local,
        allow=lambda line: None if "forbidden" in line else line,
        simulated=room.is_simulated,
        assets=assets(),
    )
    room.listen(pages.on_event)
    paused: list[bool] = []
    asked: list[Any] = []
    app = make_site(
        pages,
        access=access,
        room=room if local else None,
        pause_audience=paused.append if local else None,
        controls=RecordingControls(asked) if local else None,
    )
    async with serve(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as http:
        yield Served(room, pages, port, http, paused, asked)


@pytest.fixture
async def site() -> AsyncIterator[Served]:
    async with running() as served:
        yield served


# Who may talk to it


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "192.168.0.7"])
async def test_a_name_that_somebody_else_points_here_gets_no_answer(site: Served, host: str) -> None:
    for path in ("/", "/live", "/api/everything"):
        async with site.http.get(site.url(path), headers={"Host": host}) as answer:
            assert answer.status in (400, 421)
            assert "kind" not in await answer.text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_sites_page_can_neither_act_nor_listen(site: Served, headers: dict[str, str]) -> None:
    for name, body in {
        "say": {"name": "eve", "text": "hi"},
        "moderate": {"action": "clear"},
        "audience": {"paused": True},
        "control": {"action": "mute"},
    }.items():
        status, _ = await site.post(f"/api/{name}", body, **headers)
        assert status == 403
    assert site.room.recent == [] and site.paused == [] and site.controlled == []
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with site.live(**headers):
            pass
    assert refused.value.status == 403


@pytest.mark.parametrize("header", [b"Authorization: Bearer \xff\xfe", b"Cookie: backchat_token=\xff", b"Host: \xff"])
async def test_bytes_that_are_no_text_are_refused_like_any_wrong_token(header: bytes) -> None:
    async with running(Access("0.0.0.0", "secret")) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        host = b"" if header.startswith(b"Host") else b"Host: 127.0.0.1\r\n"
        writer.write(b"GET /control HTTP/1.1\r\n" + host + header + b"\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert int(answer.split()[1]) in (400, 401, 421)


async def test_a_form_of_another_site_cannot_pass_for_json(site: Served) -> None:
    text = json.dumps({"name": "eve", "text": "hi"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with site.http.post(site.url("/api/say"), data=text, headers={"Content-Type": kind}) as answer:
            assert answer.status == 415
    assert site.room.recent == []


@pytest.mark.parametrize(
    "path", ["/static/../site.py", "/static/%2e%2e/site.py", "/static/..%2fsite.py", "/static//etc/passwd"]
)
async def test_no_path_leads_out_of_the_static_files(site: Served, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] in (b"403", b"404")
    assert b"make_site" not in answer


async def test_every_answer_forbids_foreign_and_inline_script(site: Served) -> None:
    for path in ("/", "/overlay", "/control", "/static/room.js", "/nowhere"):
        async with site.http.get(site.url(path)) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "script-src 'self';" in policy
            assert ("'unsafe-inline'" in policy) == (path == "/overlay")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_page_has_inline_script_or_loads_anything_from_elsewhere() -> None:
    for file in STATIC.rglob("*"):
        if file.suffix in (".html", ".css", ".js"):
            text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "https://" not in text and "http://" not in text, file.name
            assert "innerHTML" not in text and "insertAdjacentHTML" not in text and " onclick=" not in text, file.name


async def test_beyond_loopback_everything_asks_for_the_token() -> None:
    async with running(Access("0.0.0.0", "s3cret")) as site:
        for path in ("/", "/static/room.js", "/api/everything", "/live"):
            async with site.http.get(site.url(path)) as answer:
                assert answer.status == 401
        assert (await site.post("/api/say", {"name": "eve", "text": "hi"}))[0] == 401
        status, _ = await site.post("/api/say", {"name": "anna", "text": "hi"}, Authorization="Bearer s3cret")
        assert status == 200
        async with site.http.get(site.url("/?token=s3cret")) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert answer.status == 200 and "HttpOnly" in cookie and "SameSite=Strict" in cookie
        async with site.http.get(site.url("/?token=S3cret")) as answer:
            assert answer.status == 401
        assert "s3cret" not in repr(Access("0.0.0.0", "s3cret"))


def test_the_token_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "data" / "web-token"
    assert token_for("127.0.0.1", file) is None and token_for("localhost", file) is None
    assert not file.exists()
    token = token_for("0.0.0.0", file)
    assert token is not None and len(token) >= 30
    assert token_for("192.168.0.2", file) == token
    assert file.stat().st_mode & 0o077 == 0


async def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = make_site(Pages(channel="x", companion="b", local=True, allow=str))
        with pytest.raises(ChatError, match=rf"127\.0\.0\.1:{port} .*\[web\] port"):
            async with serve(app, "127.0.0.1", port):
                pass


# What it does


async def test_what_is_typed_on_the_page_is_said_in_the_room_as_the_host(site: Served) -> None:
    assert await site.post("/api/say", {"name": "Streamer", "text": "hello"}) == (200, {})
    (said,) = site.room.recent
    assert said.message.text == "hello" and said.roles == {"broadcaster"}
    await site.post("/api/say", {"name": "Streamer", "text": "again", "reply_to": said.message.id})
    assert site.room.recent[-1].message.reply_to == said.message.id


async def test_a_moderation_command_is_done_and_not_said(site: Served) -> None:
    site.room.post(ANNA, "one")
    assert await site.post("/api/say", {"name": "Streamer", "text": " /timeout Anna 60"}) == (200, {})
    assert site.room.recent == []
    status, answer = await site.post("/api/say", {"name": "Streamer", "text": "/dance"})
    assert status == 409 and "/dance is not a command" in answer["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "backchat", "text": "I am the bot"}, "somebody else"),
        ({"name": "a b", "text": "hi"}, "letters, digits"),
        ({"name": "anna", "text": " "}, "empty"),
        ({"name": "anna", "text": "x" * 501}, "500"),
        ({"name": "anna"}, "text must be a text"),
        ({"name": ["anna"], "text": "hi"}, "name must be a text"),
    ],
)
async def test_what_cannot_be_said_is_refused_in_a_sentence(site: Served, body: dict[str, Any], words: str) -> None:
    status, answer = await site.post("/api/say", body)
    assert status == 409 and words in answer["error"]
    assert site.room.recent == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 5000, b'"x"', b"\xff"])
async def test_what_is_no_json_object_is_refused(site: Served, body: bytes) -> None:
    async with site.http.post(site.url("/api/say"), data=body, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 400


async def test_a_huge_body_is_not_read(site: Served) -> None:
    async with site.http.post(site.url("/api/say"), json={"name": "anna", "text": "x" * 100_000}) as answer:
        assert answer.status == 413


async def test_moderation_from_the_page_takes_messages_away_everywhere(site: Served) -> None:
    first, second = site.room.post(ANNA, "one"), site.room.post(Person("Bert"), "two")
    async with site.live() as page:
        assert [line["text"] for line in (await page.next("everything"))["lines"]] == ["one", "two"]
        await site.post("/api/moderate", {"action": "delete", "id": first.id})
        assert (await page.next("removed"))["id"] == first.id
        await site.post("/api/moderate", {"action": "timeout", "login": "Bert", "seconds": 60})
        assert (await page.next("removed"))["login"] == "bert"
        await site.post("/api/moderate", {"action": "clear"})
        await page.next("cleared")
    assert site.pages.everything()["lines"] == []
    assert (await site.post("/api/moderate", {"action": "delete", "id": second.id}))[0] == 409
    assert (await site.post("/api/moderate", {"action": "timeout", "login": "x", "seconds": -1}))[0] == 409
    assert (await site.post("/api/moderate", {"action": "explode"}))[0] == 409


async def test_the_audience_can_be_paused(site: Served) -> None:
    await site.post("/api/audience", {"paused": True})
    await site.post("/api/audience", {"paused": False})
    assert site.paused == [True, False]


async def test_the_control_page_mutes_judges_and_goes_live(site: Served) -> None:
    for body in (
        {"action": "mute", "seconds": 600},
        {"action": "mute", "seconds": None},
        {"action": "unmute"},
        {"action": "approve", "number": 12},
        {"action": "reject", "number": 13},
        {"action": "go-live"},
    ):
        assert await site.post("/api/control", body) == (200, {})
    assert site.controlled == [("mute", 600), ("mute", None), "unmute", (12, True), (13, False), "go live"]
    for wrong in ({"action": "shout"}, {"action": "approve", "number": True}, {"action": "approve", "number": 404}):
        assert (await site.post("/api/control", wrong))[0] == 409


async def test_on_twitch_nobody_types_here_and_nothing_pretends_otherwise() -> None:
    async with running(local=False) as site:
        status, answer = await site.post("/api/say", {"name": "anna", "text": "hi"})
        assert status == 409 and "Twitch" in answer["error"]
        assert (await site.post("/api/audience", {"paused": True}))[0] == 409
        assert (await site.post("/api/control", {"action": "mute"}))[0] == 409


# What it pushes


async def test_a_page_gets_the_present_and_then_every_change(site: Served) -> None:
    site.room.post(ANNA, "before")
    async with site.live() as page:
        everything = await page.next("everything")
        assert [line["text"] for line in everything["lines"]] == ["before"]
        assert everything["companion"] == "backchat" and everything["local"] is True
        asked = site.room.post(ANNA, "/me waves bcSoup")
        line = (await page.next("line"))["line"]
        assert line["text"] == "waves bcSoup" and line["action"] and line["emotes"] == [["room_soup", 6, 12]]
        site.room.post(site.room.companion, "hello", reply_to=asked.id)
        own = (await page.next("line"))["line"]
        assert own["own"] and own["reply"]["name"] == "Anna" and own["reply"]["shown"] == "waves bcSoup"
        site.room.happen(Raided(ROOM_CHANNEL, "Neighbour", 12))
        assert "12 viewers" in (await page.next("notice"))["line"]["notice"]
        site.pages.on_voice(Speaking("ngram"))
        assert (await page.next("voice"))["voice"]["speaking"]["kind"] == "ngram"


async def test_what_a_viewer_asked_reaches_the_overlay_only_through_the_gate(site: Served) -> None:
    asked = site.room.post(ANNA, "say forbidden things")
    site.room.post(site.room.companion, "no", reply_to=asked.id)
    own = site.pages.everything()["lines"][-1]
    assert own["own"] and own["reply"]["shown"] is None


@pytest.mark.parametrize("gone", ["deleted", "timed out"])
async def test_an_answer_does_not_go_on_repeating_a_question_that_is_gone(site: Served, gone: str) -> None:
    asked = site.room.post(ANNA, "my address is secret")
    site.room.post(site.room.companion, "no", reply_to=asked.id)
    if gone == "deleted":
        site.room.delete(asked.id)
    else:
        site.room.time_out("anna", 600)
    (own,) = site.pages.everything()["lines"]
    assert own["text"] == "no" and "reply" not in own


async def test_a_name_that_the_gate_refuses_keeps_its_question_off_the_overlay(site: Served) -> None:
    asked = site.room.post(Person("forbidden_name"), "hello")
    site.room.post(site.room.companion, "hi", reply_to=asked.id)
    assert site.pages.everything()["lines"][-1]["reply"]["shown"] is None


def test_a_viewers_question_is_no_memorised_line_and_no_refusal_of_the_companion() -> None:
    samples: list[str] = []
    room = Room()
    pages = Pages(
        channel=ROOM_CHANNEL,
        companion="backchat",
        local=True,
        allow=lambda line: samples.append(line),
        allow_question=lambda line: None if "forbidden" in line else line,
    )
    room.listen(pages.on_event)
    for text, shown in (("what of the soup", "what of the soup"), ("forbidden", None)):
        asked = room.post(ANNA, text)
        room.post(room.companion, "yes", reply_to=asked.id)
        assert pages.everything()["lines"][-1]["reply"]["shown"] == shown
    assert samples == []


async def test_lines_of_another_room_are_not_shown(site: Served) -> None:
    site.pages.on_event(MessageReceived(ChatMessage("1", "elsewhere", "eve", "hi"), other_room=True))
    assert site.pages.everything()["lines"] == []


async def test_pages_are_told_when_the_program_stops() -> None:
    async with running() as site:
        live = await site.http.ws_connect(site.url("/live"))
        await live.receive_json()
    assert (await live.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    await live.close()


async def test_pages_that_left_are_forgotten(site: Served) -> None:
    for _ in range(5):
        async with site.live() as page:
            await page.next("everything")
            assert len(site.pages.feed) == 1
        await eventually(lambda: len(site.pages.feed) == 0)


# What it costs


async def test_a_page_that_falls_behind_is_given_the_present_instead_of_a_backlog() -> None:
    feed = Feed(lambda: {"lines": ["the present"]}, waiting=10)
    slow, quick = feed.follow(), feed.follow()
    assert json.loads((await slow.next())[0])["kind"] == "everything"
    await quick.next()
    for number in range(1000):
        feed.news("line", {"number": number})
        feed.fact("training", {"step": number})
        assert slow.waiting <= 11
        frames = [json.loads(text) for text in await quick.next()]
        assert [frame["kind"] for frame in frames] == ["line", "training"]
    assert [json.loads(text) for text in await slow.next()] == [{"kind": "everything", "lines": ["the present"]}]


async def test_of_a_fact_only_the_newest_is_sent() -> None:
    feed = Feed(dict)
    page = feed.follow()
    await page.next()
    for step in range(50):
        feed.fact("training", {"step": step})
    assert [json.loads(text) for text in await page.next()] == [{"kind": "training", "step": 49}]


async def test_a_page_that_stops_reading_does_not_grow_memory(site: Served) -> None:
    raw = socket.create_connection(("127.0.0.1", site.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.sendall(
        b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        await eventually(lambda: len(site.pages.feed) == 1)
        (follower,) = site.pages.feed._followers
        for number in range(30_000):
            site.room.post(ANNA, f"{number} " + "x" * 400)
            assert follower.waiting <= 210
            if number % 500 == 0:
                await asyncio.sleep(0)
        assert len(site.pages.everything()["lines"]) == LINES_KEPT
    finally:
        raw.close()


async def eventually(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


# The training run


def evaluation(step: int, nats: float, sample: str = "hi", best: bool = False) -> dict[str, Any]:
    loss = {"nats_per_token": nats, "bits_per_character": nats / 2, "unseen_bits_per_character": None}
    return {
        "event": "evaluation",
        "step": step,
        "time_ms": step,
        "seconds": 1,
        "losses": {"gpt": loss},
        "sample": sample,
        "best": best,
    }


def started(run: str = "a", planned: int = 1000) -> dict[str, Any]:
    return {
        "event": "run_started",
        "run": run,
        "time_ms": 1,
        "device": "cpu",
        "parameters": 10,
        "vocab_size": 5,
        "train_messages": 3,
        "validation_messages": 1,
        "train_tokens": 9,
        "planned_steps": planned,
        "plan": "",
    }


def step_taken(step: int) -> dict[str, Any]:
    return {
        "event": "step",
        "step": step,
        "time_ms": step,
        "train_nats_per_token": 1.5,
        "learning_rate_share": 1.0,
        "tokens_per_second": 5.0,
    }


def test_the_untrained_sample_stays_beside_the_newest() -> None:
    view = RunView(lambda line: line)
    for event in (started(), evaluation(0, 7.0, "qzx"), evaluation(100, 4.0, "hello\nthere"), step_taken(120)):
        view.read(event)
    assert view.body["first"] == {"step": 0, "lines": ["qzx"]}
    assert view.body["newest"] == {"step": 100, "lines": ["hello", "there"]}
    assert view.body["step"] == 120


def test_a_sample_that_the_gate_refuses_is_never_shown() -> None:
    view = RunView(lambda line: None if "forbidden" in line else line)
    view.read(started())
    view.read(evaluation(0, 7.0, "fine\nforbidden words"))
    assert view.body["first"]["lines"] == ["fine", "—"]


def test_a_long_run_stays_small_and_keeps_its_first_and_last_point() -> None:
    view = RunView(lambda line: line)
    view.read(started(planned=10**6))
    for step in range(20_000):
        view.read(step_taken(step))
        view.read(evaluation(step, 5.0))
    points = view.body["losses"]["gpt"]
    assert len(view.body["train"]) <= POINTS + 1 and len(points) <= POINTS + 1
    assert points[0][0] == 0 and points[-1][0] == 19_999
    assert len(json.dumps(view.body)) < 40_000


def test_a_new_run_starts_a_new_curve_and_remembers_the_best_before() -> None:
    view = RunView(lambda line: line)
    for event in (started("a"), evaluation(0, 7.0), evaluation(10, 3.0, best=True), started("b"), evaluation(0, 6.0)):
        view.read(event)
    assert view.body["run"] == "b" and len(view.body["losses"]["gpt"]) == 1
    assert view.body["before"]["losses"]["gpt"]["nats_per_token"] == 3.0


def test_events_of_another_version_are_passed_over() -> None:
    view = RunView(lambda line: line)
    assert not view.read(evaluation(0, 1.0)), "before any run there is nothing to add to"
    view.read(started())
    for odd in ({"event": "fireworks"}, {"event": "step"}, {"event": "evaluation", "step": None}, {"event": "read"}):
        assert not view.read(odd)


async def test_clearing_the_room_clears_the_pages(site: Served) -> None:
    site.room.post(ANNA, "one")
    site.pages.on_event(RoomCleared(ROOM_CHANNEL))
    assert site.pages.everything()["lines"] == []


def test_all_emotes_of_the_room_have_a_picture() -> None:
    for emote in EMOTES.values():
        assert (STATIC / "emotes" / f"{emote}.svg").read_text(encoding="utf-8").startswith("<svg")
