"""Counting models: probabilities that can be checked by hand, sum to one, and are told alike by score and decoder."""

import numpy as np
import pytest

from trainer.models.counted import Counted, tune_smoothing
from trainer.models.language_model import Tokens
from trainer.models.uniform import Uniform

END = 0


def tokens(*ids: int) -> Tokens:
    return np.array(ids, dtype=np.int64)


DOCUMENTS = [tokens(1, 2, 1, 2, END), tokens(1, 2, 3, END), tokens(3, END)]


def bigram(pseudo_counts: float = 4.0) -> Counted:
    return Counted.fit(DOCUMENTS, order=2, vocab_size=4, start_token=END, pseudo_counts=pseudo_counts)


def trigram() -> Counted:
    return Counted.fit(DOCUMENTS, order=3, vocab_size=4, start_token=END, pseudo_counts=0.5, prior=bigram())


def test_the_untrained_model_loses_the_logarithm_of_the_vocabulary() -> None:
    assert -Uniform(27).score(tokens(1, 2, 3)) == pytest.approx(np.log(27))
    assert np.exp(Uniform(27).decoder([], 2).log_probabilities()).sum(1) == pytest.approx(1.0)


def test_add_one_smoothing_is_what_a_hand_counts() -> None:
    # After 1 came 2 three times; one more of each of the four tokens makes 3 + 1 of 3 + 4.
    assert bigram().add_k == 1.0
    assert bigram().row([1]) == pytest.approx([1 / 7, 1 / 7, 4 / 7, 1 / 7])


def test_the_table_that_a_network_learns_from_holds_the_smoothed_counts() -> None:
    table = bigram().table()
    assert table[1].tolist() == [1, 1, 4, 1]
    assert (table / table.sum(1, keepdims=True))[3] == pytest.approx(bigram().row([3]))


def test_a_text_begins_after_the_start_token() -> None:
    # Two of the three documents begin with 1, one with 3.
    assert bigram().row([END]) == pytest.approx([1 / 7, 3 / 7, 1 / 7, 2 / 7])
    assert bigram().score(tokens(1))[0] == pytest.approx(np.log(3 / 7))


def test_a_trigram_falls_back_to_the_bigram_where_it_counted_nothing() -> None:
    assert trigram().row([3, 3]) == pytest.approx(bigram().row([3]))


@pytest.mark.parametrize("model", [bigram(), trigram(), bigram(0.01)])
def test_every_row_sums_to_one(model: Counted) -> None:
    for first in range(4):
        for second in range(4):
            assert model.row([first, second]).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("model", [bigram(), trigram()])
def test_score_and_decoder_agree(model: Counted) -> None:
    text = tokens(1, 2, 3, 3, 2, 1, END)
    decoder = model.decoder([], 1)
    spoken = []
    for token in text:
        spoken.append(decoder.log_probabilities()[0, token])
        decoder.push([int(token)])
    assert spoken == pytest.approx(model.score(text), abs=1e-5)


@pytest.mark.parametrize("model", [bigram(), trigram()])
def test_documents_scored_together_do_not_reach_into_each_other(model: Counted) -> None:
    together = model.score_documents([*DOCUMENTS, tokens(), tokens(2, 2)])
    alone = [model.score(document) for document in [*DOCUMENTS, tokens(), tokens(2, 2)]]
    assert [scores.tolist() for scores in together] == [scores.tolist() for scores in alone]
    assert model.score_documents([]) == []


def test_a_decoder_keeps_the_rows_it_is_told_to() -> None:
    decoder = trigram().decoder([1], 3)
    decoder.push([1, 2, 3])
    decoder.keep([2, 1])
    assert np.exp(decoder.log_probabilities()[0]) == pytest.approx(trigram().row([1, 3]))
    assert np.exp(decoder.log_probabilities()[1]) == pytest.approx(trigram().row([1, 2]))


def test_tuned_smoothing_is_the_best_of_what_was_tried_on_held_out_text() -> None:
    random = np.random.default_rng(1)
    follows = random.dirichlet(np.full(20, 0.2), size=20)

    def text(length: int) -> Tokens:
        drawn = [0]
        for _ in range(length):
            drawn.append(int(random.choice(20, p=follows[drawn[-1]])))
        return tokens(*drawn)

    train, held_out = [text(600)], [text(600)]
    one = Counted.fit(train, order=2, vocab_size=20, start_token=END, pseudo_counts=1)
    two = Counted.fit(train, order=3, vocab_size=20, start_token=END, pseudo_counts=1)
    shorter, tried = tune_smoothing(one, held_out)
    best, tried_longer = tune_smoothing(two, held_out, shorter)
    assert -shorter.score(held_out[0]).mean() == pytest.approx(min(one.nats_per_token for one in tried), rel=1e-5)
    assert {one.shared_out for one in tried_longer} == {"evenly", "by the shorter model"}
    assert best.prior is shorter, "a text that is a bigram is best told by falling back to one"
