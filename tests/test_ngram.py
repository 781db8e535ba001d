"""The n-gram is modified Kneser-Ney to the last digit, and its memory of a line can be given and taken back exactly."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.models.language_model import Tokens
from trainer.models.ngram import NGram, modified_discounts

VOCAB_SIZE = 8
END = 5  # 0..4 are words, 5 ends a line, 6 and 7 open one
OPENING = -1  # in the textbook's contexts, whoever opened the line
Line = list[int]

lines = st.tuples(st.integers(6, 7), st.lists(st.integers(0, 4), max_size=8)).map(lambda it: [it[0], *it[1], END])
chats = st.lists(lines, max_size=8)


def stream(chat: list[Line]) -> Tokens:
    return np.array([token for line in chat for token in line], np.int64)


def fitted(chat: list[Line], order: int = 4) -> NGram:
    return NGram.fit(stream(chat), vocab_size=VOCAB_SIZE, order=order, line_end=END)


def same(one: NGram, other: NGram) -> bool:
    left, right = one.to_arrays(), other.to_arrays()
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def textbook(chat: list[Line], order: int, history: list[int], token: int) -> float:
    """Modified Kneser-Ney straight from its definition, with dictionaries and no cleverness."""
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
    occurring: list[set[tuple[int, ...]]] = [set() for _ in range(order + 2)]
    for line in chat:
        for place in range(len(line)):
            padded = [END, line[0]] if place == 0 else [OPENING, *line[1 : place + 1]]
            longest = len(padded)
            for k in range(1, min(longest, order) + 1):
                gram = tuple(padded[longest - k :])
                occurring[k].add(gram)
                if k == min(longest, order):
                    counts[k][gram] += 1
    for k in range(1, order):
        for gram in occurring[k + 1]:
            counts[k][gram[1:]] += 1
    probability = 1 / VOCAB_SIZE
    for k in range(1, order + 1):
        context = tuple(history[len(history) - k + 1 :])
        if len(context) < k - 1:
            break
        followers = {gram[-1]: count for gram, count in counts[k].items() if gram[:-1] == context}
        if not followers:
            break
        spectrum = Counter(min(count, 5) for count in counts[k].values())
        discounts = modified_discounts([spectrum[count] for count in range(1, 5)])
        count = followers.get(token, 0)
        back_off = sum(discounts[min(number, 3)] for number in followers.values())
        probability = (count - discounts[min(count, 3)] + back_off * probability) / sum(followers.values())
    return probability


@given(chats, lines, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_every_probability_is_the_textbooks(chat: list[Line], line: Line, order: int) -> None:
    scores = fitted(chat, order).score(stream([line]))
    for place, token in enumerate(line):
        history = [END] if place == 0 else [OPENING, *line[1:place]]
        assert scores[place] == pytest.approx(math.log(textbook(chat, order, history, token)), abs=1e-5)


@given(chats, chats)
@settings(max_examples=80, deadline=None)
def test_learning_line_by_line_is_fitting_at_once(before: list[Line], later: list[Line]) -> None:
    model = fitted(before)
    for line in later:
        model.learn(line)
    assert same(model, fitted(before + later))
    everything = stream(before + later + [[6, 0, 1, 2, 3, 4, END]])
    np.testing.assert_allclose(model.score(everything), fitted(before + later).score(everything), atol=1e-6)


@given(chats, chats, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_what_is_unlearned_leaves_no_trace(kept: list[Line], taken: list[Line], random: object) -> None:
    model = fitted(kept + taken)
    for line in kept:
        model.learn(line)
    shuffled = kept + taken
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for line in shuffled:
        model.unlearn(line)
    assert same(model, fitted(kept))
    everything = stream(kept + taken + [[6, 0, 1, 2, 3, 4, END]])
    assert np.array_equal(model.score(everything), fitted(kept).score(everything))


@given(chats, chats)
@settings(max_examples=40, deadline=None)
def test_compacting_changes_nothing(before: list[Line], later: list[Line]) -> None:
    model = fitted(before)
    for line in later:
        model.learn(line)
    model.compact()
    assert model.grown == 0
    assert same(model, fitted(before + later))


@given(chats, chats, lines)
@settings(max_examples=60, deadline=None)
def test_the_decoder_gives_what_the_score_gives(before: list[Line], later: list[Line], line: Line) -> None:
    model = fitted(before)
    for learned in later:
        model.learn(learned)
    text = stream([*before[:2], line])
    scores = model.score(text)
    decoder = model.decoder([], 2)
    for place, token in enumerate(text):
        log_probabilities = decoder.log_probabilities()
        assert np.exp(log_probabilities).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
        assert log_probabilities[0, token] == pytest.approx(scores[place], abs=1e-5)
        decoder.push([int(token), int(token)])


def test_a_decoder_goes_on_from_a_context_and_keeps_the_rows_asked_for() -> None:
    model = fitted([[6, 0, 1, 2, END], [6, 0, 1, 3, END], [6, 4, 4, END]])
    decoder = model.decoder([6, 4, END, 6, 0], 3)
    decoder.push([1, 4, 0])
    before = decoder.log_probabilities()
    decoder.keep([2, 0])
    np.testing.assert_array_equal(decoder.log_probabilities(), before[[2, 0]])
    np.testing.assert_array_equal(decoder.log_probabilities()[1], model.decoder([6, 0, 1], 1).log_probabilities()[0])


def test_a_line_that_was_never_learned_cannot_be_unlearned_and_nothing_changes() -> None:
    chat = [[6, 0, 1, END], [6, 2, END]]
    model = fitted(chat)
    for stranger in ([6, 0, 3, END], [6, 0, 1, 0, 1, 0, 1, END]):
        with pytest.raises(ValueError, match="never learned"):
            model.unlearn(stranger)
    model.unlearn(chat[0])
    with pytest.raises(ValueError, match="never learned"):
        model.unlearn(chat[0])
    assert same(model, fitted(chat[1:]))


def test_an_empty_memory_knows_nothing_and_says_so_evenly() -> None:
    model = fitted([])
    np.testing.assert_allclose(model.decoder([], 1).log_probabilities(), -math.log(VOCAB_SIZE), rtol=1e-6)
    model.learn([6, 1, END])
    model.unlearn([6, 1, END])
    np.testing.assert_allclose(model.score(np.array([6, 1, END])), -math.log(VOCAB_SIZE), rtol=1e-6)


def test_tokens_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="reach from 0 to 7"):
        fitted([[6, 8, END]])
    with pytest.raises(ValueError, match="reach from 0 to 7"):
        fitted([]).learn([6, -1, END])


@pytest.mark.parametrize("chat", [[], [[6, 0, 1, END]] * 3, [[6, 0, 1, 2, 3, END], [6, 4, END]]])
def test_arrays_bring_the_memory_back(chat: list[Line]) -> None:
    model = NGram.from_arrays(fitted(chat).to_arrays())
    assert same(model, fitted(chat))
    model.learn([6, 3, 3, END])
    assert same(model, fitted([*chat, [6, 3, 3, END]]))


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    arrays = fitted([[6, 0, 1, END]]).to_arrays()
    with pytest.raises(ValueError, match="word2"):
        NGram.from_arrays({name: array for name, array in arrays.items() if name != "word2"})
    with pytest.raises(ValueError, match="parents"):
        NGram.from_arrays(arrays | {"children1": np.zeros_like(arrays["children1"])})


def test_a_running_text_is_counted_across_its_line_ends() -> None:
    text = np.array([0, 1, 5, 2, 0, 1, 5, 2, 0, 1, 5], np.int64)
    model = NGram.fit(text, vocab_size=VOCAB_SIZE, order=3, line_end=None)
    probabilities: npt.NDArray[np.float32] = np.exp(model.decoder([0, 1, 5], 1).log_probabilities()[0])
    assert probabilities[2] > 0.5
    scores, decoder = model.score(text), model.decoder([], 1)
    for place, token in enumerate(text):
        assert decoder.log_probabilities()[0, token] == pytest.approx(scores[place], abs=1e-5)
        decoder.push([int(token)])


@pytest.mark.parametrize("counts_of_counts", [[0, 0, 0, 0], [1000, 1, 900, 1], [1, 1000, 1, 1000], [9, 3, 1, 0]])
def test_discounts_never_take_more_than_there_is(counts_of_counts: list[int]) -> None:
    zero, one, two, more = modified_discounts(counts_of_counts)
    assert zero == 0 and 0 < one < 1 and 0 < two < 2 and 0 < more < 3


@given(chats, chats)
@settings(max_examples=30, deadline=None)
def test_documents_are_scored_together_as_each_alone(chat: list[Line], documents: list[Line]) -> None:
    model = fitted(chat)
    texts = [stream([document, *chat[:2]]) for document in documents]
    for together, text in zip(model.score_documents(texts), texts, strict=True):
        np.testing.assert_array_equal(together, model.score(text))


@given(chats, lines)
@settings(max_examples=40, deadline=None)
def test_the_decoder_knows_its_context_as_well_as_the_score_does(chat: list[Line], line: Line) -> None:
    model = fitted(chat)
    _, familiarity = model.score_with_familiarity(stream([line, line]))
    state = model.start()
    for token, expected in zip(line + line, familiarity, strict=True):
        assert model.familiarity(state) == expected < model.familiarities
        state = model.advance(state, token)
