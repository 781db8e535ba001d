"""The gate's memory, kept up to date beside the event loop: who said what, who has left, what was taken back."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bot.chat import ChatEvent, MessageReceived
from bot.memorisation import Forgotten, Memorisation
from bot.outbox import Record
from bot.quarantine import Quarantine, teachers
from bot.safety import Guard
from bot.settings import SafetyTable
from corpus.errors import CorpusError
from corpus.store import Corpus

log = logging.getLogger(__name__)


class Guards:
    """The three guards and the one thread that reads the database for them. `companion` is its own login in chat."""

    def __init__(self, settings: SafetyTable, database: Path, folder: Path, *, companion: str) -> None:
        self._database = database
        self._companion = companion
        self._work = ThreadPoolExecutor(1, "guards")
        with Corpus.open(database) as corpus:
            self.forgotten = Forgotten(corpus.shingler)
            self.forgotten.hold(corpus.suppressed())
        self.memorisation = Memorisation(words=settings.memorised_words, people=settings.memorised_people, ready=False)
        self.quarantine = Quarantine(folder / "quarantine.json", self._taken_back, companion=companion)

    @property
    def all(self) -> tuple[Guard, ...]:
        """For the gate, the cheapest first."""
        return (self.quarantine, self.forgotten, self.memorisation)

    def start(self) -> None:
        """Begin to read what was said by whom. Generated lines are held back until that is done."""
        if len(self.forgotten):
            self._submit(self._thin)
        self._submit(self._read)

    def close(self) -> None:
        self._work.shutdown(wait=False, cancel_futures=True)

    def on_event(self, event: ChatEvent) -> None:
        """What somebody says now is guarded from now on; what a moderator deletes of ours is quarantined."""
        if isinstance(event, MessageReceived) and not event.own and event.message.login != self._companion:
            self.memorisation.learn(event.message.login, event.message.text)
        self.quarantine.on_event(event)

    def on_record(self, record: Record) -> None:
        self.quarantine.on_record(record)

    def left(self) -> None:
        """Somebody has left. Their words are held back as soon as the thread is free, which is at once."""
        self._submit(self._hold)
        self._submit(self._thin)

    def serves(self, removal: int) -> None:
        """The model that speaks now has followed the feed of removals up to here: what it cannot know may go."""
        self.forgotten.serves(removal)
        self._submit(lambda corpus: corpus.end_suppression(removal))

    def settled(self) -> None:
        """Wait until everything submitted so far is done."""
        self._work.submit(lambda: None).result()

    def _submit(self, job: Callable[[Corpus], object]) -> "Future[None]":
        return self._work.submit(self._do, job)

    def _do(self, job: Callable[[Corpus], object]) -> None:
        try:
            with Corpus.open(self._database) as corpus:
                job(corpus)
        except CorpusError as error:
            log.error("the gate's memory could not be brought up to date: %s", error)

    def _read(self, corpus: Corpus) -> None:
        said = ((stored.message.login, stored.message.text) for stored in corpus.messages())
        self.memorisation.read(pair for pair in said if pair[0] != self._companion)

    def _hold(self, corpus: Corpus) -> None:
        self.forgotten.hold(corpus.suppressed())

    def _thin(self, corpus: Corpus) -> None:
        self.forgotten.thin(stored.message.text for stored in corpus.messages())

    def _taken_back(self, words: list[str]) -> None:
        def withhold(corpus: Corpus) -> None:
            rows = teachers(words, ((stored.row, stored.message.text) for stored in corpus.messages()))
            withheld = corpus.withhold(rows)
            log.info("a line was taken back; %d messages like it are left out of the next training", withheld)

        self._submit(withhold)
