"""What each choice in the GPT is worth on real chat: a short run with one thing changed, by BPE and by characters.

    python benchmarks/ablations.py                     three seeds of every variant, on one thread
    python benchmarks/ablations.py --unit bpe --seeds 1 --only base,adamw,positions

The latest 50,000 messages of `twitch_vtuber_400k`; steps are fixed, so a busy machine changes the minutes, not the
losses. Each network is scored alone and weighed with the counts, on the same validation messages. Bits a character;
medians over seeds; and the change against the network as it is.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import trainer.loop  # noqa: E402
from benchmarks.chat_quality import CHARACTER_VOCAB_SIZE, latest  # noqa: E402
from benchmarks.measured import machine  # noqa: E402
from trainer.evaluate import log_probabilities, loss_of  # noqa: E402
from trainer.loop import Budget, train  # noqa: E402
from trainer.material import Material, prepare  # noqa: E402
from trainer.models.gpt import GPT, GPTConfig, SwiGLU  # noqa: E402
from trainer.models.mixture import count, mix, weigh, without  # noqa: E402
from trainer.models.ngram import NGram  # noqa: E402
from trainer.optim import Optimizers, Rates, rate_share  # noqa: E402
from trainer.plan import row_dropout  # noqa: E402
from trainer.settings import ModelTable  # noqa: E402
from trainer.tokenizer import train_tokenizer  # noqa: E402

MESSAGES = 50_000
VALIDATION_MESSAGES = 3_000
BATCH_TOKENS = 1024
STEPS = {"bpe": 1000, "char": 800}
BLOCK_SIZE = {"bpe": 64, "char": 64}
NGRAM_ORDER = {"bpe": 6, "char": 8}


class Positions(GPT):
    """Learned absolute positions in place of rotary ones."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        nn.init.normal_(self.positions.weight, std=0.02)

    def _embed(self, tokens: Tensor, before: Tensor | None) -> Tensor:
        return super()._embed(tokens, before) + self.positions.weight[: tokens.shape[1]]

    def _rotation(self, first: int, time: int, x: Tensor) -> Tensor:
        still = super()._rotation(first, time, x).clone()
        still[0], still[1] = 1.0, 0.0
        return still


class Gelu(nn.Module):
    """The usual two layers of four times the width, with as many weights as SwiGLU has."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        inner = config.hidden_size * 3 // 2
        self.up = nn.Linear(config.n_embd, inner, bias=False)
        self.down = nn.Linear(inner, config.n_embd, bias=False)
        for layer in (self.up, self.down):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5 / 2)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(functional.linear(x, self.up.weight.to(x.dtype)))
        return functional.linear(inner, self.down.weight.to(x.dtype))


class ReluSquared(Gelu):
    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(functional.linear(x, self.up.weight.to(x.dtype))).square()
        return functional.linear(inner, self.down.weight.to(x.dtype))


class HalfLayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class AdamOnly(Optimizers):
    """AdamW for the matrices too, at the best of the rates tried for it."""

    def __init__(self, model: nn.Module, rates: Rates) -> None:
        super().__init__(model, rates)
        matrices = [parameter for group in self._optimizers[0].param_groups for parameter in group["params"]]
        adam = torch.optim.AdamW(matrices, lr=rates.matrices, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
        self._optimizers = (adam, *self._optimizers[1:])
        self._full[0] = [rates.matrices]


def cosine(progress: float) -> float:
    return max(progress / 0.02, 0.05) if progress < 0.02 else 0.5 * (1 + math.cos(math.pi * progress))


def with_mlp(kind: type[Gelu]) -> Callable[[GPT], None]:
    def change(model: GPT) -> None:
        for block in model.blocks:
            assert isinstance(block.mlp, SwiGLU)
            block.mlp = kind(model.config)

    return change


def with_layer_norm(model: GPT) -> None:
    for block in model.blocks:
        block.attention_norm, block.mlp_norm = (HalfLayerNorm(model.config.n_embd) for _ in range(2))
    model.norm = HalfLayerNorm(model.config.n_embd)


def with_small_projections(model: GPT) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(("projection.weight", "down.weight")):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5 / 2)


@dataclass(frozen=True)
class Variant:
    """What differs from the network as it is."""

    name: str
    config: Callable[[GPTConfig], GPTConfig] = lambda config: config
    kind: type[GPT] = GPT
    change: Callable[[GPT], None] = lambda model: None
    optimizers: type[Optimizers] = Optimizers
    schedule: Callable[[float], float] = rate_share
    rates: Rates = field(default_factory=Rates)


VARIANTS = {
    "base": Variant("as it is"),
    "positions": Variant("learned positions for RoPE", kind=Positions),
    "adamw": Variant("AdamW for Muon, 3e-3", optimizers=AdamOnly, rates=Rates(matrices=3e-3)),
    "adamw-low": Variant("AdamW for Muon, 1e-3", optimizers=AdamOnly, rates=Rates(matrices=1e-3)),
    "gelu": Variant("GELU for SwiGLU", change=with_mlp(Gelu)),
    "relu2": Variant("ReLU² for SwiGLU", change=with_mlp(ReluSquared)),
    "layer-norm": Variant("LayerNorm for RMSNorm", change=with_layer_norm),
    "small": Variant("projections start small, not at zero", change=with_small_projections),
    "cosine": Variant("cosine for linear decay", schedule=cosine),
    "no-shift": Variant("no token shift", lambda config: replace(config, shift=False)),
    "no-tables": Variant("no hashed tables", lambda config: replace(config, orders=())),
    "bigrams": Variant("hashed bigrams only", lambda config: replace(config, orders=(2,))),
    "four": Variant("hashed orders 2, 3 and 4", lambda config: replace(config, orders=(2, 3, 4))),
    "many-rows": Variant("four times as many hashed rows", lambda config: replace(config, rows=4 * config.rows)),
    "whole-rows": Variant("no hashed row left out", lambda config: replace(config, row_dropout=0.0)),
    "few-rows": Variant("seven tenths of hashed rows left out", lambda config: replace(config, row_dropout=0.7)),
    "decay": Variant("weight decay 0.1", rates=Rates(weight_decay=0.1)),
    "tied": Variant("tied head", lambda config: replace(config, tied=True)),
    "dropout": Variant("dropout 0.1", lambda config: replace(config, dropout=0.1)),
    "muon-high": Variant("Muon 0.02", rates=Rates(matrices=0.02)),
    "muon-low": Variant("Muon 0.005", rates=Rates(matrices=0.005)),
    "muon-rough": Variant("Muon with three rounds for five", rates=Rates(newton_schulz_steps=3)),
    "rows-low": Variant("Adagrad 0.05", rates=Rates(ngrams=0.05)),
    "rows-high": Variant("Adagrad 0.2", rates=Rates(ngrams=0.2)),
}


class Trial:
    """One unit's material, encoded and counted once for all variants."""

    def __init__(self, unit: str) -> None:
        chat = latest("vtuber", MESSAGES)
        tokenizer = None
        if unit == "char":
            said = (part for line in chat.train for part in line.parts if isinstance(part, str))
            tokenizer = train_tokenizer("char", said, CHARACTER_VOCAB_SIZE)
        self.unit = unit
        self.material: Material = prepare(
            chat, ModelTable(), validation_messages=VALIDATION_MESSAGES, tokenizer=tokenizer
        )
        material, vocab_size = self.material, self.material.tokenizer.vocab_size
        lines, aside = material.train.join(material.held_out), material.held_out
        self.ngram = NGram.fit(
            lines.tokens, vocab_size=vocab_size, order=NGRAM_ORDER[unit], line_end=material.tokenizer.end_token
        )
        apart = [aside.tokens[aside.starts[i] : aside.starts[i + 1]].tolist() for i in range(len(aside))]
        with without(self.ngram, apart):
            self.aside = count(self.ngram, aside.documents())
        self.counted = count(self.ngram, material.validation.documents())

    def counts_alone(self) -> float:
        weights = weigh(self.aside, None, self.ngram.familiarities)
        return self._bits(mix(weights, self.counted, None))

    def run(self, variant: Variant, seed: int) -> tuple[float, float]:
        """Bits a character of the network alone, and weighed with the counts."""
        tokenizer = self.material.tokenizer
        passes = STEPS[self.unit] * BATCH_TOKENS / len(self.material.train.tokens)
        shape = GPTConfig(
            tokenizer.vocab_size, tokenizer.end_token, block_size=BLOCK_SIZE[self.unit], n_layer=2, n_head=3, n_embd=96,
            orders=(2, 3), row_dropout=row_dropout(passes),
        )  # fmt: skip
        config = variant.config(shape)
        torch.manual_seed(seed)
        model = variant.kind(config)
        variant.change(model)
        model.half_precision = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        budget = Budget(STEPS[self.unit], math.inf, BATCH_TOKENS // config.block_size, seed)
        # The loop makes its own optimisers and asks for the rate; nothing but this benchmark wants others.
        trainer.loop.Optimizers, trainer.loop.rate_share = variant.optimizers, variant.schedule  # type: ignore[misc]
        for _ in train(model, self.material.train.tokens, budget, variant.rates):
            pass
        aside = log_probabilities(model, self.material.held_out)
        scores = log_probabilities(model, self.material.validation)
        weights = weigh(self.aside, aside, self.ngram.familiarities)
        return self._bits(scores), self._bits(mix(weights, self.counted, scores))

    def _bits(self, scores: "trainer.models.language_model.LogProbabilities") -> float:
        return loss_of(scores, self.material.validation).bits_per_character


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", choices=("bpe", "char"), action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(VARIANTS), help="comma-separated; base is always measured")
    arguments = parser.parse_args()
    chosen = ["base", *(name for name in arguments.only.split(",") if name != "base")]
    torch.set_num_threads(1)
    console = Console(width=100)
    for unit in arguments.unit or ("bpe", "char"):
        trial = Trial(unit)
        alone = trial.counts_alone()
        found: dict[str, list[tuple[float, float]]] = {}
        for name in chosen:
            began = time.perf_counter()
            found[name] = [trial.run(VARIANTS[name], 1337 + seed) for seed in range(arguments.seeds)]
            console.print(f"{unit} {name}: {found[name]} {time.perf_counter() - began:.0f} s", style="dim")
        table = Table("variant", "network", "", "with counts", "", title=f"{unit}, {STEPS[unit]} steps")
        base = [statistics.median(each) for each in zip(*found["base"], strict=True)]
        for name in chosen:
            medians = [statistics.median(each) for each in zip(*found[name], strict=True)]
            changes = [f"{now / then - 1:+.2%}" for now, then in zip(medians, base, strict=True)]
            table.add_row(VARIANTS[name].name, f"{medians[0]:.4f}", changes[0], f"{medians[1]:.4f}", changes[1])
        spread = max(max(each) - min(each) for each in zip(*found["base"], strict=True))
        table.caption = (
            f"counts alone {alone:.4f}; medians of {arguments.seeds} seeds, which differ by up to {spread:.4f} as it is"
        )
        console.print(table)
    console.print(machine(), style="dim")


if __name__ == "__main__":
    main()
