"""Hearing a channel without an account: Twitch's IRC, read anonymously, as events of the `Chat` seam.

What the companion does until somebody signs it in. Knows nothing of EventSub; cannot speak.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat import ChatEvent, ChatterCleared, MessageDeleted, MessageReceived, RoomCleared
from bot.twitch_events import roles_of
from corpus.irc import ANONYMOUS, CAPABILITIES, IrcLine, chat_of, parse_line
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage

SILENT_S = 360.0  # Twitch pings every five minutes or so
CONNECT_S = 10.0
JOINS = 20  # Twitch's limit on joins: so many …
JOINS_S = 10.5  # … in ten seconds
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Irc:
    """Where Twitch's IRC is."""

    host: str
    port: int
    tls: bool


async def overhear(
    irc: Irc,
    channels: Sequence[str],
    hear: Callable[[ChatEvent], None],
    *,
    connected: Callable[[bool, str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: random.Random | None = None,
) -> None:
    """Read until cancelled, and come back after every loss."""
    chance = chance or random.Random()
    failures = 0
    while True:
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(irc.host, irc.port, ssl=irc.tls or None)
        except (OSError, TimeoutError) as error:
            reason = f"IRC cannot be reached ({type(error).__name__})"
        else:
            joining: asyncio.Task[None] | None = None
            try:
                writer.write(f"{CAPABILITIES}\r\nNICK {ANONYMOUS}{chance.randrange(10_000, 99_999)}\r\n".encode())
                while (line := await _next_line(reader)) is not None and line.command != "RECONNECT":
                    if line.command == "001":
                        failures = 0
                        connected(True, "listening")
                        joining = asyncio.create_task(_join(writer, channels, sleep))
                    elif line.command == "PING":
                        writer.write(f"PONG :{line.trailing or ''}\r\n".encode())
                    for event in heard_of(line):
                        hear(event)
                reason = "IRC closed the connection"
            except (OSError, TimeoutError, ValueError) as error:  # ValueError: a line beyond all bounds
                reason = f"the connection to IRC broke ({type(error).__name__})"
            finally:
                if joining is not None:
                    joining.cancel()
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        await writer.wait_closed()
        delay_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 10)) * chance.uniform(0.5, 1.0)
        failures += 1
        connected(False, f"{reason}; trying again in {delay_s:.0f} s")
        await sleep(delay_s)


async def _next_line(reader: asyncio.StreamReader) -> IrcLine | None:
    """The next line of IRC, None at the end. Raises TimeoutError when the connection is silent for too long."""
    while True:
        async with asyncio.timeout(SILENT_S):
            raw = await reader.readline()
        if not raw:
            return None
        line = parse_line(raw.decode("utf-8", "replace").rstrip("\r\n"))
        if line is not None:
            return line


async def _join(
    writer: asyncio.StreamWriter, channels: Sequence[str], sleep: Callable[[float], Awaitable[None]]
) -> None:
    for number, channel in enumerate(channels):
        if number and number % JOINS == 0:
            await sleep(JOINS_S)
        writer.write(f"JOIN #{channel}\r\n".encode())


def heard_of(line: IrcLine) -> list[ChatEvent]:
    """What one line of IRC means to the companion."""
    said = chat_of(line)
    match said:
        case ChatMessage():
            return [MessageReceived(said, roles_of(said.badges))]
        case DeletedMessage():
            return [MessageDeleted(said.channel, said.message_id, line.tags.get("login", ""))]
        case ClearedChatter():
            return [ChatterCleared(said.channel, said.login, line.tags.get("target-user-id"), said.seconds)]
        case ClearedRoom():
            return [RoomCleared(said.channel)]
    return []
