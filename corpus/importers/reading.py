"""A log file read by a second process while this one stores: on two cores an import takes as long as the slower half.

What passes between them are plain values (`marshal`), a batch at a time; the pipe holds the reader back when storing
is slower, so memory stays flat.
"""

import marshal
import multiprocessing
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from corpus.errors import ImportFileError
from corpus.garbage import uncollected
from corpus.importers.lines import is_notice
from corpus.importers.registry import IMPORTERS
from corpus.importers.source import LONGEST_LINE, Importer, Options, Record, Skipped, Source
from corpus.message import ChatMessage, ClearedChatter, ClearedRoom, DeletedMessage, Moderation
from corpus.records import Packed, pack

BATCH = 20_000
MARSHAL_VERSION = 2  # the last without a table of what was written before: half the time, and messages share nothing
PARALLEL_BYTES = 4 * 1024 * 1024  # a second process takes a third of a second to start: not for less than this
NOTICE = Skipped(0, "a notice, no chat", harmless=True)
TOO_LONG = f"longer than {LONGEST_LINE // 1024} KiB"
_KINDS: tuple[type[Moderation], ...] = (DeletedMessage, ClearedChatter, ClearedRoom)


@dataclass
class Batch:
    """Some rows of a file: messages packed for the store and, at their places between them, moderation."""

    rows: int
    messages: list[Packed]
    moderation: list[tuple[int, Moderation]]
    skipped: list[Skipped]
    consumed: int


def batches(source: Source, importer: Importer, options: Options) -> Iterator[Batch]:
    """Read a file in this process. One that breaks off after some rows gives those, and says where it did."""
    records = importer.read(source, options)
    rows, whole = 0, True
    while whole:
        some: list[Record] = []
        try:
            some.extend(islice(records, BATCH))
        except ImportFileError as error:
            if rows + len(some) == 0:
                raise
            some.append(Skipped(rows + len(some), f"nothing after this can be read: {error}"))
            whole = False
        if not some:
            return
        rows += len(some)
        batch = Batch(len(some), [], [], [], source.consumed())
        messages = batch.messages
        for number, record in enumerate(some, rows - len(some) + 1):
            if isinstance(record, ChatMessage):
                if is_notice(record):
                    batch.skipped.append(NOTICE)
                elif len(record.text) > LONGEST_LINE:
                    batch.skipped.append(Skipped(number, TOO_LONG))
                else:
                    messages.append(pack(record))
            elif isinstance(record, Skipped):
                batch.skipped.append(replace(record, why=TOO_LONG) if record.line in source.too_long else record)
            else:
                batch.moderation.append((len(batch.messages), record))
        yield batch


def batches_beside(source: Source, importer: Importer, options: Options) -> Iterator[Batch]:
    """Read a file in a process beside this one. Raises what `batches` raises."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_read_into, args=(theirs, source.path, IMPORTERS.index(importer), options), daemon=True
    )
    process.start()
    theirs.close()
    try:
        while True:
            try:
                # Nothing but the child we started writes into this pipe.
                kind, *values = marshal.loads(ours.recv_bytes())  # noqa: S302 - only our child writes here
            except EOFError:
                raise ImportFileError(f"{source.path}: the process that read it ended too early; try again") from None
            if kind == "end":
                return
            if kind == "error":
                raise ImportFileError(values[0])
            yield _unflattened(values)
    finally:
        ours.close()
        process.terminate()
        process.join()


def _read_into(pipe: Connection, path: Path, importer: int, options: Options) -> None:
    try:
        with uncollected():
            for batch in batches(Source.of(path), IMPORTERS[importer], options):
                pipe.send_bytes(marshal.dumps(("batch", *_flattened(batch)), MARSHAL_VERSION))
        pipe.send_bytes(marshal.dumps(("end",)))
    except ImportFileError as error:
        pipe.send_bytes(marshal.dumps(("error", str(error))))
    except (BrokenPipeError, KeyboardInterrupt):
        return  # the importing process has ended, and says why


def _flattened(batch: Batch) -> tuple[Any, ...]:
    moderation = [(place, _KINDS.index(type(one)), astuple(one)) for place, one in batch.moderation]
    return batch.rows, batch.messages, moderation, [astuple(one) for one in batch.skipped], batch.consumed


def _unflattened(values: list[Any]) -> Batch:
    rows, messages, moderation, skipped, consumed = values
    return Batch(
        rows,
        messages,
        [(place, _KINDS[kind](*fields)) for place, kind, fields in moderation],
        [Skipped(*fields) for fields in skipped],
        consumed,
    )
