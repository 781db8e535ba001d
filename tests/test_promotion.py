"""Who may speak: every step of a first run, afterwards only what is better on the same messages, or clean."""

from trainer.metrics import Loss
from trainer.promotion import judge


def losses(**bits: float) -> dict[str, Loss]:
    return {name: Loss(1.0, value) for name, value in bits.items()}


def test_a_first_run_shows_every_step() -> None:
    assert judge(losses(mixture=9.0), None, first_run=True).promote


def test_only_a_better_mixture_replaces_the_serving_one() -> None:
    serving = losses(mixture=2.0, gpt=1.0)
    assert judge(losses(mixture=1.99, gpt=3.0), serving, first_run=False).promote
    assert not judge(losses(mixture=2.0, gpt=0.5), serving, first_run=False).promote
    assert not judge(losses(mixture=2.01), serving, first_run=False).promote


def test_the_reason_tells_both_figures() -> None:
    verdict = judge(losses(mixture=2.5), losses(mixture=2.0), first_run=False)
    assert verdict.reason == "not better: 2.500 against 2.000 bits a character on the same messages"


def test_a_clean_model_replaces_one_that_still_knows_somebody_forgotten() -> None:
    worse, serving = losses(mixture=2.1), losses(mixture=2.0)
    assert judge(worse, serving, first_run=False, serving_forgotten=True).promote


def test_anything_is_better_than_a_checkpoint_that_cannot_speak() -> None:
    assert judge(losses(gpt=9.0), None, first_run=False).promote


def test_a_model_without_a_loss_never_speaks() -> None:
    assert not judge({}, None, first_run=True).promote
