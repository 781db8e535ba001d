"""The learning-rate range test (Smith 2015): raise the rate step by step, and take one well before the loss blows up.

`range_test` knows nothing of what is trained: it is given a step to take at a rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from trainer.loop import World, blocks
from trainer.models.gpt import GPT, next_token_loss
from trainer.models.language_model import Tokens
from trainer.optim import Optimizers, Rates

WINDOW = 9  # steps averaged round each, an odd number
REACHED = 0.95  # of the whole fall
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

    The suggestion is half the smallest rate at which the loss has fallen nearly as far as it ever does. The minimum
    itself would be too high: it comes late only because every smaller rate went before.
    """
    if steps < 10:
        raise ValueError("a range test needs 10 steps at least")
    rates: list[float] = []
    losses: list[float] = []
    for number in range(steps):
        rate = lowest * (highest / lowest) ** (number / (steps - 1))
        loss = step(rate)
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        smoothed = _smoothed(losses)
        if smoothed[-1] > DIVERGED * min(smoothed):
            break
    if not rates:
        return RangeTest((), (), (), lowest, lowest)
    smoothed = _smoothed(losses)
    lowest_at = rates[smoothed.index(min(smoothed))]
    enough = smoothed[0] - REACHED * (smoothed[0] - min(smoothed))
    edge = next(rate for rate, loss in zip(rates, smoothed, strict=True) if loss <= enough)
    return RangeTest(tuple(rates), tuple(losses), tuple(smoothed), lowest_at, edge / 2)


def _smoothed(losses: list[float]) -> list[float]:
    """The mean of a window round each loss, narrower at the ends, so that the curve does not lag behind."""
    reach = WINDOW // 2
    means = []
    for place in range(len(losses)):
        near = min(reach, place, len(losses) - 1 - place)
        window = losses[place - near : place + near + 1]
        means.append(sum(window) / len(window))
    return means


def find_share(model: GPT, tokens: Tokens, rates: Rates, *, batch_size: int, steps: int, seed: int) -> RangeTest:
    """The range test for the production GPT, which has a rate for each kind of weight: all are multiplied by the same
    share, so that a suggestion of 1 says that the built-in rates are right. Leaves `model` trained to pieces."""
    optimizers = Optimizers(model, rates)
    batches = blocks(
        tokens, block_size=model.config.block_size, reach=model.reach, start_token=model.config.start_token,
        batch_size=batch_size, seed=seed, world=World(),
    )  # fmt: skip
    model.train()

    def step(share: float) -> float:
        loss = next_token_loss(model, next(batches).to(model.device))
        optimizers.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizers.step(share)
        return float(loss.detach())

    return range_test(step, lowest=1e-3, highest=100.0, steps=steps)
