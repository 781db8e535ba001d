"""May this checkpoint speak from now on? Pure: losses on the same messages go in, a verdict comes out."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.metrics import Loss

VOICE = ("mixture", "gpt", "ngram")  # the best that a checkpoint has is what it speaks with


@dataclass(frozen=True)
class Verdict:
    promote: bool
    reason: str


def voice_loss(losses: Mapping[str, Loss]) -> Loss | None:
    """The loss of what a checkpoint speaks with."""
    return next((losses[name] for name in VOICE if name in losses), None)


def judge(
    candidate: Mapping[str, Loss],
    serving: Mapping[str, Loss] | None,
    *,
    first_run: bool,
    serving_forgotten: bool = False,
) -> Verdict:
    """`serving` are the serving checkpoint's losses on the very messages the candidate was judged by, today's.

    A first run promotes at every evaluation, so that the audience can watch it learn to speak. Afterwards only what
    is better may speak; but a model that still knows somebody who asked to be forgotten gives way to one that does not.
    """
    new = voice_loss(candidate)
    if new is None:
        return Verdict(False, "it has no loss")
    if first_run:
        return Verdict(True, "the first run shows every step")
    old = voice_loss(serving or {})
    if old is None:
        return Verdict(True, "nothing else can speak")
    change = f"{new.bits_per_character:.3f} against {old.bits_per_character:.3f} bits a character on the same messages"
    if new.bits_per_character < old.bits_per_character:
        return Verdict(True, f"better: {change}")
    if serving_forgotten:
        return Verdict(True, f"clean of a message that was removed, though not better: {change}")
    return Verdict(False, f"not better: {change}")
