"""Each rung of the ladder: what it adds, how long its turn is, and how it is climbed.

Knows nothing of terminals, files or pages: a rung tells its progress as it goes and ends with its model.
"""

import difflib

from corpus.errors import TrainingError
from trainer.rungs.counting import counted_bigram, counted_trigram, kneser_ney, untrained
from trainer.rungs.lectures import lecture, mlp, neural_bigram, scaled_up
from trainer.rungs.production import gpt, mixture
from trainer.rungs.rung import Climb, Outcome, Rung, Task, Update

__all__ = ["RUNGS", "Climb", "Outcome", "Rung", "Task", "Update", "choose_rungs"]

RUNGS: tuple[Rung, ...] = (
    Rung("untrained", "Untrained", "nothing yet: every token is equally likely", 0, 1, untrained),
    Rung("bigram", "Bigram, counted", "what follows what, counted", 0, 1, counted_bigram),
    Rung(
        "neural-bigram", "Bigram, neural", "the same, learned by gradient descent", 5, 1000, neural_bigram,
        largest_vocabulary=16_384,
    ),
    Rung("trigram", "Trigram, counted", "one more token to look back at", 0, 1, counted_trigram),
    Rung("kneser-ney", "Kneser-Ney n-gram", "long contexts that fall back on shorter ones", 0, 1, kneser_ney),
    Rung("mlp", "MLP", "embeddings: tokens that behave alike share what is learned", 16, 8000, mlp),
    Rung("one-head", "One head", "attention: look back at what matters", 6, 5000, lecture("one head")),
    Rung("multi-head", "Multi-head", "several things to look for at once", 6, 5000, lecture("multi-head")),
    Rung("feed-forward", "+ feed-forward", "time to think about what was heard", 8, 5000, lecture("feed-forward")),
    Rung("blocks", "Blocks + residual", "depth that can be trained", 12, 5000, lecture("blocks")),
    Rung("layer-norm", "+ layer norm", "an even footing for every layer", 12, 5000, lecture("layer norm")),
    Rung("scaled-up", "Scaled up", "more of everything, with dropout", 25, 5000, scaled_up),
    Rung("gpt", "Backchat's GPT", "what was learned since: RoPE, Muon, SwiGLU, hashed n-grams", 40, 50_000, gpt),
    Rung("mixture", "GPT and n-gram", "two memories, one voice", 0, 1, mixture, needs="gpt", independent_too=False),
)  # fmt: skip


def choose_rungs(names: str) -> tuple[Rung, ...]:
    """The rungs of a comma-separated list, in the ladder's order; all of them for an empty one.

    Raises TrainingError for a name that is none, with the nearest.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = [rung.name for rung in RUNGS]
    for name in wanted:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise TrainingError(f"--rungs: {name} is not a rung; did you mean {nearest}? There are {', '.join(known)}")
    return tuple(rung for rung in RUNGS if not wanted or rung.name in wanted)
