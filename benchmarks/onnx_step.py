"""One more token of the GPT: through our NumPy decoder, torch, and ONNX Runtime, which this benchmark alone uses.

    pip install onnx onnxruntime
    python benchmarks/onnx_step.py

The same network with random weights, one row, a full cache; microseconds a token without drawing. The graph is the
leanest that we know: gains multiplied into the matrices, RoPE by two products, keys and values written by the caller.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.measured import machine  # noqa: E402
from trainer.models.gpt import GPT, GPTConfig, GPTDecoder  # noqa: E402
from trainer.models.gpt_decoder import ROPE_BASE, SpokenDecoder, SpokenGPT  # noqa: E402
from trainer.plan import LADDER, Shape  # noqa: E402

VOCAB_SIZE = 1024
STEPS = 400


class Graph:
    """The network after its embedding as an ONNX graph, and a session that runs it in one thread."""

    def __init__(self, model: GPT) -> None:
        import onnx
        import onnxruntime

        self.config = config = model.config
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        arrays = model.arrays()
        stream = "x"
        for number in range(config.n_layer):
            stream = self._layer(arrays, number, stream)
        head = (arrays["head.weight"] * arrays["norm.gain"]).T
        self._node("MatMul", [self._norm(stream), self._weight(head)], "logits")
        size, heads = config.head_size, config.n_head
        kinds = onnx.helper.make_tensor_value_info
        kind = onnx.TensorProto.FLOAT
        inputs = [kinds("x", kind, [1, config.n_embd])]
        inputs += [kinds(name, kind, [1, 1, size]) for name in ("cosine", "sine")]
        inputs += [kinds("mask", kind, [1, 1, config.block_size + 1])]
        outputs = [kinds("logits", kind, [1, config.vocab_size])]
        for number in range(config.n_layer):
            kept = [heads, config.block_size, size]
            inputs += [kinds(f"keys{number}", kind, kept), kinds(f"values{number}", kind, kept)]
            outputs += [kinds(f"{name}{number}", kind, [heads, 1, size]) for name in ("key", "value")]
        graph = onnx.helper.make_graph(self._nodes, "step", inputs, outputs, self._weights)
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        written = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        self.session = onnxruntime.InferenceSession(
            written.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _layer(self, arrays: dict[str, Any], number: int, stream: str) -> str:
        config, name = self.config, f"blocks.{number}."
        heads, size = config.n_head, config.head_size
        joined = (arrays[f"{name}attention.joined.weight"] * arrays[f"{name}attention_norm.gain"]).T
        query, key, value = np.split(joined.copy(), 3, axis=1)
        query *= size**-0.5
        turning = np.concatenate([query, key], axis=1)
        # RoPE turns (a, b) to (a cos - b sin, b cos + a sin): the second product has (-b, a) already.
        halves = turning.reshape(len(turning), 2 * heads, 2, size // 2)
        turned = np.stack([-halves[:, :, 1], halves[:, :, 0]], axis=2).reshape(turning.shape)
        x = self._norm(stream)
        every = self._node("MatMul", [x, self._weight(np.concatenate([turning, turned, value], axis=1))])
        shaped = self._node("Reshape", [every, self._shape([5 * heads, 1, size])])
        edges = self._shape([2 * heads, 2 * heads, heads])
        straight, across, own = (f"{name}straight", f"{name}across", f"value{number}")
        self._nodes.append(self._onnx.helper.make_node("Split", [shaped, edges], [straight, across, own], axis=0))
        both = self._node("Add", [self._node("Mul", [straight, "cosine"]), self._node("Mul", [across, "sine"])])
        asks, answers = f"{name}query", f"key{number}"
        self._nodes.append(
            self._onnx.helper.make_node("Split", [both, self._shape([heads, heads])], [asks, answers], axis=0)
        )
        keys = self._node("Concat", [f"keys{number}", answers], axis=1)
        values = self._node("Concat", [f"values{number}", own], axis=1)
        flipped = self._node("Transpose", [keys], perm=[0, 2, 1])
        affinity = self._node("Add", [self._node("MatMul", [asks, flipped]), "mask"])
        mixed = self._node("MatMul", [self._node("Softmax", [affinity], axis=-1), values])
        flat = self._node("Reshape", [mixed, self._shape([1, heads * size])])
        stream = self._node(
            "Add", [stream, self._node("MatMul", [flat, self._weight(arrays[f"{name}attention.projection.weight"].T)])]
        )
        gate_up = (arrays[f"{name}mlp.gate_up.weight"] * arrays[f"{name}mlp_norm.gain"]).T
        inner = self._node("MatMul", [self._norm(stream), self._weight(gate_up)])
        gate, up = f"{name}gate", f"{name}up"
        hidden = self._shape([config.hidden_size] * 2)
        self._nodes.append(self._onnx.helper.make_node("Split", [inner, hidden], [gate, up], axis=1))
        opened = self._node("QuickGelu", [gate], domain="com.microsoft", alpha=1.0)
        product = self._node("Mul", [opened, up])
        return self._node(
            "Add", [stream, self._node("MatMul", [product, self._weight(arrays[f"{name}mlp.down.weight"].T)])]
        )

    def _norm(self, stream: str) -> str:
        ones = self._weight(np.ones(self.config.n_embd, np.float32))
        return self._node("SimplifiedLayerNormalization", [stream, ones], axis=-1, epsilon=1e-6)

    def _node(self, kind: str, inputs: list[str], output: str = "", **settings: Any) -> str:
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **settings))
        return output

    def _weight(self, array: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def _shape(self, sizes: list[int]) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(self._onnx.numpy_helper.from_array(np.array(sizes, np.int64), name))
        return name


class GraphDecoder:
    """What SpokenDecoder does for one row, through the graph."""

    def __init__(self, model: SpokenGPT, graph: Graph) -> None:
        shape = graph.config
        self._model, self._graph = model, graph
        self._recent = np.full((1, shape.reach), shape.start_token, np.int64)
        kept = (shape.n_head, shape.block_size, shape.head_size)
        self._kept = {
            f"{name}{number}": np.zeros(kept, np.float32)
            for number in range(shape.n_layer)
            for name in ("keys", "values")
        }
        self._mask = np.full((1, 1, shape.block_size + 1), -np.inf, np.float32)
        self._mask[..., -1] = 0.0
        half = shape.head_size // 2
        self._speeds = ROPE_BASE ** (-np.arange(half, dtype=np.float64) / half)
        self._seen = 0
        self.logits = self.push(shape.start_token)

    def push(self, token: int) -> Any:
        shape = self._graph.config
        known = np.concatenate([self._recent, [[token]]], axis=1)
        self._recent = known[:, 1:]
        angles = np.tile(self._seen * self._speeds, 2).astype(np.float32)
        place = self._seen % shape.block_size
        self._mask[0, 0, place] = -np.inf  # a full ring forgets its oldest
        feed = {
            "x": self._model.embed(known, 1)[:, 0],
            "cosine": np.cos(angles)[None, None],
            "sine": np.sin(angles)[None, None],
        }
        logits, *new = self._graph.session.run(None, {**feed, "mask": self._mask, **self._kept})
        for kept, added in zip(self._kept.values(), new, strict=True):
            kept[:, place] = added[:, 0]
        self._mask[0, 0, place] = 0.0
        self._seen += 1
        self.logits = logits
        return logits


def microseconds(step: Callable[[int], object], tokens: list[int]) -> list[float]:
    times = []
    for token in tokens:
        began = time.perf_counter()
        step(token)
        times.append(1e6 * (time.perf_counter() - began))
    return times


def compare(shape: Shape) -> dict[str, float]:
    """Median microseconds a token by way; the ways are asked in turns."""
    torch.manual_seed(0)
    config = GPTConfig(VOCAB_SIZE, 0, shape.block_size, shape.n_layer, shape.n_head, shape.n_embd, orders=(2, 3))
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # blocks that start at zero would hide a difference
            parameter.add_(torch.randn_like(parameter) * 0.05)
    spoken = SpokenGPT(config, model.arrays())
    ours, theirs = SpokenDecoder(spoken, (), 1), GraphDecoder(spoken, Graph(model))
    through_torch = GPTDecoder(model, (), 1)
    tokens = np.random.default_rng(0).integers(1, VOCAB_SIZE, STEPS).tolist()
    for token in tokens[: shape.block_size + 8]:
        ours.push([token])
        theirs.push(token)
        through_torch.push([token])
    wanted = ours.log_probabilities()
    found = theirs.logits - np.log(np.exp(theirs.logits).sum())
    assert np.abs(wanted - found).max() < 1e-4, "the graph is not the same network"
    ways: dict[str, Callable[[int], object]] = {
        "NumPy": lambda token: ours.push([token]),
        "torch": lambda token: through_torch.push([token]),
        "ONNX Runtime": theirs.push,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for first in range(0, STEPS, 20):
        for name, step in ways.items():
            times[name] += microseconds(step, tokens[first : first + 20])
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error.name} is not installed: this benchmark alone needs it (pip install onnx onnxruntime)")
    torch.set_num_threads(1)
    table = Table("network", "NumPy", "torch", "ONNX Runtime", "NumPy / ONNX Runtime", title="one token, µs, median")
    for shape in LADDER:
        found = compare(shape)
        table.add_row(
            f"{shape.n_layer} × {shape.n_embd}, block {shape.block_size}",
            *(f"{found[name]:.0f}" for name in ("NumPy", "torch", "ONNX Runtime")),
            f"{found['NumPy'] / found['ONNX Runtime']:.2f}",
        )
    console = Console(width=110)
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    main()
