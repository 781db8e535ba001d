"""Runs a program on a tether: `python -m bot.tether corpus` is `python -m corpus` that stops when its starter is gone.

The starter holds the other end of stdin. However it dies, the system closes that end, and nothing is left running
with nobody to stop it. Works wherever there are pipes, and needs nothing of the program itself.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE_S = 5.0


def follow(standard_input: int) -> None:
    """Wait until nobody holds the other end, then end this process: politely first."""
    try:
        while os.read(standard_input, 1024):
            pass
    except OSError:
        pass  # the same news: there is no other end
    signal.raise_signal(signal.SIGINT) if sys.platform == "win32" else os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def main() -> None:
    program = sys.argv[1]
    # The program gets an empty stdin of its own, so that nothing in it can take the tether for input.
    tether = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=follow, args=(tether,), name="tether", daemon=True).start()
    sys.argv = [program, *sys.argv[2:]]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
