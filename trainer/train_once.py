"""`backchat train`: one run in the foreground with a live display, alone or under torchrun."""

import signal
import threading

from rich.console import Console

from corpus.cleaning import Rules
from corpus.settings import CORPUS_TABLES, CleaningTable, CorpusTable, PathsTable, load_settings
from corpus.store import Corpus
from trainer.asking import find_checkpoint
from trainer.device import choose_device
from trainer.loop import distributed
from trainer.machine import measure, stand_back, use_threads
from trainer.material import read_chat, require_enough
from trainer.run import Desk, Result, run
from trainer.screen import TrainingScreen
from trainer.settings import TRAINER_TABLES, ModelTable, TrainerTable


def train_once(minutes: float | None, init_from: str | None) -> Result:
    """Read the corpus, train, promote if it is better. Raises a BackchatError that says why it cannot."""
    settings = load_settings((*CORPUS_TABLES, *TRAINER_TABLES))
    paths, table = settings[PathsTable], settings[TrainerTable]
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stand_back(table.nice)
        device = choose_device(table.device)
        threads = use_threads(table.threads)
        with distributed(device) as world, TrainingScreen(Console(quiet=world.rank != 0)) as screen:
            # Only the first of several processes has something to show.
            screen.say("reading the chat")
            rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
            with Corpus.open(paths.database, read_only=True) as corpus:
                chat = read_chat(corpus, rules)
            require_enough(chat)
            screen.say("measuring this machine")
            parent = find_checkpoint(init_from, paths.checkpoints) if init_from else None
            machine = world.same(measure(device, threads))
            desk = Desk(
                table, settings[ModelTable], machine, paths.checkpoints,
                watch=screen.watch, say=screen.say, stop=stop.is_set,
            )  # fmt: skip
            return run(
                chat, desk, minutes=minutes or table.minutes, init_from=parent,
                longest_word=settings[CleaningTable].longest_word,
            )  # fmt: skip
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
