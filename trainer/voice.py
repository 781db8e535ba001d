"""What the bot's brain loads: a checkpoint, or counts alone, that goes on with a conversation and learns while it runs.

Torch stays inside. What it learns live is its own: no loss that is reported anywhere comes from here.
"""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from corpus.cleaning import Rules
from corpus.echo import is_echo, is_telling, plain_line
from corpus.errors import CheckpointError
from corpus.message import ChatMessage
from corpus.shingles import words_of
from corpus.slots import SPEAKER_SLOTS, SpeakerWindow
from corpus.store import Corpus, StoredMessage
from corpus.transcript import FloodGate, live_line, render, transcript
from trainer.checkpoint import Checkpoint, load
from trainer.dataset import EncodedLines, encode_lines
from trainer.memory import LineMemory
from trainer.metrics import Loss
from trainer.models.language_model import LanguageModel
from trainer.models.mixture import Mixture, Weights, count, weigh, without
from trainer.sample import Choice, Continuation, continuations
from trainer.settings import SamplingTable
from trainer.tokenizer import Kind, Tokenizer, train_tokenizer

ROUNDS = 4  # how often a request draws again when there were too few lines worth saying
CONTEXT_LINES = 60
SMALL_TALK_WORDS = 2  # everybody says the same ones: two words of another's line are no parroting
YOUNG_MESSAGES = 20_000  # counted in under a second; older ones wait for the first checkpoint
YOUNG_VOCAB_SIZE = 1024
YOUNG_ORDER = 5
YOUNG_HELD_OUT = 500
CATCH_UP = 5_000  # of the latest stored messages, those that a checkpoint has not seen are learned when it is loaded


@dataclass(frozen=True)
class VoiceInfo:
    """What speaks, for the overlay, `!model` and the log."""

    kind: Literal["ngram", "gpt", "mixture"]
    checkpoint: str | None
    step: int
    parameters: int
    vocab_size: int
    tokenizer: str
    losses: dict[str, Loss] = field(default_factory=dict)
    trained_messages: int = 0


@dataclass(frozen=True)
class Request:
    """Something to say next in `conversation`, oldest message first, deleted ones already left out.

    The words of `prompt` are how every candidate begins. `speaker` is the companion's own login, by which it
    recognises its own lines in the conversation. `sampling` overrides how the voice was told to draw.
    """

    conversation: Sequence[ChatMessage]
    prompt: str = ""
    candidates: int = 4
    max_tokens: int = 60
    seed: int | None = None
    speaker: str = ""
    sampling: SamplingTable | None = None


@dataclass(frozen=True)
class Candidate:
    """One line as plain text, names in the place of slots, and how (un)likely the model finds it."""

    text: str
    nats_per_token: float


@dataclass(frozen=True)
class NextToken:
    """One way to go on, and its chance by each memory that has an opinion ("ngram", "gpt", "mixture")."""

    text: str
    chances: dict[str, float]


class Voice:
    """A language model that speaks chat. Safe for several threads: one at a time is let in."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        info: VoiceInfo,
        *,
        parts: Mapping[str, LanguageModel],
        memory: LineMemory | None,
        sampling: SamplingTable,
        rules: Rules,
    ) -> None:
        self.info = info
        self._model = model
        self._parts = {**parts, info.kind: model}
        self._tokenizer = tokenizer
        self._memory = memory
        self._sampling = sampling
        self._rules = rules
        self._rooms: dict[str, tuple[SpeakerWindow, FloodGate]] = {}
        self._words = self._words_known()
        self._inside_words: list[int] | None = None
        self._lock = threading.Lock()
        # The first answer would otherwise pay for whatever is set up lazily.
        self.generate(Request(conversation=(), candidates=1, max_tokens=2, seed=0))

    def generate(self, request: Request) -> list[Candidate]:
        """At most `request.candidates` different lines that are worth saying, as drawn; where none is, what there is.

        Not by likelihood: what a model of chat finds likeliest is the emote that everybody posts. The last message of
        the conversation is the one that is answered, and no part of what is remembered for as long as that takes: in
        a memory of twenty lines a question would be its own likeliest answer.
        """
        with self._lock:
            return self._generate(request)

    def learn(self, message: ChatMessage) -> None:
        """Remember a message from now on, as far as cleaning leaves something of it; once, however often it comes."""
        with self._lock:
            if message.channel not in self._rooms:
                self._rooms[message.channel] = SpeakerWindow(), FloodGate(self._rules.identical_lines)
            window, flood = self._rooms[message.channel]
            line = live_line(window, message, self._rules, flood)
            if line is not None and self._memory is not None:
                tokens = self._tokenizer.encode_line(line)
                if self._memory.learn(message.id, tokens) and self._words is not None:
                    self._words.update(self._words_in(tokens))

    def unlearn(self, message_id: str) -> None:
        """Forget a message at once, whether it was learned live or counted in training. The GPT cannot."""
        with self._lock:
            if self._memory is not None:
                tokens = self._memory.line(message_id)
                if tokens is not None and self._memory.unlearn(message_id) and self._words is not None:
                    self._words.subtract(self._words_in(tokens))

    def catch_up(self, corpus: Corpus, checkpoint: Checkpoint) -> None:
        """Take in what happened since the checkpoint was written: what was removed first, then what was said."""
        with self._lock:
            if self._memory is None:
                return
            for removal in corpus.removals(checkpoint.removals):
                if not self._memory.unlearn_row(removal.row) and removal.message_id:
                    self._memory.unlearn(removal.message_id)
            self._words = self._words_known()
        later = corpus.messages(after_row=max(0, corpus.last_row() - CATCH_UP))
        said = [stored for stored in later if not checkpoint.has_seen(stored.row)[0]]
        for stored in said:
            self.learn(stored.message)

    def next_tokens(self, text: str, count: int) -> list[NextToken]:
        """The likeliest tokens behind `text` at the beginning of a line, with what each memory thinks of them."""
        with self._lock:
            context = [self._tokenizer.slot_token(SPEAKER_SLOTS - 1), *self._tokenizer.encode(text)]
            chances = {
                name: np.exp(model.decoder(context, 1).log_probabilities()[0]) for name, model in self._parts.items()
            }
            likeliest = np.argsort(-chances[self.info.kind], kind="stable")[:count]
            return [
                NextToken(
                    self._tokenizer.piece(int(token)), {name: float(all_[token]) for name, all_ in chances.items()}
                )
                for token in likeliest
            ]

    def _generate(self, request: Request) -> list[Candidate]:
        asked = self._asked(request)
        if self.info.kind == "ngram" and (not self._memory or len(self._memory) == bool(asked)):
            return []  # who has heard nothing but the question has nothing to say
        window = SpeakerWindow()
        context: list[int] = []
        # Its own lines are never learned from, but they belong to the conversation.
        rules = replace(self._rules, known_bots=self._rules.known_bots - {request.speaker})
        for message in request.conversation[-CONTEXT_LINES:]:
            line = live_line(window, message, rules)
            if line is not None:
                context += self._tokenizer.encode_line(line)
        slot = window.slot(request.speaker) if request.speaker else None
        context.append(self._tokenizer.slot_token(SPEAKER_SLOTS - 1 if slot is None else slot))
        prompt = " ".join(request.prompt.split())
        beginning = self._tokenizer.encode(prompt)
        # Nobody is talked to who is not there, nor it by itself.
        slots = range(SPEAKER_SLOTS)
        forbidden = [self._tokenizer.slot_token(each) for each in slots if window.speaker(each) is None]
        if slot is not None:
            forbidden.append(self._tokenizer.slot_token(slot))
        heard = [plain_line(message.text) for message in request.conversation]
        good: dict[str, Candidate] = {}
        poor: dict[str, Candidate] = {}
        with without(self._memory.ngram, [asked]) if self._memory and asked else nullcontext():
            draw = partial(
                continuations,
                self._model,
                [*context, *beginning],
                count=request.candidates,
                max_tokens=request.max_tokens,
                stop=(self._tokenizer.end_token,),
                choice=Choice(**(request.sampling or self._sampling).model_dump()),
                forbidden=forbidden,
                forbidden_first=self._forbidden_first(prompt, forbidden),
                favoured=self._favoured(request),
                min_tokens=0 if beginning else 1,
            )
            for round_ in range(ROUNDS):
                for drawn in draw(seed=None if request.seed is None else request.seed * ROUNDS + round_):
                    parts = self._tokenizer.decode_parts([*beginning, *drawn.tokens])
                    text = render(parts, window).strip()
                    own = text.removeprefix(prompt)
                    words = words_of(own)
                    echo = is_echo(own, heard)
                    # A parrot, or talk about itself as of somebody else, is worse than silence.
                    if not text or request.speaker in words or (echo and len(words) > SMALL_TALK_WORDS):
                        continue
                    garbled = self._is_garbled(drawn, parts, prompt)
                    if garbled and self.info.kind == "ngram":
                        continue  # of a network it is charming, and how it learns to speak
                    worth = drawn.stopped and not echo and not garbled and worth_saying(text)
                    (good if worth else poor).setdefault(text, Candidate(text, drawn.nats_per_token))
                if len(good) >= request.candidates:
                    break
        return list((good or poor).values())[: request.candidates]

    def _asked(self, request: Request) -> list[int] | None:
        """What is remembered of the message that is answered."""
        if self._memory is None or not request.conversation:
            return None
        return self._memory.line(request.conversation[-1].id)

    def _forbidden_first(self, prompt: str, forbidden: Collection[int]) -> list[int]:
        """Tokens that would begin a line in the middle of a word or sentence, or go on with the prompt's last word."""
        if prompt:
            return self._tokens_inside_words() if is_cased(prompt[-1]) else []
        if self._memory is None:
            return []
        allowed = np.ones(self._tokenizer.vocab_size, bool)
        openers = self._memory.ngram.openers()
        allowed[openers] = False
        # Where nothing that is allowed ever opened a line, anything may.
        return (
            []
            if {int(token) for token in openers} <= {*forbidden, self._tokenizer.end_token}
            else np.flatnonzero(allowed).tolist()
        )

    def _tokens_inside_words(self) -> list[int]:
        """Tokens that behind a letter go on with its word."""
        if self._inside_words is None:
            pieces = ((token, self._tokenizer.piece(token)) for token in range(self._tokenizer.text_tokens))
            self._inside_words = [token for token, piece in pieces if is_cased(piece[:1])]
        return self._inside_words

    def _favoured(self, request: Request) -> set[int]:
        """How the words of the message that is answered begin, where they are not the plain ones of any question."""
        if not request.conversation or request.prompt:
            return set()
        topics = [
            word for word in words_of(request.conversation[-1].text) if is_telling(word) and word != request.speaker
        ]
        spelled = [spelling for word in topics for spelling in (word, word.capitalize(), f" {word}")]
        return {tokens[0] for tokens in map(self._tokenizer.encode, spelled) if len(tokens) == 1}

    def _is_garbled(self, drawn: Continuation, parts: Sequence[str | int], prompt: str) -> bool:
        """Whether a young voice has spelled a word that nobody ever said, or broken off where no line ended."""
        if self._memory is None or self._words is None:
            return False
        ends = drawn.stopped and drawn.tokens
        if ends and not self._memory.ngram.follows(drawn.tokens[-1], self._tokenizer.end_token):
            return True
        known, asked = self._words, words_of(prompt)
        return any(
            known[word] <= 0 and word not in asked for part in parts if isinstance(part, str) for word in words_of(part)
        )

    def _words_known(self) -> Counter[str] | None:
        """How often each word was said, for a young voice, which spells; a grown one may coin what it likes."""
        if self._memory is None or len(self._memory) > YOUNG_MESSAGES:
            return None
        return Counter(word for tokens in self._memory.lines() for word in self._words_in(tokens))

    def _words_in(self, tokens: Sequence[int]) -> list[str]:
        parts = self._tokenizer.decode_parts(tokens[1:])
        return [word for part in parts if isinstance(part, str) for word in words_of(part)]


def worth_saying(text: str) -> bool:
    """Whether a line is more than one word, and no broken record: the failures of every model of one-word chat."""
    words = text.casefold().split()
    pairs = list(itertools.pairwise(words))
    threes = list(zip(words, words[1:], words[2:], strict=False))
    return (
        len(words) > 1
        and len(set(words)) > 1
        and all(pairs.count(pair) < 3 for pair in set(pairs))
        and all(threes.count(three) < 2 for three in set(threes) if len(set(three)) > 1)
    )


def is_cased(character: str) -> bool:
    """Whether it is a letter of a script that writes words apart, or a digit."""
    return character.isdigit() or character.lower() != character.upper()


def load_voice(
    folder: Path,
    device: str,
    sampling: SamplingTable,
    rules: Rules | None = None,
    corpus: Corpus | None = None,
) -> Voice:
    """The voice of a checkpoint, warm, and with `corpus` up to date. Raises CheckpointError.

    Messages removed since the training are subtracted from the counts, from the lines kept beside them; the latest
    messages that it has not seen are learned, those of the validation side too: no loss is measured here.
    """
    checkpoint = load(folder)
    tokenizer = Tokenizer.from_json(checkpoint.tokenizer)
    parts: dict[str, LanguageModel] = {}
    memory: LineMemory | None = None
    parameters = 0
    try:
        if "ngram" in checkpoint.parts:
            memory = LineMemory.from_arrays(checkpoint.part("ngram")[1])
            parts["ngram"] = memory.ngram
            parameters += memory.ngram.parameters
        if "gpt" in checkpoint.parts:
            from trainer.models.gpt import GPT

            gpt = GPT.from_arrays(*checkpoint.part("gpt")).to(_device(device))
            parts["gpt"] = gpt
            parameters += gpt.parameters_count
        model, kind = _voice_of(checkpoint, memory, parts)
        if any(part.vocab_size != tokenizer.vocab_size for part in parts.values()):
            raise ValueError(f"its tokenizer has {tokenizer.vocab_size} tokens, its models have others")
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise CheckpointError(
            f"checkpoint {checkpoint.name} does not fit together ({error}); promote another"
        ) from error
    info = VoiceInfo(
        kind=kind,
        checkpoint=checkpoint.name,
        step=checkpoint.step,
        parameters=parameters,
        vocab_size=tokenizer.vocab_size,
        tokenizer=tokenizer.kind,
        losses=dict(checkpoint.losses),
        trained_messages=checkpoint.trained_messages,
    )
    voice = Voice(model, tokenizer, info, parts=parts, memory=memory, sampling=sampling, rules=rules or Rules())
    if corpus is not None:
        voice.catch_up(corpus, checkpoint)
    return voice


def _voice_of(
    checkpoint: Checkpoint, memory: LineMemory | None, parts: Mapping[str, LanguageModel]
) -> tuple[LanguageModel, Literal["ngram", "gpt", "mixture"]]:
    """The best that can be made of the parts there are."""
    gpt = parts.get("gpt")
    if memory is None:
        if gpt is None:
            raise CheckpointError(f"checkpoint {checkpoint.name} has neither counts nor a GPT; promote another one")
        return gpt, "gpt"
    if gpt is None or "mixture" not in checkpoint.parts:
        return Mixture(None, memory.ngram, Weights(()).for_speaking()), "ngram"
    weights = Weights.from_json(checkpoint.parts["mixture"].config)
    return Mixture(gpt, memory.ngram, weights.for_speaking()), "mixture"


def _device(device: str) -> str:
    """One line at a time is spoken fastest where the processor is: a device is used only when it is named."""
    return "cpu" if device == "auto" else device


def ngram_voice(
    corpus_messages: Iterable[StoredMessage],
    *,
    sampling: SamplingTable,
    rules: Rules,
    tokenizer: Kind = "bpe",
) -> Voice:
    """A voice of counts alone, for the time before the first checkpoint: the latest messages, in under a second."""
    latest = deque(corpus_messages, maxlen=YOUNG_MESSAGES)
    lines = list(transcript(latest, rules))
    texts = ["".join(part for part in line.parts if isinstance(part, str)) for line in lines]
    made = train_tokenizer(tokenizer, texts, YOUNG_VOCAB_SIZE)
    encoded = encode_lines(lines, made)
    memory = LineMemory.fit(
        [line.message_id for line in lines],
        encoded.rows,
        encoded.tokens,
        encoded.starts,
        vocab_size=made.vocab_size,
        order=YOUNG_ORDER,
        line_end=made.end_token,
    )
    info = VoiceInfo(
        kind="ngram",
        checkpoint=None,
        step=0,
        parameters=memory.ngram.parameters,
        vocab_size=made.vocab_size,
        tokenizer=made.kind,
        trained_messages=len(lines),
    )
    model = Mixture(None, memory.ngram, _weighed(memory, encoded).for_speaking())
    return Voice(model, made, info, parts={}, memory=memory, sampling=sampling, rules=rules)


def _weighed(memory: LineMemory, lines: EncodedLines) -> Weights:
    """How far to believe what was just said, by the latest lines: characters repeat without meaning it, words do."""
    aside = lines.select(len(lines) - min(len(lines) // 10, YOUNG_HELD_OUT), len(lines))
    apart = [aside.tokens[start:end].tolist() for start, end in itertools.pairwise(aside.starts.tolist())]
    with without(memory.ngram, apart) as ngram:
        return weigh(count(ngram, aside.documents()), None, ngram.familiarities)
