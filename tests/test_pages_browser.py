"""The pages in a real browser: hostile text stays text, typing works, the overlay forgets and comes back by itself."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.chat import MessageReceived
from bot.facts import Speaking
from bot.room import ROOM_CHANNEL, Person, Room
from bot.storyline import Happening
from bot.web.pages import Pages
from bot.web.site import assets, make_site, serve
from corpus.message import ChatMessage

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH"),
]

ROOT = Path(__file__).resolve().parent.parent
ANNA = Person("Anna")
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg onload=document.title='owned'>",
    "javascript:document.title='owned'",
    '"><b>bold</b>{{7*7}}${7*7}',
    "&lt;script&gt;&amp;nbsp;",
)


@dataclass
class Scene:
    """A room with its pages, which may be served, closed and served again on the same port."""

    room: Room
    pages: Pages
    port: int = 0

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        async with serve(make_site(self.pages, room=self.room), "127.0.0.1", self.port) as self.port:
            yield

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def companion_says(self, text: str, reply_to: str | None = None) -> ChatMessage:
        return self.room.post(self.room.companion, text, reply_to=reply_to)


@pytest.fixture
def scene() -> Scene:
    room = Room()
    pages = Pages(
        channel=ROOM_CHANNEL,
        companion="backchat",
        local=True,
        allow=lambda line: line,
        simulated=room.is_simulated,
        assets=assets(),
    )
    room.listen(pages.on_event)
    return Scene(room, pages)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    from playwright.async_api import async_playwright

    root = hasattr(os, "geteuid") and os.geteuid() == 0
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if root else [])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Any) -> AsyncIterator[Any]:
    """The browser with no page open."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


async def opened(browser: Any, url: str, **options: Any) -> Any:
    """A page whose console errors are collected in `page.complaints`."""
    page = await browser.new_page(**options)
    page.set_default_timeout(30_000)  # the first page of a cold browser on a busy machine takes its time
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
    await page.goto(url)
    return page


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1500):
        if await true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came true")


async def becomes_true(page: Any, expression: str) -> None:
    """Playwright's own wait needs `eval`, which our policy forbids."""
    await eventually(lambda: page.evaluate(expression))


async def connected(page: Any) -> None:
    await page.wait_for_selector("#connection.live")


async def test_hostile_text_is_shown_as_text_and_does_nothing(scene: Scene, browser: Any) -> None:
    async with scene.served():
        page = await opened(browser, scene.url())
        await connected(page)
        for text in HOSTILE:
            scene.room.post(ANNA, text)
            scene.companion_says(text)
        scene.pages.on_event(
            MessageReceived(
                ChatMessage("h1", ROOM_CHANNEL, "eve", HOSTILE[1], display_name="<i>Eve</i>", reply_to="h0")
            )
        )
        scene.pages.on_happening(Happening("cat", 0, 1, HOSTILE[1], {}))
        scene.pages.on_voice(Speaking("<b>gpt</b>", "<img src=x>", 1, 1, 1, "<b>"))
        scene.pages.on_training(run_events(sample="\n".join(HOSTILE)))
        await becomes_true(page, "document.querySelectorAll('.line').length >= 13")
        await becomes_true(page, "document.querySelector('#newest').textContent.includes('onerror')")
        texts = await page.locator(".line .words").all_text_contents()
        assert texts[: 2 * len(HOSTILE)] == [text for text in HOSTILE for _ in range(2)]
        assert await page.title() == "Backchat"
        assert (
            await page.evaluate(
                "document.querySelectorAll('.chat script, .chat b b, .log i, .log svg, img[src=\"x\"]').length"
            )
            == 0
        )
        assert page.complaints == []

        overlay = await opened(browser, scene.url("/overlay?panels=say,samples,loss,status&hold=0&lines=10"))
        await becomes_true(overlay, "document.querySelectorAll('.said').length >= 6")
        assert await overlay.locator(".said .words").all_text_contents() == list(HOSTILE)
        assert await overlay.title() == "Backchat overlay"
        assert await overlay.evaluate("document.querySelectorAll('.panel script, .panel img[src=\"x\"]').length") == 0
        assert overlay.complaints == []


async def test_somebody_can_talk_with_the_keyboard_alone(scene: Scene, browser: Any) -> None:
    async with scene.served():
        page = await opened(browser, scene.url())
        await connected(page)
        await page.keyboard.press("/")
        await page.keyboard.type("hello there bcSoup")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".line.human img.emote[alt=bcSoup]")
        assert [said.message.text for said in scene.room.recent] == ["hello there bcSoup"]
        assert await page.input_value("#text") == ""
        await page.keyboard.press("ArrowUp")
        assert await page.input_value("#text") == "hello there bcSoup"


async def test_a_refused_line_stays_in_the_box_and_the_page_says_why(scene: Scene, browser: Any) -> None:
    async with scene.served():
        page = await opened(browser, scene.url())
        await connected(page)
        await page.fill("#name", "backchat")
        await page.fill("#text", "I am the bot")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#refusal:not([hidden])")
        assert "somebody else" in await page.text_content("#refusal")
        assert await page.input_value("#text") == "I am the bot"
        assert scene.room.recent == []


async def test_deleting_on_the_page_takes_the_line_from_every_page(scene: Scene, browser: Any) -> None:
    async with scene.served():
        scene.room.post(ANNA, "please delete")
        kept = scene.companion_says("mine")
        page = await opened(browser, scene.url())
        overlay = await opened(browser, scene.url("/overlay?hold=0"))
        await page.wait_for_selector(f"[data-id='{kept.id}']")
        await overlay.wait_for_selector(".said")
        await page.hover("text=please delete")
        await page.locator(".line", has_text="please delete").get_by_text("Delete", exact=True).click()
        await page.wait_for_selector("text=please delete", state="detached")
        scene.room.delete(kept.id)
        await overlay.wait_for_selector(".said", state="detached")
        assert scene.room.recent == []


async def test_a_question_that_is_deleted_leaves_the_answers_that_repeat_it(scene: Scene, browser: Any) -> None:
    async with scene.served():
        page, overlay = await opened(browser, scene.url()), await opened(browser, scene.url("/overlay?hold=0"))
        first, second = scene.room.post(ANNA, "where do you live"), scene.room.post(Person("Ben"), "what is soup")
        for asked in (first, second):
            scene.companion_says(f"an answer to {asked.name}", reply_to=asked.id)
        await overlay.wait_for_selector(".asked >> text=Ben: what is soup")
        await page.wait_for_selector(".parent >> text=what is soup")
        scene.room.delete(first.id)
        scene.room.time_out("ben", 600)
        await overlay.wait_for_selector(".asked", state="detached")
        await page.wait_for_selector(".parent", state="detached")
        assert await overlay.locator(".said .words").all_text_contents() == ["an answer to Anna", "an answer to Ben"]


async def test_moderating_needs_no_mouse(scene: Scene, browser: Any) -> None:
    async with scene.served():
        for text in ("one", "two", "three"):
            scene.room.post(ANNA, text)
        page = await opened(browser, scene.url())
        await connected(page)
        await page.focus("#scroller")
        for key in ("ArrowUp", "ArrowUp", "d"):
            await page.keyboard.press(key)
        await page.wait_for_selector(".line >> text=two", state="detached")
        assert [said.message.text for said in scene.room.recent] == ["one", "three"]
        await page.keyboard.press("r")
        assert "Replying to Anna: one" in await page.text_content("#replying")
        await page.keyboard.type("yes")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".line.human .parent")
        assert scene.room.recent[-1].message.reply_to == scene.room.recent[0].message.id


async def test_a_banned_companion_or_a_cleared_room_leaves_nothing_on_the_overlay(scene: Scene, browser: Any) -> None:
    async with scene.served():
        overlay = await opened(browser, scene.url("/overlay?hold=0"))
        scene.companion_says("one")
        await overlay.wait_for_selector(".said")
        scene.room.time_out("backchat", 1)
        await overlay.wait_for_selector(".said", state="detached")
        scene.room.forgive("backchat")
        scene.companion_says("two")
        await overlay.wait_for_selector(".said")
        scene.room.clear()
        await overlay.wait_for_selector(".said", state="detached")


async def test_pages_come_back_by_themselves_after_a_restart(scene: Scene, browser: Any) -> None:
    async with AsyncExitStack() as first:
        await first.enter_async_context(scene.served())
        page = await opened(browser, scene.url())
        overlay = await opened(browser, scene.url("/overlay?hold=0"))
        await connected(page)
        scene.companion_says("before")
        await overlay.wait_for_selector(".said")
    await page.wait_for_selector("#connection.lost")
    async with scene.served():
        await connected(page)
        scene.companion_says("after")
        await overlay.wait_for_selector(".said >> text=after")
        assert await overlay.locator(".said .words").all_text_contents() == ["before", "after"]


async def test_pages_made_from_older_files_reload_themselves(scene: Scene, browser: Any) -> None:
    async with AsyncExitStack() as first:
        await first.enter_async_context(scene.served())
        overlay = await opened(browser, scene.url("/overlay"))
        await overlay.evaluate("window.old = true")
        await eventually(lambda: asyncio.sleep(0, len(scene.pages.feed) == 1))
    scene.pages._assets = "newer"
    async with scene.served():
        await overlay.wait_for_event("load")
        assert await overlay.evaluate("window.old") is None


async def test_the_overlay_appears_although_obs_started_first(scene: Scene, browser: Any, tmp_path: Path) -> None:
    async with scene.served():
        pass  # a port is chosen, and nobody listens on it
    loader = (ROOT / "docs" / "overlay-loader.html").as_uri()
    page = await opened(browser, f"{loader}?address={scene.url('').rstrip('/')}&panels=say&hold=0")
    await asyncio.sleep(0.3)
    assert page.url.startswith("file:")
    async with scene.served():
        scene.companion_says("here I am")
        await page.wait_for_selector(".said >> text=here I am")


async def test_obs_custom_css_reaches_the_overlay_and_inline_script_does_not(scene: Scene, browser: Any) -> None:
    async with scene.served():
        scene.companion_says("hello")
        overlay = await opened(browser, scene.url("/overlay?hold=0"))
        await overlay.wait_for_selector(".said")
        # This is how OBS's browser source puts a streamer's custom CSS into a page.
        await overlay.evaluate(
            "const css = document.createElement('style'); css.innerHTML = ':root { --bc-accent: rgb(1, 2, 3) }';"
            "document.querySelector('head').appendChild(css)"
        )
        assert await overlay.evaluate("getComputedStyle(document.querySelector('.said .name')).color") == "rgb(1, 2, 3)"
        await overlay.evaluate(
            "const script = document.createElement('script'); script.textContent = 'window.owned = true';"
            "document.head.appendChild(script)"
        )
        assert await overlay.evaluate("window.owned") is None
        assert await overlay.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"


async def test_a_mistake_in_the_overlays_address_is_readable_in_obs(scene: Scene, browser: Any) -> None:
    async with scene.served():
        overlay = await opened(browser, scene.url("/overlay?panels=chat"))
        assert "choose from say, loss" in await overlay.text_content("body")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_sticks_out_at_any_width(scene: Scene, browser: Any, width: int) -> None:
    async with scene.served():
        scene.room.post(ANNA, "w" * 300)
        scene.companion_says("u" * 200)
        scene.pages.on_training(run_events(sample="x" * 200))
        for path in ("/", "/control"):
            page = await opened(browser, scene.url(path), viewport={"width": width, "height": 700})
            await connected(page)
            for view in ("chat", "brain"):
                await page.evaluate(f"document.body.dataset.view = '{view}'")
                assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, view)
            assert page.complaints == []


async def test_who_asks_for_less_motion_gets_none(scene: Scene, browser: Any) -> None:
    async with scene.served():
        scene.companion_says("hello")
        for path, line in (("/", ".line"), ("/overlay?hold=0", ".said")):
            page = await opened(browser, scene.url(path), reduced_motion="reduce")
            await page.wait_for_selector(line)
            assert await page.evaluate(f"getComputedStyle(document.querySelector('{line}')).animationName") == "none"
        page = await opened(browser, scene.url("/overlay?hold=0&motion=off"))
        await page.wait_for_selector(".said")
        assert await page.evaluate("getComputedStyle(document.querySelector('.said')).animationName") == "none"


async def test_text_has_enough_contrast_to_be_read(scene: Scene, browser: Any) -> None:
    async with scene.served():
        for number in range(60):
            scene.room.post(Person(f"viewer{number}"), f"line {number} of backchat")
        scene.companion_says("hello")
        scene.pages.on_training(run_events())
        page = await opened(browser, scene.url(), reduced_motion="reduce")
        await page.wait_for_selector(".line.own")
        assert await page.evaluate(CONTRAST) == []


# Every visible text whose contrast with what lies behind it (translucent layers flattened) is below WCAG's 4.5.
CONTRAST = r"""() => {
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, under) => top.slice(0, 3).map((value, at) => value * top[3] + under[at] * (1 - top[3]));
  const linear = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(parse(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [13, 15, 21]);
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !node.getClientRects().length || node.closest('svg, [hidden]')) continue;
    const under = behind(node);
    const front = over(parse(getComputedStyle(node).color), under);
    const [low, high] = [light(front), light(under)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) bad.push(`${node.className || node.tagName}: ${text.slice(0, 30)} ${contrast.toFixed(2)}`);
  }
  return bad;
}"""


async def test_the_loss_falls_where_everyone_can_see_it(scene: Scene, browser: Any) -> None:
    async with scene.served():
        page = await opened(browser, scene.url())
        await connected(page)
        assert await page.is_visible("#empty")
        scene.pages.on_training(run_events())
        await page.wait_for_selector("#chart .curve.gpt")
        assert await page.text_content("#loss") == "3.50"
        assert "from 7.00, down 3.50" in await page.text_content("#fall")
        assert "Training: step 400 of 1,000" in await page.text_content("#now")
        assert await page.text_content("#first") == "qzx wv"
        await page.click("[data-unit=bits]")
        assert await page.text_content("#loss") == "1.75"


def run_events(sample: str = "the soup is good") -> list[dict[str, Any]]:
    def evaluation(step: int, nats: float, sample: str) -> dict[str, Any]:
        losses = {
            name: {"nats_per_token": value, "bits_per_character": value / 2, "unseen_bits_per_character": None}
            for name, value in (("gpt", nats), ("ngram", 4.0))
        }
        return {"event": "evaluation", "step": step, "time_ms": step, "seconds": 1, "losses": losses, "sample": sample}

    started = {
        "event": "run_started",
        "run": "r",
        "time_ms": 1,
        "device": "cpu",
        "parameters": 1000,
        "vocab_size": 512,
        "train_messages": 100,
        "validation_messages": 20,
        "train_tokens": 900,
        "planned_steps": 1000,
    }
    step = {"event": "step", "step": 400, "time_ms": 2, "train_nats_per_token": 3.4, "tokens_per_second": 1.0}
    return [started, evaluation(0, 7.0, "qzx wv"), evaluation(200, 4.5, "the the"), step, evaluation(400, 3.5, sample)]
