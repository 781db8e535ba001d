"""What the host of the room may type instead of a message: Twitch's own moderation commands. Pure but for the room."""

from collections.abc import Callable

from bot.room import NAME, Room, RoomError

TIME_OUT_S = 600
LONGEST_S = 14 * 24 * 3600


def command(room: Room, text: str) -> bool:
    """Do what a line that begins with `/` asks for; False where it is a message after all.

    Raises `RoomError` for a command that is not known or lacks something.
    """
    if not text.startswith("/") or text.startswith("/me "):
        return False
    name, *words = text[1:].split()
    act = _COMMANDS.get(name.lower())
    if act is None:
        raise RoomError(f"/{name} is not a command here; there are /{', /'.join(sorted(_COMMANDS))} and /me")
    act(room, words)
    return True


def _login(words: list[str], example: str) -> str:
    if not words or not NAME.fullmatch(words[0].lstrip("@")):
        raise RoomError(f"say whom, for example {example}")
    return words[0].lstrip("@").lower()


def _time_out(room: Room, words: list[str]) -> None:
    login = _login(words, "/timeout somebody 600")
    length = words[1] if len(words) > 1 else str(TIME_OUT_S)
    if not length.isdecimal() or not 1 <= int(length) <= LONGEST_S:
        raise RoomError(f"say for how many seconds, from 1 to {LONGEST_S}, for example /timeout {login} 600")
    room.time_out(login, int(length))


def _ban(room: Room, words: list[str]) -> None:
    room.time_out(_login(words, "/ban somebody"), None)


def _forgive(room: Room, words: list[str]) -> None:
    room.forgive(_login(words, "/unban somebody"))


def _delete(room: Room, words: list[str]) -> None:
    if not words or not room.delete(words[0]):
        raise RoomError("there is no message of that id; point at the message and choose Delete")


def _clear(room: Room, words: list[str]) -> None:
    room.clear()


_COMMANDS: dict[str, Callable[[Room, list[str]], None]] = {
    "ban": _ban,
    "clear": _clear,
    "delete": _delete,
    "timeout": _time_out,
    "unban": _forgive,
    "untimeout": _forgive,
}
