"""The rival: the plain GPT-2-style recipe that tutorials train on a CPU, as faithful as its published numbers ask.

Layer norm, learned positions, GELU, 4 layers of 128, block 64, batch 12; AdamW at 1e-3 with 100 steps of warm-up and a
cosine down to a tenth; no dropout. Nothing in it is slowed down on purpose: attention is torch's own.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PlainConfig:
    vocab_size: int
    block_size: int = 64
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128


class PlainBlock(nn.Module):
    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.norm_1, self.norm_2 = nn.LayerNorm(config.n_embd, bias=False), nn.LayerNorm(config.n_embd, bias=False)
        self.attention = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.projection = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, time_, width = x.shape
        heads = self.attention(self.norm_1(x)).view(batch, time_, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + self.projection(mixed.transpose(1, 2).reshape(batch, time_, width))
        return x + self.down(functional.gelu(self.up(self.norm_2(x))))


class PlainGPT(nn.Module):
    def __init__(self, config: PlainConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.Sequential(*(PlainBlock(config) for _ in range(config.n_layer)))
        self.norm = nn.LayerNorm(config.n_embd, bias=False)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("projection.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits

    @torch.inference_mode()
    def scores(self, documents: Sequence[Tokens], start_token: int) -> npt.NDArray[np.float32]:
        """ln P of every token of all documents, each seen with at least half a block of its document where there is so
        much: kinder than the block-wise estimate that is published with the recipe."""
        self.eval()
        size = self.config.block_size
        inputs, targets, weights = [], [], []
        for document in documents:
            text = np.concatenate([[start_token], document])
            done = 0
            while done < len(document):
                first = max(0, done - size // 2)
                end = min(first + size, len(document))
                padding = size - (end - first)
                inputs.append(np.pad(text[first:end], (0, padding)))
                targets.append(np.pad(document[first:end], (0, padding)))
                weights.append((np.arange(size) >= done - first) & (np.arange(size) < end - first))
                done = end
        found = []
        for start in range(0, len(inputs), 256):
            wanted = torch.from_numpy(np.stack(targets[start : start + 256]))
            logits = self(torch.from_numpy(np.stack(inputs[start : start + 256])))
            nats = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").numpy()
            found.append(-nats[np.concatenate(weights[start : start + 256])])
        return np.concatenate([*found, np.zeros(0, np.float32)]).astype(np.float32)


def train_plain(
    tokens: Tokens,
    vocab_size: int,
    *,
    steps: int = 2000,
    seconds: float = math.inf,
    seed: int = 1337,
    watch: Callable[[int, float, PlainGPT], None] = lambda step, spent, model: None,
) -> PlainGPT:
    """The recipe for `steps`, or for `seconds` where they are given: then the schedule follows the time.

    `watch` is called after every step with the seconds spent so far; its own time is not counted.
    """
    torch.manual_seed(seed)
    config = PlainConfig(vocab_size)
    model = PlainGPT(config)
    decayed = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    text = torch.from_numpy(np.asarray(tokens, np.int64))
    window = torch.arange(config.block_size + 1)
    step, spent = 0, 0.0
    timed = math.isfinite(seconds)
    while spent < seconds if timed else step < steps:
        began = time.perf_counter()
        done = spent / seconds if timed else step / steps
        rate = 1e-3 * min(1.0, (step + 1) / 100) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = text[torch.randint(len(text) - config.block_size, (12, 1)) + window]
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, spent = step + 1, spent + time.perf_counter() - began
        watch(step, spent, model)
    return model
