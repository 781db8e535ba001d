"""Runs a command and says what it took: wall and processor seconds, and the most memory it and its children held."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
CHILDREN_EVERY_S = 0.2  # looking for children reads every process there is: more often would slow what is measured


@dataclass(frozen=True)
class Measured:
    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


def measured(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Measured:
    """Run this Python with arguments, in the repository's root; ends the benchmark when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watched = psutil.Process(process.pid)
    peak = 0
    cpu: dict[int, float] = {}
    family = [watched]
    looked_s = 0.0
    while process.poll() is None:
        try:
            if time.perf_counter() - looked_s > CHILDREN_EVERY_S:
                family = [watched, *watched.children(recursive=True)]
                looked_s = time.perf_counter()
            peak = max(peak, sum(memory_of(one) for one in family))
            cpu.update({one.pid: sum(one.cpu_times()[:2]) for one in family})
        except psutil.NoSuchProcess:
            looked_s = 0.0
        time.sleep(0.02)
    wall_s = time.perf_counter() - started
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{output}")
    return Measured(wall_s, sum(cpu.values()), peak / 2**20, output)


def memory_of(process: psutil.Process) -> int:
    """Bytes a process holds by itself: resident, less what it shares (libraries, the page cache it maps)."""
    info = process.memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def machine() -> str:
    """One line: what this was measured on, and how busy it was."""
    busy = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load {busy:.1f} at the end"
