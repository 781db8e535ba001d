"""What dies is started again, what is stopped is gone, and nothing outlives the one who started it."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bot.instance import InstanceError, free_port, require_port, take_lock
from bot.supervisor import LONGEST_DELAY_S, Program, Supervisor, delay_s

ROOT = Path(__file__).resolve().parent.parent

# Says that it lives, sleeps, and says goodbye when asked to stop.
POLITE = """
import os, pathlib, signal, sys, time
here = pathlib.Path(os.environ["HERE"])
def stop(*_):
    (here / "goodbye").write_text("goodbye")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
with (here / "lives").open("a") as file:
    file.write(f"{os.getpid()}\\n")
print("hello from a program", flush=True)
while True:
    time.sleep(0.05)
"""
STUBBORN = POLITE.replace("sys.exit(0)", "pass")
DYING = "import sys; sys.exit('dying: nothing works; give up')"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    for name, source in (("polite", POLITE), ("stubborn", STUBBORN), ("dying", DYING)):
        (tmp_path / f"{name}.py").write_text(source)
    return {"HERE": str(tmp_path), "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}


def lives(folder: Path) -> list[int]:
    file = folder / "lives"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    give_up_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_s, "it never happened"
        await asyncio.sleep(0.02)


async def test_a_killed_program_is_started_again_and_a_stop_is_polite(tmp_path: Path, environ: dict[str, str]) -> None:
    stop = asyncio.Event()
    supervisor = Supervisor([Program("polite", environ)], tmp_path / "logs", randomness=random.Random(1))
    running = asyncio.create_task(supervisor.run(stop))
    await until(lambda: len(lives(tmp_path)) == 1)
    os.kill(lives(tmp_path)[0], signal.SIGKILL)
    await until(lambda: len(lives(tmp_path)) == 2)
    assert supervisor.programs[0].restarts == 1
    assert not (tmp_path / "goodbye").exists()
    stop.set()
    await running
    assert (tmp_path / "goodbye").exists()
    assert not any(psutil.pid_exists(pid) for pid in lives(tmp_path))
    log = (tmp_path / "logs" / "polite.log").read_text()
    assert log.count("hello from a program") == 2 and "ended with -9, again in" in log


async def test_a_program_that_dies_at_once_is_tried_less_and_less_often_and_its_last_words_are_kept(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    stop = asyncio.Event()
    supervisor = Supervisor([Program("dying", environ)], tmp_path / "logs", randomness=random.Random(1))
    running = asyncio.create_task(supervisor.run(stop))
    await until(lambda: supervisor.programs[0].restarts >= 2)
    assert supervisor.programs[0].last_words == "dying: nothing works; give up"
    stop.set()
    await asyncio.wait_for(running, 5)


def test_the_delay_doubles_and_is_bounded() -> None:
    delays = [delay_s(deaths, random.Random(deaths)) for deaths in range(1, 40)]
    assert delays[0] < 0.5
    assert all(later > earlier for earlier, later in zip(delays[:5:2], delays[2:7:2], strict=True))
    assert max(delays) <= LONGEST_DELAY_S * 1.25


async def test_a_program_that_does_not_listen_is_killed_after_a_while(tmp_path: Path, environ: dict[str, str]) -> None:
    stop = asyncio.Event()
    supervisor = Supervisor([Program("stubborn", environ)], tmp_path / "logs", randomness=random.Random(1), stop_s=0.3)
    running = asyncio.create_task(supervisor.run(stop))
    await until(lambda: bool(lives(tmp_path)))
    stop.set()
    await asyncio.wait_for(running, 5)
    assert (tmp_path / "goodbye").exists()
    assert not psutil.pid_exists(lives(tmp_path)[0])


STARTER = """
import asyncio, os, pathlib, random
from bot.supervisor import Program, Supervisor
async def main():
    here = pathlib.Path(os.environ["HERE"])
    await Supervisor([Program("polite")], here / "logs", randomness=random.Random(1)).run(asyncio.Event())
asyncio.run(main())
"""


async def test_programs_end_by_themselves_when_the_supervisor_is_killed(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], env=os.environ | environ, cwd=ROOT)  # noqa: ASYNC220
    await until(lambda: bool(lives(tmp_path)))
    starter.kill()
    starter.wait()
    await until(lambda: not psutil.pid_exists(lives(tmp_path)[0]))
    assert (tmp_path / "goodbye").exists()


def test_a_second_instance_on_the_same_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from bot.instance import take_lock\n"
            "lock = take_lock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout and holder.stdout.readline().strip() == b"held"
    with pytest.raises(InstanceError, match=f"already running on .* \\(process {holder.pid}\\)") as caught:
        take_lock(tmp_path, patience_s=0.2)
    assert "\n" not in str(caught.value)
    holder.kill()
    holder.communicate()
    with take_lock(tmp_path, patience_s=5.0):
        assert (tmp_path / "backchat.lock").read_text() == str(os.getpid())


def test_a_port_in_use_is_explained_with_one_that_is_free() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InstanceError, match=rf"port {port} is in use.*BACKCHAT_WEB__PORT=\d+ backchat run"):
            require_port("127.0.0.1", port)
        assert free_port("127.0.0.1", port) != port
    assert require_port("127.0.0.1", port) == port
