"""mute, unmute, shadow, go-live, queue, refusals: the operator's hand on the companion, while it runs and before."""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to `backchat`."""
    app.command()(mute)
    app.command()(unmute)
    app.command()(shadow)
    app.command("go-live")(go_live)
    app.command()(queue)
    app.command()(refusals)


def mute(
    duration: Annotated[str, typer.Argument(help="90s, 10m, 1h30m; until further notice without.")] = "",
) -> None:
    """Silence the companion at once; it stays silent over a restart."""
    from dataclasses import replace

    from bot.control import read_state, seconds_of, shown_until, write_state

    seconds, now_ms, file = seconds_of(duration), _now_ms(), _file()
    state = replace(read_state(file), muted_until_ms=0 if seconds is None else now_ms + seconds * 1000)
    write_state(file, state)
    typer.echo(shown_until(state, now_ms))


def unmute() -> None:
    """Let the companion speak again."""
    _change(muted_until_ms=None)
    typer.echo("It may speak.")


def shadow() -> None:
    """Let the companion say only what a moderator has approved."""
    _change(speak="shadow")
    typer.echo("Shadow mode: lines wait in `backchat queue` and on the control page; !ok N says one, !no N drops it.")


def go_live() -> None:
    """End shadow mode."""
    _change(speak="live")
    typer.echo("It speaks for itself now. `backchat mute` silences it, `backchat shadow` takes this back.")


def queue() -> None:
    """Show what the companion would have said in shadow mode."""
    from bot.control import read_private, read_state, shown_until
    from bot.safety_report import QUEUE_FILE

    state = read_state(_file())
    typer.echo(shown_until(state, _now_ms()))
    waiting = read_private(_folder() / QUEUE_FILE).get("queue", [])
    for line in waiting:
        typer.echo(f"  #{line['number']}  {line['text']}")
    typer.echo("!ok N in chat says one, !no N drops it." if waiting else "Nothing is waiting.")


def refusals(count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many of the latest.")] = 20) -> None:
    """Show what the gate refused, and why."""
    from bot.control import read_private, tally
    from bot.safety_report import REFUSALS_FILE

    found = read_private(_folder() / REFUSALS_FILE)
    if not found.get("refused"):
        typer.echo("Nothing has been refused since the bot started.")
        return
    for line in found.get("refusals", [])[-count:]:
        at = datetime.fromtimestamp(line["time_ms"] / 1000).astimezone().strftime("%H:%M:%S")
        detail = f" ({line['detail']})" if line["detail"] else ""
        typer.echo(f"{at}  {line['reason']}{detail}: {line['text']}")
    typer.echo(f"Passed {found.get('passed', 0):,}. Refused: {tally(found['refused'])}.")


def _change(**values: int | str | None) -> None:
    from dataclasses import replace

    from bot.control import read_state, write_state

    write_state(_file(), replace(read_state(_file()), **values))  # type: ignore[arg-type]


def _folder() -> Path:
    from corpus.settings import PathsTable, load_settings

    return load_settings()[PathsTable].data


def _file() -> Path:
    return _folder() / "control.json"


def _now_ms() -> int:
    return int(time.time() * 1000)
