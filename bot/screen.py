"""What `backchat run` shows: one live screen of what matters, or plain lines where there is no terminal.

Built from the programs' status files and the newest run's diary; knows nothing of how programs are kept running.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bot.commands import count, sparkline
from bot.facts import Training
from bot.narrator import tidy_sample

LINES_SHOWN = 6
UNSAID_SHOWN_MS = 120_000
PLAINLY = {"expired": "its turn came too late", "full": "too many lines were waiting"}


@dataclass(frozen=True, slots=True)
class ProgramView:
    name: str
    running: bool
    restarts: int
    again_in_s: float | None
    last_words: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything the screen may show at one moment."""

    url: str
    where: str
    programs: Sequence[ProgramView]
    training: Training | None = None
    corpus: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    bot: dict[str, Any] = field(default_factory=dict)
    stopping: bool = False


def screen(view: View) -> RenderableType:
    """The live screen."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("open", Text(str(view.bot.get("url") or view.url), style="bold cyan"))
    table.add_row("chat", f"{view.where}, {connection(view)}, {stored(view)}")
    if view.bot.get("detail"):
        style = "" if view.bot.get("connected") else "yellow"
        table.add_row("bot", Text(str(view.bot["detail"]), style=style))
    table.add_row("training", training_text(view))
    if view.training is not None and view.training.sample:
        table.add_row("last sample", Text(tidy_sample(view.training.sample), style="italic"))
    table.add_row("voice", Text(str(view.bot.get("voice") or "still waking up")))
    problem = view.bot.get("problem")
    if problem:
        table.add_row("", Text(str(problem), style="yellow"))
    if view.bot.get("held"):
        table.add_row("quiet", Text(str(view.bot["held"]), style="yellow"))
    if fresh(view):
        table.add_row("not said", Text(unsaid(view), style="yellow"))
    for program in view.programs:
        if not program.running and not view.stopping:
            table.add_row(program.name, Text(down(program), style="red"))
        elif program.restarts:
            table.add_row(program.name, f"restarted {count(program.restarts, 'time')}")
    said = Text()
    for line in list(view.bot.get("said") or [])[-LINES_SHOWN:]:
        said.append(f"{line.get('text', '')}\n", style="" if line.get("kind") != "narration" else "magenta")
    parts: list[RenderableType] = [table]
    if said:
        said.rstrip()
        parts.append(Panel(said, title="said last", title_align="left", border_style="dim"))
    parts.append(Text("stopping…" if view.stopping else "Ctrl-C stops everything", style="dim"))
    return Panel(Group(*parts), title="Backchat", border_style="green")


def plain(before: View | None, view: View) -> Iterator[str]:
    """What is new since the last look, as lines for a log."""
    if before is None:
        yield f"open {view.url} ({view.where}); Ctrl-C or SIGTERM stops everything"
    old = {program.name: program for program in before.programs} if before else {}
    for program in view.programs:
        was = old.get(program.name)
        if was is not None and was.running and not program.running and not view.stopping:
            yield f"{program.name}: {down(program)}"
        elif was is not None and not was.running and program.running:
            yield f"{program.name}: running" + (f" again (restart {program.restarts})" if program.restarts else "")
    if before is None:
        return
    voice, was_voice = str(view.bot.get("voice") or ""), str(before.bot.get("voice") or "")
    if voice and voice.split(" ")[:2] != was_voice.split(" ")[:2]:
        yield f"voice: {voice}"
    if before.bot.get("problem") != view.bot.get("problem") and view.bot.get("problem"):
        yield f"bot: {view.bot['problem']}"
    if before.bot.get("detail") != view.bot.get("detail") and view.bot.get("detail") and not view.stopping:
        yield f"bot: {view.bot['detail']}"
    if connection(before) != connection(view) and not view.stopping:
        yield f"chat: {connection(view)}, {stored(view)}"
    curve = view.training.curve if view.training else ()
    if view.training and curve and (not before.training or before.training.curve != curve):
        yield f"training: {training_text(view)}"
    held, was_held = mode(view), mode(before)
    if held != was_held and view.bot and not view.stopping:
        yield f"quiet: {held}" if held else "it speaks"
    if before.bot.get("unsaid") != view.bot.get("unsaid") and view.bot.get("unsaid"):
        yield f"not said: {unsaid(view)}"
    known = [(line.get("ms"), line.get("text")) for line in before.bot.get("said") or []]
    for line in view.bot.get("said") or []:
        if (line.get("ms"), line.get("text")) not in known:
            yield f"said: {line.get('text', '')}"


def mode(view: View) -> str:
    """Why it is quiet, without how much waits."""
    return re.sub(r" \([^)]*\)", "", str(view.bot.get("held") or ""))


def fresh(view: View) -> bool:
    """Whether the last line that was dropped is still news."""
    dropped_ms, now_ms = (view.bot.get("unsaid") or {}).get("ms"), view.bot.get("time_ms")
    return dropped_ms is not None and now_ms is not None and now_ms - dropped_ms < UNSAID_SHOWN_MS


def unsaid(view: View) -> str:
    """Why the chat service, or time, kept the last line from being said."""
    dropped = view.bot["unsaid"]
    return f"a {dropped['kind']}: {PLAINLY.get(dropped['why'], dropped['why'])}"


def connection(view: View) -> str:
    if not view.corpus:
        return "collector starting"
    return "connected" if view.corpus.get("connected") else "not connected, trying again"


def stored(view: View) -> str:
    return count(int(view.corpus.get("messages_stored") or 0), "message") + " stored"


def training_text(view: View) -> str:
    """Step and loss of the newest run, with its curve."""
    training = view.training
    state = str(view.trainer.get("state") or "")
    if training is None:
        detail = str(view.trainer.get("detail") or "")
        return detail or ("waiting for enough chat" if state == "waiting" else state or "starting")
    said = f"step {training.step:,} of {training.planned_steps:,}"
    if training.curve:
        nats = [point.nats_per_token for point in training.curve]
        said += f"  loss {nats[-1]:.3f} nats a token {sparkline(nats, 24)}"
        if training.mixture_bits is not None:
            said += f"  voice {training.mixture_bits:.2f} bits a character"
    if not training.running:
        said += "  (done; again when there is enough new chat)"
    return said


def down(program: ProgramView) -> str:
    again = f", again in {program.again_in_s:.0f} s" if program.again_in_s is not None else ""
    words = f": {program.last_words}" if program.last_words else ""
    return f"stopped{again}{words}"
