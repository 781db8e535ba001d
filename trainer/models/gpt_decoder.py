"""The GPT as it speaks on a processor: one token at a time in NumPy, several times as fast as through torch.

At a few million weights a framework's own work takes longer than the arithmetic. Knows the network of `gpt`, no torch.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainer.models.language_model import LogProbabilities

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

ROPE_BASE = 10_000.0
HASH_STEP, HASH_SPREAD = 1_000_003, 2_654_435_761  # of n-grams; the spread takes neighbours to rows far apart
# OpenBLAS computes small products in one thread and without packing, and up to here it calls them small. Larger ones
# wait for a second thread, which is 20 ms away on a machine that also trains (docs/experiments.md): they are cut up.
ROWS_AT_ONCE = 8
MULTIPLICATIONS_AT_ONCE = 1_000_000
WEIGHTS_AT_ONCE = 400_000
POSITIONS_AHEAD = 64  # for so many the turns are worked out at once


class Shape(Protocol):
    """What is read of a GPTConfig."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def start_token(self) -> int: ...
    @property
    def block_size(self) -> int: ...
    @property
    def n_layer(self) -> int: ...
    @property
    def n_head(self) -> int: ...
    @property
    def head_size(self) -> int: ...
    @property
    def orders(self) -> tuple[int, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def reach(self) -> int: ...


class Matrix:
    """Weights that many short rows are multiplied by, laid out for that: (inputs, outputs) in blocks of columns."""

    def __init__(self, weights: Floats) -> None:
        self.inputs, self.outputs = weights.shape
        columns = max(1, min(WEIGHTS_AT_ONCE, MULTIPLICATIONS_AT_ONCE // ROWS_AT_ONCE) // self.inputs)
        blocks = -(-self.outputs // columns)
        edges = [round(self.outputs * block / blocks) for block in range(blocks + 1)]
        self._blocks = [
            (slice(start, stop), np.ascontiguousarray(weights[:, start:stop], np.float32))
            for start, stop in itertools.pairwise(edges)
        ]
        widest = max(stop - start for start, stop in itertools.pairwise(edges))
        self._rows_at_once = max(ROWS_AT_ONCE, MULTIPLICATIONS_AT_ONCE // (self.inputs * widest))

    def after(self, x: Floats) -> Floats:
        """x @ weights, (rows, inputs) to (rows, outputs)."""
        if len(x) <= self._rows_at_once and len(self._blocks) == 1:
            return x @ self._blocks[0][1]
        product = np.empty((len(x), self.outputs), np.float32)
        for first in range(0, len(x), self._rows_at_once):
            rows = slice(first, first + self._rows_at_once)
            for columns, block in self._blocks:
                np.matmul(x[rows], block, out=product[rows, columns])
        return product


@dataclass(frozen=True)
class Layer:
    joined: Matrix
    projection: Matrix
    gate_up: Matrix
    down: Matrix


class SpokenGPT:
    """The weights of one GPT, laid out for speaking.

    Gains of norms, what `normed` leaves out, the scale of affinities and the half in SwiGLU's sigmoid are multiplied
    into the matrices behind or before them. Of queries and keys each pair of features that RoPE turns lies together, as
    one complex number, so that turning is one multiplication.
    """

    def __init__(self, shape: Shape, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.shape = shape
        self._embedding = np.asarray(arrays["embedding.weight"], np.float32)
        self._shift = np.asarray(arrays["shift"], np.float32) if "shift" in arrays else None
        self._tables = [
            np.asarray(arrays[f"ngrams.{number}.weight"], np.float32) for number in range(len(shape.orders))
        ]
        self._hashing = _hashing(shape.orders, shape.reach)
        self._layers = [self._layer(arrays, f"blocks.{number}.") for number in range(shape.n_layer)]
        head = arrays.get("head.weight", self._embedding)
        self._head = Matrix((head * _gain(arrays["norm.gain"])).T)

    def _layer(self, arrays: Mapping[str, npt.NDArray[Any]], name: str) -> Layer:
        shape = self.shape
        joined = arrays[f"{name}attention.joined.weight"] * _gain(arrays[f"{name}attention_norm.gain"])
        by_head = joined.reshape(3, shape.n_head, shape.head_size, -1).copy()
        by_head[0] *= shape.head_size**-0.5
        pairs = np.arange(shape.head_size).reshape(2, -1).T.ravel()
        by_head[:2] = by_head[:2, :, pairs]
        gate_up = arrays[f"{name}mlp.gate_up.weight"] * _gain(arrays[f"{name}mlp_norm.gain"])
        gate_up[: len(gate_up) // 2] *= 0.5
        return Layer(
            joined=Matrix(by_head.reshape(joined.shape).T),
            projection=Matrix(arrays[f"{name}attention.projection.weight"].T),
            gate_up=Matrix(gate_up.T),
            down=Matrix(arrays[f"{name}mlp.down.weight"].T),
        )

    def embed(self, known: Integers, time: int) -> Floats:
        """Of the last `time` tokens of each row of `known`, which reaches back far enough: (rows, time, n_embd)."""
        shape = self.shape
        end = known.shape[1]
        if self._shift is None:
            x: Floats = self._embedding[known[:, end - time :]]
        else:
            both = self._embedding[known[:, end - time - 1 :]]
            x = self._shift * both[:, :-1]
            x += both[:, 1:]
        if self._tables:
            width = len(self._hashing)
            if time == 1:  # quicker than a view of one window
                windows = known[:, None, end - width :]
            else:
                windows = np.lib.stride_tricks.sliding_window_view(known, width, axis=1)[:, -time:]
            numbers = windows @ self._hashing
            numbers >>= 15
            numbers %= shape.rows
            for number, table in enumerate(self._tables):
                x += table[numbers[..., number]]
        return x

    def layers(self) -> Iterator[tuple[int, Layer]]:
        return enumerate(self._layers)

    def logits(self, x: Floats) -> Floats:
        """What the last layer's stream, (rows, n_embd), says of the next token."""
        return self._head.after(normed(x))


class SpokenDecoder:
    """Continuations that share the reading of their context; each has keys and values of its own from then on.

    They are those of the last `block_size` positions, in a ring: fixed memory however long one speaks. Keys are kept
    turned by their absolute position. RoPE depends on distances only, so their place in the ring does not matter.
    """

    def __init__(self, model: SpokenGPT, context: Sequence[int], batch: int) -> None:
        self._model = model
        shape = model.shape
        self._reach = max(1, shape.reach)
        time = min(len(context) + 1, shape.block_size)
        recent = [int(token) for token in context[-(time + self._reach) :]]
        missing = time + self._reach - len(recent)
        known = np.array([[shape.start_token] * missing + recent], np.int64)
        self._seen = 0
        half = shape.head_size // 2
        self._speeds = ROPE_BASE ** (-np.arange(half, dtype=np.float64) / half)
        self._turned = (0, np.zeros((0, 1, half), np.complex64))  # the first position of the turns that are known
        kept = (shape.n_layer, 1, shape.n_head, shape.block_size, shape.head_size)
        self._keys, self._values = np.zeros(kept, np.float32), np.zeros(kept, np.float32)
        self._logits = self._read(known, time)
        self._recent = known[:, -self._reach :]
        if batch != 1:
            self.keep([0] * batch)

    def log_probabilities(self) -> LogProbabilities:
        shifted: Floats = self._logits - self._logits.max(axis=1, keepdims=True)
        shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return shifted

    def push(self, tokens: Sequence[int]) -> None:
        new = np.array(tokens, np.int64)[:, None]
        known = np.concatenate([self._recent, new], axis=1)
        self._logits = self._step(known)
        self._recent = known[:, 1:]

    def keep(self, rows: Sequence[int]) -> None:
        self._keys, self._values = self._keys[:, rows], self._values[:, rows]
        self._logits, self._recent = self._logits[rows], self._recent[rows]

    def _turns(self, first: int, time: int) -> npt.NDArray[np.complex64]:
        """How far each pair of features is turned at each position, as complex numbers: (time, 1, head size / 2)."""
        since, turns = self._turned
        if not since <= first <= first + time <= since + len(turns):
            angles = np.arange(first, first + time + POSITIONS_AHEAD)[:, None] * self._speeds
            since, turns = self._turned = first, np.exp(1j * angles).astype(np.complex64)[:, None]
        return turns[first - since : first - since + time]

    def _read(self, known: Integers, time: int) -> Floats:
        """The context's end, all positions at once; the logits behind it, (1, vocab_size)."""
        model, heads, size = self._model, self._model.shape.n_head, self._model.shape.head_size
        x = model.embed(known, time)[0]
        turns = self._turns(0, time)
        future = np.triu(np.full((time, time), -np.inf, np.float32), 1)
        for number, layer in model.layers():
            joined = layer.joined.after(normed(x)).reshape(time, 3 * heads, size)
            joined[:, : 2 * heads].view(np.complex64)[...] *= turns
            query, key, value = joined.transpose(1, 0, 2).reshape(3, heads, time, size)
            self._keys[number, 0, :, :time], self._values[number, 0, :, :time] = key, value
            affinity = query @ key.transpose(0, 2, 1)
            affinity += future
            mixed = softmax(affinity) @ value
            x = x + layer.projection.after(mixed.transpose(1, 0, 2).reshape(time, -1))
            x += feed_forward(layer, x)
        self._seen = time
        return model.logits(x[-1:])

    def _step(self, known: Integers) -> Floats:
        """One more position of every row; the logits behind it, (batch, vocab_size)."""
        model, heads, size = self._model, self._model.shape.n_head, self._model.shape.head_size
        block_size = model.shape.block_size
        batch = len(known)
        x = model.embed(known, 1)[:, 0]
        turns = self._turns(self._seen, 1)[0]
        place = self._seen % block_size
        self._seen += 1
        seen = min(self._seen, block_size)
        for number, layer in model.layers():
            joined = layer.joined.after(normed(x)).reshape(batch, 3 * heads, size)
            joined[:, : 2 * heads].view(np.complex64)[...] *= turns
            keys, values = self._keys[number], self._values[number]
            keys[:, :, place] = joined[:, heads : 2 * heads]
            values[:, :, place] = joined[:, 2 * heads :]
            affinity = keys[:, :, :seen] @ joined[:, :heads, :, None]
            mixed = softmax(affinity[..., 0])[:, :, None] @ values[:, :, :seen]
            x = x + layer.projection.after(mixed.reshape(batch, -1))
            x += feed_forward(layer, x)
        return model.logits(x)


def normed(x: Floats) -> Floats:
    """RMSNorm without its gain and without the root of the width: each row to a length of one."""
    length = np.vecdot(x, x)
    length += np.float32(1e-6 * x.shape[1])
    scaled: Floats = x / np.sqrt(length)[:, None]
    return scaled


def feed_forward(layer: Layer, x: Floats) -> Floats:
    """SwiGLU, the gate being halved already."""
    gate_up = layer.gate_up.after(normed(x))
    hidden = gate_up.shape[1] // 2
    gate = gate_up[:, :hidden]
    # x * sigmoid(x) without an overflow: sigmoid is half of one more than the tanh of a half.
    inner = np.tanh(gate)
    inner += 1.0
    inner *= gate
    inner *= gate_up[:, hidden:]
    return layer.down.after(inner)


def softmax(affinity: Floats) -> Floats:
    """Over the last axis, in place."""
    affinity -= np.maximum.reduce(affinity, axis=-1, keepdims=True)
    np.exp(affinity, out=affinity)
    affinity /= np.add.reduce(affinity, axis=-1, keepdims=True)
    return affinity


def _gain(gain: npt.NDArray[Any]) -> Floats:
    """A norm's gain with what `normed` leaves out."""
    return np.asarray(gain * len(gain) ** 0.5, np.float32)


def _hashing(orders: Sequence[int], reach: int) -> Integers:
    """What the last tokens, the newest last, are multiplied by for the number of their n-gram: (reach + 1, orders).

    The GPT's own hash, its last multiplication included, in whole numbers of 64 bits that overflow as its do.
    """
    factors = np.zeros((reach + 1, len(orders)), np.uint64)
    for number, order in enumerate(orders):
        for back in range(order):
            factors[reach - back, number] = pow(HASH_STEP, order - 1 - back) * HASH_SPREAD % 2**64
    return factors.view(np.int64)
