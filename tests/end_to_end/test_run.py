"""`backchat run` as its user meets it: answers, deaths survived, a clean end. Real processes, sockets and files."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.running import ROOT, Running, ids
from corpus.echo import is_echo, plain_line

PATIENCE_S = 60.0
QUESTION = "hello backchat, what a fine day for a heist"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("run"), {"BACKCHAT_BOT__VIEWER_COOLDOWN_S": "0"}) as running:
        yield running


def say(run: Running, text: str) -> None:
    body = json.dumps({"name": "Streamer", "text": text}).encode()
    request = urllib.request.Request(
        f"{run.status('bot')['url']}api/say", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status < 300


def test_what_is_said_on_the_page_is_stored_by_the_collector_and_answered_by_the_companion(run: Running) -> None:
    run.until(lambda: run.stored() > 0 and run.page(), PATIENCE_S)
    run.until(lambda: "word counts" in str(run.status("bot").get("voice")), PATIENCE_S)
    say(run, QUESTION)
    run.until(lambda: run.said("reply", by="word counts"), PATIENCE_S)
    (asked,) = [line for line in run.page()["lines"] if line.get("text") == QUESTION and line["name"] == "Streamer"]
    assert all(line["text"].strip() for line in run.said())
    assert not [line["text"] for line in run.said("reply") if is_echo(line["text"], [plain_line(QUESTION)])]
    run.until(lambda: asked["id"] in ids(run.data / "chat.db"), PATIENCE_S)


def test_a_second_start_on_the_same_data_is_refused_in_one_sentence(run: Running) -> None:
    run.until(lambda: run.status("bot"), PATIENCE_S)
    second = subprocess.run(
        [sys.executable, "-m", "bot.cli", "run"],
        cwd=ROOT,
        env=run.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 1
    assert second.stderr.startswith("backchat: Backchat is already running on ")
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["corpus", "bot"])
def test_a_killed_program_comes_back_and_nothing_committed_is_lost(run: Running, program: str) -> None:
    run.until(lambda: run.stored() > 0 and len(run.programs()) == 3, PATIENCE_S)
    before = ids(run.data / "chat.db")
    old = run.programs()[program]
    old.kill()
    run.until(lambda: run.programs().get(program, old).pid != old.pid, PATIENCE_S)
    run.until(lambda: ids(run.data / "chat.db") - before, PATIENCE_S)
    assert before <= ids(run.data / "chat.db")
    assert run.process is not None and run.process.poll() is None


def test_sigterm_stops_everything_and_leaves_a_sound_database(run: Running) -> None:
    run.until(lambda: len(run.programs()) == 3, PATIENCE_S)
    assert run.stop() < 15
    assert run.left_over() == []
    assert run.process is not None and run.process.returncode == 0
    assert "Traceback" not in run.output
    assert run.stored() > 0


def test_killing_the_supervisor_ends_its_programs_and_the_next_start_takes_over(tmp_path: Path) -> None:
    with Running(tmp_path) as run:
        run.until(lambda: len(run.programs()) == 3, PATIENCE_S)
        children = list(run.programs().values())
        assert run.process is not None
        run.process.kill()
        run.process.wait()
        run.start()
        run.until(lambda: len(run.programs()) == 3, PATIENCE_S)
        assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
        run.until(lambda: run.stored() > 0, PATIENCE_S)
