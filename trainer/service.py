"""The trainer as a program: looks at the corpus every second, trains when the schedule says so, tells its status.

Stops cleanly on SIGTERM and SIGINT: the step in hand is finished, nothing is left half-written.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.cleaning import Rules
from corpus.errors import BackchatError, CheckpointError, CorpusError
from corpus.settings import CORPUS_TABLES, CleaningTable, CorpusTable, PathsTable, Settings, load_settings
from corpus.status import write_status
from corpus.store import Corpus
from trainer import checkpoint as on_disk
from trainer.metrics import Evaluated, Event, RunStarted, StepTaken
from trainer.schedule import Situation, decide
from trainer.settings import TRAINER_TABLES, ModelTable, TrainerTable

LOOK_SECONDS = 1.0
REST_AFTER_FAILURE_SECONDS = 60.0

log = logging.getLogger(__name__)


def serve() -> None:
    """Run until a signal comes. Raises SettingsError for a wrong config.toml."""
    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES))
    stop = threading.Event()
    service = Service(settings, stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.end())
    service.run()


@dataclass
class LastRun:
    """What the service remembers of the run before."""

    ended: float
    trained_messages: int
    last_row: int


class Service:
    """Decides, trains, tells. The clock counts seconds and never goes back."""

    def __init__(
        self, settings: Settings, stop: threading.Event, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.paths, self.table, self.model = settings[PathsTable], settings[TrainerTable], settings[ModelTable]
        self.longest_word = settings[CleaningTable].longest_word
        self.rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
        self.stop, self.clock = stop, clock
        self.last: LastRun | None = None
        self.machine: Any = None
        self.warming = False
        self.status: dict[str, Any] = {}

    def end(self) -> None:
        """Stop after the step in hand; at once while the machine is being measured, for nothing is in hand then."""
        self.stop.set()
        if self.warming:
            raise SystemExit(0)

    def run(self) -> None:
        from trainer.machine import stand_back

        stand_back(self.table.nice)
        on_disk.sweep(self.paths.checkpoints)
        self._tell(state="waiting", detail="waiting for the first messages", planned_steps=0, step=0)
        said, removals = "", -1
        while not self.stop.is_set():
            try:
                with Corpus.open(self.paths.database, read_only=True) as corpus:
                    removals = self._mark_forgotten(corpus, removals)
                    decision = decide(self._situation(corpus), self.table)
            except CorpusError:
                self._warm_up()  # the collector has not made it yet
                self.stop.wait(LOOK_SECONDS)
                continue
            if decision.train:
                log.info("training: %s", decision.reason)
                said = ""
                self._train(decision.minutes)
                continue
            self._tell(state="waiting", detail=f"waiting for {decision.reason}" if self.last else decision.reason)
            if not self.last and decision.reason != said:
                said = decision.reason
                log.info("%s", said)
            self._warm_up()
            self.stop.wait(LOOK_SECONDS)
        self._tell(state="stopped", detail="stopped")

    def _warm_up(self) -> None:
        """Load torch and measure the machine while there is nothing to train on yet: the first run starts sooner."""
        if self.machine is None:
            self.warming = True
            from trainer.device import choose_device
            from trainer.machine import measure, use_threads

            self.machine = measure(choose_device(self.table.device), use_threads(self.table.threads))
            self.warming = False
            speed = self.machine.speed.flops / 1e9
            precision = "bfloat16" if self.machine.half_precision else "float32"
            log.info("trains on %s in %s at %.0f GFLOP/s", self.machine.speed.machine, precision, speed)

    def _situation(self, corpus: Corpus) -> Situation:
        train, validation = corpus.count(side="train"), corpus.count(side="validation")
        serving = self._serving()
        forgotten = serving is not None and corpus.retrain_asked_ms() > serving.created_ms
        if self.last is None and serving is not None:
            # After a restart the serving checkpoint tells what has been learned already.
            age_s = max(0.0, time.time() - serving.created_ms / 1000)
            last_row = int(serving.seen[-1]) if len(serving.seen) else 0
            self.last = LastRun(self.clock() - age_s, serving.trained_messages, last_row)
        if self.last is None:
            return Situation(train, validation)
        new = corpus.count(side="train", after_row=self.last.last_row)
        minutes = (self.clock() - self.last.ended) / 60
        return Situation(train, validation, self.last.trained_messages, new, minutes, forgotten)

    def _serving(self) -> on_disk.Checkpoint | None:
        try:
            folder = on_disk.latest(self.paths.checkpoints)
            if folder is None:
                return None
            if not hasattr(self, "_loaded") or self._loaded[0] != folder:
                self._loaded: tuple[Path, on_disk.Checkpoint] = (folder, on_disk.load(folder))
            return self._loaded[1]
        except CheckpointError as error:
            log.warning("%s", error)
            return None

    def _mark_forgotten(self, corpus: Corpus, known: int) -> int:
        """Mark every checkpoint that has learned from a message removed since."""
        newest = corpus.last_removal()
        if newest != known:
            for folder in on_disk.all_checkpoints(self.paths.checkpoints):
                with suppress(CheckpointError):
                    checkpoint = on_disk.load(folder)
                    rows = [removal.row for removal in corpus.removals(checkpoint.removals)]
                    gone = int(checkpoint.has_seen(rows).sum()) if rows else 0
                    if gone and gone != on_disk.forgotten(folder):
                        on_disk.mark_forgotten(folder, gone)
        return newest

    def _train(self, minutes: float) -> None:
        from trainer.material import read_chat
        from trainer.run import Desk, run

        try:
            self._warm_up()
            self._tell(state="training", detail="reading the chat", step=0, planned_steps=0)
            with Corpus.open(self.paths.database, read_only=True) as corpus:
                chat = read_chat(corpus, self.rules)
            desk = Desk(
                self.table, self.model, self.machine, self.paths.checkpoints,
                watch=self._watch, say=lambda sentence: self._tell(detail=sentence), stop=self.stop.is_set,
            )  # fmt: skip
            result = run(chat, desk, minutes=minutes, longest_word=self.longest_word)
            log.info("run %s: %s", result.run, result.reason)
            self.last = LastRun(self.clock(), len(chat.train), chat.last_row)
        except BackchatError as error:
            # Chat goes on meanwhile, so what failed now may work with more of it.
            log.warning("no run: %s", error)
            self._tell(state="waiting", detail=str(error))
            self.stop.wait(REST_AFTER_FAILURE_SECONDS)

    def _watch(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._tell(run=event.run, planned_steps=event.planned_steps, detail=event.plan, losses={})
        elif isinstance(event, StepTaken):
            self._tell(step=event.step, tokens_per_second=round(event.tokens_per_second))
        elif isinstance(event, Evaluated):
            losses = {name: loss.bits_per_character for name, loss in event.losses.items()}
            self._tell(step=event.step, losses=losses, sample=event.sample)

    def _tell(self, **news: Any) -> None:
        if any(self.status.get(key) != value for key, value in news.items()):
            self.status |= news
            write_status(self.paths.status, "trainer", self.status)
