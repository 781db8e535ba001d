"""The room's loopback port: Twitch's IRC dialect, so that the very collector that reads Twitch reads the room.

Any Twitch IRC client may read as `justinfan…` and, under a name of its own, speak. Knows nothing of pages or models.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping

from bot.chat import (
    ChatEvent,
    ChatterCleared,
    MessageDeleted,
    MessageReceived,
    Raided,
    Role,
    RoomCleared,
    Subscribed,
    SubsGifted,
)
from bot.room import ACTION, Room, RoomError, user_id
from corpus.errors import ChatError
from corpus.message import ChatMessage, Emote

SERVER = "tmi.twitch.tv"
CAPABILITIES = frozenset({"twitch.tv/tags", "twitch.tv/commands", "twitch.tv/membership"})
LONGEST_LINE = 16 * 1024
MOST_CLIENTS = 50
# A reader that leaves this much unread is cut off, as Twitch does, rather than kept in memory.
MOST_UNREAD_BYTES = 1024 * 1024
HANG_UP_S = 1.0
HTTP = re.compile(rb"^(GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT|TRACE) ")

_ESCAPES = {"\\": "\\\\", ";": "\\:", " ": "\\s", "\r": "\\r", "\n": "\\n"}
_UNESCAPES = {"\\": "\\", ":": ";", "s": " ", "r": "\r", "n": "\n"}


def escape_tag(value: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in value)


def unescape_tag(value: str) -> str:
    return re.sub(r"\\(.?)", lambda found: _UNESCAPES.get(found[1], found[1]), value)


def emotes_tag(emotes: tuple[Emote, ...], shift: int = 0) -> str:
    """Twitch's `id:first-last,first-last/id:…`, its ends inclusive."""
    places: dict[str, list[str]] = {}
    for emote in emotes:
        places.setdefault(emote.id, []).append(f"{emote.start - shift}-{emote.end - 1 - shift}")
    return "/".join(f"{name}:{','.join(ranges)}" for name, ranges in places.items())


def tagged(tags: Mapping[str, str], rest: str) -> str:
    return "@" + ";".join(f"{key}={escape_tag(value)}" for key, value in tags.items()) + " " + rest


def people_tags(message: ChatMessage, roles: frozenset[Role], room_id: str) -> dict[str, str]:
    """The tags that say who wrote a message."""
    return {
        "badges": ",".join(f"{badge}/1" for badge in message.badges),
        "display-name": message.name,
        "mod": str(int("moderator" in roles)),
        "room-id": room_id,
        "subscriber": str(int("subscriber" in roles)),
        "user-id": message.user_id or user_id(message.login),
        "user-type": "mod" if "moderator" in roles else "",
    }


def event_line(event: ChatEvent, find: Callable[[str], ChatMessage | None], now_ms: int) -> tuple[str, str] | None:
    """(command, tagged line) of what Twitch's IRC would send for an event, or None where it sends nothing."""
    if isinstance(event, MessageReceived):
        message = event.message
        room_id = user_id(message.channel)
        action = ACTION.fullmatch(message.text)
        tags = people_tags(message, event.roles, room_id) | {
            "emotes": emotes_tag(message.emotes, len("\x01ACTION ") if action else 0),
            "id": message.id,
            "tmi-sent-ts": str(message.sent_ms),
        }
        parent = find(message.reply_to) if message.reply_to else None
        if message.reply_to:
            tags["reply-parent-msg-id"] = message.reply_to
        if parent:
            tags |= {
                "reply-parent-user-id": parent.user_id or "",
                "reply-parent-user-login": parent.login,
                "reply-parent-display-name": parent.name,
                "reply-parent-msg-body": parent.text,
            }
        who = f":{message.login}!{message.login}@{message.login}.{SERVER}"
        return "PRIVMSG", tagged(dict(sorted(tags.items())), f"{who} PRIVMSG #{message.channel} :{message.text}")
    stamp = {"tmi-sent-ts": str(now_ms)}
    if isinstance(event, MessageDeleted):
        tags = {"login": event.login, "room-id": "", "target-msg-id": event.message_id} | stamp
        return "CLEARMSG", tagged(tags, f":{SERVER} CLEARMSG #{event.channel} :deleted")
    if isinstance(event, ChatterCleared):
        tags = {} if event.seconds is None else {"ban-duration": str(event.seconds)}
        tags |= {"room-id": user_id(event.channel), "target-user-id": event.user_id or ""} | stamp
        return "CLEARCHAT", tagged(tags, f":{SERVER} CLEARCHAT #{event.channel} :{event.login}")
    if isinstance(event, RoomCleared):
        tags = {"room-id": user_id(event.channel)} | stamp
        return "CLEARCHAT", tagged(tags, f":{SERVER} CLEARCHAT #{event.channel}")
    notice: dict[str, str]
    if isinstance(event, Raided):
        notice = {
            "msg-id": "raid",
            "login": event.from_channel.lower(),
            "display-name": event.from_channel,
            "msg-param-displayName": event.from_channel,
            "msg-param-login": event.from_channel.lower(),
            "msg-param-viewerCount": str(event.viewers),
            "system-msg": f"{event.viewers} raiders from {event.from_channel} have joined!",
        }
    elif isinstance(event, Subscribed):
        notice = {
            "msg-id": "resub" if event.months > 1 else "sub",
            "login": event.name.lower(),
            "display-name": event.name,
            "msg-param-cumulative-months": str(event.months),
            "msg-param-sub-plan": str(event.tier * 1000),
            "system-msg": f"{event.name} subscribed at Tier {event.tier}.",
        }
    elif isinstance(event, SubsGifted):
        notice = {
            "msg-id": "submysterygift",
            "login": event.name.lower(),
            "display-name": event.name,
            "msg-param-mass-gift-count": str(event.count),
            "msg-param-sub-plan": str(event.tier * 1000),
            "system-msg": f"{event.name} is gifting {event.count} Tier {event.tier} Subs!",
        }
    else:
        return None
    tags = notice | {"room-id": user_id(event.channel), "user-id": user_id(notice["login"])} | stamp
    return "USERNOTICE", tagged(tags, f":{SERVER} USERNOTICE #{event.channel}")


class RoomPort:
    """Serves the room on `host:port`; port 0 lets the system choose, `port` then says which."""

    def __init__(
        self,
        room: Room,
        port: int,
        host: str = "127.0.0.1",
        *,
        ping_every_s: float = 240.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.room = room
        self.host = host
        self.port = port
        self.ping_every_s = ping_every_s
        self.clock = clock
        self._clients: set[_Client] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._stop_listening: Callable[[], None] = lambda: None

    @property
    def readers(self) -> int:
        """How many clients have joined the room."""
        return sum(client.joined for client in self._clients)

    async def start(self) -> None:
        """Raises `ChatError` when the port is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=LONGEST_LINE)
        except OSError as error:
            raise ChatError(
                f"the room's chat port {self.host}:{self.port} cannot be opened ({error.strerror}); "
                "stop what uses it or set another [room] irc_port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._stop_listening = self.room.listen(self._tell)

    async def close(self) -> None:
        """Tell clients to come back and hang up, as Twitch does before a restart."""
        self._stop_listening()
        if self._server is None:
            return
        self._server.close()
        for client in tuple(self._clients):
            if "twitch.tv/commands" in client.capabilities:
                client.write(f":{SERVER} RECONNECT")
            client.hang_up()
        if self._serving:
            # Cancelled instead of finished, each would leave a traceback in the log.
            await asyncio.wait(self._serving, timeout=HANG_UP_S)
        await self._server.wait_closed()

    def _tell(self, event: ChatEvent) -> None:
        line = event_line(event, self.room.find, self.room.now_ms())
        if line is None:
            return
        command, text = line
        author = event.message.login if isinstance(event, MessageReceived) else None
        for client in tuple(self._clients):
            client.tell(command, text, author)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(self, writer)
        if len(self._clients) >= MOST_CLIENTS:
            client.write(f":{SERVER} NOTICE * :Too many connections")
            client.hang_up()
            return
        self._clients.add(client)
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        try:
            await client.serve(reader)
        except ConnectionError:
            pass  # the client left in the middle of a line; there is nobody to tell
        finally:
            self._clients.discard(client)
            self._serving.discard(serving)
            client.hang_up()


class _Client:
    """One connection: what it asked for, who it says it is, whether it joined."""

    def __init__(self, port: RoomPort, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self.room = port.room
        self.writer = writer
        self.capabilities: set[str] = set()
        self.nick = ""
        self.joined = False

    @property
    def anonymous(self) -> bool:
        return self.nick.startswith("justinfan")

    def write(self, line: str) -> None:
        transport = self.writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            transport.abort()
            return
        self.writer.write(line.encode() + b"\r\n")

    def hang_up(self) -> None:
        if not self.writer.transport.is_closing():
            self.writer.close()

    def tell(self, command: str, line: str, author: str | None) -> None:
        """Pass on what happened, in the form this client asked for; nobody hears their own line back."""
        if not self.joined or (author is not None and author == self.nick):
            return
        if command != "PRIVMSG" and "twitch.tv/commands" not in self.capabilities:
            return
        self.write(line if "twitch.tv/tags" in self.capabilities else line.split(" ", 1)[1])

    async def serve(self, reader: asyncio.StreamReader) -> None:
        heard_s = self.port.clock()
        first = True
        while True:
            try:
                raw = await asyncio.wait_for(reader.readline(), self.port.ping_every_s)
            except TimeoutError:
                if self.port.clock() - heard_s > 1.9 * self.port.ping_every_s:
                    return  # a ping went unanswered
                self.write(f"PING :{SERVER}")
                continue
            except ValueError:
                return  # a line longer than any IRC line
            if not raw or (first and HTTP.match(raw)):
                return  # a web page must not be able to speak here by posting to the port
            first = False
            heard_s = self.port.clock()
            line = raw.decode("utf-8", "replace").strip("\r\n")
            if line and not self.handle(line):
                return

    def handle(self, line: str) -> bool:
        """Answer one line; False ends the connection."""
        tags: dict[str, str] = {}
        if line.startswith("@"):
            head, _, line = line.partition(" ")
            tags = {key: unescape_tag(value) for key, _, value in (pair.partition("=") for pair in head[1:].split(";"))}
        if line.startswith(":"):
            line = line.partition(" ")[2]
        line, colon, trailing = line.partition(" :")
        command, *words = line.split() or [""]
        if colon:
            words.append(trailing)
        match command.upper():
            case "CAP":
                self.negotiate(words)
            case "PASS" | "PONG" | "USER" | "":
                pass
            case "NICK":
                return self.welcome(words[0] if words else "")
            case "PING":
                self.write(f":{SERVER} PONG {SERVER} :{words[0] if words else ''}")
            case "JOIN":
                for channel in words[0].split(",") if words else []:
                    self.join(channel.lower())
            case "PART":
                self.joined = False
                self.write(f":{self.mask} PART #{self.room.channel}")
            case "PRIVMSG":
                self.speak(words, tags.get("reply-parent-msg-id"))
            case "QUIT":
                return False
            case unknown:
                self.write(f":{SERVER} 421 {self.nick or '*'} {unknown} :Unknown command")
        return True

    @property
    def mask(self) -> str:
        return f"{self.nick}!{self.nick}@{self.nick}.{SERVER}"

    def negotiate(self, words: list[str]) -> None:
        match words:
            case ["LS", *_]:
                self.write(f":{SERVER} CAP * LS :{' '.join(sorted(CAPABILITIES))}")
            case ["REQ", *asked]:
                wanted = " ".join(asked).split()
                known = set(wanted) <= CAPABILITIES
                if known:
                    self.capabilities.update(wanted)
                self.write(f":{SERVER} CAP * {'ACK' if known else 'NAK'} :{' '.join(wanted)}")

    def welcome(self, nick: str) -> bool:
        nick = nick.lower()
        try:
            self.room.guest(nick)
        except RoomError:
            self.write(f":{SERVER} NOTICE * :Login authentication failed")
            return False
        self.nick = nick
        for number, text in (
            ("001", ":Welcome, GLHF!"),
            ("002", f":Your host is {SERVER}"),
            ("003", ":This server is rather new"),
            ("004", ":-"),
            ("375", ":-"),
            ("372", ":This is Backchat's local room, which speaks Twitch's dialect."),
            ("376", ":>"),
        ):
            self.write(f":{SERVER} {number} {nick} {text}")
        return True

    def join(self, channel: str) -> None:
        if not self.nick:
            self.write(f":{SERVER} NOTICE * :Send NICK before JOIN")
        elif channel != f"#{self.room.channel}":
            notice = f":{SERVER} NOTICE {channel} :This channel does not exist or has been suspended."
            self.write(f"@msg-id=msg_channel_suspended {notice}" if "twitch.tv/tags" in self.capabilities else notice)
        elif not self.joined:
            self.joined = True
            self.write(f":{self.mask} JOIN {channel}")
            self.write(f":{self.nick}.{SERVER} 353 {self.nick} = {channel} :{self.nick}")
            self.write(f":{self.nick}.{SERVER} 366 {self.nick} {channel} :End of /NAMES list")
            if "twitch.tv/commands" in self.capabilities:
                state = f"emote-only=0;followers-only=-1;r9k=0;room-id={user_id(self.room.channel)};slow=0;subs-only=0"
                line = f":{SERVER} ROOMSTATE {channel}"
                self.write(f"@{state} {line}" if "twitch.tv/tags" in self.capabilities else line)

    def speak(self, words: list[str], reply_to: str | None) -> None:
        if len(words) < 2 or not self.joined or self.anonymous or words[0].lower() != f"#{self.room.channel}":
            return  # Twitch, too, says nothing to those who may not speak
        text = words[1]
        action = ACTION.fullmatch(text)
        try:
            self.room.post(self.room.guest(self.nick), f"/me {action[1]}" if action else text, reply_to=reply_to)
        except RoomError as error:
            self.write(f":{SERVER} NOTICE #{self.room.channel} :{error}")
            return
        if "twitch.tv/commands" in self.capabilities:
            line = f":{SERVER} USERSTATE #{self.room.channel}"
            tags = f"@badges=;display-name={self.nick};mod=0;subscriber=0;user-type="
            self.write(f"{tags} {line}" if "twitch.tv/tags" in self.capabilities else line)
