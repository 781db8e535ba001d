"""A connection is kept up whatever the server does, with clocks that the test moves."""

import random
import socket
import threading
import time
from collections.abc import Callable

from corpus.link import ANSWER_MS, IDLE_MS, JOINS, JOINS_MS, LONGEST_LINE, WELCOME_MS, Endpoint, Link
from tests.irc_server import IrcServer


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def link_to(server: IrcServer, clock: Clock, *channels: str, token: str = "") -> Link:
    endpoint = Endpoint("127.0.0.1", server.port, tls=False, login="Me" if token else "", token=token)
    return Link(endpoint, channels or ("den",), now_ms=clock, chance=random.Random(1))


def until(link: Link, true: Callable[[], bool]) -> list[str]:
    """Serve the link until something holds; gives the lines that came."""
    lines: list[str] = []
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        link.tick()
        for line in link.receive():
            lines.append(line)
            if " 001 " in line:
                link.welcome()
        time.sleep(0.001)
    return lines


def test_an_anonymous_reader_asks_for_tags_before_it_joins() -> None:
    with IrcServer() as server:
        link = link_to(server, Clock())
        until(link, lambda: bool(server.visitors and server.visitors[0].confirmed))
        said = server.visitors[0].lines
        assert said[0] == "CAP REQ :twitch.tv/tags twitch.tv/commands"
        assert said[1].startswith("NICK justinfan")
        assert said[2] == "JOIN #den"
        link.close()


def test_a_token_is_sent_and_never_shown() -> None:
    with IrcServer() as server:
        link = link_to(server, Clock(), token="oauth:s3cret")
        until(link, lambda: bool(server.visitors and server.visitors[0].confirmed))
        assert server.visitors[0].lines[1:3] == ["PASS oauth:s3cret", "NICK me"]
        assert "s3cret" not in repr(link.endpoint)
        link.close()


def test_joins_keep_to_twitchs_limit() -> None:
    clock = Clock()
    channels = [f"room{number}" for number in range(JOINS + 5)]
    with IrcServer() as server:
        link = link_to(server, clock, *channels)
        until(link, lambda: bool(server.visitors) and len(server.visitors[0].confirmed) == JOINS)
        assert 0 < link.due_ms() <= JOINS_MS
        clock.ms += JOINS_MS
        until(link, lambda: len(server.visitors[0].confirmed) == JOINS + 5)
        link.close()


def test_a_server_that_accepts_and_says_nothing_is_left_and_tried_again() -> None:
    clock = Clock()
    with IrcServer(welcoming=False) as server:
        link = link_to(server, clock)
        until(link, lambda: len(server.visitors) == 1)
        clock.ms += WELCOME_MS + 1
        link.tick()
        assert link.socket is None
        assert "said nothing" in link.detail
        clock.ms += 2_000
        until(link, lambda: len(server.visitors) == 2)
        link.close()


def test_a_half_open_connection_is_noticed_and_replaced() -> None:
    clock = Clock()
    with IrcServer(answering=False) as server:
        link = link_to(server, clock)
        until(link, lambda: bool(server.visitors and server.visitors[0].confirmed))
        until(link, lambda: link.socket is not None and not link.receive())
        clock.ms += IDLE_MS + 1
        link.tick()
        assert link.pinged_ms == clock.ms
        clock.ms += ANSWER_MS + 1
        link.tick()
        assert link.socket is None
        clock.ms += 2_000
        until(link, lambda: len(server.visitors) == 2)
        link.close()


def test_pauses_grow_and_are_never_the_same_for_everybody() -> None:
    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    link = Link(Endpoint("127.0.0.1", port, tls=False), ("den",), now_ms=clock, chance=random.Random(3))
    pauses = []
    for _ in range(10):
        link.tick()
        pauses.append(link.due_ms())
        clock.ms += pauses[-1]
    assert pauses[0] <= 500
    assert pauses[5] > pauses[0] * 8
    assert all(pause <= 60_000 for pause in pauses)
    assert len({pause % 1000 for pause in pauses}) > 5


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    with IrcServer() as server:
        link = link_to(server, Clock())
        until(link, lambda: bool(server.visitors and server.visitors[0].confirmed))
        visitor = server.visitors[0]

        def flood() -> None:
            visitor.socket.sendall(b"x" * (LONGEST_LINE * 8))
            visitor.socket.sendall(b"y\r\nPING :after\r\n")

        thread = threading.Thread(target=flood)
        thread.start()
        lines: list[str] = []
        deadline = time.monotonic() + 20
        while "PING :after" not in lines:
            assert time.monotonic() < deadline
            lines += link.receive()
            assert len(link._buffer) <= LONGEST_LINE + 1
        thread.join()
        assert not any(line.startswith("x") for line in lines)
        link.close()
