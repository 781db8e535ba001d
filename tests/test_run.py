"""A whole run on a small real corpus: metrics, samples, checkpoints, promotion, stopping, going back, odd chats."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from corpus.cleaning import Rules
from corpus.errors import CheckpointError, TrainingError
from corpus.message import ChatMessage
from corpus.store import Corpus
from trainer import checkpoint as on_disk
from trainer.machine import Machine
from trainer.material import Chat, read_chat
from trainer.metrics import Evaluated, Event, Promoted, RolledBack, RunFinished, RunStarted, read_events
from trainer.plan import Speed
from trainer.run import Desk, Result, run
from trainer.settings import ModelTable, TrainerTable
from trainer.tokenizer import Tokenizer

WORDS = [
    "good",
    "morning",
    "chat",
    "boss",
    "again",
    "lol",
    "nice",
    "one",
    "well",
    "played",
    "hello",
    "game",
    "no",
    "way",
]
MACHINE = Machine(torch.device("cpu"), half_precision=False, speed=Speed(flops=5e9, threads=1))
TRAINER = TrainerTable(minutes=1, evaluations=4)
MODEL = ModelTable(size="tiny", n_layer=1, n_embd=32, n_head=1, block_size=32, vocab_size=300)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def chat_of(folder: Path, texts: list[str], start: int = 0) -> Chat:
    """A young channel: ten-second blocks, of which every fifth validates."""
    messages = [
        ChatMessage(f"m{start + i}", "room", f"viewer{i % 5}", text, 1_700_000_000_000 + (start + i) * 3000)
        for i, text in enumerate(texts)
    ]
    with Corpus.open(folder / "chat.db") as corpus:
        corpus.append(messages, live=True)
        return read_chat(corpus, Rules())


def small_talk(count: int, seed: int = 1) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choice(WORDS) for _ in range(dice.randint(1, 8))) for _ in range(count)]


def trained(
    chat: Chat, folder: Path, *, stop: Callable[[], bool] = lambda: False, minutes: float = 0.04, **how: object
) -> tuple[Result, list[Event]]:
    events: list[Event] = []
    init_from = how.pop("init_from", None)
    desk = Desk(
        how.pop("trainer", TRAINER),  # type: ignore[arg-type]
        MODEL.model_copy(update=how),
        MACHINE,
        folder / "checkpoints",
        watch=events.append,
        stop=stop,
    )
    return run(chat, desk, minutes=minutes, init_from=init_from), events  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result, list[Event]]:
    folder = tmp_path_factory.mktemp("first")
    result, events = trained(chat_of(folder, small_talk(150)), folder)
    return folder, result, events


def test_a_first_run_shows_the_untrained_model_and_promotes_at_every_look(
    first: tuple[Path, Result, list[Event]],
) -> None:
    _, _, events = first
    looks = [event for event in events if isinstance(event, Evaluated)]
    promotions = [event for event in events if isinstance(event, Promoted)]
    assert looks[0].step == 0
    assert all(set(look.losses) == {"gpt", "ngram", "mixture"} and look.sample for look in looks)
    assert len(promotions) >= len(looks) >= 2
    assert all(promotion.promoted for promotion in promotions)


def test_the_network_learns(first: tuple[Path, Result, list[Event]]) -> None:
    looks = [event for event in first[2] if isinstance(event, Evaluated)]
    assert looks[-1].losses["gpt"].bits_per_character < 0.7 * looks[0].losses["gpt"].bits_per_character


def test_the_diary_on_disk_tells_what_was_watched(first: tuple[Path, Result, list[Event]]) -> None:
    folder, result, events = first
    written = [event for event, _ in read_events(folder / "checkpoints" / result.run / "metrics.jsonl")]
    assert [event["event"] for event in written] == [event.event for event in events]
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].best_step == result.best_step


def test_the_best_checkpoint_speaks_and_is_complete(first: tuple[Path, Result, list[Event]]) -> None:
    folder, result, _ = first
    serving = on_disk.latest(folder / "checkpoints")
    assert serving == result.folder
    assert serving is not None
    checkpoint = on_disk.load(serving)
    assert set(checkpoint.parts) == {"gpt", "ngram", "mixture"}
    assert checkpoint.losses == result.best
    assert checkpoint.trained_messages == len(checkpoint.seen)
    assert Tokenizer.from_json(checkpoint.tokenizer).vocab_size == 300


def test_validation_messages_are_never_trained_on(first: tuple[Path, Result, list[Event]]) -> None:
    folder, result, _ = first
    assert result.folder is not None
    with Corpus.open(folder / "chat.db") as corpus:
        validation = [stored.row for stored in corpus.messages(side="validation")]
    assert len(validation) > 10
    assert not on_disk.load(result.folder).has_seen(validation).any()


def test_a_later_run_is_promoted_only_if_it_is_better(first: tuple[Path, Result, list[Event]]) -> None:
    folder, _, _ = first
    serving = on_disk.latest(folder / "checkpoints")
    chat = chat_of(folder, small_talk(10, seed=2), start=150)
    # One word as far as the network and the counts are concerned: nothing that could be learned.
    poor, events = trained(chat, folder, minutes=0.002, ngram_order=1)
    (promotion,) = [event for event in events if isinstance(event, Promoted)]
    assert not promotion.promoted
    assert promotion.reason.startswith("not better")
    assert on_disk.latest(folder / "checkpoints") == serving
    assert not poor.promoted


def test_a_run_can_go_on_from_a_checkpoint_and_keeps_its_tokenizer(first: tuple[Path, Result, list[Event]]) -> None:
    folder, result, _ = first
    chat = chat_of(folder, small_talk(60, seed=3), start=400)
    _, events = trained(chat, folder, minutes=0.01, init_from=result.folder, vocab_size=999)
    looks = [event for event in events if isinstance(event, Evaluated)]
    assert looks[0].losses["gpt"].bits_per_character < 1.2 * result.best["gpt"].bits_per_character
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.vocab_size == 300


def test_a_stopped_run_ends_cleanly_with_what_it_has(tmp_path: Path) -> None:
    steps: list[int] = []

    def stop() -> bool:
        steps.append(1)
        return len(steps) > 3

    result, events = trained(chat_of(tmp_path, small_talk(100)), tmp_path, stop=stop)
    assert result.reason == "stopped"
    assert isinstance(events[-1], RunFinished)
    assert on_disk.load(on_disk.latest(tmp_path / "checkpoints") or tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*/.step-*"))


def test_too_little_chat_says_how_much_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="more messages to learn from are needed"):
        trained(chat_of(tmp_path, small_talk(10)), tmp_path)


SCRIPTS = [
    chr(start + i)
    for start in (0x61, 0x3B1, 0x430, 0x5D0, 0x627, 0x905, 0xE01, 0x10D0, 0x3042, 0x4E00)
    for i in range(12)
]
ODD_CHATS = {
    "one repeated line": ["gg"] * 400,
    "only emotes": [random.Random(i).choice(["Kappa", "LUL", "PogChamp"]) for i in range(120)],
    "one enormous message": [*small_talk(60), "a" * 20_000, "b " * 9_000],
    "many scripts": ["".join(random.Random(i).sample(SCRIPTS, 9)) for i in range(120)],
    "a newline and odd spaces": ["one\ntwo", "tab\there", "  spaced   out  "] * 40,
}


@pytest.mark.parametrize("kind", list(ODD_CHATS))
def test_odd_chats_train_or_explain_themselves(tmp_path: Path, kind: str) -> None:
    chat = chat_of(tmp_path, ODD_CHATS[kind])
    try:
        result, _ = trained(chat, tmp_path, minutes=0.02)
    except TrainingError as error:
        assert "\n" not in str(error)
    else:
        assert result.folder is not None
        assert all(0 <= loss.bits_per_character < 12 for loss in result.best.values())


def test_a_loss_that_is_no_number_goes_back_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trainer.loop as loop

    real, calls = loop.next_token_loss, []

    def sometimes_broken(model: torch.nn.Module, blocks: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        loss = real(model, blocks)  # type: ignore[arg-type]
        return loss * float("nan") if len(calls) == 5 else loss

    monkeypatch.setattr(loop, "next_token_loss", sometimes_broken)
    result, events = trained(chat_of(tmp_path, small_talk(100)), tmp_path)
    (back,) = [event for event in events if isinstance(event, RolledBack)]
    assert "50% rate" in back.reason
    assert result.best["gpt"].bits_per_character < 8


def test_a_loss_that_is_never_a_number_gives_up_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainer.loop as loop

    real = loop.next_token_loss
    monkeypatch.setattr(loop, "next_token_loss", lambda model, blocks: real(model, blocks) * float("inf"))
    with pytest.raises(TrainingError, match="no number"):
        trained(chat_of(tmp_path, small_talk(100)), tmp_path)
    (diary,) = (tmp_path / "checkpoints").glob("*/metrics.jsonl")
    assert json.loads(diary.read_text().splitlines()[-1])["event"] == "run_finished"


def test_a_damaged_parent_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        trained(chat_of(tmp_path, small_talk(100)), tmp_path, init_from=tmp_path)
