"""`backchat run`: collector, trainer and bot together, kept alive, watched on one screen, stopped cleanly."""

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from bot.facts import Diary
from bot.instance import free_port, require_port, take_lock
from bot.run_watch import RunWatch
from bot.screen import ProgramView, View, plain, screen
from bot.settings import ALL_TABLES, BotTable, RoomTable, WebTable
from bot.supervisor import Program, Supervisor
from corpus.settings import CorpusTable, PathsTable, Settings, TwitchTable, load_settings
from corpus.status import read_status

if TYPE_CHECKING:
    from rich.console import Console

PROGRAMS = ("corpus", "trainer", "bot")
LOOK_S = 0.5
ECHO = "^C"  # what a terminal writes behind the screen; a full last line would wrap and leave the screen's top behind


def register(app: typer.Typer) -> None:
    app.command()(run)


def run() -> None:
    """Start everything: the collector, the trainer and the bot, with the local chat room where no channel is set."""
    from rich.console import Console

    settings = load_settings(ALL_TABLES)
    paths = settings[PathsTable]
    with take_lock(paths.data) as lock:
        web, room = settings[WebTable], settings[RoomTable]
        web_port = require_port(web.host, web.port)
        irc_port = free_port("127.0.0.1", room.irc_port)
        programs = planned(settings, web_port, irc_port)
        for name in PROGRAMS:
            (paths.status / f"{name}.json").unlink(missing_ok=True)
        supervisor = Supervisor(programs, paths.logs, randomness=random.Random(), inherit=(lock.fileno(),))
        channels = settings[TwitchTable].channels
        where = "#" + ", #".join(name.lstrip("#") for name in channels) if channels else "local room"
        look = looking(paths, supervisor, f"http://{web.host}:{web_port}/", where)
        asyncio.run(_run(supervisor, look, Console()))


def planned(settings: Settings, web_port: int, irc_port: int) -> list[Program]:
    """The three programs, told which ports are theirs; without a channel the collector is pointed at the room."""
    # The companion under whatever name is no food for itself.
    bots = json.dumps(list(dict.fromkeys((*settings[CorpusTable].known_bots, settings[BotTable].name.lower()))))
    common = {"BACKCHAT_CORPUS__KNOWN_BOTS": bots}
    bot = {"BACKCHAT_WEB__PORT": str(web_port), "BACKCHAT_ROOM__IRC_PORT": str(irc_port)}
    corpus: dict[str, str] = {}
    if not settings[TwitchTable].channels:
        from bot.room import ROOM_CHANNEL

        corpus = {
            "BACKCHAT_TWITCH__CHANNELS": json.dumps([ROOM_CHANNEL]),
            "BACKCHAT_TWITCH__IRC_HOST": "127.0.0.1",
            "BACKCHAT_TWITCH__IRC_PORT": str(irc_port),
            "BACKCHAT_TWITCH__IRC_TLS": "false",
        }
    return [Program("bot", common | bot), Program("corpus", common | corpus), Program("trainer", common)]


def looking(paths: PathsTable, supervisor: Supervisor, url: str, where: str) -> Callable[[bool], View]:
    """A function that looks at everything once: status files, the newest run's diary, the programs."""
    watch, diary = RunWatch(paths.checkpoints), Diary()

    def look(stopping: bool) -> View:
        for event in watch.poll():
            diary.read(event)
        now_s = time.monotonic()
        views = [
            ProgramView(
                program.module,
                program.running,
                program.restarts,
                None if program.again_at_s is None else max(0.0, program.again_at_s - now_s),
                program.last_words if not program.running else "",
            )
            for program in supervisor.programs
        ]
        status = {name: read_status(paths.status, name) for name in PROGRAMS}
        return View(url, where, views, diary.training, status["corpus"], status["trainer"], status["bot"], stopping)

    return look


async def _run(supervisor: Supervisor, look: Callable[[bool], View], console: "Console") -> None:
    stop = asyncio.Event()
    with _signals(stop):
        keeping = asyncio.create_task(supervisor.run(stop))
        showing = asyncio.create_task(_show(look, console, stop))
        await asyncio.wait({keeping, showing}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await keeping
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
    console.print("Backchat has stopped; nothing is lost.")


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal all mean: stop cleanly."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop.set))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
        return
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # started with nohup
        numbers.remove(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _show(look: Callable[[bool], View], console: "Console", stop: asyncio.Event) -> None:
    if console.is_terminal:
        from rich.constrain import Constrain
        from rich.live import Live

        def shown() -> Constrain:
            return Constrain(screen(look(stop.is_set())), max(20, console.width - len(ECHO) - 1))

        with Live(shown(), console=console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(shown(), refresh=True)
                await asyncio.sleep(LOOK_S)
    before: View | None = None
    while True:
        view = look(stop.is_set())
        for line in plain(before, view):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        before = view
        await asyncio.sleep(LOOK_S)
