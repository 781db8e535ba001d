"""The trainer's tables of config.toml. Imports no torch, so that the command line can validate them quickly."""

from typing import Annotated, Literal

from pydantic import Field

from corpus.settings import Table


class TrainerTable(Table):
    """When and how long to train, and on what device."""

    table = "trainer"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    every_messages: Annotated[int, Field(ge=1)] = 1000
    every_minutes: Annotated[float, Field(gt=0)] = 60.0
    minutes: Annotated[float, Field(gt=0)] = 5.0
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    evaluations: Annotated[int, Field(ge=1, le=1000)] = 20
    validation_messages: Annotated[int, Field(ge=4)] = 1500
    patience: Annotated[int, Field(ge=1)] = 6
    keep_runs: Annotated[int, Field(ge=1)] = 5
    seed: int = 1337


class ModelTable(Table):
    """What is trained: the tokenizer and the shape of the GPT."""

    table = "model"
    tokenizer: Literal["bpe", "word", "char", "gpt2"] = "bpe"
    vocab_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    size: Literal["auto", "tiny", "small", "medium", "large", "huge"] = "auto"
    n_layer: Annotated[int, Field(ge=0, le=64)] = 0
    n_head: Annotated[int, Field(ge=0, le=64)] = 0
    n_embd: Annotated[int, Field(ge=0, le=4096)] = 0
    block_size: Annotated[int, Field(ge=0, le=8192)] = 0
    dropout: Annotated[float, Field(ge=-1, lt=1)] = -1.0
    tied: bool = False
    ngram_order: Annotated[int, Field(ge=1, le=12)] = 6


class SamplingTable(Table):
    """How a line is drawn from the model."""

    table = "sampling"
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.8
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.05
    repetition_penalty: Annotated[float, Field(ge=1, le=10)] = 1.1


TRAINER_TABLES: tuple[type[Table], ...] = (TrainerTable, ModelTable, SamplingTable)
