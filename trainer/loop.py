"""The training loop of the GPT: blocks of tokens in, a step at a time, until the plan's steps or seconds are used up.

Rolls back to the last good state when the loss stops being a number. Knows nothing of evaluation, files or chat; under
torchrun every process runs this same loop on its share of each batch.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from corpus.errors import TrainingError
from trainer.models.gpt import GPT, next_token_loss
from trainer.models.language_model import Tokens
from trainer.optim import Optimizers, Rates, rate_share

_Thing = TypeVar("_Thing")

ROLLBACKS = 5  # how often a run may start again from its last good state before it gives up
SAVE_GOOD_EVERY = 50  # steps


@dataclass(frozen=True)
class Budget:
    """How long to train: the rate follows whichever of steps and seconds is used up first. `batch_size` in blocks."""

    steps: int
    seconds: float
    batch_size: int
    seed: int = 1337


@dataclass(frozen=True)
class Progress:
    """After one step. `rolled_back` says what went wrong where the loop had to go back, else None."""

    step: int
    seconds: float
    nats_per_token: float
    rate_share: float
    tokens_per_second: float
    done: float
    share_of_steps: float
    rolled_back: str | None = None


class World:
    """The processes that train together: one, or as many as torchrun started."""

    def __init__(self) -> None:
        self.active = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if self.active else 0
        self.size = torch.distributed.get_world_size() if self.active else 1

    def agree(self, values: list[float]) -> list[float]:
        """The first process's opinion, for all: clocks differ, and nobody may stop or slow down alone."""
        if not self.active:
            return values
        shared = torch.tensor(values, dtype=torch.float64)
        if torch.distributed.get_backend() == "nccl":
            shared = shared.cuda()
        torch.distributed.broadcast(shared, src=0)
        return [float(value) for value in shared]

    def same(self, thing: _Thing) -> _Thing:
        """The first process's `thing`, for all."""
        if not self.active:
            return thing
        things: list[Any] = [thing]
        torch.distributed.broadcast_object_list(things, src=0)
        shared: _Thing = things[0]
        return shared


def blocks(
    tokens: Tokens, *, block_size: int, reach: int, start_token: int, batch_size: int, seed: int, world: World
) -> Iterator[Tensor]:
    """Batches (batch_size, reach + block_size + 1) without end.

    Each pass cuts the text at new places and takes every block once, so that repeated data is not repeated blocks.
    Before the text stands the start token, so that its first token is learned too. Short texts make short blocks.
    """
    block_size = min(block_size, len(tokens))
    if block_size < 1:
        raise TrainingError("there is no token to train on; add some chat")
    lead = reach + 1
    text = torch.from_numpy(np.concatenate([np.full(lead + block_size, start_token), tokens]).astype(np.int64))
    window = torch.arange(lead + block_size)
    generator = torch.Generator().manual_seed(seed)
    queue = torch.empty(0, dtype=torch.int64)
    whole = batch_size * world.size
    while True:
        while len(queue) < whole:
            phase = int(torch.randint(block_size, (1,), generator=generator))
            places = torch.arange(block_size - phase if phase else block_size, len(text) - len(window) + 1, block_size)
            queue = torch.cat([queue, places[torch.randperm(len(places), generator=generator)]])
            if not len(places):
                queue = torch.cat([queue, torch.tensor([block_size])])
        chosen, queue = queue[:whole], queue[whole:]
        yield text[chosen[world.rank :: world.size, None] + window]


def train(
    model: GPT,
    tokens: Tokens,
    budget: Budget,
    rates: Rates,
    *,
    clock: Callable[[], float] = time.monotonic,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train `model` in place; one Progress a step. The caller may evaluate in between, on the budget's seconds.

    Ends early, after a whole step, when `stop` says so. Raises TrainingError when even slower rates do not keep the
    loss a number.
    """
    world = World()
    model.sparse_tables(model.device.type in ("cpu", "cuda") and not world.active)
    wrapped: nn.Module = DistributedDataParallel(_Loss(model)) if world.active else _Loss(model)
    optimizers = Optimizers(model, rates)
    batches = blocks(
        tokens, block_size=model.config.block_size, reach=model.reach, start_token=model.config.start_token,
        batch_size=budget.batch_size, seed=budget.seed, world=world,
    )  # fmt: skip
    good = _state(model, optimizers)
    rollbacks, step, seconds = 0, 0, 0.0
    started, since, taken = clock(), 0.0, 0
    speed = 0.0
    while step < budget.steps and seconds < budget.seconds:
        began = clock()
        done, stopping = world.agree([max(step / budget.steps, seconds / budget.seconds), float(stop())])
        if stopping:
            return
        share = rate_share(done)
        batch = next(batches).to(model.device, non_blocking=True)
        model.train()
        loss = wrapped(batch)
        optimizers.zero_grad()
        loss.backward()
        nats = world.agree([loss.item()])[0]
        rolled_back = None
        if math.isfinite(nats):
            optimizers.step(share)
        else:
            rollbacks += 1
            if rollbacks > ROLLBACKS:
                raise TrainingError(
                    f"the loss was no number {rollbacks} times by step {step}, at ever lower rates; "
                    "train a smaller model ([model] size) or look at the chat with `backchat stats`"
                )
            _go_back(model, optimizers, good)
            left = optimizers.slow_down()
            rolled_back = f"the loss was no number at step {step + 1}: back to the last good state, at {left:.0%} rate"
        step += 1
        if rolled_back is None and step % SAVE_GOOD_EVERY == 0 and _finite(model):
            good = _state(model, optimizers)
        since, taken = since + clock() - began, taken + batch.shape[0] * (batch.shape[1] - 1 - model.reach) * world.size
        if since > 0.5 or speed == 0.0:
            speed, since, taken = taken / max(since, 1e-9), 0.0, 0
        seconds = world.agree([clock() - started])[0]
        yield Progress(
            step, seconds, nats, share, speed, min(1.0, max(step / budget.steps, seconds / budget.seconds)),
            step / budget.steps, rolled_back,
        )  # fmt: skip


class _Loss(nn.Module):
    """What DistributedDataParallel wraps: a forward pass that ends in the loss."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Tensor) -> Tensor:
        return next_token_loss(self.model, batch)


_State = tuple[dict[str, Tensor], list[object]]


def _state(model: GPT, optimizers: Optimizers) -> _State:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, list(optimizers.state())


def _go_back(model: GPT, optimizers: Optimizers, good: _State) -> None:
    model.load_state_dict(good[0])
    optimizers.restore(good[1])  # type: ignore[arg-type]


def _finite(model: GPT) -> bool:
    """A last step may have broken the weights without a loss having told yet."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


@contextlib.contextmanager
def distributed(device: torch.device) -> Iterator[World]:
    """Join the processes that torchrun started, if it did; leave them at the end."""
    started = torch.distributed.is_torchelastic_launched()
    if started:
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World()
    finally:
        if started:
            torch.distributed.destroy_process_group()
