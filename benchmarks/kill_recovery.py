"""kill -9 of each program of `backchat run` in turn: what was lost, what came back, after how long.

python benchmarks/kill_recovery.py
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from benchmarks.running import Running, ids
from trainer.checkpoint import latest, load

PATIENCE_S = 120.0


def main() -> None:
    console = Console(width=130)
    table = Table(
        title=f"kill -9 during `backchat run` · {platform.machine()}, {os.cpu_count()} cores", show_lines=True
    )
    for column in (
        "killed",
        "runs again",
        "works again",
        "which means",
        "committed messages lost",
        "said and not stored",
    ):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder)) as run:
        console.print("waiting for the first checkpoint …")
        run.until(lambda: "/step-" in str(run.status("bot").get("voice")), PATIENCE_S)
        for program, works, meaning in (
            ("corpus", stores_again, "messages are stored"),
            ("trainer", lambda run: trainer_at_work(run), "it tells its state, LATEST loads whole"),
            ("bot", speaks_again, "page, chat and the same checkpoint are back"),
        ):
            table.add_row(*killed(run, program, works, meaning))
        console.print("waiting for a run to be under way …")
        before = len(run.events("run_started"))
        run.until(lambda: len(run.events("run_started")) > before and steps(run) > 0, 400)
        table.add_row(*killed(run, "trainer", trainer_at_work, "in mid-run; LATEST loads whole"))
        stopped_s = run.stop()
        table.add_row(
            "(SIGTERM to all)", "", f"stopped in {stopped_s:.1f} s", f"{len(run.left_over())} left over", "0", ""
        )
    console.print(table)


def killed(run: Running, program: str, works: Callable[[Running], bool], meaning: str) -> tuple[str, ...]:
    """Kill one program, wait until it works again, and count what is missing."""
    before = ids(run.data / "chat.db")
    old = run.programs()[program]
    old.kill()
    killed_s, killed_ms = time.monotonic(), int(time.time() * 1000)
    run.until(lambda: program in run.programs() and run.programs()[program].pid != old.pid, PATIENCE_S)
    runs_s = time.monotonic() - killed_s
    (run.data / "status" / f"{program}.json").unlink(missing_ok=True)
    run.until(lambda: works(run), PATIENCE_S)
    works_s = time.monotonic() - killed_s
    works_ms = int(time.time() * 1000)
    time.sleep(3)
    after = ids(run.data / "chat.db")
    said = {
        line["id"]
        for line in run.page().get("lines", [])
        if "text" in line and not line["own"] and not line["text"].startswith("!")
        if killed_ms - 1_000 <= line["at_ms"] <= works_ms
    }
    return (
        program,
        f"{runs_s:.1f} s",
        f"{works_s:.1f} s",
        meaning,
        str(len(before - after)),
        f"{len(said - after)} of {len(said)}",
    )


def stores_again(run: Running) -> bool:
    return int(run.status("corpus").get("messages_stored") or 0) > 0


def trainer_at_work(run: Running) -> bool:
    folder = latest(run.checkpoints)
    if folder is None or not run.status("trainer").get("state"):
        return False
    checkpoint = load(folder)
    return all(checkpoint.part(name) is not None for name in checkpoint.parts)


def speaks_again(run: Running) -> bool:
    status = run.status("bot")
    return bool(status.get("heard")) and "/step-" in str(status.get("voice")) and bool(run.page())


def steps(run: Running) -> int:
    return int(run.status("trainer").get("step") or 0)


if __name__ == "__main__":
    main()
