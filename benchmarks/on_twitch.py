"""An evening on Twitch as a streamer meets it: login, doctor, run, chat, a reply, a raid, a deletion, Ctrl-C.

    python -m benchmarks.on_twitch

Everything is the product itself, in its own processes, with a settings file in an empty folder; Twitch is the fake.
Prints a transcript, and looks for token values in every log and every line that was printed.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aiohttp
from rich.console import Console

from corpus.errors import CorpusError
from corpus.store import Corpus
from tests import fake_twitch_payloads as payloads
from tests.fake_twitch import FakeTwitch

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("soup boss", "run jump", "red door", "laugh", "dragon", "map left", "wait why", "nice", "lost again", "tea")
console = Console(width=140, highlight=False)
printed: list[str] = []


class NeverHappenedError(Exception):
    pass


def tell(line: str) -> None:
    printed.append(line)
    console.print(line, markup=False, soft_wrap=True)


def configured(twitch: FakeTwitch, folder: Path) -> Path:
    twitch.user("streamer")
    twitch.live = {"streamer"}
    config = folder / "config.toml"
    config.write_text(
        f'[twitch]\nchannels = ["streamer"]\nclient_id = "{twitch.client_id}"\napi_url = "{twitch.url}"\n'
        f'auth_url = "{twitch.url}"\neventsub_url = "{twitch.websocket_url}"\nirc_host = "127.0.0.1"\n'
        f"irc_port = {twitch.irc.port}\nirc_tls = false\n"
        '[trainer]\ndevice = "cpu"\n[web]\nport = 0\n[bot]\ntalk_after_lines = 0\nviewer_cooldown_s = 0.0\n'
    )
    return config


async def start(config: Path, *arguments: str) -> asyncio.subprocess.Process:
    tell(f"$ backchat {' '.join(arguments)}")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.cli",
        "--config",
        str(config),
        *arguments,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "BACKCHAT_DEBUG": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def follow(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        tell(f"    {line.decode().rstrip()}")
    await process.wait()


async def until(condition: Callable[[], bool], what: str, within_s: float = 120.0) -> None:
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > within_s:
            raise NeverHappenedError(f"after {within_s:.0f} s: {what} has not happened")
        await asyncio.sleep(0.1)


async def chatter(twitch: FakeTwitch, count: int) -> None:
    chance = random.Random(3)
    for _ in range(count):
        text = " ".join(chance.choices(WORDS, k=chance.randint(2, 7)))
        await twitch.chat("streamer", f"viewer{chance.randrange(6)}", text)
        await asyncio.sleep(0.02)


def stored(folder: Path, message_id: str) -> bool:
    try:
        with Corpus.open(folder / "data" / "chat.db", read_only=True) as corpus:
            return any(message.id == message_id for message in corpus.recent("streamer", 100))
    except CorpusError:
        return False


def answered(twitch: FakeTwitch, question: str) -> bool:
    return any(line.reply_to == question for line in twitch.said)


async def page_shows() -> list[str]:
    """What the pages and the overlay show of the chat, oldest first."""
    address = next(word for line in printed for word in line.split() if word.startswith("http://") and "(#" in line)
    async with aiohttp.ClientSession() as http, http.get(f"{address}api/everything") as answer:
        lines = (await answer.json())["lines"]
    return [line.get("notice") or f"{line['name']}: {line['text']}" for line in lines]


async def evening(folder: Path) -> bool:
    async with FakeTwitch() as twitch:
        config = configured(twitch, folder)
        login = await start(config, "login")
        await until(lambda: bool(twitch.devices), "the code was asked for")
        tell("    (the streamer opens the address and says yes)")
        twitch.approver = twitch.user("backchat")
        await follow(login)
        await follow(await start(config, "doctor"))

        running = await start(config, "run")
        try:
            return await on_air(twitch, config, running)
        except NeverHappenedError as problem:
            for log in sorted((folder / "data" / "logs").glob("*.log")):
                tell(f"--- {log.name}\n{log.read_text(encoding='utf-8')[-3000:]}")
            tell(str(problem))
            return False
        finally:
            if running.returncode is None:
                running.terminate()
                await running.wait()


async def on_air(twitch: FakeTwitch, config: Path, running: asyncio.subprocess.Process) -> bool:
    streamer, folder = twitch.user("streamer"), config.parent
    following = asyncio.create_task(follow(running))
    await until(lambda: bool(twitch.current()) and twitch.irc.joined("streamer") > 0, "bot and collector listen")
    tell("· bot and collector are there; six viewers write 300 lines")
    await chatter(twitch, 300)
    await follow(await start(config, "go-live"))
    said = len(twitch.said)
    tell("viewer1: !help")
    await twitch.chat("streamer", "viewer1", "!help")
    await until(lambda: len(twitch.said) > said, "!help is answered", within_s=40)
    await asyncio.sleep(2.5)  # it answers at most every two seconds
    for _ in range(6):  # a voice three minutes old may have nothing fit to say the first time
        tell("viewer2: backchat, what about the soup?")
        question, _ = await twitch.chat("streamer", "viewer2", "backchat, what about the soup?")
        try:
            await until(partial(answered, twitch, question), "a reply", within_s=12)
            break
        except NeverHappenedError:
            continue
    replies = [line for line in twitch.said if line.reply_to == question]
    tell("· neighbour raids with 42 viewers; viewer3 gifts 5 subs")
    raid = payloads.notice(streamer, twitch.user("neighbour"), "raid", payloads.raid(twitch.user("neighbour"), 42))
    await twitch.notify("channel.chat.notification", raid)
    gift = payloads.notice(streamer, twitch.user("viewer3"), "community_sub_gift", payloads.community_sub_gift(5))
    await twitch.notify("channel.chat.notification", gift)
    tell("viewer4: this is a line that nobody should keep")
    unwanted, _ = await twitch.chat("streamer", "viewer4", "this is a line that nobody should keep")
    await until(lambda: stored(folder, unwanted), "the line is stored", within_s=20)
    tell("· stored; a moderator deletes it")
    await twitch.notify(
        "channel.chat.message_delete", payloads.message_delete(streamer, twitch.user("viewer4"), unwanted)
    )
    await twitch.irc.line(
        "streamer", f"@login=viewer4;room-id=;target-msg-id={unwanted} :tmi.twitch.tv CLEARMSG #streamer :this is"
    )
    await until(lambda: not stored(folder, unwanted), "the line is gone", within_s=20)
    tell("· and is gone from the database; the page and the overlay show")
    await asyncio.sleep(2)
    shown = await page_shows()
    for line in shown[-6:]:
        tell(f"    {line}")
    tell(f"· with the deleted line: {'yes' if any('nobody should keep' in line for line in shown) else 'no'}")
    tell("^C")
    running.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        code = await running.wait()
    await following
    tell(f"exit code {code}")
    await follow(await start(config, "logout"))
    for line in twitch.said:
        tell(f"#{line.channel} {line.sender.login}{' (in a thread)' if line.reply_to else ''}: {line.text}")
    tell(f"replies in the thread of the question: {len(replies)}")
    texts = ["\n".join(printed)]
    files = [file for file in (folder / "data").rglob("*") if file.is_file() and file.name != "tokens.json"]
    texts += [file.read_bytes().decode("utf-8", "replace") for file in files]
    leaks = sorted({secret[:6] for secret in twitch.secrets for text in texts if secret in text})
    tell(f"token values in {len(files)} files of data/ and all that was printed: {len(leaks)} of {len(twitch.secrets)}")
    noticed = {"neighbour raids with 42 viewers", "Viewer3 gifts 5 subscriptions"} <= set(shown)
    return not leaks and bool(replies) and noticed and code == 0


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="backchat-evening-") as name:
        sys.exit(0 if asyncio.run(evening(Path(name))) else 1)


if __name__ == "__main__":
    main()
