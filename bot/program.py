"""Puts the bot together: chat, brain, companion, narrator and the one way out. `python -m bot` runs it."""

import asyncio
import contextlib
import importlib
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bot.audience import Audience, attend
from bot.brain import Brain
from bot.chat import Chat, ChatEvent, ConnectionChanged, StreamChanged
from bot.companion import Companion
from bot.control import Mouth
from bot.games import Bets
from bot.guards import Guards
from bot.narrator import Narrator
from bot.outbox import Outbox
from bot.people import People
from bot.performer import Performer
from bot.persona import load_script
from bot.room import Room, RoomChat
from bot.room_irc import RoomPort
from bot.run_watch import RunWatch
from bot.safety import Gate
from bot.safety_report import SafetyReport
from bot.settings import BotTable, NarratorTable, RoomTable, SafetyTable, WebTable
from bot.web.access import Access, token_for
from bot.web.pages import Pages
from bot.web.site import assets, make_site
from bot.web.site import serve as serve_site
from corpus.cleaning import Rules
from corpus.errors import BackchatError, CorpusError
from corpus.message import ChatMessage
from corpus.settings import CleaningTable, CorpusTable, PathsTable, Settings, TwitchTable
from corpus.store import Corpus
from trainer.settings import ModelTable, SamplingTable, TrainerTable

if TYPE_CHECKING:
    from trainer.voice import Voice

log = logging.getLogger(__name__)

REMEMBERED_CONSENT_S = 5.0
COLLECTOR_S = 10.0


def now_ms() -> int:
    return int(time.time() * 1000)


async def serve(settings: Settings) -> None:
    """Run the bot until SIGTERM or Ctrl-C. Raises a `BackchatError` when it cannot start."""
    stop = asyncio.Event()
    with stopping_by_signal(stop):
        async with parts(settings) as performer:
            running = asyncio.create_task(performer.run(), name="performer")
            stopped = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            running.cancel()
            try:
                await running
            except asyncio.CancelledError:
                return
            except ExceptionGroup as several:
                if isinstance(several.exceptions[0], BackchatError):
                    raise several.exceptions[0] from several
                raise


@contextlib.asynccontextmanager
async def parts(settings: Settings) -> AsyncIterator[Performer]:
    """Every part of the bot, made, wired together and, at the end, closed in turn."""
    paths, table = settings[PathsTable], settings[BotTable]
    async with contextlib.AsyncExitStack() as stack:
        corpus = stack.enter_context(Corpus.open(paths.database))
        gate = Gate(settings[SafetyTable], now_ms=now_ms)
        guards = Guards(settings[SafetyTable], paths.database, paths.data, companion=table.name.lower())
        stack.callback(guards.close)
        gate.guards += guards.all
        if settings[TwitchTable].channels:
            chat, channels, room, port = twitch_chat(settings), channel_names(settings), None, None
        else:
            port = await stack.enter_async_context(open_room(settings))
            room = port.room
            chat, channels = RoomChat(room), (room.channel,)
        pages = Pages(
            channel=channels[0],
            companion=table.name,
            local=room is not None,
            allow=lambda line: verdict.text if (verdict := gate.check(line, "narration")).allowed else None,
            allow_question=lambda line: verdict.text if (verdict := gate.check_prompt(line)).allowed else None,
            simulated=room.is_simulated if room else lambda login: False,
            assets=assets(),
        )
        mouth = Mouth(
            settings[SafetyTable], paths.data / "control.json", now_ms=now_ms, twitch=room is None,
        )  # fmt: skip
        report = SafetyReport(gate, mouth, paths.data, pages.on_control)
        mouth.changed = report.publish
        url = await stack.enter_async_context(site(settings, pages, port, mouth))
        log.info("open %s", url.partition("?")[0])  # never the token
        voices = Voices(settings, left=guards.left)
        stack.callback(voices.close)
        brain = Brain(
            paths.checkpoints,
            speaker=table.name.lower(),
            load=voices.load,
            count=voices.count,
            stored=voices.stored,
            removed=voices.removed,
            changed=lambda: guards.serves(voices.followed) if voices.followed is not None else None,
        )
        stack.push_async_callback(brain.close)
        bets = Bets(paths.data / "scores.json")
        outbox = Outbox(chat, gate, now_ms=now_ms, control=mouth)
        mouth.say = outbox.offer
        outbox.listeners += [mouth.on_record, guards.on_record]
        exclusions = Exclusions(corpus, settings[CorpusTable].known_bots)

        def consent_changed() -> None:
            exclusions.forget_what_is_known()
            guards.left()

        people = People(
            corpus,
            keep_days=settings[CorpusTable].keep_days,
            work=stack.enter_context(ThreadPoolExecutor(1, "consent")),
            clear=lambda event: performer.on_event(event),
            changed=consent_changed,
        )
        performer = Performer(
            chat=chat,
            companion=Companion(
                table,
                randomness=random.Random(),
                commands=(*bets.commands, *people.commands, *mouth.commands),
                excluded=lambda message: people.has_left(message.login) or exclusions(message),
            ),
            narrator=Narrator(narration(settings), table.name, randomness=random.Random(), started_ms=now_ms()),
            brain=brain,
            outbox=outbox,
            gate=gate,
            watch=RunWatch(paths.checkpoints),
            pages=pages,
            bets=bets,
            channels=channels,
            reply_s=table.reply_s,
            now_ms=now_ms,
            status=paths.status,
            url=url,
            publish=report.publish,
            held=lambda: mouth.held,
            withdraw=mouth.withdraw,
        )
        performer.handlers += [people.on_event, mouth.on_event, guards.on_event]
        guards.start()
        performer.handlers.append(lambda event: note_streams(corpus, channels, event))
        stack.callback(note_streams, corpus, channels, ConnectionChanged(False))
        await brain.start()
        yield performer


def narration(settings: Settings) -> NarratorTable:
    """The narrator's settings; of several processes that share a conduit only the first tells the news."""
    table, bot = settings[NarratorTable], settings[BotTable]
    return table if bot.scale != "conduit" or bot.shard == 0 else table.model_copy(update={"enabled": False})


@contextlib.asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[RoomPort]:
    """The local room behind its IRC port."""
    port = RoomPort(Room(companion=settings[BotTable].name), settings[RoomTable].irc_port)
    await port.start()
    try:
        yield port
    finally:
        await port.close()


@contextlib.asynccontextmanager
async def site(settings: Settings, pages: Pages, room_port: RoomPort | None, mouth: Mouth) -> AsyncIterator[str]:
    """The pages, and the simulated audience whose off switch is on one of them. Gives the address to open."""
    room = room_port.room if room_port else None
    web, paused = settings[WebTable], asyncio.Event()
    present = room is not None and settings[RoomTable].audience

    def pause(wanted: bool) -> None:
        paused.set() if wanted else paused.clear()
        pages.on_audience(present, wanted)

    pages.on_audience(present, False)
    token = token_for(web.host, settings[PathsTable].data / "web_token")
    application = make_site(
        pages,
        access=Access(web.host, token),
        room=room,
        pause_audience=pause if present else None,
        controls=mouth,
    )
    async with serve_site(application, web.host, web.port) as port:
        sitting = []
        if room is not None and room_port is not None and present:
            audience = Audience(load_script(), room.companion.name, now_ms(), random.Random())
            attending = attend(audience, room, on_happening=pages.on_happening, paused=paused.is_set)
            sitting.append(asyncio.create_task(once_heard(room_port, attending), name="audience"))
        try:
            yield f"http://{browsable(web.host)}:{port}/" + (f"?token={token}" if token else "")
        finally:
            for task in sitting:
                task.cancel()
            await asyncio.gather(*sitting, return_exceptions=True)


async def once_heard(port: RoomPort, attending: Coroutine[None, None, None]) -> None:
    """Start the audience when the collector has joined, so that none of it is said to nobody; or after a while."""
    try:
        async with asyncio.timeout(COLLECTOR_S):
            while not port.readers:  # noqa: ASYNC110 - the port counts its readers and tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        log.info("no collector is listening to the room; what is said is not stored")
    except asyncio.CancelledError:
        attending.close()
        raise
    await attending


def note_streams(corpus: Corpus, channels: Sequence[str], event: ChatEvent) -> None:
    """Tell the database who streams, for the collector, which cannot know; nobody knows while nobody listens."""
    try:
        if isinstance(event, StreamChanged):
            corpus.set_online(event.channel, event.online)
        elif isinstance(event, ConnectionChanged) and not event.connected:
            for channel in channels:
                corpus.set_online(channel, None)
    except CorpusError as error:
        log.warning("the database does not know who streams: %s", error)


def twitch_chat(settings: Settings) -> Chat:
    """Twitch itself, loaded only where it is wanted."""
    from bot.twitch import chat_on_twitch

    return chat_on_twitch(settings[TwitchTable], settings[PathsTable], settings[BotTable])


def channel_names(settings: Settings) -> tuple[str, ...]:
    return tuple(name.lstrip("#").lower() for name in settings[TwitchTable].channels)


def browsable(host: str) -> str:
    """What to type into a browser for an address that is listened on."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104


class Exclusions:
    """Whose messages are neither learned, quoted nor answered: known bots, and people who opted out.

    Asks the database at most every few seconds for one person, so that a flood does not become a flood of queries.
    """

    def __init__(self, corpus: Corpus, known_bots: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._corpus = corpus
        self._bots = {login.casefold() for login in known_bots}
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}

    def __call__(self, message: ChatMessage) -> bool:
        if message.login in self._bots:
            return True
        key = (message.login, message.channel)
        known = self._known.get(key)
        now_s = self._clock()
        if known is None or now_s - known[0] > REMEMBERED_CONSENT_S:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[key] = (now_s, self._corpus.is_opted_out(*key))
        return known[1]

    def forget_what_is_known(self) -> None:
        """Somebody has just opted out or in."""
        self._known.clear()


class Voices:
    """Makes voices from what is on disk. Lives in the brain's loading thread, with a database connection of its own."""

    def __init__(self, settings: Settings, *, left: Callable[[], None]) -> None:
        self._settings = settings
        self._left = left
        self.followed: int | None = None  # up to here in the feed of removals the voice loaded last knows of nothing
        also = (settings[BotTable].name,)
        self._rules = Rules.of(settings[CorpusTable], settings[CleaningTable], also)
        self._warm = False
        self._removal: int | None = None
        self._corpus: Corpus | None = None

    def corpus(self) -> Corpus:
        if self._corpus is None:
            self._corpus = Corpus.open(self._settings[PathsTable].database)
        return self._corpus

    def stored(self) -> int:
        return self.corpus().count()

    def removed(self) -> Sequence[str]:
        """Ids of messages removed since the last call, whoever removed them."""
        corpus = self.corpus()
        if self._removal is None:
            self._removal = corpus.last_removal()
            return ()
        removals = corpus.removals(self._removal)
        if removals:
            self._removal = removals[-1].number
            if any(removal.reason in ("forgotten", "opted_out") for removal in removals):
                self._left()
        return [removal.message_id for removal in removals if removal.message_id]

    def load(self, checkpoint: Path) -> "Voice":
        from trainer.checkpoint import load as load_checkpoint
        from trainer.voice import load_voice

        device, sampling = self._settings[TrainerTable].device, self._settings[SamplingTable]
        voice = load_voice(checkpoint, device, sampling, self._rules, self.corpus())
        self.followed = load_checkpoint(checkpoint).removals
        return voice

    def count(self) -> "Voice | None":
        from trainer.voice import YOUNG_MESSAGES, ngram_voice

        corpus = self.corpus()
        voice = ngram_voice(
            corpus.messages(after_row=max(0, corpus.last_row() - YOUNG_MESSAGES)),
            sampling=self._settings[SamplingTable],
            rules=self._rules,
            tokenizer=self._settings[ModelTable].tokenizer,
        )
        self._warm_up_soon()
        return voice

    def _warm_up_soon(self) -> None:
        """Load what a network needs while there is only counting to do: the first checkpoint then speaks at once."""
        if not self._warm:
            self._warm = True
            threading.Thread(target=importlib.import_module, args=("trainer.models.gpt",), daemon=True).start()

    def close(self) -> None:
        if self._corpus is not None:
            self._corpus.close()


@contextlib.contextmanager
def stopping_by_signal(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` on Ctrl-C and SIGTERM; where there are no signals, Ctrl-C ends the event loop as it always does."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        yield
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
