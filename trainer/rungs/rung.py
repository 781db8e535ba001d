"""What a rung is: a name, its turn, and a climb that tells its progress and ends with a model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from trainer.ladder_data import LadderData
from trainer.machine import Machine
from trainer.models.language_model import LanguageModel
from trainer.rung_training import Progress
from trainer.settings import ModelTable

EVALUATIONS = 25  # a trained rung, so that its curve has a shape and an audience something to follow


@dataclass(frozen=True)
class Task:
    """What a rung is to be climbed with: at most `steps` and `seconds`. `full_size` asks for the lectures' size where
    a rung would else fit itself to the machine. `first_steps`, unless 0, breaks the lectures' networks
    off after so many of their steps. `kept` are models that a later rung builds on, by rung."""

    data: LadderData
    machine: Machine
    model: ModelTable
    steps: int
    seconds: float
    seed: int
    full_size: bool = False
    first_steps: int = 0
    kept: dict[str, LanguageModel] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.machine.device


@dataclass(frozen=True)
class Update:
    """A rung in training: a model that can be evaluated as it stands, and the training loss since the last update."""

    model: LanguageModel
    progress: Progress
    planned_steps: int


@dataclass(frozen=True)
class Outcome:
    """A rung that is climbed. `pictures` are plain values for the report."""

    model: LanguageModel
    parameters: int
    note: str = ""
    steps: int = 0
    pictures: Mapping[str, Any] = field(default_factory=dict)


Climb = Callable[[Task], Iterator[Update | Outcome]]


@dataclass(frozen=True)
class Rung:
    """One rung: `share` is its part of the time, relative to the others'; it is done after `steps` at the latest.
    It `needs` the model of another rung where that is named."""

    name: str
    title: str
    adds: str
    share: float
    steps: int
    climb: Climb
    needs: str = ""
    independent_too: bool = True  # whether it can be climbed on documents that are not lines of chat or of a text
    largest_vocabulary: int = 1_000_000  # beyond it the rung would not fit into memory

    def fits(self, data: LadderData) -> bool:
        """Whether it can be climbed on this data."""
        return data.vocab_size <= self.largest_vocabulary and (self.independent_too or not data.independent)
