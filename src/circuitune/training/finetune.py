"""Fine-tuning with the Transformers Trainer: loss on the answer's tokens only, checkpoints in PEFT's format.

    config = ct.RankPlan.uniform(model, rank=8).to_lora_config(model)
    result = finetune(model, tokenizer, task.split("train"), TrainingSettings(), config=config,
                      folder=Path("tuned"), evaluate={"test": task.split("test")}, seed=0)

Equal arguments give equal bytes in `folder` (on one thread of one machine; more threads may sum in another order).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from circuitune.adapters.lora import attach
from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.csvio import write_rows
from circuitune.core.records import AccuracyRow, Record
from circuitune.core.seeding import derived_seed, forked
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.tasks.pairs import PairSet
from circuitune.training.callbacks import Checkpoints, Measurement, Progress, ReportProgress
from circuitune.training.methods import TrainingSettings, checkpoint_steps
from circuitune.training.rows import AnswerRows, answer_rows, require_context
from circuitune.training.trainer import AnswerTrainer


class TrainingRow(Record):
    """training.csv: loss of one optimizer step, the mean over its answer tokens, in nats."""

    step: int
    loss: float


@dataclass(frozen=True)
class TrainingResult:
    """A finished fine-tuning.

    Attributes:
        model: the adapted model after the last step, in eval mode; it contains the base model that was given.
        rows: accuracy at every checkpoint, as in ``folder/accuracy.csv``.
        steps: the steps of the checkpoints, as in ``folder/checkpoints/step-00000`` and so on.
        folder: where everything was written.
    """

    model: PeftModel
    rows: tuple[AccuracyRow, ...]
    steps: tuple[int, ...]
    folder: Path


def finetune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: PairSet,
    settings: TrainingSettings,
    *,
    config: PeftConfig,
    folder: Path,
    evaluate: Mapping[str, PairSet],
    seed: int,
    label: str = "",
    arm: str = "",
    progress: ReportProgress | None = None,
) -> TrainingResult:
    """Train an adapter on the clean prompts and answers of `train`.

    Takes ownership of `model`: PEFT puts the adapter into it in place, so load a fresh one for the next run, or get
    the bare model back from ``result.model.unload()``. Random state outside is left as it was.

    Args:
        model: base model without an adapter; trained on the device it is on.
        tokenizer: its tokenizer.
        train: the training pairs; only clean prompts and answers are used.
        settings: how long, how fast, how many checkpoints.
        config: any PEFT configuration, such as ``RankPlan.to_lora_config(model)``.
        folder: gets ``checkpoints/step-*/``, ``accuracy.csv`` and ``training.csv``; nothing is written elsewhere.
        evaluate: split name -> pairs on which accuracy is measured at each checkpoint.
        seed: of the adapter's initial weights, the order of rows and dropout.
        label: the run's name in the tables.
        arm: the method's name in the tables.
        progress: called after every step with the steps done and the steps in all.

    Raises:
        InputError: no rows to train or measure on, or one longer than the model reads, an unwritable folder, a model
            that has an adapter already.
        MachineError: the loss or a weight is not finite (names the step), or the disk refuses a file.
    """
    ensure_writable_folder(folder)
    inputs = {split: _encoded(pairs, tokenizer, model) for split, pairs in evaluate.items()}
    rows = answer_rows(_encoded(train, tokenizer, model))
    total = settings.steps(len(rows))
    adapted = attach(model, config, derived_seed(seed, "adapter"))
    checkpoints = Checkpoints(
        adapted,
        checkpoint_steps(total, settings.checkpoints, settings.spacing),
        folder / "checkpoints",
        Measurement(inputs, label, arm, seed, total),
    )
    callbacks: list[TrainerCallback] = [checkpoints, *([Progress(progress)] if progress else [])]
    losses = _train(adapted, rows, settings, folder, derived_seed(seed, "training"), callbacks)
    _write_tables(folder, checkpoints.rows, losses)
    return TrainingResult(adapted.eval(), tuple(checkpoints.rows), checkpoints.steps, folder)


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
    model: PeftModel,
    rows: AnswerRows,
    settings: TrainingSettings,
    folder: Path,
    seed: int,
    callbacks: list[TrainerCallback],
) -> dict[int, float]:
    """Run the Trainer and return the loss of every step; random state and the model's config are restored."""
    use_cache = model.config.use_cache
    with forked(seed):  # the Trainer seeds the global state
        trainer = AnswerTrainer(
            model=model,
            args=_arguments(settings, settings.steps(len(rows)), folder, seed, model.device.type == "cpu"),
            train_dataset=rows,
            data_collator=rows.batch,
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)
        model.train()
        try:
            trainer.train()
        finally:
            model.config.use_cache = use_cache
    return trainer.losses


def _arguments(settings: TrainingSettings, total: int, folder: Path, seed: int, use_cpu: bool) -> TrainingArguments:
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
        use_cpu=use_cpu,
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
