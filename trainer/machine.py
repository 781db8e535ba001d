"""How many threads training may use, in what precision it is fastest, and how fast that is. Never asked at import."""

import itertools
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trainer.loop import Budget, train
from trainer.models.gpt import GPT, GPTConfig, flops_per_token
from trainer.models.language_model import Tokens
from trainer.optim import Rates
from trainer.plan import Speed

BATCH = 16  # blocks a step while measuring


@dataclass(frozen=True)
class Machine:
    """What a run computes on, and how fast that was found to be."""

    device: torch.device
    half_precision: bool
    speed: Speed


def use_threads(threads: int) -> int:
    """Let torch use so many threads; 0 leaves a large machine half free for the broadcast. Returns how many."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = threads or (cores if cores <= 4 else cores // 2)
    torch.set_num_threads(chosen)
    return chosen


def stand_back(nice: int) -> None:
    """Let other programs go first, where the system knows how."""
    if nice and hasattr(os, "nice"):
        os.nice(nice)


def measure(device: torch.device, threads: int, *, clock: Callable[[], float] = time.perf_counter) -> Machine:
    """Train a small GPT for a few steps in both precisions, on all the threads and on one: the fastest way is used.

    One thread is often best beside a busy program, because several wait for the slowest. Takes about a second.
    """
    config = GPTConfig(vocab_size=1024, start_token=0, block_size=128, n_layer=2, n_head=4, n_embd=128, orders=())
    tokens = np.arange(4 * BATCH * config.block_size) % config.vocab_size
    found: dict[tuple[bool, int], float] = {}
    for used in sorted({threads, 1}, reverse=True) if device.type == "cpu" else [threads]:
        torch.set_num_threads(used)
        for half in (True, False):
            found[half, used] = _step_seconds(config, tokens, device, half, clock)
    half_precision, used = min(found, key=lambda way: found[way])
    torch.set_num_threads(used)
    flops = flops_per_token(config) * BATCH * config.block_size / found[half_precision, used]
    return Machine(device, half_precision, Speed(flops, used, device.type))


def _step_seconds(
    config: GPTConfig, tokens: Tokens, device: torch.device, half: bool, clock: Callable[[], float]
) -> float:
    """How long one step takes, the median of a few."""
    model = GPT(config).to(device)
    model.half_precision = half
    times = []
    for _ in train(model, tokens, Budget(6, 1.0, BATCH), Rates()):
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock())
    steps = sorted(after - before for before, after in itertools.pairwise(times))
    return steps[len(steps) // 2] if steps else math.inf
