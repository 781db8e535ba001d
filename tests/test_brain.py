"""The brain speaks from the first few messages, swaps checkpoints while it talks, and survives a bad one."""

import asyncio
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.brain import Brain, NoAnswerError
from corpus.cleaning import Rules
from corpus.message import ChatMessage
from corpus.store import Corpus
from corpus.transcript import transcript
from trainer.checkpoint import Checkpoint, Part, promote, save
from trainer.dataset import encode_lines
from trainer.memory import LineMemory
from trainer.settings import SamplingTable
from trainer.tokenizer import train_tokenizer
from trainer.voice import Voice, load_voice, ngram_voice

WORDS = ("boss", "asleep", "again", "nice", "jump", "chat", "what", "a", "run", "soup", "door", "key", "now")
SAMPLING, RULES = SamplingTable(), Rules()


def lines(count: int, start: int = 0) -> list[ChatMessage]:
    draw = random.Random(start)
    return [
        ChatMessage(
            id=f"m{number}",
            channel="room",
            login=draw.choice(("ann", "bob", "cleo")),
            text=" ".join(draw.choices(WORDS, k=4)),
            sent_ms=1_700_000_000_000 + 800 * number,
        )
        for number in range(start, start + count)
    ]


@dataclass
class Bench:
    """A real corpus, real checkpoints of counts, and a gate in front of loading that a test can hold shut."""

    folder: Path
    corpus: Corpus
    open: threading.Event = field(default_factory=threading.Event)
    loads: list[str] = field(default_factory=list)

    def checkpoint(self, step: int) -> Path:
        """Write and promote a checkpoint of what is stored."""
        stored = list(self.corpus.messages())
        told = list(transcript(iter(stored), RULES))
        texts = ["".join(part for part in line.parts if isinstance(part, str)) for line in told]
        tokenizer = train_tokenizer("char", texts, 512)
        encoded = encode_lines(told, tokenizer)
        memory = LineMemory.fit(
            [line.message_id for line in told],
            encoded.rows,
            encoded.tokens,
            encoded.starts,
            vocab_size=tokenizer.vocab_size,
            order=4,
            line_end=tokenizer.end_token,
        )
        folder = save(
            self.checkpoints,
            Checkpoint(
                run="run-1",
                step=step,
                created_ms=0,
                tokenizer=tokenizer.to_json(),
                parts={"ngram": Part({}, memory.to_arrays())},
                losses={},
                trained_messages=len(told),
                removals=self.corpus.last_removal(),
                seen=np.array([message.row for message in stored]),
            ),
        )
        promote(self.checkpoints, folder)
        return folder

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def load(self, folder: Path) -> Voice:
        self.loads.append(folder.name)
        assert self.open.wait(10)
        return load_voice(folder, "cpu", SAMPLING, RULES, self.corpus)

    def brain(self, **more: Any) -> Brain:
        return Brain(
            self.checkpoints,
            speaker="backchat",
            load=self.load,
            count=lambda: ngram_voice(self.corpus.messages(), sampling=SAMPLING, rules=RULES, tokenizer="char"),
            stored=self.corpus.count,
            **({"poll_s": 0.02} | more),
        )


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    with Corpus.open(tmp_path / "chat.db") as corpus:
        made = Bench(tmp_path, corpus)
        made.open.set()
        yield made
        made.open.set()


@asynccontextmanager
async def awake(brain: Brain) -> Any:
    await brain.start()
    try:
        yield brain
    finally:
        await brain.close()


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def kind(brain: Brain) -> str | None:
    return brain.speaking.kind if brain.speaking else None


async def test_it_speaks_from_the_first_messages_and_counts_anew_as_chat_grows(bench: Bench) -> None:
    async with awake(bench.brain()) as brain:
        with pytest.raises(NoAnswerError, match="no voice yet"):
            await brain.reply((), timeout_s=5)
        bench.corpus.append(lines(20))
        await until(lambda: kind(brain) == "ngram")
        (first, *_) = await brain.reply(lines(3), timeout_s=5, seed=1)
        assert first.text.strip()
        assert brain.speaking is not None and brain.speaking.trained_messages == 20
        bench.corpus.append(lines(20, start=20))
        await until(lambda: brain.speaking is not None and brain.speaking.trained_messages == 40)


async def test_a_new_checkpoint_takes_over_without_dropping_a_request(bench: Bench) -> None:
    bench.corpus.append(lines(60))
    bench.checkpoint(1)
    async with awake(bench.brain(waiting_requests=100)) as brain:
        await until(lambda: brain.speaking and brain.speaking.step == 1)
        answers: list[int] = []

        async def ask() -> None:
            while brain.speaking and brain.speaking.step == 1:
                answers.append(len(await brain.reply(lines(3), timeout_s=10)))

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        bench.corpus.append(lines(20, start=60))
        bench.checkpoint(2)
        await asyncio.gather(*asking)
        assert brain.speaking and brain.speaking.checkpoint == "run-1/step-000002"
        assert answers and all(answers)


async def test_the_old_voice_answers_while_the_new_one_loads(bench: Bench) -> None:
    bench.corpus.append(lines(60))
    bench.checkpoint(1)
    async with awake(bench.brain()) as brain:
        await until(lambda: brain.speaking and brain.speaking.step == 1)
        bench.open.clear()
        bench.checkpoint(2)
        await until(lambda: bench.loads[-1] == "step-000002")
        assert await brain.reply(lines(3), timeout_s=5)
        assert brain.speaking and brain.speaking.step == 1
        bench.open.set()
        await until(lambda: brain.speaking and brain.speaking.step == 2)


async def test_a_checkpoint_that_does_not_load_is_complained_of_once_and_the_old_voice_goes_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.corpus.append(lines(60))
    bench.checkpoint(1)
    async with awake(bench.brain()) as brain:
        await until(lambda: brain.speaking and brain.speaking.step == 1)
        broken = bench.checkpoint(2) / "ngram.safetensors"
        broken.write_bytes(b"not weights")
        promote(bench.checkpoints, broken.parent)
        await until(lambda: brain.problem)
        assert await brain.reply(lines(3), timeout_s=5)
        assert brain.speaking and brain.speaking.step == 1
        looks = len(bench.loads)
        await asyncio.sleep(0.2)
        assert len(bench.loads) == looks
        assert len([record for record in caplog.records if record.name == "bot.brain"]) == 1
        bench.checkpoint(3)
        await until(lambda: brain.speaking and brain.speaking.step == 3)
        assert brain.problem is None


async def test_a_checkpoint_that_is_replaced_and_removed_while_it_loads_is_no_problem(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.corpus.append(lines(60))
    bench.checkpoint(1)
    async with awake(bench.brain()) as brain:
        await until(lambda: brain.speaking and brain.speaking.step == 1)
        bench.open.clear()
        outrun = bench.checkpoint(2)
        await until(lambda: bench.loads[-1] == "step-000002")
        bench.checkpoint(3)
        shutil.rmtree(outrun)
        bench.open.set()
        await until(lambda: brain.speaking and brain.speaking.step == 3)
        assert brain.problem is None
    assert not [record for record in caplog.records if record.name == "bot.brain"]


async def test_what_is_said_and_deleted_while_a_checkpoint_loads_is_learned_and_unlearned(bench: Bench) -> None:
    bench.corpus.append(lines(60))
    bench.checkpoint(1)
    async with awake(bench.brain()) as brain:
        await until(lambda: brain.speaking and brain.speaking.step == 1)
        bench.open.clear()
        bench.checkpoint(2)
        await until(lambda: bench.loads[-1] == "step-000002")
        kept = [message for number in range(30) for message in [chant(f"kept{number}", "zzzz is here")]]
        gone = [chant(f"gone{number}", "yyyy is here") for number in range(30)]
        for message in (*kept, *gone):
            brain.learn(message)
        brain.unlearn(message.id for message in gone)
        bench.open.set()
        await until(lambda: brain.speaking and brain.speaking.step == 2)
        texts = " ".join(
            [
                candidate.text
                for seed in range(10)
                for candidate in await brain.reply((), timeout_s=10, candidates=8, seed=seed)
            ]
        )
        assert "zz" in texts
        assert "yy" not in texts


def chant(id: str, text: str) -> ChatMessage:
    return ChatMessage(id=id, channel="room", login=id, text=text, sent_ms=1_700_000_900_000)


async def test_messages_removed_by_another_program_are_unlearned(bench: Bench) -> None:
    bench.corpus.append(lines(40))
    bench.corpus.append([chant(f"x{number}", "xxxx xxxx") for number in range(40)])
    removed: list[str] = []
    async with awake(bench.brain(removed=lambda: [removed.pop() for _ in list(removed)])) as brain:
        await until(lambda: kind(brain) == "ngram")
        removed += [f"x{number}" for number in range(40)]
        await until(lambda: not removed)
        texts = [candidate.text for candidate in await brain.reply((), timeout_s=10, candidates=16, seed=1)]
        assert not any("x" in text for text in texts)


async def test_too_many_requests_and_too_slow_answers_are_refused_instead_of_piling_up(bench: Bench) -> None:
    bench.corpus.append(lines(60))
    async with awake(bench.brain(waiting_requests=2)) as brain:
        await until(lambda: kind(brain) == "ngram")
        results = await asyncio.gather(*(brain.reply(lines(3), timeout_s=10) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(result, NoAnswerError) for result in results) == 3
        with pytest.raises(NoAnswerError, match="no answer within"):
            await brain.reply(lines(20), timeout_s=0.0001)
        assert await brain.reply(lines(3), timeout_s=10)


async def test_without_chat_and_checkpoint_it_waits_without_complaint(bench: Bench) -> None:
    async with awake(bench.brain()) as brain:
        await asyncio.sleep(0.1)
        assert brain.speaking is None and brain.problem is None
