"""One training run as the pages draw it: the loss curves, the untrained and the newest sample. Pure.

Folds the events of metrics.jsonl. Samples are the model's words, so each passes the gate before a page may show it.
"""

from collections.abc import Callable, Mapping
from typing import Any

POINTS = 300


class RunView:
    """What is known of a run so far, as JSON. `allow` gives a sample's line as it may be shown, or None."""

    def __init__(self, allow: Callable[[str], str | None]) -> None:
        self._allow = allow
        self.body: dict[str, Any] = {}
        self._train: list[tuple[int, float]] = []
        self._every = 1
        self._steps = 0

    def read(self, event: Mapping[str, Any]) -> bool:
        """Take in one event; True when there is something new to draw.

        An event that is not understood is passed over.
        """
        read = getattr(self, f"_on_{event.get('event')}", None)
        if read is None or (not self.body and event["event"] != "run_started"):
            return False
        try:
            read(event)
        except (KeyError, TypeError, ValueError):
            return False  # a diary written by another version: its other events may still be read
        return True

    def _on_run_started(self, event: Mapping[str, Any]) -> None:
        kept = (
            "run",
            "device",
            "parameters",
            "vocab_size",
            "train_messages",
            "validation_messages",
            "train_tokens",
            "planned_steps",
            "plan",
        )
        before = self.body.get("best") or self.body.get("before")
        self.body = {key: event[key] for key in kept if key in event}
        self.body |= {
            "started_ms": event["time_ms"],
            "step": 0,
            "state": "training",
            "train": [],
            "losses": {},
            "first": None,
            "newest": None,
            "best": None,
            "before": before,
            "promoted": None,
            "tokens_per_second": None,
        }
        self._train, self._every, self._steps = [], 1, 0

    def _on_step(self, event: Mapping[str, Any]) -> None:
        step, nats = int(event["step"]), float(event["train_nats_per_token"])
        self.body["step"] = step
        self.body["tokens_per_second"] = round(float(event["tokens_per_second"]))
        self.body["step_ms"] = event["time_ms"]
        self._steps += 1
        if self._steps % self._every == 0:
            self._train.append((step, round(nats, 4)))
        if len(self._train) > POINTS:
            self._train = self._train[::2]
            self._every *= 2
        self.body["train"] = self._train

    def _on_evaluation(self, event: Mapping[str, Any]) -> None:
        step = int(event["step"])
        self.body["step"] = max(self.body["step"], step)
        for name, loss in event["losses"].items():
            points = self.body["losses"].setdefault(name, [])
            points.append((step, round(loss["nats_per_token"], 4), round(loss["bits_per_character"], 4)))
            if len(points) > POINTS:
                # The first stays: it is the untrained loss that everything is compared with.
                del points[1:-1:2]
        sample = {"step": step, "lines": self._shown(str(event.get("sample") or ""))}
        if self.body["first"] is None:
            self.body["first"] = sample
        self.body["newest"] = sample
        if event.get("best"):
            self.body["best"] = {"step": step, "losses": event["losses"], "sample": sample}

    def _on_promotion(self, event: Mapping[str, Any]) -> None:
        self.body["promoted"] = {
            "promoted": bool(event["promoted"]),
            "checkpoint": str(event["checkpoint"]),
            "reason": str(event["reason"]),
            "time_ms": event["time_ms"],
        }

    def _on_run_finished(self, event: Mapping[str, Any]) -> None:
        self.body["state"] = "finished"
        if self.body["best"]:
            # What is kept of a run is its best, not its last, so that is what its page ends on.
            self.body["newest"] = self.body["best"]["sample"]
        self.body["finished"] = {
            "reason": str(event["reason"]),
            "seconds": event["seconds"],
            "time_ms": event["time_ms"],
        }

    def _shown(self, sample: str) -> list[str]:
        """The lines of a sample that may be seen; one that the gate refuses leaves a dash, so that it shows."""
        lines = [line.strip() for line in sample.splitlines() if line.strip()]
        return [self._allow(line) or "—" for line in lines[:4]]
