"""The corpus's commands that only look: statistics, search, export, and what cleaning does to real rows."""

import json
import random
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from corpus.cleaning_shown import Shown
    from corpus.records import ChannelSummary, Gap
    from corpus.settings import Settings
    from corpus.statistics import Content
    from corpus.store import Corpus

Channel = Annotated[str | None, typer.Option(help="Only this channel.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

IN_DETAIL = 3  # channels that `stats` shows one by one; of more it gives an overview
TOP = 50
TOP_SHOWN = 12
LONGEST_SHOWN = 200


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command()(stats)
    app.command()(search)
    app.command()(export)
    app.command()(clean)


def stats(channel: Channel = None, as_json: AsJson = False) -> None:
    """What is in the corpus: channels, days, words, emotes, spam, and what cleaning leaves out."""
    from corpus.cleaning import Rules
    from corpus.settings import CleaningTable, CorpusTable
    from corpus.statistics import content_of

    settings = _settings()
    rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
    with _open(settings) as corpus:
        channels = corpus.summaries(channel_name(channel))
        refuse_unknown(corpus, channel)
        contents = [content_of(corpus.messages(channel=one.channel), rules) for one in channels]
        days = [corpus.days(one.channel) for one in channels]
        unseen = [len(corpus.unseen(one.channel)) for one in channels]
        gaps = [corpus.gaps(one.channel) for one in channels]
    if as_json:
        _print_json(
            {
                "channels": [
                    _as_values(one, content, dict(per_day), held, missed)
                    for one, content, per_day, held, missed in zip(channels, contents, days, unseen, gaps, strict=True)
                ]
            }
        )
        return
    console = _console()
    if not channels:
        console.print("No messages are kept yet; `backchat import FILE` or `backchat run` brings some.")
    if len(channels) > 1:
        _print_overview(console, channels, days)
    every = zip(channels, contents, days, unseen, gaps, strict=True)
    for one, content, per_day, held, missed in islice(every, IN_DETAIL):
        _print_channel(console, one, content, per_day, held, missed)
    if len(channels) > IN_DETAIL:
        console.print("`backchat stats --channel NAME` shows another channel like this.")


def _print_overview(
    console: "Console", channels: "Sequence[ChannelSummary]", days: "Sequence[Sequence[tuple[str, int]]]"
) -> None:
    from rich.table import Table

    from corpus.statistics import sparkline

    table = Table("channel")
    for heading in ("messages", "chatters", "train", "validation"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("from", "to", "a day"):
        table.add_column(heading, no_wrap=True)
    for one, per_day in zip(channels, days, strict=True):
        first, last = (per_day[0][0], per_day[-1][0]) if per_day else ("no times", "")
        table.add_row(
            one.channel, f"{one.messages:,}", f"{one.chatters:,}", f"{one.train:,}", f"{one.validation:,}",
            first, last, sparkline([count for _, count in per_day], 24),
        )  # fmt: skip
    console.print(table)


def _as_values(
    one: "ChannelSummary", content: "Content", days: dict[str, int], unseen: int, gaps: "Sequence[Gap]"
) -> dict[str, Any]:
    return {
        "channel": one.channel,
        "messages": one.messages,
        "chatters": one.chatters,
        "duplicates": one.duplicates,
        "withheld": one.withheld,
        "train": one.train,
        "validation": one.validation,
        "unseen_validation": unseen,
        "first_ms": one.first_ms,
        "last_ms": one.last_ms,
        "days": days,
        "gaps": {"count": len(gaps), "ms": sum(gap.ended_ms - gap.began_ms for gap in gaps)},
        "learned": content.learned,
        "characters": content.characters,
        "dropped": dict(content.dropped),
        "replaced": {word.strip("[]"): count for word, count in content.replaced.items()},
        "spam": dict(content.spam),
        "words": dict(content.words.most_common(TOP)),
        "emotes": dict(content.emotes.most_common(TOP)),
    }


def _print_channel(
    console: "Console",
    one: "ChannelSummary",
    content: "Content",
    days: list[tuple[str, int]],
    unseen: int,
    gaps: "Sequence[Gap]",
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from corpus.statistics import sparkline

    table = Table(title=f"#{one.channel}", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    learnable = max(1, content.read)
    table.add_row("messages", f"{one.messages:,} by {_count(one.chatters, 'chatter')}")
    if len(days) == 1:
        table.add_row("a day, UTC", days[0][0])
    elif days:
        bars = sparkline([count for _, count in days], min(60, max(20, console.width - 45)))
        table.add_row("a day, UTC", f"{days[0][0]} {bars} {days[-1][0]}")
        busiest = max(days, key=lambda day: day[1])
        spoken = sum(count > 0 for _, count in days)
        table.add_row("", f"{_count(spoken, 'day')} with chat of {len(days):,}; most on {busiest[0]}: {busiest[1]:,}")
    else:
        table.add_row("a day, UTC", "the log had no times")
    if gaps:
        lengths = [gap.ended_ms - gap.began_ms for gap in gaps]
        table.add_row(
            "not listened",
            f"{_length(sum(lengths))} in {_count(len(gaps), 'gap')}, the longest {_length(max(lengths))}",
        )
    table.add_row("said before", f"{one.duplicates:,} ({one.duplicates / max(1, one.messages):.0%})")
    spam = content.spam.total()
    table.add_row("spam", f"{spam:,} ({spam / learnable:.1%}){_kinds(content.spam)}")
    dropped = content.dropped.total()
    table.add_row("cleaning left out", f"{dropped:,} ({dropped / learnable:.1%}){_kinds(content.dropped)}")
    if content.replaced:
        table.add_row(
            "and replaced", escape(", ".join(f"{n:,} × {word}" for word, n in content.replaced.most_common()))
        )
    if one.withheld:
        table.add_row("withheld", f"{one.withheld:,} of chatters who opted out or lines that were taken back")
    table.add_row("learned from", f"{_count(content.learned, 'line')}, {content.characters:,} characters")
    table.add_row(
        "split", f"{one.train:,} train, {one.validation:,} validation, {unseen:,} of those unseen in training"
    )
    for title, counted in (("emotes", content.emotes), ("words", content.words)):
        if counted:
            items = [f"{word} {n:,}" for word, n in counted.most_common(TOP_SHOWN)]
            table.add_row(title, escape(_packed(items, console.width - 24)))
    console.print(table, highlight=False)


def search(
    words: Annotated[list[str], typer.Argument(help="All of them must occur; word* for what begins so.")],
    channel: Channel = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many of the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find messages by their words, newest first."""
    settings = _settings()
    with _open(settings):
        pass  # says so where nothing has been kept yet, before a search would make an empty database
    with _open(settings, read_only=False) as corpus:
        refuse_unknown(corpus, channel)
        found, those = corpus.search(" ".join(words), channel=channel_name(channel), limit=limit)
    if as_json:
        _print_json({"found": found, "messages": [_exported(stored.message) for stored in those]})
        return
    from rich.table import Table
    from rich.text import Text

    console = _console()
    if not found:
        console.print(f"No message says {' '.join(words)}.", markup=False)
        return
    table = Table("when, UTC", "channel", "who", "said", title_justify="left")
    wanted = [word.strip("*") for word in words if word.strip("*")]
    for stored in those:
        message = stored.message
        said = Text(_short(message.text))
        said.highlight_words(wanted, "bold yellow", case_sensitive=False)
        table.add_row(_moment(message.sent_ms), message.channel, Text(message.name), said)
    console.print(table)
    console.print(
        f"{_count(found, 'message')} found" + (f", the newest {len(those):,} shown." if found > len(those) else ".")
    )


def export(
    file: Annotated[Path, typer.Argument(help="Where to; packed when it ends in .gz.", show_default=False)],
    channel: Channel = None,
    as_json: AsJson = False,
) -> None:
    """Write every message that may be learned from as JSON lines, which `backchat import` reads back."""
    from corpus.exporting import export_to

    with _open(_settings()) as corpus:
        refuse_unknown(corpus, channel)
        written = export_to(file, (stored.message for stored in corpus.messages(channel=channel_name(channel))))
    if as_json:
        _print_json({"file": str(file), "messages": written})
        return
    typer.echo(
        f"{file}: {_count(written, 'message')}. Deleted ones and those of chatters who opted out are not among them."
    )


def clean(
    show: Annotated[int, typer.Option(min=1, help="So many rows of each rule.")] = 3,
    channel: Channel = None,
    as_json: AsJson = False,
) -> None:
    """What cleaning does to your chat: real rows before and after, rule by rule. Changes nothing."""
    from corpus.cleaning import Rules
    from corpus.cleaning_shown import show_cleaning
    from corpus.settings import CleaningTable, CorpusTable

    settings = _settings()
    rules = Rules.of(settings[CorpusTable], settings[CleaningTable])
    with _open(settings) as corpus:
        refuse_unknown(corpus, channel)
        shown = show_cleaning(corpus.messages(channel=channel_name(channel)), rules, show, random.Random())
    if as_json:
        _print_json(
            {
                "rows": shown.rows,
                "untouched": shown.untouched,
                "rules": [
                    {
                        "rule": one.rule,
                        "reason": one.reason,
                        "rows": one.rows,
                        "examples": [{"before": before, "after": after} for before, after in one.examples],
                    }
                    for one in shown.rules
                ],
            }
        )
        return
    _print_cleaning(_console(), shown)


def _print_cleaning(console: "Console", shown: "Shown") -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title_justify="left", show_lines=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("before", overflow="fold", ratio=1)
    table.add_column("after", overflow="fold", ratio=1)
    for one in shown.rules:
        table.add_section()
        for place, (before, after) in enumerate(one.examples):
            gone = Text("left out", style="dim") if after is None else Text(_visible(after))
            name, rows = (one.rule, f"{one.rows:,}") if place == 0 else ("", "")
            table.add_row(name, rows, Text(_visible(before)), gone)
        table.add_row("", "", Text(one.reason, style="dim italic"), "")
    if shown.rules:
        console.print(table)
    console.print(
        f"{shown.untouched:,} of {_count(shown.rows, 'message')} stay as they are. "
        "Which bots are known, and how often one line is learned, are settings:"
        " [corpus] known_bots, [cleaning] identical_lines.",
        markup=False,
    )


def _exported(message: Any) -> dict[str, Any]:
    from corpus.exporting import as_values

    return as_values(message)


def _settings() -> "Settings":
    from corpus.settings import load_settings

    return load_settings()


def _open(settings: "Settings", *, read_only: bool = True) -> "Corpus":
    from corpus.settings import CorpusTable, PathsTable
    from corpus.store import Corpus

    return Corpus.open(settings[PathsTable].database, read_only=read_only, known_bots=settings[CorpusTable].known_bots)


def refuse_unknown(corpus: "Corpus", channel: str | None) -> None:
    """Raises `CorpusError` that names the channels there are, for one that is none of them."""
    from corpus.errors import CorpusError

    known = corpus.channels()
    if channel is not None and channel_name(channel) not in known:
        there = f"there are {', '.join(known)}" if known else "none has been kept yet"
        raise CorpusError(f"--channel {channel}: no chat of that channel; {there}")


def channel_name(name: str | None) -> str | None:
    """A channel as it is kept, whether somebody typed `#Den` or `den`."""
    return None if name is None else name.lstrip("#").lower()


def _console() -> "Console":
    from rich.console import Console

    return Console()


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _kinds(counted: Any) -> str:
    return ": " + ", ".join(f"{count:,} {kind}" for kind, count in counted.most_common()) if counted else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _packed(items: "Sequence[str]", width: int) -> str:
    """Items side by side, none of them torn at the end of a line."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + 2 + len(item) > width:
            lines.append("")
        lines[-1] += f"  {item}" if lines[-1] else item
    return "\n".join(lines)


def _length(ms: int) -> str:
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _moment(at_ms: int | None) -> str:
    return "no time" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _short(text: str) -> str:
    text = _visible(text)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _visible(text: str) -> str:
    """Control and other invisible characters as their code points: a terminal must not obey what a viewer typed."""
    return "".join(one if one.isprintable() else f"⟨{ord(one):04X}⟩" for one in text)
