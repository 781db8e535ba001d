"""The fake's IRC: enough of Twitch's dialect for a reader that joins, is pinged and gets tagged lines."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fake_twitch import FakeTwitch


def tag(value: str) -> str:
    """A tag's value, escaped."""
    escapes = {"\\": "\\\\", ";": "\\:", " ": "\\s", "\r": "\\r", "\n": "\\n"}
    return "".join(escapes.get(char, char) for char in value)


class FakeIrc:
    """Read-only IRC on a port of its own."""

    def __init__(self, twitch: "FakeTwitch") -> None:
        self._twitch = twitch
        self._server: asyncio.Server | None = None
        self._joined: dict[asyncio.StreamWriter, set[str]] = {}
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._joined):
            writer.transport.abort()
        await asyncio.sleep(0)

    def joined(self, channel: str) -> int:
        """How many read a channel."""
        return sum(channel in channels for channels in self._joined.values())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._joined[writer] = set()
        try:
            while line := (await reader.readline()).decode("utf-8", "replace").strip():
                self._answer(writer, line)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._joined.pop(writer, None)
            with contextlib.suppress(ConnectionError, RuntimeError):
                writer.close()

    def _answer(self, writer: asyncio.StreamWriter, line: str) -> None:
        command, _, rest = line.partition(" ")
        match command.upper():
            case "CAP":
                wanted = rest.partition(":")[2]
                writer.write(f":tmi.twitch.tv CAP * ACK :{wanted}\r\n".encode())
            case "NICK":
                writer.write(f":tmi.twitch.tv 001 {rest} :Welcome, GLHF!\r\n".encode())
                writer.write(f":tmi.twitch.tv 376 {rest} :>\r\n".encode())
            case "JOIN":
                for channel in rest.split(","):
                    self._joined[writer].add(channel.lstrip("#"))
                    writer.write(f":justinfan1!justinfan1@justinfan1.tmi.twitch.tv JOIN {channel}\r\n".encode())
                    writer.write(f"@room-id=1;slow=0 :tmi.twitch.tv ROOMSTATE {channel}\r\n".encode())
            case "PING":
                writer.write(f":tmi.twitch.tv PONG tmi.twitch.tv {rest}\r\n".encode())

    async def line(self, channel: str, line: str) -> None:
        """A raw line to everyone in a channel."""
        for writer, channels in list(self._joined.items()):
            if channel in channels and not writer.is_closing():
                writer.write(f"{line}\r\n".encode())

    async def message(self, event: dict[str, Any]) -> None:
        """An EventSub chat message as the PRIVMSG it also is, with the same id."""
        login, channel = event["chatter_user_login"], event["broadcaster_user_login"]
        tags = {
            "badges": ",".join(f"{badge['set_id']}/1" for badge in event["badges"]),
            "display-name": event["chatter_user_name"],
            "emotes": "",
            "id": event["message_id"],
            "room-id": event["broadcaster_user_id"],
            "tmi-sent-ts": str(int(time.time() * 1000)),
            "user-id": event["chatter_user_id"],
        }
        if event["reply"]:
            tags["reply-parent-msg-id"] = event["reply"]["parent_message_id"]
        if event["source_broadcaster_user_id"]:
            tags["source-room-id"] = event["source_broadcaster_user_id"]
        joined = ";".join(f"{name}={tag(value)}" for name, value in tags.items())
        text = event["message"]["text"]
        await self.line(channel, f"@{joined} :{login}!{login}@{login}.tmi.twitch.tv PRIVMSG #{channel} :{text}")
