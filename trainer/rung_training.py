"""How a rung's network is trained: batches cut from texts, AdamW, a rate that warms up, stays, and decays.

Knows nothing of rungs, tokenizers or where the loss is shown; the production model has a loop of its own.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corpus.errors import TrainingError
from trainer.models.language_model import Tokens

IGNORED = -100  # a target that costs nothing: cross_entropy's own mark

Batches = Callable[[], tuple[Tensor, Tensor]]
LossOf = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """How one network is trained. The rate follows whichever of steps and seconds runs out first."""

    steps: int
    batch_size: int
    learning_rate: float
    seconds: float = math.inf
    weight_decay: float = 0.0
    warm_up: float = 0.02  # share of the run
    decay_from: float = 0.5  # share of the run after which the rate falls, linearly to a hundredth

    def rate_share(self, progress: float) -> float:
        """What of `learning_rate` is used when `progress` (0 to 1) of the run is done."""
        if progress < self.warm_up:
            return max(progress / self.warm_up, 0.02)
        if progress < self.decay_from:
            return 1.0
        return max(1.0 - (progress - self.decay_from) / (1.0 - self.decay_from), 0.01)


@dataclass(frozen=True)
class Progress:
    """Where a training stands: the loss is the mean over the steps since the last report."""

    step: int
    seconds: float
    nats_per_token: float
    rate_share: float
    tokens_per_second: float
    share_done: float


def stream_batches(
    stream: Tokens, *, block_size: int, lead: int, batch_size: int, seed: int, device: torch.device
) -> Batches:
    """Blocks cut from random places of one long text. Targets of a block's first `lead` tokens are not counted.

    Raises TrainingError when the text is shorter than one block.
    """
    if len(stream) < block_size + 1:
        raise TrainingError(f"{len(stream):,} tokens of text are less than one block of {block_size}; add more text")
    text = torch.from_numpy(np.ascontiguousarray(stream, dtype=np.int64))
    offsets = torch.arange(block_size + 1)
    generator = torch.Generator().manual_seed(seed)

    def batch() -> tuple[Tensor, Tensor]:
        places = torch.randint(len(text) - block_size, (batch_size, 1), generator=generator)
        block = text[places + offsets].to(device)
        targets = block[:, 1:].clone()
        targets[:, :lead] = IGNORED
        return block[:, :-1], targets

    return batch


def document_batches(
    documents: Sequence[Tokens], *, start_token: int, block_size: int, batch_size: int, seed: int, device: torch.device
) -> Batches:
    """Short documents, each from its beginning after `start_token`, padded to the longest of the batch; longer ones
    than a block are cut. Every pass over the documents takes them in a new order. Raises TrainingError for none."""
    pieces = [tokens[i : i + block_size] for tokens in documents for i in range(0, len(tokens), block_size)]
    if not pieces:
        raise TrainingError("there is no document to train on; add some text")
    lengths = torch.tensor([len(piece) for piece in pieces])
    inputs = torch.full((len(pieces), int(lengths.max())), start_token, dtype=torch.int64)
    targets = torch.full(inputs.shape, IGNORED, dtype=torch.int64)
    for row, piece in enumerate(pieces):
        known = torch.from_numpy(np.asarray(piece, dtype=np.int64))
        targets[row, : len(piece)] = known
        inputs[row, 1 : len(piece)] = known[:-1]
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)

    def batch() -> tuple[Tensor, Tensor]:
        nonlocal order
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(pieces), generator=generator)])
        rows, order = order[:batch_size], order[batch_size:]
        longest = int(lengths[rows].max())
        return inputs[rows, :longest].to(device), targets[rows, :longest].to(device)

    return batch


def make_optimizer(network: nn.Module, plan: Plan) -> torch.optim.AdamW:
    """AdamW whose weight decay spares embeddings, norms and biases, which it would only blunt."""
    matrices = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    chosen = {id(weight) for weight in matrices}
    others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (0.9, 0.99)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.learning_rate, betas=betas)


def train(
    network: nn.Module,
    batches: Batches,
    plan: Plan,
    *,
    report_every: int = 100,
    half_precision: bool = False,
    loss_of: LossOf | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Progress]:
    """Train, telling how it goes every `report_every` steps and after the last; the caller may evaluate in between.

    `half_precision` runs matrix products in bfloat16; `loss_of` stands in for `batch_loss`. Raises TrainingError when
    the loss is no longer a number.
    """
    optimizer = make_optimizer(network, plan)
    device = next(network.parameters()).device
    began = reported = clock()
    losses: list[Tensor] = []
    tokens = 0
    for step in range(1, plan.steps + 1):
        progress = max((step - 1) / plan.steps, (clock() - began) / plan.seconds)
        share = plan.rate_share(min(progress, 1.0))
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * share
        network.train()
        inputs, targets = batches()
        if loss_of is None:
            loss = batch_loss(network, inputs, targets, half_precision=half_precision)
        else:
            loss = loss_of(network, inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
        tokens += inputs.numel()
        last = step == plan.steps or clock() - began >= plan.seconds
        if step % report_every == 0 or last:
            mean = float(torch.stack(losses).mean())
            if not math.isfinite(mean):
                rate = plan.learning_rate * share
                raise TrainingError(f"the loss on {device} was no number after {step} steps at a rate of {rate:.2g}")
            now = clock()
            yield Progress(step, now - began, mean, share, tokens / max(now - reported, 1e-9), min(progress, 1.0))
            losses.clear()
            tokens, reported = 0, clock()
        if last:
            return


def batch_loss(network: nn.Module, inputs: Tensor, targets: Tensor, *, half_precision: bool = False) -> Tensor:
    """Mean nats a counted target."""
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=half_precision):
        logits = network(inputs)
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)


def loss_of_counts(network: nn.Module, contexts: Tensor, counts: Tensor) -> Tensor:
    """Mean nats a token of a whole text of which only pairs matter: `counts[i, j]` is how often j followed
    `contexts[0, i]`. The same number as reading the text token by token, without reading it again at every step."""
    logits = network(contexts)[0].float()
    return torch.as_tensor(-(counts * logits.log_softmax(-1)).sum() / counts.sum())


def with_budget(plan: Plan, seconds: float) -> Plan:
    """The same plan under a time limit."""
    return replace(plan, seconds=min(plan.seconds, seconds))
