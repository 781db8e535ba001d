"""What the operator sees of gate, mute and queue: the control page, and the files that the command line reads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bot.control import Mouth, write_private
from bot.safety import Gate

QUEUE_FILE = "shadow_queue.json"
REFUSALS_FILE = "refusals.json"
SHOWN = 50


class SafetyReport:
    """`publish` is cheap when nothing has changed; call it as often as you like."""

    def __init__(self, gate: Gate, mouth: Mouth, folder: Path, show: Callable[[Mapping[str, Any]], None]) -> None:
        self._gate = gate
        self._mouth = mouth
        self._folder = folder
        self._show = show
        self._written: dict[str, Any] = {}

    def publish(self) -> None:
        """Tell the page and write the files, each only when it would say something new."""
        self._mouth.drop(lambda line: bool(self._gate.objections(line.text, line.kind)))
        self._gate.forget_refusals(SHOWN)
        mouth = self._mouth.report()
        refused = {reason: count for reason, count in self._gate.counts.items() if reason != "passed"}
        refusals = [
            {"time_ms": one.time_ms, "reason": one.reason, "detail": one.detail, "text": one.text}
            for one in list(self._gate.refusals)[-SHOWN:]
        ]
        self._show({**mouth, "refused": refused, "refusals": refusals})
        self._write(QUEUE_FILE, {"queue": mouth["queue"]})
        self._write(REFUSALS_FILE, {"passed": self._gate.counts["passed"], "refused": refused, "refusals": refusals})

    def _write(self, name: str, value: dict[str, Any]) -> None:
        compared = {key: part for key, part in value.items() if key != "passed"}
        if self._written.get(name) != compared:
            self._written[name] = compared
            write_private(self._folder / name, value, durable=False)
