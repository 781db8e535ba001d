"""The rungs that count: nothing, pairs, triples, and Kneser-Ney; what has to be chosen is chosen on held-out text."""

from collections.abc import Iterator, Sequence

import numpy as np

from trainer import pictures
from trainer.ladder_data import LadderData
from trainer.models.counted import Counted, tune_smoothing
from trainer.models.language_model import Tokens
from trainer.models.ngram import NGram
from trainer.models.opened import OpenedLines
from trainer.models.uniform import Uniform
from trainer.rungs.rung import Outcome, Task, Update

KNESER_NEY_ORDERS = range(3, 13)
WORTH_AN_ORDER = 0.002  # nats; less is not worth fitting another order for


def untrained(task: Task) -> Iterator[Update | Outcome]:
    vocab_size = task.data.vocab_size
    yield Outcome(Uniform(vocab_size), 0, f"ln({vocab_size}) = {np.log(vocab_size):.4f}")


def counted_bigram(task: Task) -> Iterator[Update | Outcome]:
    model = fit_bigram(task.data)
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
        if losses[order] > losses.get(order - 1, np.inf) - WORTH_AN_ORDER:
            break
    order = min(losses, key=losses.__getitem__)
    model = _kneser_ney(data.train.documents, order, data)
    yield Outcome(model, model.parameters, f"modified Kneser-Ney, order {order} chosen on held-out text")


def _count(documents: Sequence[Tokens], order: int, data: LadderData) -> Counted:
    return Counted.fit(
        documents, order=order, vocab_size=data.vocab_size, start_token=data.start_token, pseudo_counts=data.vocab_size
    )


def fit_bigram(data: LadderData) -> Counted:
    """The bigram with the add-k that suits held-out text best."""
    fit, held_out = data.tuning()
    chosen, _ = tune_smoothing(_count(fit, 2, data), held_out)
    return _count(data.train.documents, 2, data).smoothed(chosen.pseudo_counts, None)


def _kneser_ney(documents: Sequence[Tokens], order: int, data: LadderData) -> "NGram | OpenedLines":
    if data.independent:
        return OpenedLines.fit(documents, vocab_size=data.vocab_size, order=order, line_end=data.start_token)
    line_end = data.start_token if data.stop else None
    tokens = np.concatenate(documents)
    return NGram.fit(tokens, vocab_size=data.vocab_size, order=order, line_end=line_end)
