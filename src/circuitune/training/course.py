"""What every training has around its steps: checkpoints with accuracy, going on after a kill, tables at the end.

`finetune` and `reinforce` say who takes the steps: a `Course` has the Trainer, and `follow_course` the rest.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import PrinterCallback

from circuitune.core.csvio import write_rows
from circuitune.core.records import AccuracyRow, Record
from circuitune.core.seeding import derived_seed, forked
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.tasks.pairs import PairSet
from circuitune.training.callbacks import Checkpoints, Counting, Measurement, Progress, ReportProgress, Resumable
from circuitune.training.circuit_callback import fingerprint
from circuitune.training.methods import ReinforceSettings, TrainingSettings, checkpoint_steps
from circuitune.training.resuming import Attempts, State, attempt, read_state
from circuitune.training.rows import AnswerRows, require_context
from circuitune.training.tuning import Model, Tuning


class TrainingRow(Record):
    """training.csv: loss of one optimizer step; of a fine-tuning the mean over its answer tokens, in nats."""

    step: int
    loss: float


@dataclass(frozen=True)
class TrainingResult:
    """A finished training.

    Attributes:
        model: the tuned model after the last step, in eval mode; it contains the model that was given.
        rows: accuracy at every checkpoint, as in ``folder/accuracy.csv``.
        steps: the steps of the checkpoints, as in ``folder/checkpoints/step-00000`` and so on.
        folder: where everything was written.
        parameters: how many weights were trained, at the most.
        saved: how many of them the last checkpoint holds; fewer where the method shrinks them.
        step_flops: floating-point operations of one optimizer step, by torch's counter.
        attach_flops: those before the first step, of methods that look at the data first.
    """

    model: Model
    rows: tuple[AccuracyRow, ...]
    steps: tuple[int, ...]
    folder: Path
    parameters: int
    saved: int
    step_flops: int
    attach_flops: int


@dataclass(frozen=True)
class Course:
    """One training, ready to begin or to be gone on with.

    Attributes:
        tuning: what of the model is trained.
        rows: the training rows.
        measurement: what is measured at every checkpoint.
        learned: the pairs that the rows are of.
        settings: how long, how fast, how many checkpoints.
        trainer: the Trainer (one that `Continues`) for checkpoints, a state to go on from and a seed.
        row: what is told of a step.
    """

    tuning: Tuning
    rows: AnswerRows
    measurement: Measurement
    learned: EncodedPairs
    settings: TrainingSettings | ReinforceSettings
    trainer: Callable[[Checkpoints, State | None, int], Any]
    row: type[TrainingRow] = TrainingRow


def follow_course(
    course: Course,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    progress: ReportProgress | None,
    resumable: bool,
) -> TrainingResult:
    """Train `model` into `folder`; with `resumable` an attempt that was killed is gone on with."""
    tuning, measurement, settings = course.tuning, course.measurement, course.settings
    seed = measurement.seed
    steps = checkpoint_steps(measurement.steps, settings.checkpoints, settings.spacing)
    with attempt(folder, _options(course, model)) if resumable else nullcontext() as attempts:
        with FlopCounterMode(display=False) as attaching:
            tuned = tuning.attach(model, course.rows, measurement.steps, derived_seed(seed, "adapter"))
        parameters = sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad)
        checkpoints = Checkpoints(tuned, tuning, tokenizer, steps, folder / "checkpoints", measurement)
        told, flops = _train(course, checkpoints, derived_seed(seed, "training"), progress, attempts)
        write_rows(folder / "accuracy.csv", checkpoints.rows, AccuracyRow)
        write_rows(folder / "training.csv", [course.row(step=step, **own) for step, own in told.items()], course.row)
        if attempts is not None:
            attempts.end()
    final = tuning.finished(tuned).eval()
    return TrainingResult(
        model=final,
        rows=tuple(checkpoints.rows),
        steps=steps,
        folder=folder,
        parameters=parameters,
        saved=checkpoints.saved,
        step_flops=flops,
        attach_flops=attaching.get_total_flops(),
    )


def encoded(pairs: PairSet, tokenizer: PreTrainedTokenizerBase, model: Model) -> EncodedPairs:
    """Pairs as token ids; InputError where one is longer than the model reads."""
    inputs = encode(pairs, tokenizer)
    name = f"the {pairs.part} part of {pairs.name}" if pairs.part else pairs.name
    require_context(inputs, anatomy_of(model).positions, name)
    return inputs


def _options(course: Course, model: Model) -> dict[str, Any]:
    """All that decides what a training comes to, as JSON keeps it; the model by content, which takes a while."""
    measurement = course.measurement
    return {
        **course.tuning.description(),
        **asdict(course.settings),
        "model": fingerprint(model),
        "device": model.device.type,
        "rows": course.learned.digest,
        "seed": measurement.seed,
        "label": measurement.label,
        "arm": measurement.arm,
        "evaluation": {split: inputs.digest for split, inputs in measurement.inputs.items()},
    }


def _train(
    course: Course,
    checkpoints: Checkpoints,
    seed: int,
    progress: ReportProgress | None,
    attempts: Attempts | None,
) -> tuple[dict[int, dict[str, Any]], int]:
    """Run the Trainer; return what it tells of every step, and the operations of one. Random state is restored."""
    newest = None if attempts is None else attempts.newest()
    resumed = None if newest is None else read_state(newest)
    if resumed is not None:
        checkpoints.rows += [AccuracyRow.model_validate(row) for row in resumed.plain["rows"]]
    counting = Counting()
    with forked(seed):  # the Trainer seeds the global state
        trainer = course.trainer(checkpoints, resumed, seed)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(counting)
        if attempts is not None:
            trainer.add_callback(Resumable(checkpoints, attempts, trainer.snapshot))
        if progress is not None:
            trainer.add_callback(Progress(progress))
        checkpoints.model.train()
        try:
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        finally:
            counting.stop()
    return trainer.told, counting.flops
