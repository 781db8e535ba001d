"""Which importer reads a file, told by its content and never by its name; and which files a folder or pattern means."""

import glob
from collections.abc import Iterable
from pathlib import Path

from corpus.errors import ImportFileError
from corpus.importers.chatterino import Chatterino
from corpus.importers.chatty import Chatty
from corpus.importers.csv_table import CsvTable
from corpus.importers.jsonl import JsonLines
from corpus.importers.plain import Plain
from corpus.importers.raw_irc import RawIrc
from corpus.importers.rustlog import RustlogJson, RustlogText
from corpus.importers.source import Importer, Source
from corpus.importers.tcd import Tcd
from corpus.importers.twitch_downloader import TwitchDownloaderJson
from corpus.importers.twitch_downloader_text import TwitchDownloaderText

# From the most particular to the least: the first that recognises a file reads it.
IMPORTERS: tuple[Importer, ...] = (
    TwitchDownloaderJson(),
    RustlogJson(),
    JsonLines(),
    RawIrc(),
    RustlogText(),
    Chatterino(),
    Tcd(),
    Chatty(),
    TwitchDownloaderText(),
    CsvTable(),
    Plain(),
)


def importer_of(source: Source) -> Importer:
    """The importer for a file. Raises `ImportFileError` that lists what is understood."""
    if not source.head:
        raise ImportFileError(f"{source.path}: the file is empty")
    for importer in IMPORTERS:
        if importer.recognises(source):
            return importer
    known = "\n".join(f"  {importer.name}: {importer.looks}" for importer in IMPORTERS)
    raise ImportFileError(f"{source.path}: no log format that Backchat knows; it understands\n{known}")


def files_of(names: Iterable[str]) -> list[Path]:
    """The files that names, folders (taken whole) and patterns stand for, in order. Raises `ImportFileError`."""
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            files.extend(sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")))
        elif path.is_file():
            files.append(path)
        else:
            found = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
            if not found:
                raise ImportFileError(f"{name}: no such file, folder or pattern")
            files.extend(file for file in found if file.is_file())
    return list(dict.fromkeys(files))
