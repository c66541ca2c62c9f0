"""``circuitune train``: fine-tune with LoRA on the answers of a task."""

from pathlib import Path
from typing import TYPE_CHECKING

from circuitune.cli.discover import NO_PAIRS
from circuitune.cli.output import show, show_json, table, working
from circuitune.cli.sources import PairOptions, read_source, report_left_out
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from circuitune.tasks.pairs import PairSet
    from circuitune.tasks.splits import Part
    from circuitune.training.finetune import TrainingResult
    from circuitune.training.methods import TrainingSettings


def train(
    *,
    model: str = "nano",
    source: PairOptions = NO_PAIRS,
    rank: int | None = None,
    plan: Path | None = None,
    epochs: float = 2.0,
    learning_rate: float = 3e-4,
    batch_size: int = 8,
    accumulation: int = 4,
    checkpoints: int = 10,
    seed: int = 0,
    out: Path = Path("tuned"),
    json: bool = False,
) -> None:
    """Fine-tune with LoRA: one rank everywhere, or the ranks of a plan.

    Trains on the train split, measures accuracy on the validation split at every checkpoint (--part test: on
    the test split, once the settings are chosen), and keeps the checkpoints as PEFT adapters.

    Examples:
      circuitune train --task add_sub --rank 8 --out tuned
      circuitune train --model my-gpt2 --pairs mine.csv --plan circuit_plan.json --out planned

    Parameters
    ----------
    model: str
        A model folder, the name of one on the hub, or nano.
    rank: int
        The LoRA rank of every module.
    plan: Path
        A rank plan, as `circuitune plan` writes it.
    epochs: float
        Passes over the training rows.
    learning_rate: float
        Its peak.
    batch_size: int
        Rows per forward pass.
    accumulation: int
        Forward passes per optimizer step.
    checkpoints: int
        How many checkpoints to keep, apart from the one at step 0.
    seed: int
        Of the adapter's initial weights and the order of rows.
    out: Path
        The folder to write to.
    json: bool
        Print the result as JSON.
    """
    from circuitune.training.methods import TrainingSettings

    if (rank is None) == (plan is None):
        raise InputError("Name the ranks: either --rank N or --plan FILE.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is a file or holds other files; choose an empty or new folder.")
    measured = source.part or "validation"
    if measured not in ("validation", "test"):
        raise InputError(f"--part {measured}: accuracy is measured on validation or test.")
    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        accumulation=accumulation,
        checkpoints=checkpoints,
    )
    _show(_tune(model, source, measured, rank, plan, settings, seed, out), out, json)


def _tune(
    name: str,
    source: PairOptions,
    measured: "Part",
    rank: int | None,
    plan: Path | None,
    settings: "TrainingSettings",
    seed: int,
    out: Path,
) -> "TrainingResult":
    """Load what the options name, small files first, and fine-tune."""
    from circuitune.adapters.allocation import RankPlan
    from circuitune.training.finetune import finetune

    given = RankPlan.load(plan) if plan is not None else None
    model, tokenizer = _load(name)
    pairs = _pairs(source, model, tokenizer)
    ranks = given.resolve(model) if given is not None else RankPlan.uniform(model, rank=rank)
    rows = pairs.split("train")
    with working(f"Training on {len(rows)} rows, {ranks.parameters(model):,} parameters"):
        return finetune(
            model,
            tokenizer,
            rows,
            settings,
            config=ranks.to_lora_config(model),
            folder=out,
            evaluate={measured: pairs.split(measured)},
            seed=seed,
            label=f"train seed {seed}",
            arm="plan" if plan is not None else "uniform",
        )


def _load(name: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model and its tokenizer; adapters will name their base as the user does."""
    from circuitune.experiments.inputs import load_whole

    model, tokenizer = load_whole(name, None)
    model.name_or_path = name
    return model, tokenizer


def _pairs(source: PairOptions, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> "PairSet":
    """The valid pairs, all of them, none longer than the model reads."""
    from circuitune.experiments.inputs import require_context
    from circuitune.tasks.checks import check

    checked = check(read_source(source), tokenizer, strict=source.strict)
    report_left_out(checked.left_out)
    require_context(checked.pairs, model, tokenizer)
    return checked.pairs


def _show(result: "TrainingResult", out: Path, json: bool) -> None:
    last = f"{out}/checkpoints/step-{result.steps[-1]:05d}"
    if json:
        show_json({"adapter": last, "accuracy": [row.model_dump(mode="json") for row in result.rows]})
        return
    show(
        table(
            ["step", "epoch", "accuracy", "low", "high", "loss"],
            [[row.step, row.epoch, row.accuracy, row.low, row.high, row.loss] for row in result.rows],
        )
    )
    show(f"Adapter: {last}")
