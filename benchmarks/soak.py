"""Does the companion stay awake on Twitch? Half an hour of chat, a random fault every 20 s, every message counted.

    python -m benchmarks.soak                # 30 minutes at 20 messages/s
    python -m benchmarks.soak --minutes 2    # a short one

The fake Twitch lives in a process of its own, so the memory and the file descriptors are the companion's. Every line
has a number; the fake writes down which went out on an open socket, the companion which it handled.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bot.auth import TokenFile
from bot.chat import MessageReceived, OutgoingLine
from bot.twitch import open_twitch
from corpus.errors import ChatError
from tests.fake_twitch import FakeTwitch
from tests.twitch_faults import WEBSOCKET_FAULTS, Talk, disorder
from tests.twitch_rig import sign_in

CHANNEL = "streamer"


async def expire_token(twitch: FakeTwitch) -> None:
    twitch.expire("backchat")


async def errors_on_send(twitch: FakeTwitch) -> None:
    twitch.fail("POST", "chat/messages", status=503, times=2)
    twitch.fail("POST", "chat/messages", status=429, times=1, headers={"Ratelimit-Reset": str(int(time.time()) + 2)})


async def duplicated_line(twitch: FakeTwitch) -> None:
    for number in range(5):
        await twitch.chat(CHANNEL, "somebody", f"said twice {number}", copies=2)


FAULTS = [(row.name, row.inject) for row in WEBSOCKET_FAULTS if row.copies == 1] + [
    ("expired token", expire_token),
    ("503 and 429 on send", errors_on_send),
    ("duplicate notifications", duplicated_line),
]


async def serve(folder: Path, rate: float, fault_every_s: float, seed: int) -> None:
    """The other side: the fake, its viewers and its faults, until the companion's process says stop."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    async with FakeTwitch() as twitch:
        tokens = TokenFile(folder / "tokens.json")
        twitch.user(CHANNEL)
        sign_in(twitch, tokens)
        (folder / "fake.json").write_text(
            json.dumps({"url": twitch.url, "ws": twitch.websocket_url, "client_id": twitch.client_id})
        )
        talk = Talk(twitch, CHANNEL, every_s=1 / rate)
        stop = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))

        async def inject() -> None:
            while True:
                await asyncio.sleep(fault_every_s)
                name, fault = chance.choice(FAULTS)
                counts[name] += 1
                await fault(twitch)

        while not twitch.current():
            await asyncio.sleep(0.05)
        talking, injecting = asyncio.create_task(talk.run()), asyncio.create_task(inject())
        await stop
        injecting.cancel()
        # The talk goes on until the companion is back from the last fault; what counts is when it can be heard.
        async with asyncio.timeout(120):
            while not twitch.current() or not any(
                made.type == "channel.chat.message" for made in twitch.subscriptions.values()
            ):
                await asyncio.sleep(0.1)
        await asyncio.sleep(3)
        talking.cancel()
        await asyncio.gather(talking, injecting, return_exceptions=True)
        ledger = {
            "on_socket": talk.on_socket,
            "in_the_air": talk.in_the_air,
            "faults": counts,
            "secrets": sorted(twitch.secrets),
            "said": len(twitch.said),
            "sessions": len(twitch.sessions),
        }
        (folder / "ledger.json").write_text(json.dumps(ledger))
        await asyncio.to_thread(sys.stdin.readline)


async def listen(folder: Path, minutes: float, fake: subprocess.Popen[str], console: Console) -> dict[str, object]:
    while not (folder / "fake.json").exists():
        await asyncio.sleep(0.1)
    where = json.loads((folder / "fake.json").read_text())
    chat = open_twitch(
        (CHANNEL,),
        TokenFile(folder / "tokens.json"),
        client_id=where["client_id"],
        api_url=where["url"],
        auth_url=where["url"],
        eventsub_url=where["ws"],
    )
    me = psutil.Process()
    sends: Counter[str] = Counter()
    samples: list[tuple[float, float, int]] = []
    began_s = time.monotonic()
    handled = (folder / "handled.txt").open("w", encoding="utf-8")

    async def hear() -> None:
        async for event in chat.events():
            if isinstance(event, MessageReceived) and event.message.text.startswith("viewer"):
                handled.write(event.message.text + "\n")

    async def speak() -> None:
        for number in range(10**9):
            await asyncio.sleep(5)
            try:
                sent = await chat.send(OutgoingLine(CHANNEL, f"line {number}"))
                sends["said" if sent.drop_reason is None else sent.drop_reason.split(":")[0]] += 1
            except ChatError as error:
                sends[type(error).__name__] += 1

    async def sample() -> None:
        while True:
            gc.collect()
            samples.append(((time.monotonic() - began_s) / 60, me.memory_info().rss / 2**20, me.num_fds()))
            minute, memory, descriptors = samples[-1]
            console.print(f"minute {minute:5.1f}: {memory:6.1f} MiB, {descriptors} descriptors", highlight=False)
            await asyncio.sleep(60)

    running = [asyncio.create_task(work()) for work in (chat.run, hear, speak, sample)]
    await asyncio.sleep(minutes * 60)
    assert fake.stdin is not None
    fake.stdin.write("stop\n")
    fake.stdin.flush()
    while not (folder / "ledger.json").exists():
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    gc.collect()
    samples.append(((time.monotonic() - began_s) / 60, me.memory_info().rss / 2**20, me.num_fds()))
    heard = chat.ears[0].listener.heard
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    handled.close()
    return {
        "samples": samples,
        "sends": ", ".join(f"{name} × {times}" for name, times in sends.items()),
        "heard": f"{heard.sessions} / {heard.handovers} / {heard.losses} / {heard.duplicates}",
        "cpu_s": sum(me.cpu_times()[:2]),
    }


def report(folder: Path, measured: dict[str, object], minutes: float, console: Console) -> bool:
    ledger = json.loads((folder / "ledger.json").read_text())
    handled = (folder / "handled.txt").read_text(encoding="utf-8").splitlines()
    once = set(handled)
    lost = [text for text in ledger["on_socket"] if text not in once]
    samples = measured["samples"]
    assert isinstance(samples, list)
    settled = next((sample for sample in samples if sample[0] >= min(12.0, minutes / 3)), samples[0])
    log_text = (folder / "log.txt").read_text(encoding="utf-8")
    leaks = sum(secret in log_text for secret in ledger["secrets"])
    rows = {
        "faults": ", ".join(f"{name} × {times}" for name, times in sorted(ledger["faults"].items())),
        "websocket sessions at the fake": ledger["sessions"],
        "messages sent": f"{len(ledger['on_socket']) + len(ledger['in_the_air']):,}",
        "… while no socket was open (nobody could hear them)": f"{len(ledger['in_the_air']):,}",
        "… on an open socket": f"{len(ledger['on_socket']):,}",
        "handled once": f"{len(once):,}",
        "lost of those on an open socket": len(lost),
        "handled twice": len(handled) - len(once),
        "a chatter's lines out of order": disorder(handled),
        "sessions / handovers / losses / duplicates dropped": measured["heard"],
        "lines of the companion": measured["sends"],
        "memory at start / settled / end": " / ".join(f"{s[1]:.1f} MiB" for s in (samples[0], settled, samples[-1])),
        "file descriptors at start / settled / end": " / ".join(str(s[2]) for s in (samples[0], settled, samples[-1])),
        "processor time": f"{measured['cpu_s']:.1f} s",
        "token values in the log": f"{leaks} of {len(ledger['secrets'])} ever issued ({len(log_text):,} characters)",
    }
    table = Table(title=f"{minutes:g} minutes of Twitch with faults, {platform.processor() or platform.machine()}")
    table.add_column("what")
    table.add_column("measured", overflow="fold")
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)
    return not lost and len(handled) == len(once) and not leaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=20.0, help="messages a second")
    parser.add_argument("--fault-every", type=float, default=20.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(options.serve, options.rate, options.fault_every, options.seed))
        return
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="backchat-soak-") as name:
        folder = Path(name)
        logging.basicConfig(filename=folder / "log.txt", level=logging.DEBUG)
        command = [sys.executable, "-m", "benchmarks.soak", "--serve", name, "--rate", str(options.rate)]
        command += ["--fault-every", str(options.fault_every), "--seed", str(options.seed)]
        fake = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        try:
            measured = asyncio.run(listen(folder, options.minutes, fake, console))
            good = report(folder, measured, options.minutes, console)
        finally:
            fake.kill()
            fake.wait()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
