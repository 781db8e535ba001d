"""Finds the newest run below checkpoints/ and reads its diary as it grows. Knows nothing of what the events mean."""

from pathlib import Path
from typing import Any

from trainer.metrics import METRICS_FILE, read_events

Event = dict[str, Any]


class RunWatch:
    """`poll` gives what the newest run has written since the last call. Reads files: call it off the event loop."""

    def __init__(self, checkpoints: Path) -> None:
        self._checkpoints = checkpoints
        self._offsets: dict[Path, int] = {}

    def poll(self) -> list[Event]:
        """New events, oldest first. A run that begins is read from its start; an older one is read no further."""
        newest = self._newest()
        if newest is None:
            return []
        events = []
        for event, offset in read_events(newest, self._offsets.get(newest, 0)):
            events.append(event)
            self._offsets[newest] = offset
        return events

    def _newest(self) -> Path | None:
        """The diary of the newest run: runs are named after the time at which they start."""
        diaries = [
            diary for diary in self._checkpoints.glob(f"*/{METRICS_FILE}") if not diary.parent.name.startswith(".")
        ]
        return max(diaries, key=lambda diary: diary.parent.name, default=None)
