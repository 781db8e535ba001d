"""Keeps programs running: starts them on a tether, restarts what dies with back-off and jitter, stops them all.

Knows nothing of what the programs do. Their output goes to rotated logs.
"""

import asyncio
import logging
import logging.handlers
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STOP_S = 4.0
FIRST_DELAY_S = 0.3
LONGEST_DELAY_S = 30.0
HEALTHY_S = 60.0
LOG_BYTES = 1_000_000
LOG_FILES = 3


@dataclass(slots=True)
class Program:
    """One program: `python -m <module>`, with `environ` on top of ours."""

    module: str
    environ: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    deaths_in_a_row: int = 0
    started_s: float = 0.0
    again_at_s: float | None = None
    last_words: str = ""
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.running else None


def delay_s(deaths_in_a_row: int, randomness: random.Random) -> float:
    """How long to wait after so many deaths without a healthy minute between them: doubling, ± a quarter."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(deaths_in_a_row - 1, 20)) * randomness.uniform(0.75, 1.25)


class Supervisor:
    """`run` keeps the programs alive until `stop` is set, then stops them and returns when all are gone.

    `inherit` are file descriptors that the programs keep open too: a lock they share is free only when all are gone.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        logs: Path,
        *,
        randomness: random.Random,
        inherit: Sequence[int] = (),
        stop_s: float = STOP_S,
    ) -> None:
        self.programs = list(programs)
        self._logs = logs
        self._random = randomness
        self._stop_s = stop_s
        self._inherit = tuple(inherit) if sys.platform != "win32" else ()

    async def run(self, stop: asyncio.Event) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        keeping = [asyncio.create_task(self._keep(program, stop), name=program.module) for program in self.programs]
        try:
            await asyncio.gather(*keeping)
        finally:
            for task in keeping:
                task.cancel()
            for program in self.programs:
                if program.process is not None and program.running:
                    program.process.kill()

    async def _keep(self, program: Program, stop: asyncio.Event) -> None:
        log = logging.handlers.RotatingFileHandler(
            self._logs / f"{program.module}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
        )
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                living = asyncio.create_task(self._live(program, log))
                await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    await self._end(program)
                    await living
                    return
                program.exit_code = living.result()
                healthy = time.monotonic() - program.started_s > HEALTHY_S
                program.deaths_in_a_row = 1 if healthy else program.deaths_in_a_row + 1
                pause_s = delay_s(program.deaths_in_a_row, self._random)
                _note(log, f"backchat run: {program.module} ended with {program.exit_code}, again in {pause_s:.1f} s")
                program.again_at_s = time.monotonic() + pause_s
                await asyncio.wait({stopping}, timeout=pause_s)
                program.again_at_s = None
                program.restarts += 1
        finally:
            stopping.cancel()
            log.close()

    async def _live(self, program: Program, log: logging.Handler) -> int:
        """One life: from start to exit code."""
        program.started_s = time.monotonic()
        program.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.tether",
            program.module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(program.environ),
            # Ctrl-C is for us; we tell the programs, in their own time.
            start_new_session=True,
            pass_fds=self._inherit,
        )
        assert program.process.stdout is not None
        unfinished = b""
        while chunk := await program.process.stdout.read(65536):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            for line in [*lines, *([unfinished] if len(unfinished) > 65536 else [])]:
                text = line.decode("utf-8", "replace").rstrip()
                if text:
                    program.last_words = text
                    _note(log, text)
            unfinished = unfinished[-65536:] if len(unfinished) <= 65536 else b""
        return await program.process.wait()

    async def _end(self, program: Program) -> None:
        """Ask it to stop, and after a while do not ask."""
        process = program.process
        if process is None or not program.running:
            return
        try:
            if sys.platform == "win32":
                assert process.stdin is not None
                process.stdin.close()
            else:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), self._stop_s)
        except ProcessLookupError:
            return
        except TimeoutError:
            process.kill()


def _note(log: logging.Handler, text: str) -> None:
    log.emit(logging.makeLogRecord({"msg": text, "levelno": logging.INFO}))
