"""Log files into the corpus: batch by batch, moderation in its place, and a summary of what became of every row."""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain

from corpus.errors import ImportFileError
from corpus.garbage import uncollected
from corpus.importers.reading import PARALLEL_BYTES, Batch, batches, batches_beside
from corpus.importers.source import Importer, Options, Skipped, Source
from corpus.message import ClearedChatter, ClearedRoom, DeletedMessage, Moderation
from corpus.records import Appended
from corpus.store import CLEARED_MS, Corpus

EXAMPLES = 5
# The longer a transaction, the fewer pages of the indexes are written twice; a collector beside it waits for its end.
TRANSACTION_S = 1.0


@dataclass
class Summary:
    """What became of one file's rows.

    `skipped` counts why rows could not be read, and `examples` are the first of them; `no_chat` were read and are none.
    """

    file: str
    format: str
    rows: int = 0
    appended: Appended = field(default_factory=Appended)
    removed: int = 0
    moderation: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Skipped] = field(default_factory=list)
    no_chat: int = 0
    consumed: int = 0


def import_file(
    corpus: Corpus | None,
    source: Source,
    importer: Importer,
    options: Options,
    *,
    strict: bool = False,
    on_batch: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Read a whole file into the corpus; without one, only count. It is stored in transactions of about a second.

    `strict` raises `ImportFileError` for the first row that cannot be read, with nothing of the file stored: it reads
    the file twice.
    """
    if strict and corpus is not None:
        import_file(None, source, importer, options, strict=True)
    summary = Summary(source.path.name, importer.name)
    beside = source.size >= PARALLEL_BYTES and (os.cpu_count() or 1) > 1
    before = 0 if corpus is None else corpus.last_row()
    reading = (batches_beside if beside else batches)(source, importer, options)
    with uncollected():
        for first in reading:
            with nullcontext() if corpus is None else corpus.transaction():
                commit_at = time.monotonic() + TRANSACTION_S
                for batch in chain((first,), reading):
                    _count_skipped(source, batch, summary, strict)
                    summary.rows += batch.rows
                    summary.moderation += len(batch.moderation)
                    summary.consumed = batch.consumed
                    if corpus is None:
                        summary.appended += Appended(kept=len(batch.messages))
                    else:
                        _store(corpus, batch, summary, before)
                    on_batch(summary)
                    if time.monotonic() >= commit_at:
                        break
    if corpus is not None:
        corpus.scrub()
    return summary


def _count_skipped(source: Source, batch: Batch, summary: Summary, strict: bool) -> None:
    for one in batch.skipped:
        if one.harmless:
            summary.no_chat += 1
            continue
        if strict:
            raise ImportFileError(f"{source.path}:{one.line}: {one.why}; leave --strict out to skip such rows")
        summary.skipped[one.why] += 1
        if summary.skipped[one.why] <= EXAMPLES:
            summary.examples.append(one)


def _store(corpus: Corpus, batch: Batch, summary: Summary, before: int) -> None:
    start = 0
    for place, moderation in [*batch.moderation, (len(batch.messages), None)]:
        if place > start:
            summary.appended += corpus.append_packed(batch.messages[start:place], other_tools_until=before)
            start = place
        if moderation is not None:
            summary.removed += carry_out(corpus, moderation)


def carry_out(corpus: Corpus, moderation: Moderation) -> int:
    """Take away what a moderator took away in a log; what has no time there counts as of now."""
    match moderation:
        case DeletedMessage(message_id=""):
            return corpus.delete_text(moderation.channel, moderation.login, moderation.text, moderation.at_ms)
        case DeletedMessage():
            return corpus.delete_message(moderation.message_id)
        case ClearedChatter():
            return corpus.delete_chatter(moderation.channel, moderation.login, until_ms=moderation.at_ms)
        case ClearedRoom(at_ms=None):
            return 0  # nobody can say what was on the screen then
        case ClearedRoom(at_ms=int(at_ms)):
            return corpus.clear_channel(moderation.channel, since_ms=at_ms - CLEARED_MS, until_ms=at_ms)
    return 0
