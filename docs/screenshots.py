"""Makes the pictures of docs/images from a real, fresh `backchat run` with nobody but the simulated audience in it.

    .venv/bin/python docs/screenshots.py [folder]

Needs Chromium on the PATH and the test requirements. Takes a minute or two: the model in the pictures is trained
meanwhile.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 240


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def backchat() -> Iterator[str]:
    """`backchat run` in an empty folder; gives the address of its pages."""
    web, irc = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.toml"
        config.write_text(f"[web]\nport = {web}\n[room]\nirc_port = {irc}\n", encoding="utf-8")
        command = [sys.executable, "-m", "bot.cli", "--config", str(config), "run"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{web}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def present(address: str) -> dict[str, Any]:
    """Everything the pages know, or nothing yet."""
    try:
        with urllib.request.urlopen(f"{address}/api/everything", timeout=5) as answer:
            known: dict[str, Any] = json.load(answer)
            return known
    except OSError:
        return {}


def wait_for(address: str, what: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    print(f"waiting for {what}", flush=True)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        known = present(address)
        if known and true(known):
            return known
        time.sleep(0.25)
    raise SystemExit(f"gave up waiting for {what}")


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")


def settled(page: Page) -> None:
    """Wait until nothing moves, or five seconds. Playwright's own wait needs `eval`, which our policy forbids."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if page.evaluate("document.getAnimations().every(one => one.playState != 'running')"):
            return
        time.sleep(0.05)


def answers(known: dict[str, Any]) -> int:
    return sum(line.get("own", False) and "reply" in line for line in known["lines"])


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("no Chromium on the PATH; install it to make pictures")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with backchat() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)
        wait_for(address, "the first messages", lambda known: len(known["lines"]) > 5)
        room = browser.new_page(viewport={"width": 1280, "height": 800})
        room.goto(address)
        say(room, "good evening chat bcSoup")
        wait_for(
            address, "the first training run", lambda known: len(known["training"].get("losses", {}).get("gpt", [])) > 5
        )
        room.screenshot(path=folder / "room-training.png")
        known = wait_for(
            address,
            "a promoted checkpoint that speaks",
            lambda known: (
                known["training"].get("state") == "finished"
                and bool(((known.get("voice") or {}).get("speaking") or {}).get("checkpoint"))
            ),
        )
        before = answers(known)
        say(room, "@backchat what do you think of the soup")
        wait_for(address, "an answer", lambda known: answers(known) > before)
        settled(room)
        room.screenshot(path=folder / "room.png")

        phone = browser.new_page(viewport={"width": 390, "height": 780})
        phone.goto(address)
        phone.wait_for_selector(".line")
        settled(phone)
        phone.screenshot(path=folder / "room-phone.png")

        overlay = browser.new_page(viewport={"width": 520, "height": 560})
        overlay.goto(f"{address}/overlay?panels=say,loss,samples&hold=0")
        time.sleep(1)
        overlay.screenshot(path=folder / "overlay.png", omit_background=True)

        control = browser.new_page(viewport={"width": 1280, "height": 720})
        control.goto(f"{address}/control")
        time.sleep(1)
        control.screenshot(path=folder / "control.png")
        browser.close()
    for picture in sorted(folder.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
