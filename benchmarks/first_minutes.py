"""The first minutes of an empty install: `backchat run` in a temporary folder, and when each thing first happened.

python benchmarks/first_minutes.py [--seconds 90]
"""

import argparse
import os
import platform
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from benchmarks.running import Running
from bot.commands import sparkline


def answers(url: str | None) -> bool:
    if not url:
        return False
    try:
        with urllib.request.urlopen(url, timeout=1) as page:
            return bool(page.status == 200)
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="how long to watch at least")
    parser.add_argument("--give-up", type=float, default=180.0, help="how long to wait for each thing")
    options = parser.parse_args()
    console = Console(width=130)
    table = Table(title=f"first minutes of `backchat run` · {platform.machine()}, {os.cpu_count()} cores")
    table.add_column("what")
    table.add_column("after", justify="right")
    table.add_column("which")
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder)) as run:
        seen: dict[str, tuple[float, str]] = {}

        def look() -> None:
            """Note whatever has happened since the last look."""
            bot = run.status("bot")
            samples = run.events("evaluation")
            began_ms = min((event["time_ms"] for event in run.events("run_started")), default=None)
            narrated = [line for line in run.said("narration") if began_ms is not None and line["ms"] >= began_ms]
            voice = str(bot.get("voice") or "")
            found = {
                "page answers": bot.get("url")
                if "page answers" not in seen and answers(bot.get("url") or "x:")
                else None,
                "first message stored": f"{run.stored()} messages" if run.stored() else None,
                "first words (before any checkpoint)": text(run.said(by="word counts")),
                "training starts": (run.events("run_started") or [{}])[0].get("plan"),
                "untrained sample": (samples or [{}])[0].get("sample"),
                "first narration of the training": text(narrated),
                "first checkpoint promoted": run.latest(),
                "the companion speaks with it": voice if "/step-" in voice else None,
                "first reply written by it": text(run.said(by="/step-")),
            }
            for what, value in found.items():
                if value and what not in seen:
                    seen[what] = (run.seconds, " ".join(str(value).split()))

        wanted = 9
        while run.seconds < options.seconds or (len(seen) < wanted and run.seconds < options.give_up):
            look()
            time.sleep(0.1)
        for what, (after_s, which) in sorted(seen.items(), key=lambda item: item[1][0]):
            table.add_row(what, f"{after_s:.1f} s", which[:90])
        curve = [
            (event["losses"].get("gpt") or next(iter(event["losses"].values())))["nats_per_token"]
            for event in run.events("evaluation")
        ]
        if curve:
            table.add_row(
                "loss of the network",
                f"{run.seconds:.0f} s",
                f"{curve[0]:.2f} → {curve[-1]:.2f} {sparkline(curve, 30)}",
            )
        table.add_row("messages stored", f"{run.seconds:.0f} s", str(run.stored()))
        stopped_s = run.stop()
        table.add_row("everything stopped", f"+{stopped_s:.1f} s", f"{len(run.left_over())} processes left over")
    console.print(table)
    missing = wanted - len(seen)
    if missing:
        console.print(f"{missing} of {wanted} did not happen within {options.give_up:g} s")
        sys.exit(1)


def text(lines: list[dict[str, str]]) -> str | None:
    return lines[0]["text"] if lines else None


if __name__ == "__main__":
    main()
