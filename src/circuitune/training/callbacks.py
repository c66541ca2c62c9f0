"""What happens between the steps of a fine-tuning: checkpoints with their accuracy, and progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from circuitune.adapters.lora import save_adapter
from circuitune.core.records import AccuracyRow
from circuitune.core.statistics import wilson
from circuitune.models.answering import answer
from circuitune.models.encoding import EncodedPairs

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

    def rows(self, model: PeftModel, step: int, epoch: float) -> list[AccuracyRow]:
        """Accuracy of `model` as it is now, one row per set."""
        return [self._row(model, split, inputs, step, epoch) for split, inputs in self.inputs.items()]

    def _row(self, model: PeftModel, split: str, inputs: EncodedPairs, step: int, epoch: float) -> AccuracyRow:
        answers = answer(model, inputs)
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
    """Saves the adapter and measures accuracy at the given steps (0: before the first).

    Attributes:
        model: the model in training.
        steps: when.
        folder: checkpoints go to ``folder/step-00000`` and so on.
        measurement: what is measured.
        rows: what was measured so far.
    """

    model: PeftModel
    steps: tuple[int, ...]
    folder: Path
    measurement: Measurement
    rows: list[AccuracyRow] = field(default_factory=list)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Checkpoint of the untrained adapter."""
        self._take(0, 0.0)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Checkpoint after an optimizer step, if it is one of the given."""
        if state.global_step in self.steps:
            self._take(state.global_step, state.epoch or 0.0)

    def _take(self, step: int, epoch: float) -> None:
        save_adapter(self.model, checkpoint_folder(self.folder, step))
        self.rows += self.measurement.rows(self.model, step, epoch)


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
