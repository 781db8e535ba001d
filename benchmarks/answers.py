"""How long a viewer waits for an answer in `backchat run`: word counts, the network while it trains, and in peace.

python benchmarks/answers.py [--asks 20]
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from benchmarks.running import Running

PATIENCE_S = 120.0
UNBOUNDED = {"BACKCHAT_SAFETY__LINES_A_MINUTE": "0", "BACKCHAT_SAFETY__LINES_A_HOUR": "0"}
QUESTIONS = (
    "backchat what do you think of the boss",
    "backchat are we going to win this",
    "is backchat asleep",
    "backchat say something nice about soup",
    "hey backchat which way now",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=20, help="questions in each situation")
    options = parser.parse_args()
    console = Console(width=130)
    table = Table(title=f"from question to answer, seconds · {platform.machine()}, {os.cpu_count()} cores")
    for column in ("who answers", "asked", "answered", "median", "95 %", "longest", "last answer"):
        table.add_column(column, justify="left" if column in ("who answers", "last answer") else "right")
    with tempfile.TemporaryDirectory() as folder, Running(Path(folder), UNBOUNDED) as run:
        run.until(lambda: "word counts" in str(run.status("bot").get("voice")) and run.page(), PATIENCE_S)
        table.add_row("word counts, before any checkpoint", *asked(run, options.asks, lambda: True))
        run.until(lambda: steps(run) > 0 and "/step-" in str(run.status("bot").get("voice")), PATIENCE_S)
        table.add_row("network and counts, in training", *asked(run, options.asks, lambda: training(run)))
        run.until(lambda: not training(run), 400)
        table.add_row("network and counts, no training", *asked(run, options.asks, lambda: not training(run)))
    console.print(table)


def asked(run: Running, count: int, still: Callable[[], bool]) -> tuple[str, ...]:
    """Ask `count` questions one by one, as long as `still` holds, and time the answers."""
    waits, tried, last = [], 0, ""
    for number in range(count):
        if not still():
            break
        tried += 1
        asked_s = time.monotonic()
        question = say(run, QUESTIONS[number % len(QUESTIONS)])
        while time.monotonic() - asked_s < 15:
            found = answer_to(run, question)
            if found:
                waits.append(time.monotonic() - asked_s)
                last = found
                break
            time.sleep(0.02)
        time.sleep(1.2)  # the room's pause between two lines would be measured otherwise
    if not waits:
        return (str(tried), "0", "", "", "", "")
    ranked = sorted(waits)
    slow = ranked[min(len(ranked) - 1, round(0.95 * len(ranked)))]
    figures = (f"{statistics.median(waits):.2f}", f"{slow:.2f}", f"{ranked[-1]:.2f}")
    return (str(tried), str(len(waits)), *figures, last[:60])


def say(run: Running, text: str) -> str:
    """Write in the room as the streamer; the id of the message."""
    body = json.dumps({"name": "Streamer", "text": text}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{run.status('bot')['url']}api/say", body, headers, method="POST"), timeout=5
    ).close()
    lines = [line for line in run.page()["lines"] if line.get("name") == "Streamer"]
    return str(lines[-1]["id"])


def answer_to(run: Running, question: str) -> str | None:
    lines = run.page().get("lines", [])
    places = [place for place, line in enumerate(lines) if line["id"] == question]
    if not places:
        return None
    asked_text = lines[places[0]]["text"]
    for line in lines[places[0] + 1 :]:
        if line.get("own") and (line.get("reply") or {}).get("text") == asked_text:
            return str(line["text"])
    return None


def training(run: Running) -> bool:
    return run.status("trainer").get("state") == "training"


def steps(run: Running) -> int:
    return int(run.status("trainer").get("step") or 0)


if __name__ == "__main__":
    main()
