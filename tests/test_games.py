"""Bets: the nearest guess wins, the early one of two, late bets do not count, and the forgotten leave nothing."""

from pathlib import Path

import pytest

from bot.actions import Say
from bot.chat import MessageReceived
from bot.commands import Invocation, parse
from bot.facts import Facts
from bot.games import Bets
from corpus.message import ChatMessage

START = {"event": "run_started", "planned_steps": 1000}
END = {"event": "run_finished", "step": 1000}


def evaluation(step: int, loss: float) -> dict[str, object]:
    return {
        "event": "evaluation",
        "step": step,
        "losses": {"gpt": {"nats_per_token": loss, "bits_per_character": loss / 2}},
        "sample": "",
    }


def bets(tmp_path: Path, *events: dict[str, object]) -> Bets:
    made = Bets(tmp_path / "scores.json")
    for event in events:
        made.on_event(event)
    return made


def typed(made: Bets, login: str, text: str) -> str:
    name, words = parse(text) or ("", "")
    message = ChatMessage(id="1", channel="here", login=login, text=text, display_name=login.title())
    (command,) = [command for command in made.commands if command.name == name]
    (answer,) = command.run(Invocation(name, words, MessageReceived(message), Facts(), 0))
    assert isinstance(answer, Say)
    return answer.line.text


def test_the_nearest_bet_wins_and_scores_outlive_a_restart(tmp_path: Path) -> None:
    made = bets(tmp_path, START, evaluation(0, 6.0))
    assert "Noted: 2.90" in typed(made, "ann", "!bet 2.9")
    typed(made, "bob", "!bet 3,4")
    typed(made, "cleo", "!bet 1")
    made.on_event(evaluation(900, 3.3))
    made.on_event(evaluation(1000, 3.5))
    said = made.on_event(END)
    assert "Bob said 3.40" in said[0] and "best loss was 3.30" in said[0]
    assert all(name not in said[1] for name in ("Ann", "Bob", "Cleo"))
    again = bets(tmp_path)
    assert typed(again, "ann", "!scores") == "Best at guessing me: Bob 3, Ann 2, Cleo 1"


def test_of_equal_bets_the_earlier_wins_and_a_changed_bet_is_a_late_one(tmp_path: Path) -> None:
    made = bets(tmp_path, START, evaluation(0, 6.0))
    typed(made, "ann", "!bet 2")
    typed(made, "bob", "!bet 3")
    typed(made, "ann", "!bet 3")
    made.on_event(evaluation(1000, 3.0))
    assert "Bob" in made.on_event(END)[0]


def test_late_bets_are_not_taken(tmp_path: Path) -> None:
    made = bets(tmp_path, START, evaluation(601, 3.0))
    assert "closed" in typed(made, "ann", "!bet 3")
    assert made.on_event(END) == ()


def test_without_a_run_there_is_nothing_to_bet_on(tmp_path: Path) -> None:
    assert "Nothing is training" in typed(bets(tmp_path), "ann", "!bet 3")
    assert "Nobody" in typed(bets(tmp_path), "ann", "!scores")


@pytest.mark.parametrize("words", ["", "low", "nan", "inf", "-3", "0", "1e9", "2.9.1"])
def test_what_is_no_loss_is_explained(tmp_path: Path, words: str) -> None:
    assert "!bet 2.9" in typed(bets(tmp_path, START), "ann", f"!bet {words}")


def test_who_is_forgotten_leaves_neither_bet_nor_points(tmp_path: Path) -> None:
    made = bets(tmp_path, START, evaluation(0, 6.0))
    typed(made, "ann", "!bet 6")
    made.on_event(END)
    made.on_event(START)
    typed(made, "ann", "!bet 6")
    made.forget("ann")
    made.on_event(evaluation(0, 6.0))
    assert made.on_event(END) == ()
    assert "ann" not in (tmp_path / "scores.json").read_text().lower()


def test_a_damaged_score_file_starts_the_scores_anew(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("[1, 2")
    assert bets(tmp_path).scores == {}
