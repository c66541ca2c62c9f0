"""What happens between the steps of a fine-tuning: checkpoints with their accuracy, and progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from circuitune.core.errors import MachineError
from circuitune.core.records import AccuracyRow
from circuitune.core.statistics import wilson
from circuitune.models.answering import answer
from circuitune.models.encoding import EncodedPairs
from circuitune.models.finite import origin
from circuitune.training.resuming import Attempts, State
from circuitune.training.tuning import Model, Tuning

ReportProgress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True)
class Measurement:
    """Which sets accuracy is measured on, and how its rows are named.

    Attributes:
        inputs: split name -> encoded pairs.
        label: name of the training run in the tables.
        arm: name of the method in the tables.
        seed: seed of the run.
        steps: optimizer steps of the run.
    """

    inputs: Mapping[str, EncodedPairs]
    label: str
    arm: str
    seed: int
    steps: int

    def rows(self, model: Model, step: int, epoch: float) -> list[AccuracyRow]:
        """Accuracy of `model` as it is now, one row per set."""
        return [self._row(model, split, inputs, step, epoch) for split, inputs in self.inputs.items()]

    def _row(self, model: Model, split: str, inputs: EncodedPairs, step: int, epoch: float) -> AccuracyRow:
        answers = answer(model, inputs)
        if not bool(answers.loss.isfinite().all()):
            where = origin(model, lambda: answer(model, inputs))
            raise MachineError(f"The loss on the {split} pairs is not finite: {where}; lower the learning rate.")
        correct, examples = int(answers.correct.sum()), len(inputs)
        interval = wilson(correct, examples)
        return AccuracyRow(
            label=self.label,
            arm=self.arm,
            seed=self.seed,
            step=step,
            steps=self.steps,
            epoch=epoch,
            split=split,
            examples=examples,
            correct=correct,
            accuracy=interval.estimate,
            low=interval.low,
            high=interval.high,
            loss=float(answers.loss.double().mean()),
        )


@dataclass
class Checkpoints(TrainerCallback):
    """Saves what is trained and measures accuracy at the given steps (0: before the first).

    Attributes:
        model: the model in training.
        tuning: what of it is saved.
        tokenizer: goes with whole models.
        steps: when.
        folder: checkpoints go to ``folder/step-00000`` and so on.
        measurement: what is measured.
        rows: what was measured so far.
        saved: trained weights in the last checkpoint.
    """

    model: Model
    tuning: Tuning
    tokenizer: PreTrainedTokenizerBase
    steps: tuple[int, ...]
    folder: Path
    measurement: Measurement
    rows: list[AccuracyRow] = field(default_factory=list)
    saved: int = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Checkpoint of what is not trained yet; a training that goes on has it."""
        if state.global_step == 0:
            self._take(0, 0.0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Checkpoint after an optimizer step, if it is one of the given."""
        if state.global_step in self.steps:
            self._take(state.global_step, state.epoch or 0.0)

    def _take(self, step: int, epoch: float) -> None:
        try:
            with self.tuning.as_saved(self.model) as model:
                self.saved = self.tuning.save(model, self.tokenizer, checkpoint_folder(self.folder, step))
                self.rows += self.measurement.rows(model, step, epoch)
        except MachineError as error:
            raise MachineError(f"Step {step}: {error}") from error


@dataclass
class Resumable(TrainerCallback):
    """Keeps all that a killed training needs to go on, after every checkpoint but the first and the last.

    Attributes:
        checkpoints: what has just been saved and measured.
        attempts: where it is kept.
        snapshot: takes the state of the training, and what was measured, as it is now.
    """

    checkpoints: Checkpoints
    attempts: Attempts
    snapshot: Callable[[list[dict[str, Any]]], State]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """After an optimizer step and its checkpoint."""
        if state.global_step in self.checkpoints.steps[1:-1]:
            rows = [row.model_dump(mode="json") for row in self.checkpoints.rows]
            self.attempts.keep(state, self.snapshot(rows))


@dataclass
class Counting(TrainerCallback):
    """Counts the floating-point operations of the first optimizer step that is done here.

    All steps are alike but for the lengths of their rows, so one stands for all; the count changes no number.
    """

    counter: FlopCounterMode = field(default_factory=lambda: FlopCounterMode(display=False))
    counting: bool = False
    done: bool = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """From here on, where nothing was counted yet."""
        if not self.done:
            self.counter.__enter__()
            self.counting = True

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Up to here: before a checkpoint measures accuracy."""
        if not self.done:
            self.stop()
            self.done = True

    def stop(self) -> None:
        """Count no more; also where a step failed."""
        if self.counting:
            self.counter.__exit__(None, None, None)
            self.counting = False

    @property
    def flops(self) -> int:
        """Of one step."""
        return self.counter.get_total_flops()


@dataclass
class Progress(TrainerCallback):
    """Passes on how many steps are done."""

    report: ReportProgress

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """One more step is done."""
        self.report(state.global_step, state.max_steps)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies inside the checkpoints' folder."""
    return folder / f"step-{step:05d}"
