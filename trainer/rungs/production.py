"""The last rungs: Backchat's own GPT, planned and trained as in production, and its mixture with the n-gram."""

import math
from collections.abc import Iterator

import numpy as np
import torch

from trainer import loop
from trainer.evaluate import ScoresDocuments
from trainer.ladder_data import LadderData
from trainer.models.gpt import GPT, GPTConfig
from trainer.models.language_model import LanguageModel, LogProbabilities, Tokens
from trainer.models.mixture import Mixture, count, weigh
from trainer.models.ngram import NGram
from trainer.optim import Rates
from trainer.plan import Plan as TrainingPlan
from trainer.plan import make_plan
from trainer.rung_training import Progress
from trainer.rungs.rung import EVALUATIONS, Outcome, Task, Update

ASIDE_TOKENS = 30_000  # of the training side, kept from both memories while their weights are found


def gpt(task: Task) -> Iterator[Update | Outcome]:
    """The production model as `backchat train` would plan it for these tokens, this time and this machine."""
    data = task.data
    learned, _ = _aside(data)
    tokens = np.concatenate(learned)
    model, plan = planned(task, len(tokens))
    yield Update(model, Progress(0, 0.0, math.nan, 0.0, 0.0, 0.0), plan.steps)
    budget = loop.Budget(min(plan.most_steps, task.steps), task.seconds, plan.batch_size, task.seed)
    told, losses, steps = 1 / EVALUATIONS, [], 0
    for progress in loop.train(model, tokens, budget, Rates()):
        losses.append(progress.nats_per_token)
        steps = progress.step
        if progress.done >= told:
            told = progress.done + 1 / EVALUATIONS
            mean = float(np.nanmean(losses))
            since = Progress(
                progress.step, progress.seconds, mean, progress.rate_share, progress.tokens_per_second, progress.done
            )
            losses.clear()
            yield Update(model, since, plan.steps)
    task.kept["gpt"] = model
    yield Outcome(model, model.parameters_count, plan.sentence, steps)


def planned(task: Task, tokens: int) -> tuple[GPT, TrainingPlan]:
    """The production GPT, untrained, with the plan that a run on so many tokens would have."""
    data, machine = task.data, task.machine
    minutes = max(round(task.seconds / 60, 2), 0.01)  # what is left of a ladder's time is no round number to tell
    plan = make_plan(tokens, minutes, machine.speed, data.vocab_size, task.model, evaluations=EVALUATIONS)
    torch.manual_seed(task.seed)
    model = GPT(
        GPTConfig(
            vocab_size=data.vocab_size,
            start_token=data.start_token,
            block_size=plan.shape.block_size,
            n_layer=plan.shape.n_layer,
            n_head=plan.shape.n_head,
            n_embd=plan.shape.n_embd,
            tied=task.model.tied,
            dropout=plan.dropout,
            orders=plan.orders,
            row_dropout=plan.row_dropout,
        )
    )
    model.half_precision = machine.half_precision
    return model.to(machine.device), plan


def mixture(task: Task) -> Iterator[Update | Outcome]:
    """GPT and n-gram together, weighed on text that neither had seen; then the n-gram counts that text too."""
    data = task.data
    network = task.kept["gpt"]
    learned, aside = _aside(data)
    line_end = data.start_token if data.stop else None
    order = task.model.ngram_order

    def counted(documents: list[Tokens]) -> NGram:
        return NGram.fit(np.concatenate(documents), vocab_size=data.vocab_size, order=order, line_end=line_end)

    young = counted(learned)
    weights = weigh(count(young, aside), np.concatenate(_scores(network, aside)), young.familiarities)
    ngram = counted(data.train.documents)
    model = Mixture(network, ngram, weights)
    least, most = min(weights.trust), max(weights.trust)
    note = f"order {order}; trusts the GPT {least:.0%} to {most:.0%}, by how well the n-gram knows the context"
    yield Outcome(model, ngram.parameters + int(getattr(network, "parameters_count", 0)), note)


def _scores(model: LanguageModel, documents: list[Tokens]) -> list[LogProbabilities]:
    if isinstance(model, ScoresDocuments):
        return list(model.score_documents(documents))
    return [model.score(document) for document in documents]


def _aside(data: LadderData) -> tuple[list[Tokens], list[Tokens]]:
    """The training side without its end, and its end."""
    documents = data.train.documents
    wanted = min(ASIDE_TOKENS, data.train.tokens // 20)
    if len(documents) == 1:
        return [documents[0][:-wanted]], [documents[0][-wanted:]]
    lengths = np.cumsum([len(document) for document in reversed(documents)])
    number = min(int(np.searchsorted(lengths, wanted)) + 1, len(documents) - 1)
    return documents[:-number], documents[-number:]
