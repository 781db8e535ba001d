"""The narrator's own words: for each moment several templates, how much it matters, and what a template may name."""

import string
from typing import Literal, get_args

Moment = Literal[
    "awake",
    "awake_again",
    "run_started",
    "untrained",
    "milestone",
    "new_best",
    "getting_worse",
    "promoted",
    "not_promoted",
    "run_finished",
    "rung_started",
    "rung_climbed",
]
MOMENTS: tuple[Moment, ...] = get_args(Moment)

# From 3 on a moment may break the pace a little, and waits its turn behind a greater one instead of being dropped.
IMPORTANCE: dict[Moment, int] = {
    "awake": 2,
    "awake_again": 2,
    "run_started": 3,
    "untrained": 5,
    "milestone": 2,
    "new_best": 1,
    "getting_worse": 1,
    "promoted": 4,
    "not_promoted": 3,
    "run_finished": 3,
    "rung_started": 3,
    "rung_climbed": 4,
}

PLACEHOLDERS = frozenset(
    {
        "name", "run", "step", "planned_steps", "percent", "messages", "parameters", "sample", "reason", "minutes",
        "took", "loss", "first_loss", "best_loss", "bits", "choices", "sparkline", "rung", "adds",
    }
)  # fmt: skip

LINES: dict[Moment, tuple[str, ...]] = {
    "awake": (
        "Hello. I am {name}, a bot with an empty head: I learn to talk from this chat and nothing else. Say something; "
        "!privacy says what I keep and how to leave.",
        "{name} here, a bot: a language model with no language yet, to be trained on this chat. {messages} so far. "
        "Feed me, or type !optout.",
    ),
    "awake_again": (
        "I am back, a bot with all that {messages} of this chat taught it. Say my name; !privacy tells more.",
        "{name} is awake again, a bot trained on this chat. Last night's weights, today's chat, !optout as ever.",
    ),
    "run_started": (
        "Training starts: {parameters} random numbers are about to read {messages}.",
        "New run. {messages} to learn from, {planned_steps} steps to do it in. Wish my gradients luck.",
        "Going to school: {messages} in, {parameters} parameters to put them in.",
    ),
    "untrained": (
        'Before any training I talk like this: "{sample}" (loss {loss}). It gets better.',
        'My first words, ever: "{sample}". Loss {loss}, which is a coin toss between {choices} tokens.',
        "Untrained loss: {loss}. At every token I guess between {choices} of them. Remember this moment.",
    ),
    "milestone": (
        "Loss {loss}, down from {first_loss} {sparkline}. I now hesitate between {choices} tokens instead of all.",
        'Step {step}: loss {loss} {sparkline}. I would now say "{sample}".',
        "Validation loss under a new mark: {loss} (it began at {first_loss}). You are becoming predictable.",
        'Loss {loss} {sparkline}. Sample from the lab: "{sample}".',
    ),
    "new_best": (
        'New best: loss {loss} at step {step}. Currently thinking: "{sample}"',
        "Best loss so far: {loss} {sparkline}, {percent}% of the run done.",
        "Down to {loss}. One character of your chat now costs me {bits} bits.",
    ),
    "getting_worse": (
        "My loss has stopped falling at {best_loss}. I am starting to learn you by heart, which does not count.",
        "Validation loss is going up again. It is called overfitting, and I am told everyone does it.",
    ),
    "promoted": (
        "My new brain is in: from now on you are talking to step {step}, loss {loss}.",
        'Promoted. The network speaks now, {parameters} parameters of it, beginning with: "{sample}"',
        "Brain swap complete at step {step} and loss {loss}. I felt nothing, as usual.",
    ),
    "not_promoted": (
        "I trained a new me and it lost to the old me ({reason}). The old me is very quiet about it.",
        "New brain rejected: {reason}. Back to reading.",
    ),
    "run_finished": (
        "Training done after {took}: {first_loss} → {best_loss} {sparkline}. Ask me anything.",
        "End of run at step {step}, best loss {best_loss} {sparkline}. I am as wise as {messages} can make me.",
        "Finished: {took}, best loss {best_loss}, {bits} bits a character. I will now pretend it was easy.",
    ),
    "rung_started": (
        "Up the ladder: rung {rung} ({adds}).",
        "Next rung: {rung}. New here: {adds}.",
        "I am born again as rung {rung} ({adds}), {parameters} numbers in all.",
    ),
    "rung_climbed": (
        "Rung {rung}: loss {best_loss}, which leaves {choices} tokens to choose from.",
        'Rung {rung} ends at loss {best_loss} and says: "{sample}"',
        "Rung {rung} is climbed: loss {best_loss}, {bits} bits for each character of yours.",
    ),
}


def placeholders(text: str) -> set[str]:
    """The names in braces. Raises ValueError for a template that cannot be filled in."""
    found = set()
    for _, name, format_spec, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or format_spec or conversion:
            raise ValueError(f"{{{name}}} is not a plain name in braces")
        found.add(name)
    return found
