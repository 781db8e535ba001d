"""A voice speaks from the first message, says names and not slots, and learns and forgets while it runs."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.cleaning import Rules
from corpus.errors import CheckpointError
from corpus.message import ChatMessage
from corpus.store import Corpus, StoredMessage
from corpus.transcript import transcript
from trainer.checkpoint import Checkpoint, Part, load, save
from trainer.dataset import encode_lines
from trainer.memory import LineMemory
from trainer.metrics import Loss
from trainer.models.gpt import GPT, GPTConfig
from trainer.models.mixture import Weights
from trainer.settings import SamplingTable
from trainer.tokenizer import Kind, train_tokenizer
from trainer.voice import Request, Voice, load_voice, ngram_voice, worth_saying

WORDS = (
    "the",
    "boss",
    "is",
    "asleep",
    "again",
    "who",
    "let",
    "him",
    "cook",
    "nice",
    "jump",
    "no",
    "way",
    "hello",
    "chat",
)
NAMES = ("mossy", "pixel", "quartz", "juniper")
GREETINGS = ("hello my friend", "hello to you too", "good to see my friend again", "you too my friend")
ASKED = "hello backchat, what a fine day for a heist"
SAMPLING = SamplingTable()
RULES = Rules()


def message(number: int, text: str, login: str = "mossy") -> ChatMessage:
    return ChatMessage(
        id=f"m{number}", channel="room", login=login, text=text, sent_ms=1_700_000_000_000 + number * 700
    )


def chatter(count: int, seed: int = 0) -> list[ChatMessage]:
    """Lines of nobody: words drawn at random, some of them to somebody."""
    draw = random.Random(seed)
    said = []
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=draw.randint(2, 6)))
        said.append(message(number, f"@{draw.choice(NAMES)} {text}" if number % 5 == 0 else text, draw.choice(NAMES)))
    return said


def stored(messages: Sequence[ChatMessage]) -> Iterator[StoredMessage]:
    return (StoredMessage(row, said, "train") for row, said in enumerate(messages, start=1))


def voice_of(messages: Sequence[ChatMessage]) -> Voice:
    return ngram_voice(stored(messages), sampling=SAMPLING, rules=RULES)


@pytest.fixture(scope="module")
def voice() -> Voice:
    return voice_of(chatter(300))


def test_it_says_different_things_that_are_never_empty(voice: Voice) -> None:
    said = voice.generate(Request(conversation=chatter(10), candidates=6, seed=1))
    assert len(said) == 6
    assert all(candidate.text.strip() for candidate in said)
    assert len({candidate.text for candidate in said}) == 6
    assert all(candidate.nats_per_token > 0 for candidate in said)


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("nice jump", True),
        ("no no not again", True),
        ("LUL", False),
        ("Kappa kappa KAPPA", False),
        ("", False),
        ("we go again and we go again and we go again", False),
    ],
)
def test_one_emote_and_a_broken_record_are_not_worth_saying(text: str, worth: bool) -> None:
    assert worth_saying(text) == worth


def test_lines_worth_saying_come_first_and_others_only_where_there_is_nothing_else() -> None:
    spam = [message(number, "LUL", NAMES[number % 4]) for number in range(300)]
    voice = voice_of([*spam, *chatter(60)])
    texts = [candidate.text for candidate in voice.generate(Request(conversation=spam[-5:], candidates=4, seed=5))]
    worth = [worth_saying(text) for text in texts]
    assert worth == sorted(worth, reverse=True) and worth[0]
    assert [c.text for c in voice_of(spam).generate(Request(conversation=(), candidates=2, seed=5))] == ["LUL"]


def test_it_does_not_repeat_what_was_just_said() -> None:
    copied = [message(number, "this very line again") for number in range(100)]
    request = Request(conversation=copied[-3:], candidates=3, seed=6)
    texts = [candidate.text for candidate in voice_of([*copied, *chatter(100)]).generate(request)]
    assert texts and texts[0] != "this very line again"


def young(messages: Sequence[ChatMessage], asked: ChatMessage) -> Voice:
    """A voice of the first few lines, which has learned the question as the live memory does."""
    voice = voice_of(messages)
    voice.learn(asked)
    return voice


def test_a_question_is_not_its_own_answer() -> None:
    asked = message(500, ASKED, "streamer")
    texts = [
        candidate.text
        for seed in range(40)
        for candidate in young(chatter(12), asked).generate(
            Request(conversation=[*chatter(12), asked], candidates=4, seed=seed, speaker="backchat")
        )
    ]
    assert len(texts) > 40
    assert not {word for text in texts for word in text.split()} & {"what", "fine", "day", "heist", "kchat"}


def test_who_has_heard_only_the_question_says_nothing() -> None:
    asked = message(500, ASKED, "streamer")
    request = Request(conversation=[asked], candidates=4, seed=1, speaker="backchat")
    assert young([], asked).generate(request) == []


def test_a_question_is_known_again_once_it_is_answered() -> None:
    asked = message(500, "zorbl zorbl zorbl", "streamer")
    voice = young(chatter(50), asked)
    before = voice.next_tokens("zorbl zorb", 5)
    voice.generate(Request(conversation=[*chatter(5), asked], candidates=4, seed=1))
    assert voice.next_tokens("zorbl zorb", 5) == before
    voice.unlearn(asked.id)
    assert voice.next_tokens("zorbl zorb", 5) != before


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_a_line_opens_and_ends_as_lines_do_and_has_no_word_that_nobody_said(kind: Kind) -> None:
    said = chatter(25)
    voice = ngram_voice(stored(said), sampling=SAMPLING, rules=RULES, tokenizer=kind)
    later = [message(number, "umbrellas aplenty outside", NAMES[number % 4]) for number in range(600, 603)]
    for each in later:
        voice.learn(each)  # their words are spelled from small pieces: the vocabulary was made before
    texts = [
        candidate.text
        for seed in range(40)
        for candidate in voice.generate(Request(conversation=said[-5:], candidates=4, seed=seed))
    ]
    openers = {text.split()[0] for text in texts} - set(NAMES) - {"someone"}
    ends = {text.split()[-1] for text in texts}
    lines = [[word for word in each.text.split() if word[0] != "@"] for each in [*said, *later]]
    assert len(texts) > 100
    assert openers <= {line[0] for line in lines if line}
    assert ends <= {line[-1] for line in lines if line}
    assert {word for text in texts for word in text.split()} - set(NAMES) <= {word for line in lines for word in line}


def test_what_is_deleted_opens_no_line_any_more() -> None:
    wobbly = [message(number, "wobbly the boss is asleep", NAMES[number % 4]) for number in range(900, 903)]
    voice = voice_of([*chatter(10), *wobbly])
    requests = [Request(conversation=(), candidates=4, seed=seed) for seed in range(10)]

    def texts() -> list[str]:
        return [candidate.text for request in requests for candidate in voice.generate(request)]

    assert any(text.startswith("wobbly") for text in texts())
    for each in wobbly:
        voice.unlearn(each.id)
    assert len(texts()) > 10 and not any("wobbly" in text for text in texts())


def test_it_neither_parrots_what_was_said_nor_speaks_of_itself_as_of_somebody_else() -> None:
    said = [message(number, f"backchat {words}", NAMES[number % 4]) for number, words in enumerate(GREETINGS * 8)]
    request = Request(conversation=said[-4:], candidates=4, seed=3, speaker="backchat")
    assert not any("backchat" in candidate.text for candidate in voice_of([*said, *chatter(20)]).generate(request))
    assert voice_of(said).generate(request) == []


def test_an_answer_takes_up_a_word_of_the_question_more_often_than_not() -> None:
    asked = message(500, "who let the boss out", "streamer")
    about = sum(
        "boss" in candidate.text
        for seed in range(20)
        for candidate in voice_of(chatter(200)).generate(Request(conversation=[asked], candidates=4, seed=seed))
    )
    otherwise = sum(
        "boss" in candidate.text
        for seed in range(20)
        for candidate in voice_of(chatter(200)).generate(Request(conversation=(), candidates=4, seed=seed))
    )
    assert about > 2 * otherwise > 0


def test_the_last_word_of_a_prompt_is_left_as_it_is() -> None:
    said = [message(number, "the zebras are asleep") for number in range(20)]
    texts = [
        c.text for c in voice_of([*said, *chatter(20)]).generate(Request((), prompt="zebra", candidates=6, seed=1))
    ]
    assert texts and all(text.split()[0] == "zebra" for text in texts)


def test_nobody_is_talked_to_who_is_not_there() -> None:
    said = [message(number, "@stranger hello there", NAMES[number % 4]) for number in range(60)]
    request = Request(conversation=(), candidates=4, seed=3)
    assert not any("someone" in candidate.text for candidate in voice_of([*said, *chatter(60)]).generate(request))


def test_the_same_seed_says_the_same(voice: Voice) -> None:
    request = Request(conversation=chatter(10), candidates=3, seed=7)
    assert voice.generate(request) == voice.generate(request)
    assert voice.generate(request) != voice.generate(Request(conversation=chatter(10), candidates=3, seed=8))


def test_every_candidate_begins_with_the_words_asked_for(voice: Voice) -> None:
    for prompt in ("the boss", "  hello   chat ", "zebra", "ünïcödé 🦓"):
        for candidate in voice.generate(Request(conversation=(), prompt=prompt, candidates=3, seed=2)):
            assert candidate.text.startswith(" ".join(prompt.split()))


def test_mentions_come_out_as_plain_names_and_never_as_a_ping() -> None:
    said = [message(number, f"@pixel {text}", NAMES[number % 2]) for number, text in enumerate(GREETINGS * 20)]
    texts = [c.text for c in voice_of(said).generate(Request(conversation=said[-2:], candidates=4, seed=3))]
    assert any("pixel" in text for text in texts)
    assert not any("@" in text or "<s" in text for text in texts)


def test_one_message_is_enough_to_speak() -> None:
    assert voice_of([message(1, "first")]).generate(Request(conversation=(), seed=1))


def test_who_has_heard_nothing_says_nothing_until_the_first_message() -> None:
    voice = voice_of([])
    assert voice.generate(Request(conversation=(), candidates=2, seed=1)) == []
    voice.learn(message(1, "first words ever"))
    assert voice.generate(Request(conversation=(), candidates=2, seed=1))


def test_a_new_joke_is_picked_up_and_forgotten_when_it_is_deleted() -> None:
    voice = voice_of(chatter(200))

    def chance() -> float:
        (likeliest,) = voice.next_tokens("zorbl", 1)
        return likeliest.chances["ngram"]

    before = chance()
    for number in range(1000, 1005):
        voice.learn(message(number, "zorbl zorbl zorbl"))
    assert chance() > before
    assert voice.next_tokens("zorbl zorb", 1)[0].text == "l"
    for number in range(1000, 1005):
        voice.unlearn(f"m{number}")
    assert chance() == before


def test_a_message_counted_at_the_start_can_be_unlearned_too() -> None:
    secret = message(999, "sesame sesame sesame")
    with_it, without = voice_of([*chatter(200), secret]), voice_of(chatter(200))
    with_it.unlearn("m999")
    assert {token.chances["ngram"] for token in with_it.next_tokens("sesame", 5)} != {0.0}
    request = Request(conversation=(), prompt="sesame", candidates=4, seed=4)
    assert not any("sesame sesame" in candidate.text for candidate in with_it.generate(request))
    assert len(without.generate(request)) == 4


def test_commands_and_bots_are_not_learned() -> None:
    voice = ngram_voice(stored(chatter(50)), sampling=SAMPLING, rules=Rules(known_bots=frozenset({"nightbot"})))
    before = voice.next_tokens("", 20)
    voice.learn(message(500, "!so someone"))
    voice.learn(message(501, "buy followers", login="nightbot"))
    assert voice.next_tokens("", 20) == before


def test_a_flood_of_one_line_is_learned_only_so_often() -> None:
    voice = ngram_voice(stored(chatter(50)), sampling=SAMPLING, rules=Rules(identical_lines=3))
    for number in range(500, 503):
        voice.learn(message(number, "spam spam spam"))
    before = voice.next_tokens("spam", 20)
    voice.learn(message(503, "spam spam spam"))
    assert voice.next_tokens("spam", 20) == before


def test_threads_may_speak_learn_and_unlearn_at_once() -> None:
    voice = voice_of(chatter(200))
    before = voice.next_tokens("the", 20)
    failures: list[BaseException] = []

    def live(first: int) -> None:
        try:
            for number in range(first, first + 20):
                voice.learn(message(number, f"line {number} of many"))
                voice.generate(Request(conversation=(), candidates=1, max_tokens=5, seed=number))
            for number in range(first, first + 20):
                voice.unlearn(f"m{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=live, args=(1000 * number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert voice.next_tokens("the", 20) == before


def test_a_voice_of_a_real_corpus_follows_its_deletions(tmp_path: Path) -> None:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([*chatter(100), message(999, "sesame sesame sesame")])
        voice = ngram_voice(corpus.messages(), sampling=SAMPLING, rules=RULES)
        assert voice.info.kind == "ngram" and voice.info.trained_messages == 101
        corpus.delete_message("m999")
        for removal in corpus.removals():
            voice.unlearn(removal.message_id)
    request = Request(conversation=(), prompt="sesame", candidates=4, seed=4)
    assert not any("sesame sesame" in candidate.text for candidate in voice.generate(request))


@pytest.mark.parametrize(
    "texts",
    [
        ["the same line"] * 200,
        ["Kappa", "LUL Kappa", "PogChamp", "LUL"] * 50,
        ["word " * 4_000],
        [" ".join(chr(first + step) * 3 for step in range(8)) for first in range(0x100, 0x2E80, 0x80)],
        ["🏳️‍🌈 👨‍👩‍👧‍👦 ", "e\u0301\u0301\u0301", "\u202e backwards", "a\u0000b"],
    ],
    ids=["one line", "only emotes", "one enormous message", "many scripts", "odd characters"],
)
@pytest.mark.parametrize("kind", ["bpe", "word", "char"])
def test_any_chat_makes_a_voice(texts: list[str], kind: Kind) -> None:
    said = [message(number, text, NAMES[number % 4]) for number, text in enumerate(texts)]
    voice = ngram_voice(stored(said), sampling=SAMPLING, rules=RULES, tokenizer=kind)
    assert all(candidate.text for candidate in voice.generate(Request(conversation=said, candidates=2, seed=1)))
    voice.learn(message(99_999, texts[0] + "!"))
    voice.unlearn("m99999")


# What follows speaks from a checkpoint.


def checkpoint_of(folder: Path, messages: Sequence[ChatMessage], *, with_gpt: bool, removals: int = 0) -> Path:
    """What a run writes: counts of every message, an untrained GPT, and weights."""
    lines = list(transcript(stored(messages), RULES))
    tokenizer = train_tokenizer("bpe", [str(part) for line in lines for part in line.parts], 300)
    encoded = encode_lines(lines, tokenizer)
    memory = LineMemory.fit(
        [line.message_id for line in lines],
        encoded.rows,
        encoded.tokens,
        encoded.starts,
        vocab_size=tokenizer.vocab_size,
        order=4,
        line_end=tokenizer.end_token,
    )
    parts = {"ngram": Part({}, memory.to_arrays())}
    if with_gpt:
        torch.manual_seed(0)
        gpt = GPT(GPTConfig(tokenizer.vocab_size, tokenizer.end_token, block_size=32, n_layer=1, n_head=2, n_embd=16))
        parts["gpt"] = Part(gpt.config_json(), gpt.arrays())
        parts["mixture"] = Part(Weights((0.2,) * memory.ngram.familiarities).to_json(), {})
    losses = {name: Loss(3.0, 2.0, 2.1) for name in parts}
    made = Checkpoint(
        "run", 5, 0, tokenizer.to_json(), parts, losses, len(lines), removals, np.array(encoded.rows, np.int64)
    )
    return save(folder, made)


def test_a_checkpoint_speaks_with_both_memories(tmp_path: Path) -> None:
    voice = load_voice(checkpoint_of(tmp_path, chatter(200), with_gpt=True), "cpu", SAMPLING)
    assert (voice.info.kind, voice.info.checkpoint, voice.info.step) == ("mixture", "run/step-000005", 5)
    assert set(voice.info.losses) == {"ngram", "gpt", "mixture"} and voice.info.trained_messages == 200
    (likeliest,) = voice.next_tokens("the", 1)
    assert set(likeliest.chances) == {"ngram", "gpt", "mixture"}
    assert len(voice.generate(Request(conversation=chatter(10), candidates=3, seed=1))) == 3


def test_a_young_network_says_real_words_where_it_can(tmp_path: Path) -> None:
    said = chatter(60)
    voice = load_voice(checkpoint_of(tmp_path, said, with_gpt=True), "cpu", SAMPLING)
    known = {*WORDS, *NAMES, "someone"}
    answers = [
        [set(candidate.text.split()) <= known for candidate in voice.generate(Request((), candidates=3, seed=seed))]
        for seed in range(20)
    ]
    assert all(len(set(clean)) == 1 for clean in answers)  # where one line is clean, no other is offered
    assert sum(clean[0] for clean in answers) >= 18


def test_a_checkpoint_of_counts_alone_speaks_too(tmp_path: Path) -> None:
    voice = load_voice(checkpoint_of(tmp_path, chatter(200), with_gpt=False), "auto", SAMPLING)
    assert voice.info.kind == "ngram"
    assert voice.generate(Request(conversation=(), candidates=1, seed=1))


def test_what_is_learned_live_never_touches_the_checkpoint_and_its_losses(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, chatter(200), with_gpt=True)
    held_back = np.array(LineMemory.from_arrays(load(folder).part("ngram")[1]).ngram.decoder([], 1).log_probabilities())
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    voice = load_voice(folder, "cpu", SAMPLING)
    for number in range(1000, 1050):
        voice.learn(message(number, f"zorbl {number}"))
    again = LineMemory.from_arrays(load(folder).part("ngram")[1]).ngram.decoder([], 1).log_probabilities()
    assert np.array_equal(again, held_back)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    assert voice.info.losses == load(folder).losses


def test_a_voice_catches_up_with_what_was_said_and_removed_since_its_checkpoint(tmp_path: Path) -> None:
    secret, later = message(900, "sesame sesame sesame"), message(901, "zorbl zorbl zorbl")
    with Corpus.open(tmp_path / "chat.db") as corpus:
        corpus.append([*chatter(100), secret])
        folder = checkpoint_of(tmp_path, [*chatter(100), secret], with_gpt=True, removals=corpus.last_removal())
        stale = load_voice(folder, "cpu", SAMPLING)
        corpus.append([later])
        corpus.delete_message(secret.id)
        fresh = load_voice(folder, "cpu", SAMPLING, RULES, corpus)
    request = Request(conversation=(), prompt="sesame", candidates=3, seed=4, sampling=SamplingTable(temperature=0))
    assert stale.generate(request)[0].text.startswith("sesame sesame")
    assert not fresh.generate(request)[0].text.startswith("sesame sesame")
    joke = Request(conversation=(), prompt="zorbl", candidates=1, seed=4, sampling=SamplingTable(temperature=0))
    assert fresh.generate(joke)[0].text.startswith("zorbl zorbl")
    assert not stale.generate(joke)[0].text.startswith("zorbl zorbl")


def test_a_checkpoint_whose_parts_do_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = checkpoint_of(tmp_path, chatter(50), with_gpt=True)
    described = json.loads((folder / "checkpoint.json").read_text())
    described["parts"]["mixture"]["trust"] = [0.5]
    (folder / "checkpoint.json").write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=r"run/step-000005 does not fit together .*; promote another"):
        load_voice(folder, "cpu", SAMPLING)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_voice(tmp_path / "absent", "cpu", SAMPLING)
