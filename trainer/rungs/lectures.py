"""The rungs of the lectures that are trained: neural bigram, MLP, and the GPT one idea at a time."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from trainer import pictures
from trainer.lr_find import RangeTest, range_test
from trainer.models.bigram import NeuralBigram
from trainer.models.lecture import STEPS, LectureConfig, LectureGPT
from trainer.models.mlp import MLP
from trainer.models.network import NetworkModel
from trainer.rung_training import (
    Batches,
    LossOf,
    Plan,
    Progress,
    batch_loss,
    document_batches,
    loss_of_counts,
    make_optimizer,
    stream_batches,
    train,
    with_budget,
)
from trainer.rungs.counting import fit_bigram
from trainer.rungs.rung import EVALUATIONS, Climb, Outcome, Task, Update

SMALL = 300_000  # parameters


def neural_bigram(task: Task) -> Iterator[Update | Outcome]:
    """Trained on all pairs of the text at once, as the lecture does it, and on the k fake ones of each that smooth the
    counts too: then both must find the same table."""
    data = task.data
    counted = fit_bigram(data)
    network = NeuralBigram(data.vocab_size).to(task.device)
    contexts = torch.arange(data.vocab_size, device=task.device)[None]
    counts = torch.from_numpy(counted.table()).float().to(task.device)
    plan = Plan(steps=task.steps, batch_size=1, learning_rate=0.1, decay_from=0.3)
    note = f"on the counts of the rung before, its k = {counted.add_k:.2g} with them"
    yield from _trained(task, network, plan, note, batches=lambda: (contexts, counts), loss_of=loss_of_counts)


def mlp(task: Task) -> Iterator[Update | Outcome]:
    data = task.data
    small = data.vocab_size <= 512
    network = MLP(
        data.vocab_size,
        context=8,
        n_embd=24 if small else 64,
        n_hidden=300 if small else 256,
        start_token=data.start_token,
    ).to(task.device)
    plan = Plan(steps=task.steps, batch_size=64 if data.independent else 16, learning_rate=3e-3, weight_decay=0.1)
    with _few_threads(sum(parameter.numel() for parameter in network.parameters())):
        found = find_rate(network, _batches(task, network, plan.batch_size), plan)
    plan = replace(plan, learning_rate=found.suggestion)
    note = f"{network.context} tokens of context, rate {found.suggestion:.2g} from the range test"
    for update in _trained(task, network, plan, note):
        if isinstance(update, Outcome):
            drawn = {
                "range_test": pictures.range_test(found),
                "embedding": pictures.embedding(network.seen_embedding(), data),
            }
            update = replace(update, pictures=drawn)
        yield update


def lecture(step: str) -> Climb:
    """The lecture's GPT after one of its steps, at its size; all at one rate, so that only the idea differs."""

    def climb(task: Task) -> Iterator[Update | Outcome]:
        config = STEPS[step]
        if task.data.independent:
            config = replace(config, block_size=16)
        network = LectureGPT(task.data.vocab_size, config).to(task.device)
        plan = Plan(steps=task.steps, batch_size=64, learning_rate=1e-2)
        yield from _trained(task, network, plan, _size(config), attention=True)

    return climb


def scaled_up(task: Task) -> Iterator[Update | Outcome]:
    """The lecture's last step: its 10.8 million parameters on a GPU or where asked for, else what a CPU can train."""
    if task.full_size or task.device.type == "cuda":
        config = STEPS["scaled up"]
        plan = Plan(steps=task.steps, batch_size=64, learning_rate=1e-3, weight_decay=0.1)
    else:
        config = replace(STEPS["scaled up"], block_size=64, n_embd=128, n_head=4, n_layer=4, dropout=0.05)
        plan = Plan(steps=task.steps, batch_size=16, learning_rate=3e-3, weight_decay=0.1)
    if task.data.independent:
        config = replace(config, block_size=16, dropout=0.2)
        plan = replace(plan, batch_size=64)
    network = LectureGPT(task.data.vocab_size, config).to(task.device)
    yield from _trained(task, network, plan, _size(config), attention=True, half_precision=task.machine.half_precision)


def find_rate(network: nn.Module, batches: Batches, plan: Plan) -> RangeTest:
    """The range test on a copy of `network`, which itself stays untrained."""
    trial = copy.deepcopy(network)
    optimizer = make_optimizer(trial, plan)

    def step(rate: float) -> float:
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = batch_loss(trial, *batches())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())

    return range_test(step, lowest=1e-4, highest=1.0, steps=100)


def _trained(
    task: Task,
    network: nn.Module,
    plan: Plan,
    note: str,
    *,
    attention: bool = False,
    half_precision: bool = False,
    batches: Batches | None = None,
    loss_of: LossOf | None = None,
) -> Iterator[Update | Outcome]:
    """Train `network` in its turn, with an update whenever another share of it is done."""
    model = NetworkModel(network, task.data.start_token)
    batches = batches or _batches(task, network, plan.batch_size)
    plan = with_budget(plan, task.seconds)
    yield Update(model, Progress(0, 0.0, math.nan, 0.0, 0.0, 0.0), plan.steps)
    last = min(task.first_steps or plan.steps, plan.steps)
    often = last / plan.steps / EVALUATIONS
    told, steps = often, 0
    with _few_threads(model.parameters):
        trained = train(network, batches, plan, report_every=10, half_precision=half_precision, loss_of=loss_of)
        for progress in trained:
            steps = progress.step
            if progress.share_done >= told:
                told = progress.share_done + often
                yield Update(model, progress, plan.steps)
            if steps >= last:
                break
    drawn: dict[str, Any] = {}
    if attention and isinstance(network, LectureGPT):
        drawn["attention"] = pictures.attention(network, task.data)
    yield Outcome(model, model.parameters, note, steps, drawn)


@contextmanager
def _few_threads(parameters: int) -> Iterator[None]:
    """Let a small network train on one core: several would spend their time waiting for each other at every product,
    several times over beside a busy program."""
    before = torch.get_num_threads()
    if parameters < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _batches(task: Task, network: nn.Module, batch_size: int) -> Batches:
    data = task.data
    block_size = int(network.block_size)  # type: ignore[arg-type]
    if data.independent:
        return document_batches(
            data.train.documents,
            start_token=data.start_token,
            block_size=block_size,
            batch_size=batch_size,
            seed=task.seed,
            device=task.device,
        )
    return stream_batches(
        data.train.stream(),
        block_size=block_size,
        lead=int(network.lead),  # type: ignore[arg-type]
        batch_size=batch_size,
        seed=task.seed,
        device=task.device,
    )


def _size(config: LectureConfig) -> str:
    layers = f"{config.n_layer} layer{'s' if config.n_layer > 1 else ''}"
    heads = f"{config.n_head} head{'s' if config.n_head > 1 else ''}"
    return f"{layers} × {config.n_embd}, {heads}, block {config.block_size}"
