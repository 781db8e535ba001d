"""A server that speaks Twitch's IRC dialect on loopback, for the collector's tests: what it says, the test decides."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


def privmsg(
    number: int, text: str = "", *, login: str = "ann", channel: str = "den", sent_ms: int | None = None
) -> str:
    sent_ms = time.time_ns() // 1_000_000 if sent_ms is None else sent_ms
    return (
        f"@badges=;display-name={login.title()};emotes=;id=id-{number};room-id=1;tmi-sent-ts={sent_ms};"
        f"user-id=id-of-{login} :{login}!{login}@{login}.tmi.twitch.tv PRIVMSG #{channel} :{text or f'line {number}'}"
    )


class Visitor:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.lines: list[str] = []
        self.joined: list[str] = []
        self.confirmed: list[str] = []
        self.gone = threading.Event()

    def say(self, *lines: str) -> None:
        """Send lines; raises OSError once the visitor has gone."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())


class IrcServer:
    """Welcomes whoever signs in and confirms joins. `welcoming=False`: accepts, and says nothing."""

    def __init__(
        self, *, welcoming: bool = True, answering: bool = True, on_join: Callable[[Visitor, str], None] | None = None
    ) -> None:
        self.welcoming = welcoming
        self.answering = answering
        self.on_join = on_join
        self.visitors: list[Visitor] = []
        self.changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for visitor in self.visitors:
            self.hang_up(visitor)
        for thread in self._threads:
            thread.join(10)

    def hang_up(self, visitor: Visitor) -> None:
        with contextlib.suppress(OSError):  # it may have gone by itself
            visitor.socket.shutdown(socket.SHUT_RDWR)
        visitor.socket.close()

    def joined(self, count: int = 1, channel: str = "den", timeout_s: float = 20) -> Visitor:
        """Wait until `count` visits have joined a channel, and give the newest."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self._in(channel)) >= count, timeout_s), "nobody joined"
            return self._in(channel)[-1]

    def visited(self, count: int = 1, timeout_s: float = 20) -> Visitor:
        """Wait until there were `count` connections, and give the newest."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.visitors) >= count, timeout_s), "nobody came"
            return self.visitors[-1]

    def _in(self, channel: str) -> list[Visitor]:
        return [visitor for visitor in self.visitors if channel in visitor.confirmed]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            visitor = Visitor(connection)
            with self.changed:
                self.visitors.append(visitor)
                self.changed.notify_all()
            thread = threading.Thread(target=self._serve, args=(visitor,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, visitor: Visitor) -> None:
        try:
            with visitor.socket.makefile("r", encoding="utf-8", newline="\r\n") as lines:
                for raw in lines:
                    self._on_line(visitor, raw.rstrip("\r\n"))
        except (OSError, ValueError):
            pass  # the visitor was killed or the test hung up: either way it has gone
        visitor.gone.set()
        visitor.socket.close()

    def _on_line(self, visitor: Visitor, line: str) -> None:
        visitor.lines.append(line)
        command, _, rest = line.partition(" ")
        if command == "NICK" and self.welcoming:
            visitor.say(f":tmi.twitch.tv 001 {rest} :Welcome, GLHF!")
        elif command == "JOIN":
            channel = rest.lstrip("#")
            with self.changed:  # from before the confirmation on, so that nothing falls between the two
                visitor.joined.append(channel)
            visitor.say(
                f":me!me@me.tmi.twitch.tv JOIN #{channel}", f":me.tmi.twitch.tv 366 me #{channel} :End of /NAMES"
            )
            with self.changed:
                visitor.confirmed.append(channel)
                self.changed.notify_all()
            if self.on_join is not None:
                self.on_join(visitor, channel)
        elif command == "PING" and self.answering:
            visitor.say(f":tmi.twitch.tv PONG tmi.twitch.tv {rest}")
