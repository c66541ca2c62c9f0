"""Fine-tuning with the Transformers Trainer: loss on the answer's tokens only, checkpoints in PEFT's format.

    config = ct.RankPlan.uniform(model, rank=8).to_lora_config(model)     # or tuning("dora", model, rank=8)
    result = finetune(model, tokenizer, task.split("train"), TrainingSettings(), config=config,
                      folder=Path("tuned"), evaluate={"test": task.split("test")}, seed=0)

Equal arguments give equal bytes in `folder` (on one thread of one machine; more threads may sum in another order).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.csvio import write_rows
from circuitune.core.records import AccuracyRow, Record
from circuitune.core.seeding import derived_seed, forked
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.tasks.pairs import PairSet
from circuitune.training.callbacks import Checkpoints, Measurement, Progress, ReportProgress, Resumable
from circuitune.training.circuit_callback import fingerprint
from circuitune.training.methods import TrainingSettings, checkpoint_steps
from circuitune.training.resuming import Attempts, attempt, read_state
from circuitune.training.rows import AnswerRows, answer_rows, require_context
from circuitune.training.trainer import AnswerTrainer
from circuitune.training.tuning import Adapter, Model, Tuning


class TrainingRow(Record):
    """training.csv: loss of one optimizer step, the mean over its answer tokens, in nats."""

    step: int
    loss: float


@dataclass(frozen=True)
class TrainingResult:
    """A finished fine-tuning.

    Attributes:
        model: the tuned model after the last step, in eval mode; it contains the base model that was given.
        rows: accuracy at every checkpoint, as in ``folder/accuracy.csv``.
        steps: the steps of the checkpoints, as in ``folder/checkpoints/step-00000`` and so on.
        folder: where everything was written.
        parameters: how many weights were trained, at the most.
        saved: how many of them the last checkpoint holds; fewer where the method shrinks them.
    """

    model: Model
    rows: tuple[AccuracyRow, ...]
    steps: tuple[int, ...]
    folder: Path
    parameters: int
    saved: int


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: PairSet,
    settings: TrainingSettings,
    *,
    config: PeftConfig | Tuning,
    folder: Path,
    evaluate: Mapping[str, PairSet],
    seed: int,
    label: str = "",
    arm: str = "",
    progress: ReportProgress | None = None,
    resumable: bool = False,
) -> TrainingResult:
    """Train an adapter, or all weights, on the clean prompts and answers of `train`.

    Takes ownership of `model`: PEFT puts the adapter into it in place, so load a fresh one for the next run, or get
    the bare model back from ``result.model.unload()``. Random state outside is left as it was.

    Args:
        model: base model without an adapter; trained on the device it is on.
        tokenizer: its tokenizer.
        train: the training pairs; only clean prompts and answers are used.
        settings: how long, how fast, how many checkpoints.
        config: any PEFT configuration, such as ``RankPlan.to_lora_config(model)``, or a method (`tuning`).
        folder: gets ``checkpoints/step-*/``, ``accuracy.csv`` and ``training.csv``; nothing is written elsewhere.
        evaluate: split name -> pairs on which accuracy is measured at each checkpoint.
        seed: of the adapter's initial weights, the order of rows and dropout.
        label: the run's name in the tables.
        arm: the method's name in the tables.
        progress: called after every step with the steps done and the steps in all.
        resumable: keep in `folder` what a killed training needs until it is done, and go on from it: the same call
            ends with the same bytes as one that was never killed.

    Raises:
        InputError: no rows to train or measure on, or one longer than the model reads, an unwritable folder or one
            with an unfinished training of other options, a model that has an adapter already.
        MachineError: the loss or a weight is not finite (names the step), or the disk refuses a file.
    """
    ensure_writable_folder(folder)
    inputs = {split: _encoded(pairs, tokenizer, model) for split, pairs in evaluate.items()}
    learned = _encoded(train, tokenizer, model)
    rows, total = answer_rows(learned), settings.steps(len(learned))
    tuning = config if isinstance(config, Tuning) else Adapter(config)
    measurement = Measurement(inputs, label, arm, seed, total)
    ours = attempt(folder, _options(model, learned, settings, tuning, measurement)) if resumable else nullcontext()
    with ours as attempts:
        tuned = tuning.attach(model, rows, total, derived_seed(seed, "adapter"))
        parameters = sum(parameter.numel() for parameter in tuned.parameters() if parameter.requires_grad)
        steps = checkpoint_steps(total, settings.checkpoints, settings.spacing)
        checkpoints = Checkpoints(tuned, tuning, tokenizer, steps, folder / "checkpoints", measurement)
        losses = _train(checkpoints, rows, settings, derived_seed(seed, "training"), progress, attempts)
        _write_tables(folder, checkpoints.rows, losses)
        if attempts is not None:
            attempts.end()
    final = tuning.finished(tuned).eval()
    return TrainingResult(final, tuple(checkpoints.rows), steps, folder, parameters, checkpoints.saved)


def _options(
    model: PreTrainedModel, rows: EncodedPairs, settings: TrainingSettings, tuning: Tuning, measurement: Measurement
) -> dict[str, Any]:
    """All that decides what a training comes to, as JSON keeps it."""
    return {
        **tuning.description(),
        **asdict(settings),
        "seed": measurement.seed,
        "label": measurement.label,
        "arm": measurement.arm,
        "model": fingerprint(model),
        "rows": rows.digest,
        "evaluation": {split: inputs.digest for split, inputs in measurement.inputs.items()},
    }


def _encoded(pairs: PairSet, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> EncodedPairs:
    """Pairs as token ids, none longer than the model reads."""
    inputs = encode(pairs, tokenizer)
    name = f"the {pairs.part} part of {pairs.name}" if pairs.part else pairs.name
    require_context(inputs, anatomy_of(model).positions, name)
    return inputs


def _write_tables(folder: Path, accuracy: list[AccuracyRow], losses: Mapping[int, float]) -> None:
    write_rows(folder / "accuracy.csv", accuracy, AccuracyRow)
    steps = [TrainingRow(step=step, loss=loss) for step, loss in losses.items()]
    write_rows(folder / "training.csv", steps, TrainingRow)


def _train(
    checkpoints: Checkpoints,
    rows: AnswerRows,
    settings: TrainingSettings,
    seed: int,
    progress: ReportProgress | None,
    attempts: Attempts | None,
) -> dict[int, float]:
    """Run the Trainer and return the loss of every step; random state is restored."""
    model, tuning = checkpoints.model, checkpoints.tuning
    newest = None if attempts is None else attempts.newest()
    resumed = None if newest is None else read_state(newest)
    if resumed is not None:
        checkpoints.rows += [AccuracyRow.model_validate(row) for row in resumed.plain["rows"]]
    with forked(seed):  # the Trainer seeds the global state
        trainer = AnswerTrainer(
            model=model,
            tuning=tuning,
            resumed=resumed,
            args=_arguments(settings, settings.steps(len(rows)), checkpoints.folder.parent, seed, model),
            train_dataset=rows,
            data_collator=rows.batch,
            callbacks=[*tuning.callbacks(model), checkpoints],
        )
        trainer.remove_callback(PrinterCallback)
        if attempts is not None:
            trainer.add_callback(Resumable(checkpoints, attempts, trainer.snapshot))
        if progress is not None:
            trainer.add_callback(Progress(progress))
        model.train()
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    return trainer.losses


def _arguments(settings: TrainingSettings, total: int, folder: Path, seed: int, model: Model) -> TrainingArguments:
    """The Trainer's arguments: it trains, and does nothing else (no files, logs, evaluation or bars of its own)."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=total,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=min(settings.warmup_steps, total // 2),
        lr_scheduler_type="linear",
        max_grad_norm=1.0,
        seed=seed,
        use_cpu=model.device.type == "cpu",
        use_cache=model.config.use_cache,  # as it is: a saved config shall not differ from the base's
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        label_names=["labels"],
        average_tokens_across_devices=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # the model stays where it was loaded: no DataParallel over all visible devices
    return arguments
