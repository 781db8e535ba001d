"""The rungs' networks: causal, told alike by score and decoder, and each step of the lecture what it says it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from trainer.models.bigram import NeuralBigram
from trainer.models.lecture import STEPS, LectureConfig, LectureGPT, SelfAttention
from trainer.models.mlp import MLP
from trainer.models.network import NetworkModel

VOCAB = 11
SMALL = {
    name: replace(config, n_embd=24, n_layer=min(config.n_layer, 2), block_size=8) for name, config in STEPS.items()
}


def networks() -> list[nn.Module]:
    torch.manual_seed(3)
    built: list[nn.Module] = [
        NeuralBigram(VOCAB),
        MLP(VOCAB, context=3, n_embd=4, n_hidden=16, start_token=0),
        *(LectureGPT(VOCAB, config) for config in SMALL.values()),
    ]
    for module in built:
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    return built


def name_of(module: nn.Module) -> str:
    steps = {config: name for name, config in SMALL.items()}
    return steps[module.config] if isinstance(module, LectureGPT) else type(module).__name__


@pytest.mark.parametrize("module", networks(), ids=name_of)
def test_what_comes_later_never_changes_what_was_predicted(module: nn.Module) -> None:
    module.eval()
    text = torch.randint(VOCAB, (2, 8), generator=torch.Generator().manual_seed(1))
    changed = text.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % VOCAB
    assert torch.allclose(module(text)[:, :5], module(changed)[:, :5], atol=1e-6)
    assert not torch.allclose(module(text)[:, 5:], module(changed)[:, 5:], atol=1e-3)


@pytest.mark.parametrize("module", networks(), ids=name_of)
def test_score_and_decoder_agree_within_a_window(module: nn.Module) -> None:
    model = NetworkModel(module, start_token=0)
    text = np.array([4, 9, 1, 1, 7, 0, 3, 2], dtype=np.int64)
    decoder = model.decoder([], 2)
    spoken = []
    for token in text:
        spoken.append(decoder.log_probabilities()[1, token])
        decoder.push([5, int(token)])
        decoder.keep([1, 1])
    assert spoken == pytest.approx(model.score(text), abs=1e-4)


@pytest.mark.parametrize("module", networks(), ids=name_of)
def test_documents_scored_together_score_as_they_do_alone(module: nn.Module) -> None:
    model = NetworkModel(module, start_token=0)
    random = np.random.default_rng(2)
    documents = [random.integers(VOCAB, size=size) for size in (1, 30, 8, 0, 9, 131)]
    together = model.score_documents(documents)
    for document, scores in zip(documents, together, strict=True):
        assert scores == pytest.approx(model.score(document), abs=1e-4)


def test_a_network_that_looks_back_a_fixed_distance_scores_long_texts_exactly() -> None:
    torch.manual_seed(5)
    module = MLP(VOCAB, context=4, n_embd=4, n_hidden=16, start_token=0)
    nn.init.normal_(module.output.weight)
    text = np.random.default_rng(3).integers(VOCAB, size=200)
    whole = module(torch.from_numpy(np.concatenate([[0], text[:-1]]))[None]).log_softmax(-1)[0]
    exact = whole.gather(1, torch.from_numpy(text)[:, None])[:, 0].detach().numpy()
    assert NetworkModel(module, 0).score(text) == pytest.approx(exact, abs=1e-4)


def test_an_untrained_network_starts_at_the_logarithm_of_the_vocabulary() -> None:
    torch.manual_seed(1)
    text = np.random.default_rng(4).integers(65, size=256)
    for module in (
        NeuralBigram(65),
        MLP(65, context=8, n_embd=16, n_hidden=64, start_token=0),
        LectureGPT(65, STEPS["layer norm"]),
    ):
        assert -NetworkModel(module, 0).score(text).mean() == pytest.approx(np.log(65), abs=0.15)


def test_heads_in_one_tensor_are_the_heads_one_by_one() -> None:
    torch.manual_seed(2)
    config = LectureConfig(n_embd=24, n_head=3)
    attention = SelfAttention(config).eval()
    x = torch.randn(2, 8, 24)
    query_rows, key_rows, value_rows = attention.attend.weight.chunk(3)
    future = torch.ones(8, 8, dtype=torch.bool).triu(1)
    heads = []
    for head in range(3):
        rows = slice(head * 8, head * 8 + 8)
        query, key, value = (x @ weight[rows].T for weight in (query_rows, key_rows, value_rows))
        affinity = (query @ key.transpose(1, 2)) * 8**-0.5
        heads.append(affinity.masked_fill(future, float("-inf")).softmax(-1) @ value)
    assert torch.allclose(attention(x), torch.cat(heads, dim=-1), atol=1e-6)


def test_the_spelled_out_attention_is_the_fused_one() -> None:
    torch.manual_seed(2)
    attention = SelfAttention(LectureConfig(n_embd=24, n_head=3))
    query, key, value = attention.heads(torch.randn(2, 8, 24))
    fused = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert torch.allclose(attention.weights(query, key) @ value, fused, atol=1e-6)


def test_an_attention_map_is_a_distribution_over_the_past() -> None:
    module = LectureGPT(VOCAB, SMALL["layer norm"])
    maps = module.attention(torch.tensor([[1, 2, 3, 4, 5]]))
    assert [tuple(layer.shape) for layer in maps] == [(1, 4, 5, 5)] * 2
    for layer in maps:
        assert torch.allclose(layer.sum(-1), torch.ones(1, 4, 5), atol=1e-5)
        assert layer.triu(1).abs().max() == 0


def test_the_lecture_at_full_size_has_its_ten_million_parameters() -> None:
    with torch.device("meta"):
        module = LectureGPT(65, STEPS["scaled up"])
    assert sum(parameter.numel() for parameter in module.parameters()) == pytest.approx(10.8e6, rel=0.01)
