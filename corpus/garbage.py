"""Python's search for garbage in cycles, paused where millions of values are made that cannot form one."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles inside the block: among so many values that costs a quarter of the time and finds nothing.

    What is no longer referred to is freed at once all the same.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
