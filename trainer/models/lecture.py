"""The lectures' GPT, one idea at a time: a head of attention, more heads, feed-forward, residual blocks, layer norm.

Every step is the same file with one more switch on, so that what an idea is worth is the difference of two losses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LectureConfig:
    """Which of the ideas are in, and how large it is. Head size is n_embd / n_head."""

    block_size: int = 8
    n_embd: int = 32
    n_head: int = 1
    n_layer: int = 1
    feed_forward: bool = False
    residual: bool = False
    layer_norm: bool = False
    dropout: float = 0.0


# The steps of the lecture. Sizes are the lecture's own; the ladder may choose others within a step's definition.
STEPS: Mapping[str, LectureConfig] = MappingProxyType(
    {
        "one head": LectureConfig(),
        "multi-head": LectureConfig(n_head=4),
        "feed-forward": LectureConfig(n_head=4, feed_forward=True),
        "blocks": LectureConfig(n_head=4, n_layer=3, feed_forward=True, residual=True),
        "layer norm": LectureConfig(n_head=4, n_layer=3, feed_forward=True, residual=True, layer_norm=True),
        "scaled up": LectureConfig(
            block_size=256, n_embd=384, n_head=6, n_layer=6,
            feed_forward=True, residual=True, layer_norm=True, dropout=0.2,
        ),
    }
)  # fmt: skip


class SelfAttention(nn.Module):
    """Every token asks (query), offers (key) and tells (value); it listens to those before it, by how well they match.

    All heads are one tensor: a single projection makes queries, keys and values, and the head is a batch dimension.
    """

    def __init__(self, config: LectureConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.attend = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        # Heads only need mixing where their sum is added to the stream; before that the next layer mixes them.
        self.projection = nn.Linear(config.n_embd, config.n_embd) if config.residual else nn.Identity()
        self.dropout = config.dropout

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (batch, head, time, head size)."""
        batch, time, width = x.shape
        joined = self.attend(x).view(batch, time, 3, self.n_head, width // self.n_head)
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        return query, key, value

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Who listens to whom: (batch, head, time, time), each row a distribution over itself and what came before."""
        time = query.shape[-2]
        affinity = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
        future = torch.ones(time, time, dtype=torch.bool, device=query.device).triu(1)
        return affinity.masked_fill(future, float("-inf")).softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.heads(x)
        dropout = self.dropout if self.training else 0.0
        if x.is_cuda:  # the fused kernel; on a CPU the spelled-out product is several times faster at these sizes
            mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        else:
            mixed = functional.dropout(self.weights(query, key), dropout) @ value
        joined = mixed.transpose(1, 2).flatten(2)
        return functional.dropout(self.projection(joined), dropout)


class FeedForward(nn.Module):
    """What a token makes of what it heard, on its own: two layers, four times as wide inside."""

    def __init__(self, config: LectureConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(config.n_embd, 4 * config.n_embd),
            nn.ReLU(),
            nn.Linear(4 * config.n_embd, config.n_embd),
            nn.Dropout(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.layers(x))


class Block(nn.Module):
    """Communicate, then compute. With `residual` each adds to the stream instead of replacing it; with `layer_norm`
    each reads the stream through a norm first (pre-norm)."""

    def __init__(self, config: LectureConfig) -> None:
        super().__init__()
        self.residual = config.residual
        self.attention = SelfAttention(config)
        self.feed_forward = FeedForward(config) if config.feed_forward else None
        self.before_attention = nn.LayerNorm(config.n_embd) if config.layer_norm else nn.Identity()
        self.before_feed_forward = nn.LayerNorm(config.n_embd) if config.layer_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        heard = self.attention(self.before_attention(x))
        x = x + heard if self.residual else heard
        if self.feed_forward is not None:
            made = self.feed_forward(self.before_feed_forward(x))
            x = x + made if self.residual else made
        return torch.as_tensor(x)


class LectureGPT(nn.Module):
    """Token and position embeddings, the blocks, and a linear layer to the vocabulary."""

    def __init__(self, vocab_size: int, config: LectureConfig) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.config = config
        self.block_size = config.block_size
        self.lead = 0
        self.embedding = nn.Embedding(vocab_size, config.n_embd)
        self.position = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd) if config.layer_norm else nn.Identity()
        self.output = nn.Linear(config.n_embd, vocab_size)
        self.apply(_initialise)

    def embed(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return torch.as_tensor(self.embedding(tokens) + self.position(places))

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time ≤ block_size) tokens → (batch, time, vocab_size) logits of the next."""
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.output(self.norm(x)))

    @torch.no_grad()
    def attention(self, tokens: Tensor) -> list[Tensor]:
        """Each layer's attention weights for `tokens`, (batch, head, time, time): a picture of who listens to whom."""
        x = self.embed(tokens)
        pictures = []
        for block in self.blocks:
            assert isinstance(block, Block)
            query, key, _ = block.attention.heads(block.before_attention(x))
            pictures.append(block.attention.weights(query, key))
            x = block(x)
        return pictures


def _initialise(module: nn.Module) -> None:
    """GPT-2's: small weights, so that the first logits are near zero and the first loss near ln(vocab_size)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
