"""What a fault at Twitch costs: Backchat's listener and twitchio's own client, both against the same fake.

    python -m benchmarks.twitch_faults           # every fault, Twitch's real patience: some minutes, mostly waiting
    python -m benchmarks.twitch_faults --conduit # the same over conduits, beside twitchio's AutoBot
    python -m benchmarks.twitch_faults revocation reconnect

20 messages a second from three viewers before, during and after each fault. Recovered means that what is said after the
fault is handled; lost are messages that went out on an open, subscribed socket and were never handled.
"""

import argparse
import asyncio
import dataclasses
import io
import json
import logging
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bot.actions import Line
from bot.auth import TokenFile
from bot.eventsub import Timings
from bot.outbox import Outbox
from bot.twitch import Scale
from corpus.errors import ChatError
from tests.fake_twitch import FakeTwitch
from tests.stock_twitchio import stock_listening, stock_shard_listening
from tests.twitch_faults import WEBSOCKET_FAULTS, FaultRow, suffer
from tests.twitch_rig import Heard, Open, listening, open_chat, sign_in

log = logging.getLogger(__name__)

PATIENCE_S = 75.0
AT_A_TIME = 6
THEIRS = ("twitchio", "AutoBot")
SENDS = (
    "401 on send",
    "5 sends at once on an expired token",
    "429 on send",
    "503 on send, 4 times",
    "close() during back-off",
)


class Numbered:
    """What Backchat heard, as the rows want it."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    @property
    def handled(self) -> list[str]:
        return [text for text in self._heard.texts if text.startswith("viewer")]


async def one_fault(row: FaultRow, who: str, folder: Path) -> dict[str, Any]:
    async with FakeTwitch() as twitch:
        twitch.user("streamer")
        patience: dict[str, float] = {"before_s": 1.0, "after_s": 1.0, "patience_s": PATIENCE_S, "every_s": 0.05}
        if who in THEIRS:
            stock = stock_listening if who == "twitchio" else stock_shard_listening
            async with stock(twitch, dawdle_s=row.dawdle_s) as client:
                await asyncio.sleep(1)
                outcome = await suffer(row, twitch, client, **patience)
        else:
            tokens = TokenFile(folder / "tokens.json")
            sign_in(twitch, tokens, secret=True)
            chat = open_chat(twitch, tokens, timings=Timings(), scale=Scale(conduit=who == "Backchat conduit"))
            async with listening(chat, dawdle_s=row.dawdle_s) as heard:
                await asyncio.sleep(1)
                outcome = await suffer(row, twitch, Numbered(heard), **patience)
    return dataclasses.asdict(outcome) | leaked(twitch)


LOGGED = io.StringIO()  # all that was logged in this process, which is one fault's


def leaked(twitch: FakeTwitch) -> dict[str, int]:
    """How many of the secrets that were ever issued stand in the log."""
    text = LOGGED.getvalue()
    return {"issued": len(twitch.secrets), "leaked": sum(secret in text for secret in twitch.secrets)}


def provoke(twitch: FakeTwitch, name: str) -> int:
    """Do a fault to the next sends; how many lines to send into it."""
    if name in ("401 on send", "5 sends at once on an expired token"):
        twitch.expire("backchat")
        return 5 if name.startswith("5") else 1
    if name == "429 on send":
        reset = {"Ratelimit-Reset": str(int(time.time()) + 2)}
        twitch.fail("POST", "chat/messages", status=429, headers=reset)
    if name.startswith("503"):
        twitch.fail("POST", "chat/messages", status=503, times=4)
    return 1


async def one_send(name: str, who: str, folder: Path) -> dict[str, Any]:
    """Lines that arrived, what the sender was told, refreshes spent, and whether a later line still gets through."""
    async with FakeTwitch() as twitch:
        streamer = twitch.user("streamer")
        told: list[str] = []

        async def stock_say(client: Any, text: str) -> None:
            user = client.create_partialuser(streamer.id, streamer.login)
            try:
                await user.send_message(text, sender=client.bot_id, token_for=client.bot_id)
            except Exception as error:
                log.exception("twitchio could not send")
                told.append(type(error).__name__)

        if who == "twitchio":
            async with stock_listening(twitch) as client:
                count, asked = provoke(twitch, name), refreshes(twitch)
                await asyncio.gather(*(stock_say(client, f"line {number}") for number in range(count)))
                spent, arrived = refreshes(twitch) - asked, len(twitch.said)
                await stock_say(client, "later")
        else:
            tokens = TokenFile(folder / "tokens.json")
            sign_in(twitch, tokens)
            chat = open_chat(twitch, tokens, timings=Timings())
            outbox = Outbox(chat, Open(), now_ms=lambda: int(time.time() * 1000))
            async with listening(chat):
                sending = asyncio.create_task(outbox.run())
                count, asked = provoke(twitch, name), refreshes(twitch)
                lines = [Line("streamer", f"line {number}", kind="reply") for number in range(count)]
                sent = await asyncio.gather(*(outbox.say(line) for line in lines))
                told += [one.drop_reason for one in sent if one.drop_reason]
                spent, arrived = refreshes(twitch) - asked, len(twitch.said)
                await outbox.say(Line("streamer", "later", kind="reply"))
                sending.cancel()
        return {
            "arrived": f"{arrived} of {count}",
            "refreshes": spent,
            "told": ", ".join(sorted(set(told))),
            "later": any(said.text == "later" for said in twitch.said),
            **leaked(twitch),
        }


def refreshes(twitch: FakeTwitch) -> int:
    return twitch.requests.count(("POST", "/oauth2/token"))


async def one_close(who: str, folder: Path) -> dict[str, Any]:
    """Close while it waits to come back; is anybody there twelve seconds later?"""
    async with FakeTwitch() as twitch:
        twitch.user("streamer")
        tokens = TokenFile(folder / "tokens.json")
        sign_in(twitch, tokens)
        context = (
            stock_listening(twitch) if who == "twitchio" else listening(open_chat(twitch, tokens, timings=Timings()))
        )
        async with context:
            twitch.sockets_refused = 1_000
            for session in twitch.current():
                twitch.abort(session)
            await asyncio.sleep(1)
        twitch.sockets_refused, before = 0, len(twitch.sessions)
        await asyncio.sleep(12)
        zombies = len(twitch.sessions) - before
    return {
        "arrived": "",
        "refreshes": 0,
        "told": f"{zombies} connections after close()",
        "later": zombies == 0,
        "seconds": 0,
        **leaked(twitch),
    }


def run_one(name: str, who: str) -> dict[str, Any]:
    """One fault in a process of its own: twitchio's endpoints are global."""
    command = [sys.executable, "-m", "benchmarks.twitch_faults", "--one", name, "--who", who]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S * 3, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"crashed": done.stderr.strip().splitlines()[-1:] or ["?"]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="only faults whose name contains one of these")
    parser.add_argument("--conduit", action="store_true", help="the same over conduits: Backchat's shard and AutoBot")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--who", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = {row.name: row for row in WEBSOCKET_FAULTS}
    if options.one:
        logging.basicConfig(stream=LOGGED, level=logging.DEBUG)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if options.one in rows:
                work = one_fault(rows[options.one], options.who, folder)
            elif options.one in SENDS[:-1]:
                work = one_send(options.one, options.who, folder)
            else:
                work = one_close(options.who, folder)
            try:
                print(json.dumps(asyncio.run(work)))
            except ChatError as error:
                print(json.dumps({"crashed": [str(error)]}))
        return
    ours, theirs = ("Backchat conduit", "AutoBot") if options.conduit else ("Backchat", "twitchio")
    names = rows if options.conduit else (*rows, *SENDS)
    wanted = [name for name in names if not options.names or any(part in name for part in options.names)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        waiting = {(name, who): pool.submit(run_one, name, who) for name in wanted for who in (ours, theirs)}
        results = {key: future.result() for key, future in waiting.items()}
    console = Console(width=150)
    faults = Table(title=f"Listening: a fault, and what it cost ({ours} | {theirs} of twitchio 3.3.2)")
    for column in (
        "fault",
        "recovered",
        "seconds deaf",
        "lost of those on an open socket",
        "handled twice",
        "out of order",
    ):
        faults.add_column(column)
    for name in wanted:
        if name in rows:
            faults.add_row(
                name, *(f"{cell(results[name, ours], key)} | {cell(results[name, theirs], key)}" for key in COLUMNS)
            )
    console.print(faults)
    sends = Table(title="Speaking and stopping (Backchat | twitchio 3.3.2 alone)")
    for column in ("fault", "lines arrived", "refreshes", "a later line, or quiet after close()", "told"):
        sends.add_column(column, overflow="fold")
    for name in wanted:
        if name in SENDS:
            keys = ("arrived", "refreshes", "later", "told")
            sends.add_row(
                name, *(f"{cell(results[name, ours], key)} | {cell(results[name, theirs], key)}" for key in keys)
            )
    if sends.row_count:
        console.print(sends)
    for who in (ours, theirs):
        of_who = [result for (_, other), result in results.items() if other == who]
        issued, found = (sum(result.get(key, 0) for result in of_who) for key in ("issued", "leaked"))
        console.print(f"{who}: {found} of {issued} token values and secrets in its logs at DEBUG")


COLUMNS = ("recovered", "seconds", "lost", "twice", "disordered")


def cell(result: dict[str, Any], key: str) -> str:
    if "crashed" in result:
        return f"crashed {result['crashed'][0][:40]}" if key in ("recovered", "arrived") else "-"
    value = result[key]
    if key == "seconds":
        return f"{value:.1f}" if result.get("recovered") else "for good"
    if key == "lost":
        return f"{value} of {result['sent'] - result['unheard']}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
