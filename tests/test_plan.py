"""Size, vocabulary and steps follow from chat, minutes and machine, and explain themselves in one line."""

import pytest

from corpus.errors import TrainingError
from trainer.plan import SIZES, Speed, make_plan, vocabulary_for
from trainer.settings import ModelTable

LAPTOP = Speed(flops=100e9, threads=2)
AUTO = ModelTable()


def test_the_plan_explains_itself_in_one_line() -> None:
    sentence = make_plan(1_900_000, 5, LAPTOP, 1024, AUTO).sentence
    assert sentence.startswith("1.9 M tokens and 5 minutes on 2 cores: ")
    assert "layers ×" in sentence
    assert "epoch" in sentence
    assert "\n" not in sentence


def test_a_run_of_less_than_a_minute_is_told_in_seconds() -> None:
    sentence = make_plan(1_054, 0.5305, LAPTOP, 320, AUTO).sentence
    assert sentence.startswith("1,054 tokens and 32 seconds on 2 cores: ")


def test_more_time_and_a_faster_machine_never_make_the_model_smaller() -> None:
    sizes = [make_plan(6_000_000, minutes, LAPTOP, 1024, AUTO).shape.matrices for minutes in (0.2, 1, 5, 20, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_more_chat_never_makes_the_model_smaller() -> None:
    sizes = [make_plan(tokens, 30, LAPTOP, 1024, AUTO).shape.matrices for tokens in (500, 50_000, 500_000, 9_000_000)]
    assert sizes == sorted(sizes)


def test_little_chat_is_not_read_for_ever() -> None:
    plan = make_plan(20_000, 60, LAPTOP, 512, AUTO)
    assert plan.epochs < 8
    assert plan.row_dropout > 0.8
    assert plan.matrices_rate > make_plan(6_000_000, 5, LAPTOP, 1024, AUTO).matrices_rate


def test_chat_that_is_read_less_than_once_uses_every_hashed_row() -> None:
    assert make_plan(10**8, 1, LAPTOP, 1024, AUTO).row_dropout == 0


def test_a_fourth_order_of_hashed_rows_is_for_characters_only() -> None:
    by_character = make_plan(6_000_000, 5, LAPTOP, 512, ModelTable(tokenizer="char"))
    assert by_character.orders == (*make_plan(6_000_000, 5, LAPTOP, 1024, AUTO).orders, 4)


def test_a_size_and_explicit_numbers_are_obeyed() -> None:
    assert make_plan(10**7, 5, LAPTOP, 1024, ModelTable(size="tiny")).shape == SIZES["tiny"]
    shape = make_plan(10**7, 5, LAPTOP, 1024, ModelTable(n_layer=5, n_embd=160, block_size=77)).shape
    assert (shape.n_layer, shape.n_embd, shape.n_head, shape.block_size) == (5, 160, 5, 77)


def test_numbers_that_do_not_go_together_are_refused_with_a_way_out() -> None:
    with pytest.raises(TrainingError, match="n_embd 100 cannot be shared out to 3 heads"):
        make_plan(10**6, 5, LAPTOP, 1024, ModelTable(n_embd=100, n_head=3))


def test_a_block_is_never_longer_than_the_chat() -> None:
    assert make_plan(40, 0.5, LAPTOP, 320, AUTO).shape.block_size == 40


def test_evaluations_fit_into_the_seconds_there_are() -> None:
    assert make_plan(600, 0.1, LAPTOP, 320, AUTO, evaluations=20).evaluations <= 3


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_vocabularies_grow_with_the_chat(kind: str) -> None:
    table = ModelTable.model_validate({"tokenizer": kind})
    sizes = [vocabulary_for(characters, table) for characters in (100, 50_000, 1_000_000, 10**8)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 265
    assert vocabulary_for(10**6, ModelTable.model_validate({"tokenizer": kind, "vocab_size": 777})) == 777
