"""The learning-rate range test (Smith 2015): raise the rate step by step, and take one well before the loss blows up.

Knows nothing of what is trained: it is given a step to take at a rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

SMOOTHING = 0.9
DIVERGED = 1.5  # times the lowest smoothed loss


@dataclass(frozen=True)
class RangeTest:
    """Loss against rate, both smoothed and as they came, and the suggestion drawn from them."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    lowest_at: float  # the rate at which the smoothed loss was lowest
    suggestion: float


def range_test(
    step: Callable[[float], float], *, lowest: float = 1e-5, highest: float = 1.0, steps: int = 120
) -> RangeTest:
    """Call `step(rate)` with rates that grow from `lowest` to `highest` by a constant factor; it trains one step and
    gives its loss. Ends early once the loss has left its minimum far below. Raises ValueError for fewer than 10 steps.

    The suggestion is a third of the rate with the lowest loss: beyond it the loss only looks low because every smaller
    rate went before, and a whole run at that rate would be on the edge.
    """
    if steps < 10:
        raise ValueError("a range test needs 10 steps at least")
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for number in range(steps):
        rate = lowest * (highest / lowest) ** (number / (steps - 1))
        loss = step(rate)
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(loss)
        smoothed.append(average / (1 - SMOOTHING ** (number + 1)))
        if smoothed[-1] > DIVERGED * min(smoothed):
            break
    if not rates:
        return RangeTest((), (), (), lowest, lowest)
    lowest_at = rates[min(range(len(rates)), key=smoothed.__getitem__)]
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), lowest_at, lowest_at / 3)
