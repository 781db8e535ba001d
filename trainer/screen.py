"""What `backchat train` shows: the plan, progress, losses and speed, every look at validation, what it says.

Fed with a run's events; knows nothing of training.
"""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from trainer.metrics import (
    CheckpointWritten,
    Evaluated,
    Event,
    Loss,
    Promoted,
    RolledBack,
    RunFinished,
    RunStarted,
    StepTaken,
)

BARS = "▁▂▃▄▅▆▇█"
SHOWN_LOOKS = 12


class TrainingScreen:
    """A context manager; `watch` takes the events, `say` what happens before the first of them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("[bold]{task.fields[step]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            expand=True,
        )
        self.bar = self.progress.add_task("training", total=1.0, step="", numbers="", visible=False)
        self.doing = "starting"
        self.plan = ""
        self.began_ms = 0
        self.looks: list[Evaluated] = []
        self.notices: list[str] = []
        self.live = Live(get_renderable=self._picture, console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> "TrainingScreen":
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.doing = ""
        self.live.stop()

    def say(self, sentence: str) -> None:
        self.doing = sentence

    def watch(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.doing = "looking at the untrained model"
            self.plan = (
                f"{event.plan}\n{event.train_messages:,} messages to learn from, {event.validation_messages:,} to be "
                f"judged by · {event.parameters / 1e6:.2f} M parameters · {event.vocab_size:,} tokens · {event.device}"
            )
            self.progress.update(self.bar, step="step 0", visible=True)
            self.began_ms = event.time_ms
        elif isinstance(event, StepTaken):
            self.doing = ""
            spent = (event.time_ms - self.began_ms) / 1000
            left = f"{int(event.seconds_left) // 60}:{int(event.seconds_left) % 60:02d} left"
            self.progress.update(
                self.bar,
                completed=spent / (spent + event.seconds_left) if event.seconds_left else 1.0,
                step=f"step {event.step:,}",
                numbers=f"loss {event.train_nats_per_token:.3f} · {event.tokens_per_second:,.0f} tokens/s · {left}",
            )
        elif isinstance(event, Evaluated):
            self.looks.append(event)
        elif isinstance(event, RolledBack):
            self.notices.append(f"[yellow]{event.reason}")
        elif isinstance(event, Promoted):
            verb = "[green]speaks now" if event.promoted else "[yellow]does not speak"
            self.notices.append(f"{verb}:[/] {event.checkpoint} ({event.reason})")
        elif isinstance(event, RunFinished):
            self.doing = ""
            self.notices.append(_ending(event))
        elif isinstance(event, CheckpointWritten):
            self.doing = ""

    def _picture(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self.plan:
            parts.append(Text(self.plan))
        if self.looks:
            parts.append(self._table())
            parts.append(Panel(Text(self.looks[-1].sample or "(silence)"), title="it says", title_align="left"))
        parts.append(self.progress)
        if self.doing:
            parts.append(Text(f"{self.doing} …", style="dim"))
        parts.extend(Text.from_markup(notice) for notice in self.notices[-3:])
        return Group(*parts)

    def _table(self) -> Table:
        curve = [look.losses["gpt"].bits_per_character for look in self.looks if "gpt" in look.losses]
        table = Table(
            box=None, padding=(0, 2, 0, 0), title=f"GPT {sparkline(curve)}", title_justify="left", expand=True
        )
        for column in ("step", "nats", "GPT", "n-gram", "mixture", "unseen"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("it said", overflow="ellipsis", no_wrap=True, ratio=1)
        for look in self.looks[-SHOWN_LOOKS:]:
            gpt, mixture = look.losses.get("gpt"), look.losses.get("mixture")
            table.add_row(
                f"{look.step:,}",
                f"{gpt.nats_per_token:.3f}" if gpt else "",
                _bits(gpt),
                _bits(look.losses.get("ngram")),
                _bits(mixture),
                f"{mixture.unseen_bits_per_character:.3f}" if mixture and mixture.unseen_bits_per_character else "",
                Text(look.sample),
                style="bold" if look is self._best() else "",
            )
        table.caption = (
            "nats a token of the GPT; bits a character of all three; unseen: the mixture, what training never said"
        )
        table.caption_justify = "left"
        return table

    def _best(self) -> Evaluated | None:
        return next((look for look in reversed(self.looks) if look.best), None)


def sparkline(values: list[float]) -> str:
    """A curve in one line of text, the lowest value as the lowest bar."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values[-40:])


def _bits(loss: Loss | None) -> str:
    return f"{loss.bits_per_character:.3f}" if loss else ""


def _ending(event: RunFinished) -> str:
    best = f"; best at step {event.best_step:,}" if event.best_step is not None else ""
    figures = ", ".join(f"{name} {loss.bits_per_character:.3f}" for name, loss in event.best.items())
    return (
        f"[bold]{event.reason}[/] after {event.seconds:.0f} s{best}{f': {figures} bits a character' if figures else ''}"
    )
