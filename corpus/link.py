"""One connection to Twitch chat: sign in, join, stay alive, come back. Knows lines and time, not what lines mean."""

import logging
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corpus.irc import ANONYMOUS, CAPABILITIES

log = logging.getLogger(__name__)

CHANNELS_A_LINK = 100  # Twitch's limit a connection
JOINS = 20  # Twitch's limit on joins: so many …
JOINS_MS = 10_500  # … in ten seconds
CONNECT_S = 10.0
WELCOME_MS = 15_000  # a server that accepts and says nothing is given up after this
IDLE_MS = 30_000  # after so long a silence we ask whether anybody is there …
ANSWER_MS = 15_000  # … and leave when nobody says anything for this long
BACKOFF_MS = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000)
READ_BYTES = 256 * 1024  # as much as one turn takes: the kernel's buffer and then the sender wait for the rest
LONGEST_LINE = 64 * 1024


@dataclass(frozen=True)
class Endpoint:
    """Where chat is and who we are there. Without a token we read anonymously."""

    host: str
    port: int
    tls: bool
    login: str = ""
    token: str = field(default="", repr=False)


class Link:
    """A connection that is kept up. The owner calls `tick` often and `receive` when the socket is readable.

    Times are milliseconds of a clock that never jumps. Nothing is ever queued here: what the owner does not read
    waits in the kernel, and then with the sender.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channels: Sequence[str],
        *,
        now_ms: Callable[[], int],
        chance: random.Random,
    ) -> None:
        self.endpoint = endpoint
        self.channels = tuple(channels)
        self.socket: socket.socket | None = None
        self.welcomed = False
        self.pinged_ms: int | None = None  # when the question now open was asked
        self.detail = "not connected yet"
        self._now_ms = now_ms
        self._chance = chance
        self._failures = 0
        self._retry_ms = now_ms()
        self._heard_ms = 0
        self._buffer = b""
        self._skipping = False
        self._joins: deque[str] = deque()
        self._joined_at: deque[int] = deque(maxlen=JOINS)

    def tick(self) -> None:
        """Connect, join, ask or give up: whatever is due now."""
        now = self._now_ms()
        if self.socket is None:
            if now >= self._retry_ms:
                self._connect(now)
            return
        silence = now - self._heard_ms
        if not self.welcomed:
            if silence > WELCOME_MS:
                self.drop("the server accepted the connection and said nothing")
            return
        while self._joins and (len(self._joined_at) < JOINS or now - self._joined_at[0] >= JOINS_MS):
            self._joined_at.append(now)
            self.send(f"JOIN #{self._joins.popleft()}")
        if self.pinged_ms is not None:
            if now - max(self.pinged_ms, self._heard_ms) > ANSWER_MS:
                self.drop("the connection went silent")
        elif silence > IDLE_MS:
            self.ask()

    def due_ms(self) -> int:
        """In how many milliseconds `tick` has something to do at the latest."""
        now = self._now_ms()
        if self.socket is None:
            return max(0, self._retry_ms - now)
        if self._joins and self.welcomed:
            return 0 if len(self._joined_at) < JOINS else max(0, self._joined_at[0] + JOINS_MS - now)
        return 1_000

    def ask(self) -> None:
        """Ask whether the server is there: its answer proves that all it said before has arrived."""
        self.pinged_ms = self._now_ms()
        self.send("PING :backchat")

    def answered(self) -> int | None:
        """The answer came: how long ago the question was put, in ms."""
        asked, self.pinged_ms = self.pinged_ms, None
        return None if asked is None else self._now_ms() - asked

    def welcome(self) -> None:
        """The server took us in: joins may begin, and the next failure is the first again."""
        self.welcomed = True
        self._failures = 0
        self.detail = "connected"
        self._joins = deque(self.channels)

    def receive(self) -> list[str]:
        """The complete lines that are there, at most READ_BYTES of them. Drops the link when it has ended."""
        if self.socket is None:
            return []
        try:
            data = self.socket.recv(READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        except OSError as error:
            self.drop(f"the connection broke ({error})")
            return []
        if not data:
            self.drop("the server closed the connection")
            return []
        self._heard_ms = self._now_ms()
        return self._lines(data)

    @property
    def more(self) -> bool:
        """Whether decrypted bytes wait that no selector will announce."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def send(self, line: str) -> None:
        if self.socket is None:
            return
        try:
            self.socket.sendall(f"{line}\r\n".encode())
        except OSError as error:
            self.drop(f"the connection broke ({error})")

    def drop(self, why: str, *, soon: bool = False) -> None:
        """Leave and come back after a growing, random pause; `soon` when the server itself asked us to."""
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.welcomed = False
        self.pinged_ms = None
        self._buffer = b""
        pause = BACKOFF_MS[0] if soon else BACKOFF_MS[min(self._failures, len(BACKOFF_MS) - 1)]
        self._failures += 1
        self._retry_ms = self._now_ms() + round(pause * self._chance.uniform(0.5, 1.0))
        self.detail = why
        log.warning("%s:%d: %s; trying again", self.endpoint.host, self.endpoint.port, why)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.welcomed = False

    def _connect(self, now: int) -> None:
        endpoint = self.endpoint
        raw: socket.socket | None = None
        try:
            raw = socket.create_connection((endpoint.host, endpoint.port), CONNECT_S)
            if endpoint.tls:
                raw = ssl.create_default_context().wrap_socket(raw, server_hostname=endpoint.host)
            raw.setblocking(False)
        except OSError as error:
            if raw is not None:
                raw.close()
            self.drop(f"cannot connect ({error})")
            return
        self.socket = raw
        self._heard_ms = self._now_ms()
        self._skipping = False
        self.detail = "signing in"
        self.send(CAPABILITIES)
        if endpoint.token:
            self.send(f"PASS oauth:{endpoint.token.removeprefix('oauth:')}")
            self.send(f"NICK {endpoint.login.lower()}")
        else:
            self.send(f"NICK {ANONYMOUS}{self._chance.randrange(10_000, 99_999)}")

    def _lines(self, data: bytes) -> list[str]:
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._buffer += data
            if len(self._buffer) > LONGEST_LINE:  # no line of chat is this long: forget it up to its end
                self._buffer, self._skipping = b"", True
            return []
        lines = (self._buffer + whole).decode("utf-8", "replace").split("\n")
        self._buffer = rest
        if self._skipping:
            self._skipping = False
            del lines[0]
        return [line.rstrip("\r") for line in lines]
