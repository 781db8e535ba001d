"""One Backchat a data folder, and ports that are free: what must hold before anything is started."""

import errno
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO

from corpus.errors import BackchatError

LOCK_FILE = "backchat.lock"
WINDING_DOWN_S = 8.0


class InstanceError(BackchatError):
    """Somebody else is there already."""


def take_lock(data: Path, *, patience_s: float = WINDING_DOWN_S) -> IO[str]:
    """Hold the data folder until the file is closed (by us and by the programs that inherit it).

    Waits a little for the programs of a Backchat that was killed a moment ago to wind down. Raises `InstanceError`
    when another one is running.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (data / LOCK_FILE).open("a+", encoding="utf-8")
    give_up_s = time.monotonic() + patience_s
    while not _lock(file):
        file.seek(0)
        holder = file.read().strip()
        if _alive(holder) or time.monotonic() > give_up_s:
            file.close()
            raise InstanceError(
                f"Backchat is already running on {data} (process {holder or 'unknown'}); stop that one, or give this "
                "one a folder of its own with [paths] data in config.toml"
            )
        time.sleep(0.1)
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def free_port(host: str, port: int, *, tries: int = 20) -> int:
    """The first free port from `port` on (any for 0). Raises `InstanceError` when none of them is."""
    for candidate in [0] if port == 0 else range(port, min(port + tries, 65536)):
        found = _bound(host, candidate)
        if found is not None:
            return found
    raise InstanceError(f"no port from {port} to {port + tries - 1} is free on {host}; name another in config.toml")


def require_port(host: str, port: int) -> int:
    """The port itself (any for 0). Raises `InstanceError`, with a port that would do, when it is taken."""
    found = _bound(host, port)
    if found is not None:
        return found
    another = free_port(host, port + 1)
    raise InstanceError(
        f"port {port} is in use by another program; stop that one, or take another port: "
        f"BACKCHAT_WEB__PORT={another} backchat run, or [web] port = {another} in config.toml"
    )


def _bound(host: str, port: int) -> int | None:
    """Whether a server could listen there: its port, or None. Raises `InstanceError` where no server ever could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return None
            raise InstanceError(f"cannot listen on {host}:{port}: {error.strerror}; check [web] host") from error
        return int(probe.getsockname()[1])


def _lock(file: IO[str]) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            file.seek(0x7FFF0000)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: str) -> bool:
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    if sys.platform == "win32":
        return True  # a lock is not inherited there, so its holder is the one that runs
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
