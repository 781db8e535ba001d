"""Each rung of the ladder: what it adds, how long its turn is, and how it is fitted or trained on the ladder's data.

Knows nothing of terminals, files or pages: a rung tells its progress as it goes and ends with its model.
"""

import copy
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from corpus.errors import TrainingError
from trainer import pictures
from trainer.ladder_data import LadderData
from trainer.lr_find import RangeTest, range_test
from trainer.models.bigram import NeuralBigram
from trainer.models.counted import Counted, tune_smoothing
from trainer.models.language_model import LanguageModel, Tokens
from trainer.models.lecture import STEPS, LectureConfig, LectureGPT
from trainer.models.mlp import MLP
from trainer.models.network import NetworkModel
from trainer.models.ngram import NGram
from trainer.models.opened import OpenedLines
from trainer.models.uniform import Uniform
from trainer.rung_training import (
    Batches,
    Plan,
    Progress,
    batch_loss,
    document_batches,
    make_optimizer,
    stream_batches,
    train,
    with_budget,
)

EVALUATIONS = 25  # a trained rung, so that its curve has a shape and an audience something to follow
KNESER_NEY_ORDERS = (3, 4, 5, 6, 7, 8)


@dataclass(frozen=True)
class Task:
    """What a rung is to be climbed with: at most `steps` and `seconds`. `full_size` asks for the lectures' size where
    a rung would else fit itself to the machine."""

    data: LadderData
    device: torch.device
    steps: int
    seconds: float
    seed: int
    full_size: bool = False


@dataclass(frozen=True)
class Update:
    """A rung in training: a model that can be evaluated as it stands, and the training loss since the last update."""

    model: LanguageModel
    progress: Progress


@dataclass(frozen=True)
class Outcome:
    """A rung that is climbed. `pictures` are plain values for the report."""

    model: LanguageModel
    parameters: int
    note: str = ""
    steps: int = 0
    pictures: Mapping[str, Any] = field(default_factory=dict)


Climb = Callable[[Task], Iterator[Update | Outcome]]


@dataclass(frozen=True)
class Rung:
    """One rung: `share` is its part of the time, relative to the others'; it is done after `steps` at the latest."""

    name: str
    title: str
    adds: str
    share: float
    steps: int
    climb: Climb


def untrained(task: Task) -> Iterator[Update | Outcome]:
    vocab_size = task.data.vocab_size
    yield Outcome(Uniform(vocab_size), 0, f"ln({vocab_size}) = {np.log(vocab_size):.4f}")


def counted_bigram(task: Task) -> Iterator[Update | Outcome]:
    model = _fit_bigram(task.data)
    yield Outcome(
        model,
        model.parameters,
        f"add-k, k = {model.add_k:.2g}, chosen on held-out text",
        pictures={"followers": pictures.followers(model, task.data)},
    )


def counted_trigram(task: Task) -> Iterator[Update | Outcome]:
    data = task.data
    fit, held_out = data.tuning()
    shorter, _ = tune_smoothing(_count(fit, 2, data), held_out)
    chosen, tried = tune_smoothing(_count(fit, 3, data), held_out, shorter)
    evenly = min((one for one in tried if one.shared_out == "evenly"), key=lambda one: one.nats_per_token)
    best = min(tried, key=lambda one: one.nats_per_token)
    prior = _count(data.train.documents, 2, data).smoothed(shorter.pseudo_counts, None) if chosen.prior else None
    model = _count(data.train.documents, 3, data).smoothed(chosen.pseudo_counts, prior)
    shared_out = best.shared_out.replace("shorter model", "bigram")
    evenly_k = evenly.pseudo_counts / data.vocab_size
    note = (
        f"{best.pseudo_counts:.3g} pseudo-counts a context, shared out {shared_out}: {best.nats_per_token:.3f} held out"
        f" (add-k at its best, k = {evenly_k:.2g}: {evenly.nats_per_token:.3f})"
    )
    yield Outcome(model, model.parameters, note)


def kneser_ney(task: Task) -> Iterator[Update | Outcome]:
    data = task.data
    fit, held_out = data.tuning()
    losses: dict[int, float] = {}
    for order in KNESER_NEY_ORDERS:
        scores = np.concatenate(_kneser_ney(fit, order, data).score_documents(held_out))
        losses[order] = -float(scores.mean(dtype=np.float64))
        if losses[order] > min(losses.values()) + 0.01:
            break
    order = min(losses, key=losses.__getitem__)
    model = _kneser_ney(data.train.documents, order, data)
    yield Outcome(model, model.parameters, f"modified Kneser-Ney, order {order} chosen on held-out text")


def neural_bigram(task: Task) -> Iterator[Update | Outcome]:
    data = task.data
    network = NeuralBigram(data.vocab_size).to(task.device)
    batch_size = 16 if data.vocab_size > 512 else 1024 if data.independent else 128
    plan = Plan(steps=task.steps, batch_size=batch_size, learning_rate=0.1, decay_from=0.3)
    yield from _trained(task, network, plan, "the counts, found by gradient descent")


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
    found = find_rate(network, _batches(task, network, plan.batch_size), plan)
    plan = replace(plan, learning_rate=found.suggestion)
    note = f"{network.context} tokens of context, rate {found.suggestion:.2g} from the range test"
    for update in _trained(task, network, plan, note):
        if isinstance(update, Outcome):
            drawn = {
                "range_test": pictures.range_test(found),
                "embedding": pictures.embedding(network.embedding.weight, data),
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
    yield from _trained(task, network, plan, _size(config), attention=True, half_precision=task.device.type != "mps")


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

    return range_test(step, lowest=1e-5, highest=1.0, steps=200)


RUNGS: tuple[Rung, ...] = (
    Rung("untrained", "Untrained", "nothing yet: every token is equally likely", 0, 1, untrained),
    Rung("bigram", "Bigram, counted", "what follows what, counted", 0, 1, counted_bigram),
    Rung("neural-bigram", "Bigram, neural", "the same, learned by gradient descent", 3, 1000, neural_bigram),
    Rung("trigram", "Trigram, counted", "one more token to look back at", 0, 1, counted_trigram),
    Rung("kneser-ney", "Kneser-Ney n-gram", "long contexts that fall back on shorter ones", 0, 1, kneser_ney),
    Rung("mlp", "MLP", "embeddings: tokens that behave alike share what is learned", 12, 8000, mlp),
    Rung("one-head", "One head", "attention: look back at what matters", 6, 5000, lecture("one head")),
    Rung("multi-head", "Multi-head", "several things to look for at once", 6, 5000, lecture("multi-head")),
    Rung("feed-forward", "+ feed-forward", "time to think about what was heard", 8, 5000, lecture("feed-forward")),
    Rung("blocks", "Blocks + residual", "depth that can be trained", 15, 5000, lecture("blocks")),
    Rung("layer-norm", "+ layer norm", "an even footing for every layer", 15, 5000, lecture("layer norm")),
    Rung("scaled-up", "Scaled up", "more of everything, with dropout", 30, 5000, scaled_up),
)


def choose_rungs(names: str) -> tuple[Rung, ...]:
    """The rungs of a comma-separated list, in the ladder's order; all of them for an empty one.

    Raises TrainingError for a name that is none, with the nearest.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = [rung.name for rung in RUNGS]
    for name in wanted:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise TrainingError(f"--rungs: {name} is not a rung; did you mean {nearest}? There are {', '.join(known)}")
    return tuple(rung for rung in RUNGS if not wanted or rung.name in wanted)


def _trained(
    task: Task, network: nn.Module, plan: Plan, note: str, *, attention: bool = False, half_precision: bool = False
) -> Iterator[Update | Outcome]:
    """Train `network` in its turn, with an update whenever another share of it is done."""
    model = NetworkModel(network, task.data.start_token)
    batches = _batches(task, network, plan.batch_size)
    plan = with_budget(plan, task.seconds)
    yield Update(model, Progress(0, 0.0, math.nan, 0.0, 0.0, 0.0))
    told = 1 / EVALUATIONS
    steps = 0
    for progress in train(network, batches, plan, report_every=10, half_precision=half_precision):
        steps = progress.step
        if progress.share_done >= told:
            told = progress.share_done + 1 / EVALUATIONS
            yield Update(model, progress)
    drawn: dict[str, Any] = {}
    if attention and isinstance(network, LectureGPT):
        drawn["attention"] = pictures.attention(network, task.data)
    yield Outcome(model, model.parameters, note, steps, drawn)


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


def _count(documents: Sequence[Tokens], order: int, data: LadderData) -> Counted:
    return Counted.fit(
        documents, order=order, vocab_size=data.vocab_size, start_token=data.start_token, pseudo_counts=data.vocab_size
    )


def _fit_bigram(data: LadderData) -> Counted:
    fit, held_out = data.tuning()
    chosen, _ = tune_smoothing(_count(fit, 2, data), held_out)
    return _count(data.train.documents, 2, data).smoothed(chosen.pseudo_counts, None)


def _kneser_ney(documents: Sequence[Tokens], order: int, data: LadderData) -> "NGram | OpenedLines":
    if data.independent:
        return OpenedLines.fit(documents, vocab_size=data.vocab_size, order=order, line_end=data.start_token)
    line_end = data.start_token if data.stop else None
    tokens = np.concatenate(documents)
    return NGram.fit(tokens, vocab_size=data.vocab_size, order=order, line_end=line_end)


def _size(config: LectureConfig) -> str:
    layers = f"{config.n_layer} layer{'s' if config.n_layer > 1 else ''}"
    heads = f"{config.n_head} head{'s' if config.n_head > 1 else ''}"
    return f"{layers} × {config.n_embd}, {heads}, block {config.block_size}"
