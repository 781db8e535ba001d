"""The slow memory: a small GPT of RoPE, RMSNorm and SwiGLU, in one file that reads top to bottom.

Knows tokens only: neither what they stand for, nor how it is trained. `gpt_decoder` has the same network once more, for
speaking: what is changed here is changed there, and the tests compare them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corpus.errors import CheckpointError
from trainer.checkpoint import Arrays
from trainer.models.gpt_decoder import HASH_SPREAD, HASH_STEP, ROPE_BASE, SpokenDecoder, SpokenGPT
from trainer.models.language_model import Decoder, LogProbabilities, Tokens

SCORED_AT_ONCE = 16_384  # tokens in one forward pass without gradients: bounds the memory that logits take


@dataclass(frozen=True)
class GPTConfig:
    """The shape. `start_token` stands before everything: the end of a line that nobody has written.

    `hidden` is the inner width of SwiGLU, 0 for the usual 8/3 of n_embd. `shift` adds a learned share of the previous
    token's embedding; `orders` adds an embedding of the last n tokens for each n, found in `rows` rows by a hash, and
    `row_dropout` leaves out that share of them in training: else rare rows learn their one example by heart.
    """

    vocab_size: int
    start_token: int
    block_size: int = 128
    n_layer: int = 4
    n_head: int = 6
    n_embd: int = 192
    hidden: int = 0
    tied: bool = False
    dropout: float = 0.0
    shift: bool = True
    orders: tuple[int, ...] = (2,)
    rows: int = 16_384
    row_dropout: float = 0.0

    @property
    def hidden_size(self) -> int:
        return self.hidden or -(-self.n_embd * 8 // 3 // 32) * 32

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head

    @property
    def reach(self) -> int:
        """How many tokens before one its embedding looks at."""
        return max([1 if self.shift else 0, *(order - 1 for order in self.orders)])

    def __post_init__(self) -> None:
        if self.n_embd % self.n_head or self.head_size % 2:
            raise ValueError(f"n_embd {self.n_embd} cannot be shared out to {self.n_head} heads of an even size")


class RMSNorm(nn.Module):
    """Scales each position to unit root mean square, then by a learned gain."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True, dtype=torch.float32) + 1e-6)
        return x * scale.to(x.dtype) * self.gain.to(x.dtype)


class Cache:
    """Keys and values of the last `block_size` positions, in a ring: fixed memory however long one speaks.

    Keys are kept rotated by their absolute position. RoPE depends on distances only, so neither their place in the
    ring nor what has been overwritten matters.
    """

    def __init__(self, config: GPTConfig, batch: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (config.n_layer, 2, batch, config.n_head, config.block_size, config.head_size)
        self.kept = torch.zeros(shape, device=device, dtype=dtype)
        self.seen = 0  # positions so far; the next one's number

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put in new positions, (batch, head, time, head size); return all that is kept, in whatever order."""
        size = self.kept.shape[-2]
        time = min(keys.shape[-2], size)
        first = self.seen + keys.shape[-2] - time
        places = torch.arange(first, first + time, device=keys.device) % size if time > 1 else first % size
        if isinstance(places, int):
            self.kept[layer, 0, :, :, places] = keys[:, :, -1]
            self.kept[layer, 1, :, :, places] = values[:, :, -1]
        else:
            self.kept[layer, 0].index_copy_(2, places, keys[:, :, -time:])
            self.kept[layer, 1].index_copy_(2, places, values[:, :, -time:])
        known = min(self.seen + keys.shape[-2], size)
        return self.kept[layer, 0, :, :, :known], self.kept[layer, 1, :, :, :known]

    def rows(self, rows: Tensor) -> None:
        """Keep only these rows of the batch; a row may be taken more than once."""
        self.kept = self.kept.index_select(2, rows)


class Attention(nn.Module):
    """Causal self-attention with rotary positions, to at most `block_size` positions back, itself included."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.dropout = config.n_head, config.dropout
        self.joined = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.projection = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        batch, time, width = x.shape
        head_size = width // self.n_head
        joined = linear(x, self.joined.weight).view(batch, time, 3 * self.n_head, head_size)
        query, key = rotate(joined[:, :, : 2 * self.n_head], rotation).transpose(1, 2).chunk(2, dim=1)
        value = joined[:, :, 2 * self.n_head :].transpose(1, 2)
        if cache is not None:
            every_key, every_value = cache.store(layer, key, value)
            if time == 1:  # one new position may look at everything kept
                key, value, mask = every_key, every_value, None
        mixed = attend(query, key, value, mask, self.dropout if self.training else 0.0)
        return linear(mixed.transpose(1, 2).reshape(batch, time, width), self.projection.weight)


class SwiGLU(nn.Module):
    """Position by position: half of the inner features gate the other half."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.n_embd, 2 * config.hidden_size, bias=False)
        self.down = nn.Linear(config.hidden_size, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = linear(x, self.gate_up.weight).chunk(2, dim=-1)
        return linear(functional.silu(gate) * up, self.down.weight)


class Block(nn.Module):
    """Attention, then SwiGLU, each reading a normalised stream and adding to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(config.n_embd), Attention(config)
        self.mlp_norm, self.mlp = RMSNorm(config.n_embd), SwiGLU(config)
        self.dropout = config.dropout

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        x = x + self._drop(self.attention(self.attention_norm(x), rotation, mask, cache, layer))
        return x + self._drop(self.mlp(self.mlp_norm(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class GPT(nn.Module):
    """A `LanguageModel`. Call it with tokens (batch, time) for logits (batch, time, vocab_size)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.ngrams = nn.ModuleList(nn.Embedding(config.rows, config.n_embd) for _ in config.orders)
        self.shift = nn.Parameter(torch.zeros(config.n_embd)) if config.shift else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = RMSNorm(config.n_embd)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        self.half_precision = False  # matrix products in bfloat16; the loop sets it where that is faster
        self._spoken: tuple[tuple[int, ...], SpokenGPT] | None = None
        self._rotations: Tensor | None = None
        self._masks: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5 / 2)
        for block in self.blocks:  # at first a block adds nothing: the stream is the embedding
            assert isinstance(block, Block)
            nn.init.zeros_(block.attention.projection.weight)
            nn.init.zeros_(block.mlp.down.weight)
        nn.init.normal_(self.embedding.weight, std=0.02 if self.config.tied else 0.3)
        nn.init.normal_(self.head.weight, std=0.02)
        for table in self.ngrams:
            assert isinstance(table, nn.Embedding)
            nn.init.zeros_(table.weight)

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def parameters_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def sparse_tables(self, sparse: bool) -> None:
        """Whether the hashed tables' gradients hold only the rows that were read, so that the others cost nothing."""
        for table in self.ngrams:
            assert isinstance(table, nn.Embedding)
            table.sparse = sparse

    def forward(self, tokens: Tensor, cache: Cache | None = None, before: Tensor | None = None) -> Tensor:
        return self.logits(self.features(tokens, cache, before))

    def features(self, tokens: Tensor, cache: Cache | None = None, before: Tensor | None = None) -> Tensor:
        """What the head reads, (batch, time, n_embd).

        `before` are the tokens that came before, (batch, reach), the start token where there are none. With a cache,
        one call takes either the first positions or one more.
        """
        time = tokens.shape[1]
        x = self._embed(tokens, before).to(torch.bfloat16 if self.half_precision else torch.float32)
        past = cache.seen if cache is not None else 0
        rotation = self._rotation(past, time, x)
        mask = self._mask(time, x) if time > 1 else None
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, mask, cache, layer)
        if cache is not None:
            cache.seen += time
        features: Tensor = self.norm(x)
        return features

    def logits(self, features: Tensor) -> Tensor:
        return linear(features, self.head.weight)

    @property
    def reach(self) -> int:
        return self.config.reach

    def _embed(self, tokens: Tensor, before: Tensor | None) -> Tensor:
        x: Tensor = self.embedding(tokens)
        if self.reach == 0:
            return x
        if before is None:
            before = tokens.new_full((tokens.shape[0], self.reach), self.config.start_token)
        known = torch.cat([before[:, before.shape[1] - self.reach :], tokens], dim=1)
        time = tokens.shape[1]
        if self.shift is not None:
            x = x + self.shift * self.embedding(known[:, self.reach - 1 : self.reach - 1 + time])
        for order, table in zip(self.config.orders, self.ngrams, strict=True):
            number = known[:, self.reach : self.reach + time]
            for back in range(1, order):
                number = number * HASH_STEP + known[:, self.reach - back : self.reach - back + time]
            # Multiplying by an odd constant and keeping high bits spreads neighbours over all rows.
            found = table(((number * HASH_SPREAD) >> 15) % self.config.rows)
            if self.training and self.config.row_dropout:
                kept = 1.0 - self.config.row_dropout
                found = found * (torch.rand(*tokens.shape, 1, device=found.device) < kept).to(found.dtype).div_(kept)
            x = x + found
        return x

    def _rotation(self, first: int, time: int, x: Tensor) -> Tensor:
        """Cosines and sines of positions, (2, time, 1, head size / 2)."""
        known = self._rotations
        if known is None or known.shape[1] < first + time or known.dtype != x.dtype or known.device != x.device:
            # Not an inference tensor, wherever this is called from: training uses it too.
            with torch.inference_mode(False):
                size = 2 * max(self.config.block_size, first + time)
                half = self.config.head_size // 2
                speeds = ROPE_BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
                angles = torch.arange(size, device=x.device, dtype=torch.float32)[:, None] * speeds
                known = self._rotations = torch.stack([angles.cos(), angles.sin()]).unsqueeze(2).to(x.dtype)
        return known[:, first : first + time]

    def _mask(self, time: int, x: Tensor) -> Tensor:
        """What is added to the affinities: nothing, or minus infinity for the future and the too distant past."""
        known = self._masks.get((time, x.dtype, x.device))
        if known is None:
            if len(self._masks) > 64:
                self._masks.clear()
            with torch.inference_mode(False):
                distance = torch.arange(time, device=x.device)[:, None] - torch.arange(time, device=x.device)
                hidden = (distance < 0) | (distance >= self.config.block_size)
                known = torch.zeros(time, time, device=x.device, dtype=x.dtype).masked_fill(hidden, float("-inf"))
            self._masks[(time, x.dtype, x.device)] = known
        return known

    # What follows makes it a LanguageModel.

    def score(self, tokens: Tokens) -> LogProbabilities:
        return self.score_documents([tokens])[0]

    @torch.inference_mode()
    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        """ln P of each token of each document. Longer ones than a block are read in windows that overlap by half, so
        that every token but a document's first ones has at least half a block of context."""
        was_training = self.training
        self.eval()
        size = self.config.block_size
        scores = [np.empty(len(tokens), dtype=np.float32) for tokens in documents]
        windows = []  # (document, first input, first scored, end)
        for number, tokens in enumerate(documents):
            scored = 0
            while scored < len(tokens):
                first = max(0, scored - size // 2)
                end = min(first + size, len(tokens))
                windows.append((number, first, scored, end))
                scored = end
        windows.sort(key=lambda window: window[3] - window[1])
        at_once = max(1, SCORED_AT_ONCE // size)
        for start in range(0, len(windows), at_once):
            self._score_windows(documents, windows[start : start + at_once], scores)
        self.train(was_training)
        return scores

    def _score_windows(
        self, documents: Sequence[Tokens], windows: list[tuple[int, int, int, int]], scores: list[LogProbabilities]
    ) -> None:
        longest = max(end - first for _, first, _, end in windows)
        reach = max(self.reach, 1)
        known = np.full((len(windows), reach + longest), self.config.start_token, dtype=np.int64)
        targets = np.zeros((len(windows), longest), dtype=np.int64)
        for row, (number, first, _, end) in enumerate(windows):
            tokens = documents[number]
            behind = max(0, first - 1 - reach)
            piece = tokens[behind : end - 1] if end > 1 else tokens[:0]
            targets[row, : end - first] = tokens[first:end]
            # Column reach holds the token before the first target.
            start = reach - (first - 1 - behind) if first > 0 else reach + 1
            known[row, start : start + len(piece)] = piece
        inputs = torch.from_numpy(known).to(self.device)
        wanted = torch.from_numpy(targets).to(self.device)
        logits = self(inputs[:, reach:], before=inputs[:, :reach]).float()
        nats = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").view(wanted.shape)
        found = -nats.cpu().numpy()
        for row, (number, first, scored, end) in enumerate(windows):
            scores[number][scored:end] = found[row, scored - first : end - first]

    def decoder(self, context: Sequence[int], batch: int) -> Decoder:
        """On a processor one that does without torch, several times as fast (docs/performance.md)."""
        if self.device.type == "cpu":
            return SpokenDecoder(self._laid_out(), context, batch)
        return GPTDecoder(self, context, batch)

    def _laid_out(self) -> SpokenGPT:
        """The weights as they are now, laid out for speaking; done again only when they have changed."""
        state = tuple(parameter._version for parameter in self.parameters())
        if self._spoken is None or self._spoken[0] != state:
            self._spoken = state, SpokenGPT(self.config, self.arrays())
        return self._spoken[1]

    # What follows makes it part of a checkpoint.

    def arrays(self) -> Arrays:
        """The weights, for the checkpoint; a tied head is the embedding and is not kept twice."""
        state = self.state_dict()
        if self.config.tied:
            del state["head.weight"]
        return {name: tensor.detach().float().cpu().numpy() for name, tensor in state.items()}

    def config_json(self) -> dict[str, Any]:
        return asdict(self.config)

    @classmethod
    def from_arrays(cls, config: Mapping[str, Any], arrays: Arrays) -> "GPT":
        """Raises CheckpointError when the weights do not fit the configuration."""
        try:
            shape = GPTConfig(**{**config, "orders": tuple(config["orders"])})
            model = cls(shape)
            state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
            if shape.tied:
                state["head.weight"] = state["embedding.weight"]
            model.load_state_dict(state)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"the GPT of a checkpoint does not fit its configuration ({reason})") from error
        return model.eval()


class GPTDecoder:
    """The same as a SpokenDecoder on any device, in torch."""

    @torch.inference_mode()
    def __init__(self, model: GPT, context: Sequence[int], batch: int) -> None:
        self._model = model.eval()
        reach = max(model.reach, 1)
        known = [model.config.start_token] * (reach + 1) + [int(token) for token in context]
        # The context's end as far as a block goes, read once for all.
        time = min(len(context) + 1, model.config.block_size)
        tokens = torch.tensor([known], device=model.device)
        dtype = torch.bfloat16 if model.half_precision else torch.float32
        self._cache = Cache(model.config, 1, model.device, dtype)
        features = model.features(tokens[:, -time:], self._cache, tokens[:, -time - reach : -time])
        self._logits = model.logits(features[:, -1:])[:, -1]
        self._recent = tokens[:, -reach:]
        if batch != 1:
            self._take(torch.zeros(batch, dtype=torch.int64, device=model.device))

    @torch.inference_mode()
    def log_probabilities(self) -> LogProbabilities:
        return np.asarray(self._logits.float().log_softmax(-1).cpu().numpy(), dtype=np.float32)

    @torch.inference_mode()
    def push(self, tokens: Sequence[int]) -> None:
        new = torch.tensor(tokens, dtype=torch.int64, device=self._recent.device).view(-1, 1)
        self._logits = self._model(new, self._cache, self._recent)[:, -1]
        self._recent = torch.cat([self._recent[:, 1:], new], dim=1)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        self._take(torch.tensor(rows, dtype=torch.int64, device=self._recent.device))

    def _take(self, rows: Tensor) -> None:
        self._cache.rows(rows)
        self._logits = self._logits.index_select(0, rows)
        self._recent = self._recent.index_select(0, rows)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """A product in the stream's own precision, the weights being kept in float32."""
    return functional.linear(x, weight.to(x.dtype))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotary positions: turn pairs of features by angles that grow with the position.

    x is (batch, time, head, head size)."""
    cosine, sine = rotation[0], rotation[1]
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Softmax attention, (batch, head, time, head size).

    Spelled out on a CPU, where that is 5 times faster than the fused kernel in bfloat16 (docs/experiments.md).
    """
    if query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
    affinity = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if mask is not None:
        affinity = affinity + mask
    return functional.dropout(affinity.softmax(-1), dropout, dropout > 0) @ value


def next_token_loss(model: GPT, blocks: Tensor) -> Tensor:
    """Mean nats a token of blocks (batch, reach + time + 1): the first `reach` tokens are there to look back at."""
    before, inputs, targets = blocks[:, : model.reach], blocks[:, model.reach : -1], blocks[:, model.reach + 1 :]
    logits = model(inputs, before=before)
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def flops_per_token(config: GPTConfig) -> float:
    """Floating-point operations of training on one token: 6 a weight of a product, 12 a feature and key attended to."""
    layer = 4 * config.n_embd**2 + 3 * config.n_embd * config.hidden_size
    weights = config.n_layer * layer + config.n_embd * config.vocab_size
    return 6.0 * weights + 12.0 * config.n_layer * config.n_embd * config.block_size / 2
