"""Which optimiser moves which weights: Muon the matrices of blocks, row-wise Adagrad hashed rows, AdamW the rest.

Knows the GPT's parameters by name and nothing of data or time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Rates:
    """Learning rates at full share (docs/experiments.md has how they were found), and weight decay of the matrices."""

    matrices: float = 0.01
    embeddings: float = 0.01
    ngrams: float = 0.1
    head: float = 0.004
    gains: float = 0.004
    weight_decay: float = 0.02
    newton_schulz_steps: int = 5


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad with one step size a row, for tables of which a batch touches few rows: the others cost nothing.

    A gradient may be sparse (what an embedding with `sparse` gives) or dense; rows without one stay as they are.
    """

    def __init__(self, tables: list[Tensor], lr: float) -> None:
        super().__init__(tables, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is None:
                    continue
                gradient = table.grad.coalesce() if table.grad.is_sparse else table.grad.to_sparse(1)
                rows, values = gradient.indices()[0], gradient.values()
                state = self.state[table]
                if not state:
                    state["squares"] = torch.zeros(len(table), device=table.device)
                squares = state["squares"]
                squares.index_add_(0, rows, values.square().mean(1))
                scale = -group["lr"] / (squares[rows].sqrt() + 1e-10)
                table.index_add_(0, rows, values * scale[:, None])


class Optimizers:
    """Muon, Adagrad and AdamW stepped together, at one share of their rates."""

    def __init__(self, model: nn.Module, rates: Rates) -> None:
        matrices: list[Tensor] = []
        tables: list[Tensor] = []
        groups: dict[float, list[Tensor]] = {}
        for name, parameter in model.named_parameters():
            if ".attention." in name or ".mlp." in name:
                matrices.append(parameter)
            elif name.startswith("ngrams."):
                tables.append(parameter)
            else:
                groups.setdefault(_rate(name, rates), []).append(parameter)
        # Weight decay pulls the matrices only: embeddings of rare tokens would vanish under it.
        muon = torch.optim.Muon(
            matrices, lr=rates.matrices, weight_decay=rates.weight_decay, ns_steps=rates.newton_schulz_steps
        )
        adam = torch.optim.AdamW(
            [{"params": parameters, "lr": rate} for rate, parameters in groups.items()],
            betas=(0.9, 0.99), eps=1e-10, weight_decay=0.0, fused=True,
        )  # fmt: skip
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (muon, adam)
        if tables:
            self._optimizers += (RowAdagrad(tables, rates.ngrams),)
        self._full = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._optimizers]
        self._slowed = 1.0

    def step(self, share: float) -> None:
        """Move all weights by their gradients at `share` of the full rates."""
        for optimizer, rates in zip(self._optimizers, self._full, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share * self._slowed
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def slow_down(self) -> float:
        """Halve every rate for good; returns what is left of the full ones."""
        self._slowed /= 2
        return self._slowed

    def state(self) -> list[Mapping[str, Any]]:
        """A copy to go back to."""
        return [_copied(optimizer.state_dict()) for optimizer in self._optimizers]

    def restore(self, state: list[Mapping[str, Any]]) -> None:
        for optimizer, saved in zip(self._optimizers, state, strict=True):
            optimizer.load_state_dict(_copied(saved))


def rate_share(progress: float, warm_up: float = 0.02, decay_from: float = 0.3) -> float:
    """What of the full rate is used when `progress` (0 to 1) of the run is done: warm up, hold, fall to zero."""
    if progress < warm_up:
        return max(progress / warm_up, 0.05)
    if progress < decay_from:
        return 1.0
    return max(1.0 - (progress - decay_from) / (1.0 - decay_from), 0.0)


def _rate(name: str, rates: Rates) -> float:
    if name.startswith("embedding."):
        return rates.embeddings
    if name.startswith("head."):
        return rates.head
    return rates.gains


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, Mapping):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_copied(value) for value in state]
    return state
