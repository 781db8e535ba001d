"""The local room: what it accepts, what it passes on, what moderators take away, and its loopback IRC port."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from bot.chat import ChatEvent, MessageDeleted, MessageReceived, OutgoingLine, Raided, RoomCleared
from bot.room import BOT_BADGE, ROOM_CHANNEL, Person, Room, RoomChat, RoomError
from bot.room_commands import command
from bot.room_irc import RoomPort, escape_tag, unescape_tag


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def room(clock: Clock) -> Room:
    numbers = itertools.count(1)
    return Room(now_ms=clock, new_id=lambda: f"id-{next(numbers)}")


MOSS = Person("Moss", frozenset({"moderator"}), ("moderator",), simulated=True)
ANNA = Person("Anna")


def test_every_listener_hears_what_is_said_in_the_order_it_was_said(room: Room) -> None:
    heard: list[ChatEvent] = []
    room.listen(heard.append)
    room.post(ANNA, "first")
    room.post(MOSS, "second")
    texts = [event.message.text for event in heard if isinstance(event, MessageReceived)]
    assert texts == ["first", "second"]


def test_a_deleted_message_is_gone_and_everyone_is_told(room: Room) -> None:
    heard: list[ChatEvent] = []
    message = room.post(ANNA, "oops")
    room.listen(heard.append)
    assert room.delete(message.id)
    assert not room.delete(message.id)
    assert heard == [MessageDeleted(ROOM_CHANNEL, message.id, "anna")]
    assert room.recent == []


def test_somebody_timed_out_loses_their_lines_and_their_voice_until_the_time_is_over(room: Room, clock: Clock) -> None:
    room.post(ANNA, "one")
    room.post(MOSS, "two")
    room.time_out("Anna", 10)
    assert [said.message.text for said in room.recent] == ["two"]
    with pytest.raises(RoomError, match="timed out"):
        room.post(ANNA, "me again")
    clock.ms += 10_000
    room.post(ANNA, "sorry")
    room.time_out("anna", None)
    clock.ms += 10**9
    with pytest.raises(RoomError):
        room.post(ANNA, "never?")
    room.forgive("Anna")
    assert room.post(ANNA, "thanks").text == "thanks"


@pytest.mark.parametrize("name", ["backchat", "BackChat", "moss", "", "two words", "x" * 26, "a@b"])
def test_nobody_comes_in_under_a_name_that_is_taken_or_is_no_name(room: Room, name: str) -> None:
    room.reserve([MOSS])
    with pytest.raises(RoomError, match="name"):
        room.guest(name)


def test_a_line_is_one_line_without_control_characters(room: Room) -> None:
    assert room.post(ANNA, " a\r\nPRIVMSG #x :b\x00\x01\x02 ").text == "a  PRIVMSG #x :b"
    assert room.post(ANNA, "/me waves").text == "\x01ACTION waves\x01"
    for text in ("", "\x00\x01", "   ", "x" * 501):
        with pytest.raises(RoomError):
            room.post(ANNA, text)


async def test_the_companion_speaks_and_hears_itself_as_its_own(room: Room) -> None:
    chat = RoomChat(room)
    events = chat.events()
    question = room.post(ANNA, "hi backchat")
    sent = await chat.send(OutgoingLine(ROOM_CHANNEL, "hello", reply_to=question.id))
    first, second = await anext(events), await anext(events)
    assert isinstance(first, MessageReceived) and not first.own
    assert isinstance(second, MessageReceived) and second.own
    assert second.message.id == sent.message_id
    assert second.message.reply_to == question.id
    assert BOT_BADGE in second.message.badges


async def test_an_identical_line_within_half_a_minute_is_dropped_as_twitch_does(room: Room, clock: Clock) -> None:
    chat = RoomChat(room)
    assert (await chat.send(OutgoingLine(ROOM_CHANNEL, "again"))).message_id
    assert (await chat.send(OutgoingLine(ROOM_CHANNEL, "again"))).drop_reason == "msg_duplicate"
    clock.ms += 30_000
    assert (await chat.send(OutgoingLine(ROOM_CHANNEL, "again"))).message_id


class Client:
    """A plain IRC client over a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, *lines: str) -> None:
        self.writer.write("".join(line + "\r\n" for line in lines).encode())

    async def line(self, containing: str = "") -> str:
        while True:
            raw = await asyncio.wait_for(self.reader.readline(), 5)
            assert raw, "hung up"
            if containing in raw.decode():
                return raw.decode().rstrip("\r\n")

    async def hung_up(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 5) == b""


@pytest.fixture
async def port(room: Room) -> AsyncIterator[RoomPort]:
    port = RoomPort(room, 0)
    await port.start()
    yield port
    await port.close()


OPEN: list[Client] = []


@pytest.fixture(autouse=True)
async def clients_leave() -> AsyncIterator[None]:
    """Hang up whatever a test connected."""
    yield
    for client in OPEN:
        client.writer.close()
        with contextlib.suppress(ConnectionError):
            await client.writer.wait_closed()
    OPEN.clear()


async def connected(port: RoomPort, *lines: str) -> Client:
    client = Client(*await asyncio.open_connection(port.host, port.port))
    OPEN.append(client)
    client.write(*lines)
    return client


async def joined(port: RoomPort, nick: str = "justinfan1", caps: str = "twitch.tv/tags twitch.tv/commands") -> Client:
    client = await connected(port, f"CAP REQ :{caps}", f"NICK {nick}", f"JOIN #{ROOM_CHANNEL}")
    assert await client.line("CAP") == f":tmi.twitch.tv CAP * ACK :{caps}"
    await client.line(" 376 ")
    await client.line(" 366 ")
    return client


def tags_of(line: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in line.split(" ", 1)[0][1:].split(";"))
    return {key: unescape_tag(value) for key, _, value in pairs}


async def test_an_anonymous_reader_hears_the_room_with_twitchs_tags(port: RoomPort, room: Room, clock: Clock) -> None:
    client = await joined(port)
    first = room.post(MOSS, "semi; colon bcSoup bcSoup")
    room.post(ANNA, "bcHype ja", reply_to=first.id)
    line = await client.line("PRIVMSG")
    tags = tags_of(line)
    assert line.endswith(f":moss!moss@moss.tmi.twitch.tv PRIVMSG #{ROOM_CHANNEL} :semi; colon bcSoup bcSoup")
    assert tags["id"] == first.id
    assert tags["tmi-sent-ts"] == str(clock.ms)
    assert tags["display-name"] == "Moss"
    assert tags["badges"] == "moderator/1" and tags["mod"] == "1"
    assert tags["emotes"] == "room_soup:12-17,19-24"
    assert tags["user-id"].isdigit() and tags["room-id"].isdigit()
    reply = tags_of(await client.line("PRIVMSG"))
    assert reply["reply-parent-msg-id"] == first.id
    assert reply["reply-parent-msg-body"] == first.text


async def test_moderation_and_raids_arrive_in_twitchs_words(port: RoomPort, room: Room) -> None:
    client = await joined(port)
    await client.line("ROOMSTATE")
    message = room.post(ANNA, "oops")
    room.delete(message.id)
    room.time_out("anna", 60)
    room.time_out("anna", None)
    room.happen(Raided(ROOM_CHANNEL, "Neighbour", 12))
    room.clear()
    deleted = await client.line("CLEARMSG")
    assert tags_of(deleted)["target-msg-id"] == message.id and tags_of(deleted)["login"] == "anna"
    timed_out = await client.line("CLEARCHAT")
    assert tags_of(timed_out)["ban-duration"] == "60" and timed_out.endswith(f"#{ROOM_CHANNEL} :anna")
    assert "ban-duration" not in tags_of(await client.line("CLEARCHAT"))
    raid = tags_of(await client.line("USERNOTICE"))
    assert raid["msg-id"] == "raid" and raid["msg-param-viewerCount"] == "12"
    assert raid["system-msg"] == "12 raiders from Neighbour have joined!"
    assert (await client.line("CLEARCHAT")).endswith(f"CLEARCHAT #{ROOM_CHANNEL}")


async def test_a_reader_without_capabilities_gets_plain_irc(port: RoomPort, room: Room) -> None:
    client = await connected(port, "NICK justinfan2", f"JOIN #{ROOM_CHANNEL}")
    await client.line(" 366 ")
    message = room.post(ANNA, "one")
    room.delete(message.id)
    room.post(ANNA, "two")
    assert await client.line() == f":anna!anna@anna.tmi.twitch.tv PRIVMSG #{ROOM_CHANNEL} :one"
    assert await client.line() == f":anna!anna@anna.tmi.twitch.tv PRIVMSG #{ROOM_CHANNEL} :two"


async def test_a_named_client_may_speak_and_an_anonymous_one_may_not(port: RoomPort, room: Room) -> None:
    speaker, ghost = await joined(port, "anna"), await joined(port, "justinfan3")
    ghost.write(f"PRIVMSG #{ROOM_CHANNEL} :boo", "PING :1")
    await ghost.line("PONG")
    speaker.write(f"PRIVMSG #{ROOM_CHANNEL} :\x01ACTION waves\x01", "PING :x y")
    assert "ACTION waves" in await ghost.line("PRIVMSG")
    await speaker.line("USERSTATE")
    assert await speaker.line("P") == ":tmi.twitch.tv PONG tmi.twitch.tv :x y", "nobody hears their own line back"
    assert [said.message.login for said in room.recent] == ["anna"]


async def test_a_client_cannot_sign_in_as_the_companion(port: RoomPort) -> None:
    client = await connected(port, "PASS oauth:x", "NICK backchat")
    assert "Login authentication failed" in await client.line()
    assert await client.hung_up()


async def test_a_web_page_that_posts_to_the_port_is_hung_up_on(port: RoomPort, room: Room) -> None:
    client = await connected(
        port,
        "POST / HTTP/1.1",
        "Host: localhost",
        "",
        "NICK eve",
        f"JOIN #{ROOM_CHANNEL}",
        f"PRIVMSG #{ROOM_CHANNEL} :hi",
    )
    assert await client.hung_up()
    assert room.recent == []


async def test_an_endless_line_ends_the_connection(port: RoomPort) -> None:
    client = await connected(port, "x" * 100_000)
    with pytest.raises((AssertionError, ConnectionError)):
        await client.line()


async def test_unknown_channels_and_capabilities_are_refused_in_twitchs_words(port: RoomPort) -> None:
    client = await connected(port, "CAP REQ :twitch.tv/tags made/up", "NICK justinfan4", "JOIN #elsewhere", "DANCE")
    assert "CAP * NAK" in await client.line("CAP")
    assert "does not exist" in await client.line("NOTICE")
    assert " 421 " in await client.line("Unknown command")


async def test_a_client_that_never_answers_a_ping_is_dropped(room: Room) -> None:
    port = RoomPort(room, 0, ping_every_s=0.05)
    await port.start()
    client = await connected(port, "NICK justinfan5")
    assert await client.line("PING") == "PING :tmi.twitch.tv"
    with pytest.raises(AssertionError, match="hung up"):
        await client.line("never sent")
    await port.close()


async def test_a_reader_that_stops_reading_is_cut_off_instead_of_kept_in_memory(port: RoomPort, room: Room) -> None:
    client = await joined(port)
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(40):
        for _ in range(1000):
            room.post(ANNA, "x" * 480)
        await asyncio.sleep(0)
        if port.readers == 0:
            break
    assert port.readers == 0


async def test_clients_are_told_to_come_back_when_the_room_closes(room: Room) -> None:
    port = RoomPort(room, 0)
    await port.start()
    client = await joined(port)
    await port.close()
    assert await client.line("RECONNECT") == ":tmi.twitch.tv RECONNECT"
    assert await client.hung_up()


async def test_clearing_the_room_empties_it(room: Room) -> None:
    heard: list[ChatEvent] = []
    room.post(ANNA, "a")
    room.listen(heard.append)
    room.clear()
    assert room.recent == [] and heard == [RoomCleared(ROOM_CHANNEL)]


def test_tag_values_survive_escaping() -> None:
    for value in ("a b;c\\d\r\n", "\\s", "plain", ";;", "ends with \\"):
        assert unescape_tag(escape_tag(value)) == value


def test_the_host_moderates_with_twitchs_own_commands(room: Room) -> None:
    message = room.post(ANNA, "one")
    room.post(MOSS, "two")
    assert command(room, f"/delete {message.id}")
    assert command(room, "/timeout @Moss 60")
    assert room.recent == []
    with pytest.raises(RoomError, match="timed out"):
        room.post(MOSS, "three")
    assert command(room, "/untimeout moss")
    room.post(MOSS, "three")
    assert command(room, "/ban moss") and command(room, "/unban moss")
    room.post(MOSS, "four")
    assert command(room, "/clear")
    assert room.recent == []
    assert not command(room, "/me waves") and not command(room, "hello /clear")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/dance", "/dance is not a command here; there are /ban, /clear"),
        ("/timeout", "say whom"),
        ("/timeout a b", "how many seconds"),
        ("/timeout a 0", "how many seconds"),
        ("/ban a-b", "say whom"),
        ("/delete nothing", "no message of that id"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(room: Room, text: str, words: str) -> None:
    with pytest.raises(RoomError) as caught:
        command(room, text)
    assert words in str(caught.value)
