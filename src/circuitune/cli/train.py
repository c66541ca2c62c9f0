"""``circuitune train``: fine-tune on the answers of a task."""

from pathlib import Path
from typing import TYPE_CHECKING

from circuitune.cli.discover import NO_PAIRS
from circuitune.cli.output import say, show, show_json, table, working
from circuitune.cli.sources import PairOptions, read_source, report_left_out
from circuitune.core.errors import InputError
from circuitune.training.methods import LEARNING_RATES, PLANNED, MethodName, TrainingSettings, require_ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from circuitune.tasks.pairs import PairSet
    from circuitune.tasks.splits import Part
    from circuitune.training.finetune import TrainingResult


def train(
    *,
    model: str = "nano",
    source: PairOptions = NO_PAIRS,
    method: MethodName = "lora",
    rank: int | None = None,
    plan: Path | None = None,
    epochs: float = 2.0,
    learning_rate: float | None = None,
    batch_size: int = 8,
    accumulation: int = 4,
    checkpoints: int = 10,
    seed: int = 0,
    out: Path = Path("tuned"),
    json: bool = False,
) -> None:
    """Fine-tune: LoRA at one rank or at the ranks of a plan, its relatives, or all weights.

    Trains on the train split, measures accuracy on the validation split at every checkpoint (--part test: on
    the test split, once the settings are chosen), and keeps the checkpoints as PEFT adapters; with --method full
    they are whole models. After a kill the same command goes on from the newest checkpoint.

    Examples:
      circuitune train --task add_sub --rank 8 --out tuned
      circuitune train --task add_sub --method dora --rank 8 --out tuned
      circuitune train --model my-gpt2 --pairs mine.csv --plan circuit_plan.json --out planned

    Parameters
    ----------
    model: str
        A model folder, the name of one on the hub, or nano.
    method: MethodName
        What is trained: all weights, LoRA in one of its forms, or IA3.
    rank: int
        The LoRA rank of every module; for adalora and eva their mean, for truncated what is kept of four times it.
        full and ia3 have none.
    plan: Path
        A rank plan, as `circuitune plan` writes it, for lora, rslora, dora and lora+.
    epochs: float
        Passes over the training rows.
    learning_rate: float
        Its peak; by default 3e-4, for lora+ 1.5e-4, for ia3 and adalora 8e-3, for full 8e-6.
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
    if method in PLANNED and (rank is None) == (plan is None):
        raise InputError("Name the ranks: either --rank N or --plan FILE.")
    require_ranks(method, rank, plan)
    _require_place(out)
    measured = source.part or "validation"
    if measured not in ("validation", "test"):
        raise InputError(f"--part {measured}: accuracy is measured on validation or test.")
    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=LEARNING_RATES.get(method, 3e-4) if learning_rate is None else learning_rate,
        batch_size=batch_size,
        accumulation=accumulation,
        checkpoints=checkpoints,
    )
    _show(_tune(model, source, measured, method, rank, plan, settings, seed, out), method, out, json)


def _require_place(out: Path) -> None:
    """InputError unless the folder is empty, new, or that of a training that was stopped."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    from circuitune.training.resuming import unfinished

    if not unfinished(out):
        raise InputError(f"{out} is a file or holds other files; choose an empty or new folder.")
    say(f"Going on with the unfinished training in {out}.")


def _tune(
    name: str,
    source: PairOptions,
    measured: "Part",
    method: MethodName,
    rank: int | None,
    plan: Path | None,
    settings: TrainingSettings,
    seed: int,
    out: Path,
) -> "TrainingResult":
    """Load what the options name, small files first, and fine-tune."""
    from circuitune.adapters.allocation import RankPlan
    from circuitune.training.catalogue import tuning
    from circuitune.training.finetune import finetune

    given = RankPlan.load(plan) if plan is not None else None
    model, tokenizer = _load(name)
    pairs = _pairs(source, model, tokenizer)
    config = tuning(method, model, rank=rank, plan=given)
    rows = pairs.split("train")
    with working(f"Training on {len(rows)} rows"):
        return finetune(
            model,
            tokenizer,
            rows,
            settings,
            config=config,
            folder=out,
            evaluate={measured: pairs.split(measured)},
            seed=seed,
            label=f"train seed {seed}",
            arm=_arm(method, plan),
            resumable=True,
        )


def _arm(method: MethodName, plan: Path | None) -> str:
    """The method's name in the tables."""
    ranks = "uniform" if plan is None else "plan"
    if method == "lora":
        return ranks
    return method if plan is None else f"{method} {ranks}"


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


def _show(result: "TrainingResult", method: MethodName, out: Path, json: bool) -> None:
    last = f"{out}/checkpoints/step-{result.steps[-1]:05d}"
    kind = "model" if method == "full" else "adapter"
    if json:
        counts = {"parameters": result.parameters, "saved_parameters": result.saved}
        show_json({kind: last, **counts, "accuracy": [row.model_dump(mode="json") for row in result.rows]})
        return
    show(
        table(
            ["step", "epoch", "accuracy", "low", "high", "loss"],
            [[row.step, row.epoch, row.accuracy, row.low, row.high, row.loss] for row in result.rows],
        )
    )
    shrunk = f", of which {result.saved:,} are kept" if result.saved < result.parameters else ""
    show(f"{result.parameters:,} parameters trained{shrunk}.")
    show(f"{kind.capitalize()}: {last}")
