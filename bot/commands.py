"""What viewers can type after a `!`: finding the command in a message, and the built-in ones. Pure.

Other parts bring commands of their own as more `Command` values; the companion neither knows nor cares whose they are.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.actions import Action, Line, Say
from bot.chat import MessageReceived
from bot.facts import Facts

BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command as somebody typed it: `words` is what follows it, trimmed."""

    name: str
    words: str
    event: MessageReceived
    facts: Facts
    now_ms: int

    @property
    def privileged(self) -> bool:
        """Whether the broadcaster or a moderator typed it."""
        return bool(self.event.roles & {"broadcaster", "moderator"})

    def answer(self, text: str) -> list[Action]:
        """One line, below the message that asked."""
        message = self.event.message
        return [Say(Line(message.channel, text, "command", reply_to=message.id))]


@dataclass(frozen=True, slots=True)
class Command:
    """`run` decides what to do. `free` commands have no cooldown: nobody should wait to be forgotten."""

    name: str
    summary: str
    run: Callable[[Invocation], Sequence[Action]]
    aliases: tuple[str, ...] = ()
    moderators_only: bool = False
    free: bool = False


def parse(text: str) -> tuple[str, str] | None:
    """`!say  hello there` → (`say`, `hello there`); None for what is not a command."""
    text = text.strip().strip("\U000e0000").strip()
    if not text.startswith("!") or len(text) < 2 or not text[1].isalnum():
        return None
    name, _, words = text[1:].partition(" ")
    return name.casefold(), words.strip()


def sparkline(values: Sequence[float], width: int = 16) -> str:
    """The values as bars, at most `width` of them (each the mean of its share), highest bar for the highest value."""
    if not values:
        return ""
    if len(values) > width:
        edges = [round(at * len(values) / width) for at in range(width + 1)]
        shares = [values[start:end] for start, end in itertools.pairwise(edges)]
        values = [math.fsum(share) / len(share) for share in shares]
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return BARS[0] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def loss_line(facts: Facts) -> str:
    """What `!loss` answers: the real validation curve of the newest run, with what the numbers mean."""
    training = facts.training
    if training is None or not training.curve:
        return f"No loss yet: nothing is trained, I have read {count(facts.messages, 'message')}. Keep talking."
    first, now = training.curve[0], training.curve[-1]
    where = f"step {training.step:,}"
    if training.running and training.planned_steps:
        where += f" of {training.planned_steps:,}"
    said = f"loss {now.nats_per_token:.2f} nats a token {sparkline([point.nats_per_token for point in training.curve])}"
    if len(training.curve) > 1:
        said += f" from {first.nats_per_token:.2f}"
    said += f", {where}"
    bits = training.mixture_bits if training.mixture_bits is not None else now.bits_per_character
    return f"{said}. I need {bits:.2f} bits for a character of chat I have not seen; a coin per bit, fewer is better."


def model_line(facts: Facts) -> str:
    """What `!model` answers: what it is made of, in one line."""
    speaking = facts.speaking
    if speaking is None:
        return f"No model yet, only ambition and {count(facts.messages, 'message')} of your chat."
    if speaking.checkpoint is None:
        return (
            f"For now I am a table of which word follows which, over {count(speaking.trained_messages, 'message')}. "
            "The neural network is still in training."
        )
    parts = {"mixture": "a GPT mixed with live word counts", "gpt": "a GPT", "ngram": "word counts"}
    said = f"I am {parts.get(speaking.kind, speaking.kind)}: {short(speaking.parameters)} parameters, "
    said += f"{speaking.vocab_size:,} tokens ({speaking.tokenizer}), checkpoint {speaking.checkpoint}"
    if speaking.trained_messages:
        said += f", trained on {count(speaking.trained_messages, 'message')} of this chat and nothing else"
    return said + "."


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(number: int) -> str:
    """1234567 → 1.2M: parameters as people say them."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + letter
    return str(number)


LOSS = Command("loss", "how my training goes, with the curve", lambda asked: asked.answer(loss_line(asked.facts)))
MODEL = Command("model", "what I am made of", lambda asked: asked.answer(model_line(asked.facts)))


def help_command(name: str, commands: Sequence[Command]) -> Command:
    """`!help` discloses what the companion is before it lists what it understands."""

    def run(asked: Invocation) -> list[Action]:
        shown = [command for command in commands if not command.moderators_only or asked.privileged]
        listed = " ".join(f"!{command.name}" for command in shown)
        return asked.answer(
            f"I am {name}, a bot: a small language model trained on this chat as it is written. Say my name and "
            f"I answer; !optout and I keep nothing of you. I know {listed}"
        )

    return Command("help", "what I am and what I understand", run, aliases=("commands",))
