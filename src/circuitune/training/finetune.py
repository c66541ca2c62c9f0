"""Fine-tuning with the Transformers Trainer: loss on the answer's tokens only, checkpoints in PEFT's format.

    config = ct.RankPlan.uniform(model, rank=8).to_lora_config(model)     # or tuning("dora", model, rank=8)
    result = finetune(model, tokenizer, task.split("train"), TrainingSettings(), config=config,
                      folder=Path("tuned"), evaluate={"test": task.split("test")}, seed=0)

Equal arguments give equal bytes in `folder` (on one thread of one machine; more threads may sum in another order).
"""

from collections.abc import Mapping
from pathlib import Path

from peft import PeftConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from circuitune.core.atomic import ensure_writable_folder
from circuitune.tasks.pairs import PairSet
from circuitune.training.callbacks import Checkpoints, Measurement, ReportProgress
from circuitune.training.course import Course, TrainingResult, encoded, follow_course
from circuitune.training.methods import TrainingSettings
from circuitune.training.resuming import State
from circuitune.training.rows import answer_rows
from circuitune.training.trainer import AnswerTrainer, on_one_device
from circuitune.training.tuning import Adapter, Model, Tuning


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
    inputs = {split: encoded(pairs, tokenizer, model) for split, pairs in evaluate.items()}
    learned = encoded(train, tokenizer, model)
    rows, total = answer_rows(learned), settings.steps(len(learned))

    def trainer(checkpoints: Checkpoints, resumed: State | None, seed: int) -> AnswerTrainer:
        tuning, model = checkpoints.tuning, checkpoints.model
        return AnswerTrainer(
            model=model,
            tuning=tuning,
            resumed=resumed,
            args=_arguments(settings, total, folder, seed, model),
            train_dataset=rows,
            data_collator=rows.batch,
            callbacks=[*tuning.callbacks(model), checkpoints],
        )

    course = Course(
        tuning=config if isinstance(config, Tuning) else Adapter(config),
        rows=rows,
        measurement=Measurement(inputs, label, arm, seed, total),
        learned=learned,
        settings=settings,
        trainer=trainer,
    )
    return follow_course(course, model, tokenizer, folder, progress, resumable)


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
    return on_one_device(arguments)
