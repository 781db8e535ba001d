"""One training run from chat to checkpoint: counts and network, evaluations, samples, promotion, and the run's diary.

Everything the audience and the operator see of a run passes through here as events; who shows them is not known.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from corpus.errors import BackchatError, CheckpointError
from corpus.slots import SPEAKER_SLOTS, SpeakerWindow
from corpus.transcript import render
from trainer import checkpoint as on_disk
from trainer.checkpoint import Checkpoint, Part
from trainer.evaluate import log_probabilities, loss_of
from trainer.loop import Budget, Progress, World, train
from trainer.machine import Machine
from trainer.material import Chat, Material, prepare, recoded
from trainer.memory import LineMemory
from trainer.metrics import (
    CheckpointWritten,
    Evaluated,
    Event,
    Loss,
    MetricsLog,
    Promoted,
    RolledBack,
    RunFinished,
    RunStarted,
    StepTaken,
)
from trainer.models.gpt import GPT, GPTConfig
from trainer.models.mixture import Counted, Weights, count, mix, weigh, without
from trainer.optim import Rates
from trainer.plan import Plan, make_plan
from trainer.promotion import Verdict, judge, voice_loss
from trainer.sample import Choice, continuations
from trainer.settings import ModelTable, TrainerTable
from trainer.tokenizer import Tokenizer

SAMPLE_TOKENS = 40
STEP_EVENT_SECONDS = 0.5
LOOKS_COST = 6.0  # a look is followed by at least so many times its own time of training


@dataclass(frozen=True)
class Desk:
    """What a run is given besides chat: settings, machine, where to write, the clock, and who watches."""

    trainer: TrainerTable
    model: ModelTable
    machine: Machine
    checkpoints: Path
    watch: Callable[[Event], None] = lambda event: None
    say: Callable[[str], None] = lambda sentence: None
    stop: Callable[[], bool] = lambda: False
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000)


@dataclass
class Result:
    """How a run ended. `folder` is its best checkpoint, None when it wrote none."""

    run: str
    reason: str = ""
    best_step: int | None = None
    best: dict[str, Loss] = field(default_factory=dict)
    folder: Path | None = None
    promoted: bool = False


def run(chat: Chat, desk: Desk, *, minutes: float, init_from: Path | None = None, longest_word: int = 15) -> Result:
    """Train once. `init_from` goes on from a checkpoint's weights and tokenizer instead of from nothing.

    Raises TrainingError when the chat is too little, CheckpointError when something cannot be read or written.
    """
    parent = on_disk.load(init_from) if init_from is not None else None
    tokenizer = Tokenizer.from_json(parent.tokenizer) if parent else None
    material = prepare(
        chat, desk.model, validation_messages=desk.trainer.validation_messages, tokenizer=tokenizer,
        longest_word=longest_word, say=desk.say,
    )  # fmt: skip
    plan = make_plan(
        len(material.train.tokens), minutes, desk.machine.speed, material.tokenizer.vocab_size, desk.model,
        evaluations=desk.trainer.evaluations,
    )  # fmt: skip
    model = _initial(parent, plan, material, desk)
    return _Run(material, plan, model, desk).train()


def _initial(parent: Checkpoint | None, plan: Plan, material: Material, desk: Desk) -> GPT:
    torch.manual_seed(desk.trainer.seed)
    if parent is not None:
        model = GPT.from_arrays(*parent.part("gpt"))
        model.config = replace(model.config, row_dropout=plan.row_dropout)
    else:
        model = GPT(
            GPTConfig(
                vocab_size=material.tokenizer.vocab_size,
                start_token=material.tokenizer.end_token,
                block_size=plan.shape.block_size,
                n_layer=plan.shape.n_layer,
                n_head=plan.shape.n_head,
                n_embd=plan.shape.n_embd,
                tied=desk.model.tied,
                dropout=plan.dropout,
                orders=plan.orders,
                row_dropout=plan.row_dropout,
            )
        )
    model.half_precision = desk.machine.half_precision
    return model.to(desk.machine.device)


class _Run:
    """The state of one run between its evaluations. Under torchrun only the first process writes and speaks."""

    def __init__(self, material: Material, plan: Plan, model: GPT, desk: Desk) -> None:
        self.material, self.plan, self.model, self.desk = material, plan, model, desk
        self.writes = World().rank == 0
        self.began_ms = desk.now_ms()
        self.result = Result(_run_name(self.began_ms, desk.checkpoints))
        self.first = on_disk.latest(desk.checkpoints) is None
        self.best: Loss | None = None
        self.since_best = 0
        self.ngram_part: Part | None = None
        if self.writes:
            self._count()

    def _count(self) -> None:
        """Fit the fast memory on all training lines, and ask it once about the lines scored again and again."""
        material = self.material
        self.desk.say("counting")
        lines = material.train.join(material.held_out)
        self.memory = LineMemory.fit(
            material.message_ids, lines.rows, lines.tokens, lines.starts, vocab_size=material.tokenizer.vocab_size,
            order=self.desk.model.ngram_order, line_end=material.tokenizer.end_token,
        )  # fmt: skip
        ngram = self.memory.ngram
        aside = material.held_out
        apart = [aside.tokens[aside.starts[i] : aside.starts[i + 1]].tolist() for i in range(len(aside))]
        with without(ngram, apart):
            self.counted_aside: Counted = count(ngram, aside.documents())
        self.counted: Counted = count(ngram, material.validation.documents())

    def train(self) -> Result:
        """Evaluate untrained, train, evaluate every so often, promote what may speak."""
        if not self.writes:
            self._follow()
            return self.result
        with MetricsLog(self.desk.checkpoints / self.result.run) as self.log:
            try:
                self._tell(self._started())
                self._evaluate(0)
                self.result.reason = self._steps()
                self._promote_at_the_end()
            except BackchatError as error:
                self.result.reason = str(error)
                raise
            finally:
                self._tell(self._finished())
        self._prune()
        return self.result

    def _steps(self) -> str:
        """The steps; returns why they ended."""
        last_event, last_step, evaluated = 0.0, 0, 0
        every = self.plan.seconds / self.plan.evaluations
        due_seconds, due_share = every, 1 / self.plan.evaluations
        for progress in self._training():
            last_step = progress.step
            if progress.rolled_back:
                self._tell(RolledBack(progress.step, self.desk.now_ms(), progress.rolled_back))
            due = progress.seconds >= due_seconds or progress.share_of_steps >= due_share
            if progress.seconds - last_event >= STEP_EVENT_SECONDS or progress.step == 1 or due:
                last_event = progress.seconds
                self._tell(self._step(progress))
            if due:
                evaluated = progress.step
                took = self._evaluate(progress.step)
                # Looking must not eat up the time for learning, nor the steps of a run that is quick with them.
                due_seconds = progress.seconds + took + max(every, LOOKS_COST * took)
                due_share = progress.share_of_steps + 1 / self.plan.evaluations
                if self.since_best >= self.desk.trainer.patience:
                    return f"no better in {self.since_best} looks at the validation messages"
        if self.desk.stop():
            return "stopped"
        if evaluated < last_step:
            self._evaluate(last_step)
        return "the plan is done"

    def _training(self) -> Iterator[Progress]:
        budget = Budget(self.plan.most_steps, self.plan.seconds, self.plan.batch_size, self.desk.trainer.seed)
        rates = Rates(matrices=Rates.matrices * self.plan.matrices_rate)
        return train(self.model, self.material.train.tokens, budget, rates, stop=self.desk.stop)

    def _follow(self) -> None:
        """What the other processes of a torchrun do: the same steps, nothing else."""
        for _ in self._training():
            pass

    def _evaluate(self, step: int) -> float:
        """Look at validation, say something, keep what is better; returns how many seconds that took."""
        began = time.monotonic()
        losses, weights = self._losses()
        sample = self._sample()
        spoken = voice_loss(losses)
        assert spoken is not None
        better = self.best is None or spoken.bits_per_character < self.best.bits_per_character
        if better:
            self.best, self.since_best = spoken, 0
            self.result.best_step, self.result.best = step, losses
        else:
            self.since_best += 1
        self._tell(Evaluated(step, self.desk.now_ms(), time.monotonic() - began, losses, sample, better))
        if better or self.first:
            folder = self._save(step, losses, weights)
            if better:
                self.result.folder = folder
            if self.first:
                self._promote(folder, judge(losses, None, first_run=True))
            self._drop_others(folder)
        return time.monotonic() - began

    def _losses(self) -> tuple[dict[str, Loss], Weights]:
        """All three on the same validation messages, at weights fitted on the training lines that were held out."""
        aside = log_probabilities(self.model, self.material.held_out)
        weights = weigh(self.counted_aside, aside, self.memory.ngram.familiarities)
        scores = log_probabilities(self.model, self.material.validation)
        by_model = {"gpt": scores, "ngram": self.counted.ngram, "mixture": mix(weights, self.counted, scores)}
        validation, unseen = self.material.validation, self.material.unseen
        return {name: loss_of(each, validation, unseen) for name, each in by_model.items()}, weights

    def _sample(self) -> str:
        """A line by the network alone: what the audience watches become words."""
        tokenizer = self.material.tokenizer
        slots = [tokenizer.slot_token(slot) for slot in range(SPEAKER_SLOTS)]
        (drawn,) = continuations(
            self.model, [tokenizer.end_token, slots[-1]], count=1, max_tokens=SAMPLE_TOKENS, min_tokens=1,
            stop=(tokenizer.end_token,), choice=Choice(), seed=self.desk.trainer.seed + (self.result.best_step or 0),
            forbidden=slots,
        )  # fmt: skip
        return render(tokenizer.decode_parts(drawn.tokens), SpeakerWindow()).strip()

    def _save(self, step: int, losses: Mapping[str, Loss], weights: Weights) -> Path:
        if self.ngram_part is None:
            self.ngram_part = Part({"order": self.memory.ngram.order}, self.memory.to_arrays())
        folder = on_disk.save(
            self.desk.checkpoints,
            Checkpoint(
                run=self.result.run,
                step=step,
                created_ms=self.desk.now_ms(),
                tokenizer=self.material.tokenizer.to_json(),
                parts={
                    "gpt": Part(self.model.config_json(), self.model.arrays()),
                    "ngram": self.ngram_part,
                    "mixture": Part(weights.to_json(), {}),
                },
                losses=losses,
                trained_messages=len(self.material.message_ids),
                removals=self.material.chat.removals,
                seen=self.material.seen_rows,
                settings={"plan": self.plan.sentence, **self.desk.model.model_dump()},
            ),
        )
        self.ngram_part = Part(self.ngram_part.config, folder=folder)
        self._tell(CheckpointWritten(step, self.desk.now_ms(), folder.relative_to(self.desk.checkpoints).as_posix()))
        return folder

    def _promote_at_the_end(self) -> None:
        """A later run speaks only if its best beats the serving checkpoint on today's validation messages."""
        folder = self.result.folder
        if folder is None:
            return
        if self.first:
            if on_disk.latest(self.desk.checkpoints) != folder:
                self._promote(folder, Verdict(True, "the best of the first run"))
            return
        serving = on_disk.latest(self.desk.checkpoints)
        old: dict[str, Loss] | None = None
        if serving is not None:
            try:
                old = judged_by(serving, self.material, self.desk.machine)
            except CheckpointError as error:
                self.desk.say(f"the serving checkpoint cannot be read, so anything is better: {error}")
        unclean = serving is not None and on_disk.forgotten(serving) > 0
        self._promote(folder, judge(self.result.best, old, first_run=False, serving_forgotten=unclean))

    def _promote(self, folder: Path, verdict: Verdict) -> None:
        if verdict.promote:
            on_disk.promote(self.desk.checkpoints, folder)
            self.result.promoted = True
        name = folder.relative_to(self.desk.checkpoints).as_posix()
        self._tell(Promoted(self.desk.now_ms(), name, verdict.promote, verdict.reason))

    def _drop_others(self, newest: Path) -> None:
        """Of a run, its best, its newest and the serving checkpoint are kept."""
        keep = {newest, self.result.folder or newest, on_disk.latest(self.desk.checkpoints) or newest}
        on_disk.prune(self.desk.checkpoints / self.result.run, keep)

    def _prune(self) -> None:
        on_disk.prune_runs(self.desk.checkpoints, self.desk.trainer.keep_runs)

    def _tell(self, event: Event) -> None:
        self.log.write(event)
        self.desk.watch(event)

    def _started(self) -> RunStarted:
        material = self.material
        return RunStarted(
            run=self.result.run,
            time_ms=self.began_ms,
            device=str(self.model.device),
            parameters=self.model.parameters_count,
            vocab_size=material.tokenizer.vocab_size,
            train_messages=len(material.message_ids),
            validation_messages=len(material.chat.validation),
            train_tokens=len(material.train.tokens) + len(material.held_out.tokens),
            planned_steps=self.plan.steps,
            plan=self.plan.sentence,
        )

    def _step(self, progress: Progress) -> StepTaken:
        return StepTaken(
            progress.step, self.desk.now_ms(), progress.nats_per_token, progress.rate_share, progress.tokens_per_second,
            max(0.0, progress.seconds / max(progress.done, 1e-9) - progress.seconds),
        )  # fmt: skip

    def _finished(self) -> RunFinished:
        now_ms = self.desk.now_ms()
        seconds = (now_ms - self.began_ms) / 1000
        step = self.result.best_step
        return RunFinished(step or 0, now_ms, seconds, self.result.reason or "failed", step, self.result.best)


def judged_by(folder: Path, material: Material, machine: Machine) -> dict[str, Loss]:
    """The losses of a checkpoint on the validation messages of another run. Raises CheckpointError."""
    checkpoint = on_disk.load(folder)
    tokenizer = Tokenizer.from_json(checkpoint.tokenizer)
    validation = recoded(material, tokenizer)
    model = GPT.from_arrays(*checkpoint.part("gpt")).to(machine.device)
    try:
        memory = LineMemory.from_arrays(checkpoint.part("ngram")[1])
        weights = Weights.from_json(checkpoint.part("mixture")[0])
    except ValueError as error:
        raise CheckpointError(f"checkpoint {checkpoint.name} is damaged ({error}); promote another one") from error
    counted = count(memory.ngram, validation.documents(), weights.recalls)
    scores = log_probabilities(model, validation)
    by_model = {"gpt": scores, "ngram": counted.ngram, "mixture": mix(weights, counted, scores)}
    return {name: loss_of(each, validation, material.unseen) for name, each in by_model.items()}


def _run_name(now_ms: int, checkpoints: Path) -> str:
    """The time in UTC, which sorts; a second run in the same second gets a letter."""
    name = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
    return next(
        each for each in (name, *(f"{name}{letter}" for letter in "bcdefgh")) if not (checkpoints / each).exists()
    )
