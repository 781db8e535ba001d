"""Log files into the corpus: records in batches, moderation in its place, and a summary of what became of every row."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from corpus.errors import ImportFileError
from corpus.importers.source import Importer, Options, Record, Skipped, Source
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage, Moderation
from corpus.store import Appended, Corpus

BATCH = 20_000
EXAMPLES = 5


@dataclass
class Summary:
    """What became of one file's rows. `skipped` counts reasons; `examples` are the first rows, with their lines."""

    format: str
    rows: int = 0
    appended: Appended = field(default_factory=Appended)
    removed: int = 0
    moderation: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Skipped] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)


def import_file(
    corpus: Corpus | None,
    source: Source,
    importer: Importer,
    options: Options,
    *,
    strict: bool = False,
    on_batch: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Read a whole file into the corpus; without one, only count. Each batch is one transaction.

    `strict` raises `ImportFileError` at the first row that cannot be read; batches before it stay.
    """
    summary = Summary(importer.name)
    records = importer.read(source, options)
    while batch := list(islice(records, BATCH)):
        for record in batch:
            if isinstance(record, Skipped):
                if strict:
                    raise ImportFileError(
                        f"{source.path}:{record.line}: {record.why}; leave --strict out to skip such rows"
                    )
                summary.skipped[record.why] += 1
                if len(summary.examples) < EXAMPLES:
                    summary.examples.append(record)
        summary.rows += len(batch)
        if corpus is None:
            kept = sum(isinstance(record, ChatMessage) for record in batch)
            summary.appended += Appended(kept=kept)
            summary.channels.update(record.channel for record in batch if isinstance(record, ChatMessage))
        else:
            with corpus.transaction():
                _store(corpus, batch, summary)
        on_batch(summary)
    return summary


def _store(corpus: Corpus, batch: list[Record], summary: Summary) -> None:
    for piece in _pieces(batch):
        if isinstance(piece, list):
            summary.appended += corpus.append(piece)
            summary.channels.update({message.channel for message in piece})
        else:
            summary.moderation += 1
            summary.removed += _carry_out(corpus, piece)


def _pieces(batch: list[Record]) -> Iterator[list[ChatMessage] | Moderation]:
    """Runs of messages, and between them what moderators took away, in the order of the log."""
    run: list[ChatMessage] = []
    for record in batch:
        if isinstance(record, ChatMessage):
            run.append(record)
        elif not isinstance(record, Skipped):
            if run:
                yield run
                run = []
            yield record
    if run:
        yield run


def _carry_out(corpus: Corpus, moderation: Moderation) -> int:
    match moderation:
        case DeletedMessage():
            return corpus.delete_message(moderation.message_id)
        case ClearedChatter():
            return corpus.delete_chatter(moderation.channel, moderation.login, until_ms=moderation.at_ms)
        case ClearedRoom():
            return (
                0
                if moderation.at_ms is None
                else corpus.clear_channel(
                    moderation.channel, since_ms=moderation.at_ms - 3_600_000, until_ms=moderation.at_ms
                )
            )
