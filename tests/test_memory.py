"""Every message is remembered once and can be taken back by its id, whenever and however it was learned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.memory import LineMemory
from trainer.models.ngram import NGram

VOCAB_SIZE = 8
END = 5
Chat = dict[str, list[int]]

chats = st.dictionaries(
    st.uuids().map(str), st.lists(st.integers(0, 4), max_size=6).map(lambda words: [6, *words, END]), max_size=8
)


def remembered(chat: Chat) -> LineMemory:
    tokens = np.array([token for line in chat.values() for token in line], np.int64)
    starts = np.concatenate([[0], np.cumsum([len(line) for line in chat.values()], dtype=np.int64)])
    rows = range(10, 10 + len(chat))
    return LineMemory.fit(list(chat), rows, tokens, starts, vocab_size=VOCAB_SIZE, order=3, line_end=END)


def same_counts(one: NGram, other: NGram) -> bool:
    left, right = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(left[name], right[name]) for name in left)


@given(chats, chats, st.sets(st.integers(0, 15)))
@settings(max_examples=50, deadline=None)
def test_deleting_any_messages_is_never_having_read_them(fitted: Chat, live: Chat, deleted: set[int]) -> None:
    memory = remembered(fitted)
    for message_id, line in live.items():
        assert memory.learn(message_id, line)
    everything = fitted | live
    gone = {message_id for number, message_id in enumerate(everything) if number in deleted}
    for message_id in gone:
        assert memory.unlearn(message_id)
    kept = {message_id: line for message_id, line in everything.items() if message_id not in gone}
    assert len(memory) == len(kept)
    assert same_counts(memory.ngram, remembered(kept).ngram)
    assert same_counts(LineMemory.from_arrays(memory.to_arrays()).ngram, remembered(kept).ngram)


def test_a_message_counts_once_however_often_it_comes() -> None:
    memory = remembered({"a": [6, 1, END]})
    assert not memory.learn("a", [6, 1, END])
    assert memory.learn("b", [6, 1, END])
    assert not memory.learn("b", [6, 1, END])
    assert "a" in memory and "b" in memory and "c" not in memory
    assert same_counts(memory.ngram, remembered({"a": [6, 1, END], "b": [6, 1, END]}).ngram)


def test_what_was_never_learned_cannot_be_unlearned_and_nothing_twice() -> None:
    memory = remembered({"a": [6, 1, END]})
    assert not memory.unlearn("b")
    assert memory.unlearn("a")
    assert not memory.unlearn("a")
    assert len(memory) == 0


def test_a_removal_of_long_ago_names_its_row_alone() -> None:
    memory = remembered({"a": [6, 1, 2, END], "b": [6, 3, END]})
    memory.learn("c", [6, 4, END])
    assert not memory.unlearn_row(9) and not memory.unlearn_row(12)
    assert memory.unlearn_row(10) and not memory.unlearn_row(10) and not memory.unlearn("a")
    loaded = LineMemory.from_arrays(memory.to_arrays())
    assert loaded.unlearn_row(11) and loaded.unlearn("c")
    assert same_counts(loaded.ngram, remembered({}).ngram)


def test_a_saved_memory_can_still_take_back_what_it_had_learned() -> None:
    memory = remembered({"a": [6, 1, 2, END], "b": [6, 3, END]})
    memory.learn("c", [6, 4, END])
    memory.unlearn("a")
    loaded = LineMemory.from_arrays(memory.to_arrays())
    assert len(loaded) == 2 and "a" not in loaded
    assert loaded.unlearn("b") and loaded.unlearn("c")
    assert same_counts(loaded.ngram, remembered({}).ngram)


def test_nothing_of_an_unlearned_message_is_saved() -> None:
    memory = remembered({"a": [6, 1, 2, END]})
    memory.unlearn("a")
    assert {name: array.tolist() for name, array in memory.to_arrays().items() if name.startswith("lines.")} == {
        "lines.keys": [],
        "lines.rows": [],
        "lines.tokens": [],
        "lines.lengths": [],
    }


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    arrays = remembered({"a": [6, 1, END]}).to_arrays()
    with pytest.raises(ValueError, match="keys"):
        LineMemory.from_arrays({name: array for name, array in arrays.items() if name != "lines.keys"})
    with pytest.raises(ValueError, match="2 messages"):
        LineMemory.from_arrays(arrays | {"lines.keys": np.zeros(2, np.uint64)})
    with pytest.raises(ValueError, match="line starts"):
        LineMemory.fit(["a"], [1], np.array([6, END]), np.array([0]), vocab_size=VOCAB_SIZE, order=3, line_end=END)
