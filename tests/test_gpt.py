"""The GPT: cached and uncached agree, windows and batches change nothing, weights come back as they were."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from corpus.errors import CheckpointError
from trainer.models.gpt import GPT, GPTConfig, GPTDecoder, next_token_loss
from trainer.models.language_model import Decoder
from trainer.plan import SIZES as LADDER

SIZES = [
    GPTConfig(vocab_size=31, start_token=0, block_size=16, n_layer=2, n_head=2, n_embd=32, orders=(2, 3), rows=64),
    GPTConfig(vocab_size=31, start_token=0, block_size=16, n_layer=2, n_head=2, n_embd=32, tied=True, orders=()),
    GPTConfig(vocab_size=31, start_token=0, block_size=16, n_layer=1, n_head=1, n_embd=32, shift=False, orders=()),
]
# The one for processors, which a GPT hands out itself, and the one in torch that speaks on any other device.
DECODERS: list[Callable[[GPT, list[int], int], Decoder]] = [GPT.decoder, GPTDecoder]


def a_model(config: GPTConfig) -> GPT:
    torch.manual_seed(1)
    model = GPT(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def uncached(model: GPT, tokens: list[int]) -> np.ndarray:
    """ln P(next | tokens) by one pass over everything, looking back a block at each layer as the cache does."""
    with torch.inference_mode():
        return model(torch.tensor([[model.config.start_token, *tokens]]))[0, -1].log_softmax(-1).numpy()


@pytest.mark.parametrize("decoder_of", DECODERS)
@pytest.mark.parametrize("config", SIZES)
def test_speaking_with_a_cache_equals_reading_everything_anew_even_beyond_the_block(
    config: GPTConfig, decoder_of: Callable[[GPT, list[int], int], Decoder]
) -> None:
    model = a_model(config)
    random = np.random.default_rng(0)
    said = random.integers(0, 31, 9).tolist()
    decoder = decoder_of(model, said, 3)
    rows = [list(said) for _ in range(3)]
    for _ in range(30):
        expected = np.stack([uncached(model, row) for row in rows])
        assert np.abs(decoder.log_probabilities() - expected).max() < 1e-4
        tokens = random.integers(0, 31, len(rows)).tolist()
        decoder.push(tokens)
        for row, token in zip(rows, tokens, strict=True):
            row.append(token)


@pytest.mark.parametrize("name", ["tiny", "medium", "huge"])
def test_every_size_that_is_trained_speaks_as_it_reads(name: str) -> None:
    """Wide matrices are multiplied in pieces: a batch of ten takes two rows of pieces."""
    shape = LADDER[name]
    model = a_model(
        GPTConfig(
            1024, 1023, block_size=shape.block_size, n_layer=shape.n_layer, n_head=shape.n_head, n_embd=shape.n_embd
        )
    )
    said = np.random.default_rng(5).integers(0, 1023, 60).tolist()
    decoder = model.decoder(said, 10)
    rows = [[*said, token] for token in range(10)]
    decoder.push(list(range(10)))
    with torch.inference_mode():
        start = torch.full((10, 1), model.config.start_token)
        expected = model(torch.cat([start, torch.tensor(rows)], dim=1))[:, -1].log_softmax(-1).numpy()
    assert np.abs(decoder.log_probabilities() - expected).max() < 1e-4


def test_a_network_that_goes_on_learning_speaks_with_its_new_weights() -> None:
    model = a_model(SIZES[0])
    before = model.decoder([1, 2], 1).log_probabilities()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    next_token_loss(model, torch.arange(20)[None]).backward()
    optimizer.step()
    after = model.decoder([1, 2], 1).log_probabilities()
    assert np.abs(after - before).max() > 1e-3
    assert np.abs(after - uncached(model, [1, 2])).max() < 1e-4


def test_memory_stays_the_same_however_long_one_speaks() -> None:
    decoder = a_model(SIZES[0]).decoder([1, 2, 3], 2)

    def held() -> int:
        return sum(each.nbytes for each in vars(decoder).values() if isinstance(each, np.ndarray))

    at_first = held()
    for token in range(200):
        decoder.push([token % 31, 1])
    assert held() == at_first


@pytest.mark.parametrize("decoder_of", DECODERS)
def test_a_context_longer_than_the_block_is_read_at_its_end(
    decoder_of: Callable[[GPT, list[int], int], Decoder],
) -> None:
    model = a_model(SIZES[0])
    said = np.random.default_rng(0).integers(0, 31, 50).tolist()
    reach = model.reach
    with torch.inference_mode():
        end = torch.tensor([said[-16:]])
        expected = model(end, before=torch.tensor([said[-16 - reach : -16]]))[0, -1].log_softmax(-1).numpy()
    assert np.abs(decoder_of(model, said, 1).log_probabilities() - expected).max() < 1e-4


@pytest.mark.parametrize("decoder_of", DECODERS)
def test_rows_that_are_kept_go_on_as_if_the_others_had_never_been(
    decoder_of: Callable[[GPT, list[int], int], Decoder],
) -> None:
    model = a_model(SIZES[0])
    together, alone = decoder_of(model, [1, 2, 3], 3), decoder_of(model, [1, 2, 3], 1)
    together.push([4, 5, 6])
    alone.push([6])
    together.keep([2])
    together.push([7])
    alone.push([7])
    assert np.allclose(together.log_probabilities(), alone.log_probabilities(), atol=1e-5)


@pytest.mark.parametrize("config", SIZES)
def test_scores_are_the_chances_the_decoder_tells(config: GPTConfig) -> None:
    model = a_model(config)
    tokens = np.random.default_rng(2).integers(0, 31, 14)
    decoder = model.decoder([], 1)
    for token, score in zip(tokens, model.score(tokens), strict=True):
        assert decoder.log_probabilities()[0, token] == pytest.approx(score, abs=1e-4)
        decoder.push([int(token)])


def test_documents_score_the_same_together_and_alone() -> None:
    model = a_model(SIZES[0])
    random = np.random.default_rng(3)
    documents = [random.integers(0, 31, size) for size in (1, 5, 16, 17, 40, 100)]
    for together, document in zip(model.score_documents(documents), documents, strict=True):
        assert np.allclose(together, model.score(document), atol=1e-4)
    assert model.score(np.zeros(0, dtype=np.int64)).shape == (0,)


def test_a_window_inside_a_document_still_sees_the_tokens_before_it() -> None:
    """The token just inside a second window is scored with half a block of context and its hashed n-grams."""
    model = a_model(SIZES[0])
    document = np.random.default_rng(4).integers(0, 31, 30)
    with torch.inference_mode():
        inputs = torch.from_numpy(document)[None]
        expected = model(inputs[:, 7:16], before=inputs[:, 5:7])[0, -1].log_softmax(-1)[document[16]]
    assert model.score(document)[16] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("config", SIZES)
def test_weights_come_back_from_a_checkpoint(config: GPTConfig) -> None:
    model = a_model(config)
    again = GPT.from_arrays(model.config_json(), model.arrays())
    tokens = np.arange(20)
    assert np.array_equal(again.score(tokens), model.score(tokens))


def test_weights_that_do_not_fit_are_refused_in_one_sentence() -> None:
    model = a_model(SIZES[0])
    with pytest.raises(CheckpointError, match="does not fit") as caught:
        GPT.from_arrays({**model.config_json(), "n_embd": 64}, model.arrays())
    assert "\n" not in str(caught.value)


def test_untrained_it_is_as_unsure_as_its_vocabulary_is_large() -> None:
    torch.manual_seed(0)
    blocks = torch.randint(0, 31, (8, 20))
    assert next_token_loss(GPT(SIZES[0]), blocks).item() == pytest.approx(np.log(31), abs=0.1)


def test_half_precision_says_nearly_the_same() -> None:
    model = a_model(SIZES[0])
    tokens = np.random.default_rng(2).integers(0, 31, 14)
    exact = model.score(tokens)
    model.half_precision = True
    assert np.abs(model.score(tokens) - exact).max() < 0.15


def test_hashed_rows_are_left_out_in_training_only_and_weigh_the_same_on_average() -> None:
    model = a_model(
        GPTConfig(31, 0, block_size=16, n_layer=1, n_head=2, n_embd=32, shift=False, orders=(2,), row_dropout=0.75)
    )
    tokens = torch.randint(31, (4, 16))
    with torch.inference_mode():
        spoken, plain = model._embed(tokens, None), model.embedding(tokens)
        assert torch.equal(spoken, model._embed(tokens, None))
        model.train()
        drawn = torch.stack([model._embed(tokens, None) for _ in range(4000)])
    left_out = (drawn == plain).all(-1).float().mean()
    assert 0.74 < left_out < 0.76
    torch.testing.assert_close(drawn.mean(0), spoken, atol=0.05, rtol=0.0)
