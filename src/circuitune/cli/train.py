"""``circuitune train``: fine-tune on the answers of a task, or reinforce them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from circuitune.cli.discover import NO_PAIRS
from circuitune.cli.output import say, show, show_json, table, working
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, read_source, report_left_out
from circuitune.core.errors import InputError
from circuitune.training.methods import (
    LEARNING_RATES,
    PLANNED,
    MethodName,
    Reinforcement,
    ReinforceSettings,
    TrainingSettings,
    require_ranks,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from circuitune.experiments.inputs import Model
    from circuitune.tasks.pairs import PairSet
    from circuitune.tasks.splits import Part
    from circuitune.training.course import TrainingResult

    Settings = TrainingSettings | ReinforceSettings


@Parameter(name="*")
@dataclass(frozen=True)
class FinetuningOptions:
    """What the methods that learn from answers are told beside the rest."""

    epochs: float | None = None
    "Passes over the training rows; by default 2."
    accumulation: int | None = None
    "Forward passes per optimizer step; by default 4."


@Parameter(name="*")
@dataclass(frozen=True)
class ReinforcementOptions:
    """What grpo and rloo are told beside the rest."""

    steps: int | None = None
    "For grpo and rloo: optimizer steps; by default 200."
    group: int | None = None
    "For grpo and rloo: completions per prompt; by default 8."
    temperature: float | None = None
    "For grpo and rloo: of the completions; by default 1."
    beta: float | None = None
    "For grpo and rloo: weight of the divergence from the model that they began with; by default 0."


FINETUNING, REINFORCEMENT = FinetuningOptions(), ReinforcementOptions()


def train(
    *,
    model: str = "nano",
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    method: MethodName | Reinforcement = "lora",
    rank: int | None = None,
    plan: Path | None = None,
    finetuning: FinetuningOptions = FINETUNING,
    reinforcement: ReinforcementOptions = REINFORCEMENT,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    checkpoints: int = 10,
    seed: int = 0,
    out: Path = Path("tuned"),
    json: bool = False,
) -> None:
    """Fine-tune: LoRA at one rank or at the ranks of a plan, its relatives, or all weights; or reinforce.

    Trains on the train split, measures accuracy on the validation split at every checkpoint (--part test: on
    the test split, once the settings are chosen), and keeps the checkpoints as PEFT adapters; with --method full
    they are whole models. After a kill the same command goes on from the newest checkpoint.

    grpo and rloo train on rewards in place of answers: 1 for a completion that is the answer, else 0. They go on with
    the LoRA adapter that --model names, or begin a new one with --rank or --plan, and need circuitune[rl].

    Examples:
      circuitune train --task add_sub --rank 8 --out tuned
      circuitune train --task add_sub --method dora --rank 8 --out tuned
      circuitune train --model my-gpt2 --pairs mine.csv --plan circuit_plan.json --out planned
      circuitune train --model tuned/checkpoints/step-00040 --task add_sub --method grpo --out reinforced

    Parameters
    ----------
    model: str
        A model folder, the name of one on the hub, or nano; for grpo and rloo also the folder of a LoRA adapter.
    method: MethodName | Reinforcement
        What is trained: all weights, LoRA in one of its forms, or IA3; grpo and rloo: LoRA, on rewards.
    rank: int
        The LoRA rank of every module; for adalora and eva their mean, for truncated what is kept of four times it.
        full and ia3 have none.
    plan: Path
        A rank plan, as `circuitune plan` writes it, for lora, rslora, dora, lora+, grpo and rloo.
    learning_rate: float
        Its peak; by default 3e-4, for lora+ 1.5e-4, for ia3 and adalora 8e-3, for full 8e-6, for grpo and rloo 1e-3.
    batch_size: int
        Rows per forward pass, by default 8; for grpo and rloo prompts per step, by default 16.
    checkpoints: int
        How many checkpoints to keep, apart from the one at step 0.
    seed: int
        Of the adapter's initial weights, the order of rows and the completions.
    out: Path
        The folder to write to.
    json: bool
        Print the result as JSON.
    """
    if rank is not None and plan is not None:
        raise InputError("Name the ranks: either --rank N or --plan FILE.")
    given = {"learning_rate": learning_rate, "checkpoints": checkpoints}
    if method == "grpo" or method == "rloo":
        _refuse(method, asdict(finetuning))
        settings = ReinforceSettings(
            **_named({**given, **asdict(reinforcement), "method": method, "prompts": batch_size})
        )
    else:
        _refuse(method, asdict(reinforcement))
        if method in PLANNED and rank is None and plan is None:
            raise InputError("Name the ranks: either --rank N or --plan FILE.")
        require_ranks(method, rank, plan)
        usual = {"learning_rate": LEARNING_RATES.get(method), **_named(given)}
        settings = TrainingSettings(**_named({**usual, **asdict(finetuning), "batch_size": batch_size}))
    _require_place(out)
    measured = source.part or "validation"
    if measured not in ("validation", "test"):
        raise InputError(f"--part {measured}: accuracy is measured on validation or test.")
    _show(_tune(model, loading, source, measured, method, rank, plan, settings, seed, out), method, out, json)


def _named(options: dict[str, Any]) -> dict[str, Any]:
    """Those that were given; the settings have defaults for the others."""
    return {name: value for name, value in options.items() if value is not None}


def _refuse(method: str, options: dict[str, Any]) -> None:
    """InputError where an option was given that the method does not have."""
    for name in _named(options):
        raise InputError(f"Method {method} has no --{name}; leave it out.")


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
    loading: ModelOptions,
    source: PairOptions,
    measured: "Part",
    method: MethodName | Reinforcement,
    rank: int | None,
    plan: Path | None,
    settings: "Settings",
    seed: int,
    out: Path,
) -> "TrainingResult":
    """Load what the options name, small files first, and train."""
    from circuitune.adapters.allocation import RankPlan

    given = RankPlan.load(plan) if plan is not None else None
    names = {"seed": seed, "label": f"train seed {seed}", "arm": _arm(method, plan)}
    if method == "grpo" or method == "rloo":
        assert isinstance(settings, ReinforceSettings)
        from circuitune.training.reinforce import reinforce  # what is missing is said before anything is loaded

        model, tokenizer = _load_rewarded(name, loading, fresh=rank is not None or given is not None)
        train, evaluate = _pairs(source, measured, model, tokenizer)
        if rank is not None:
            given = RankPlan.uniform(model, rank=rank)
        config = None if given is None else given.to_lora_config(model)
        with working(f"Training on {len(train)} prompts"):
            return reinforce(
                model,
                tokenizer,
                train,
                settings,
                config=config,
                folder=out,
                evaluate=evaluate,
                resumable=True,
                **names,
            )
    assert isinstance(settings, TrainingSettings)
    from circuitune.training.catalogue import tuning
    from circuitune.training.finetune import finetune

    model, tokenizer = _load_whole(name, loading)
    train, evaluate = _pairs(source, measured, model, tokenizer)
    config = tuning(method, model, rank=rank, plan=given)
    with working(f"Training on {len(train)} rows"):
        return finetune(
            model, tokenizer, train, settings, config=config, folder=out, evaluate=evaluate, resumable=True, **names
        )


def _arm(method: MethodName | Reinforcement, plan: Path | None) -> str:
    """The method's name in the tables."""
    ranks = "uniform" if plan is None else "plan"
    if method == "lora":
        return ranks
    return method if plan is None else f"{method} {ranks}"


def _load_whole(name: str, loading: ModelOptions) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model and its tokenizer; adapters will name their base as the user does."""
    from circuitune.experiments.inputs import load_whole

    model, tokenizer = load_whole(name, **asdict(loading))
    model.name_or_path = name
    return model, tokenizer


def _load_rewarded(name: str, loading: ModelOptions, fresh: bool) -> "tuple[Model, PreTrainedTokenizerBase]":
    """The same for a fresh adapter, or else an adapter to go on with; InputError for an adapter on an adapter."""
    from peft import PeftModel

    from circuitune.models.loading import load

    model, tokenizer = load(name, **asdict(loading))
    if isinstance(model, PeftModel) and fresh:
        raise InputError(f"{name} is an adapter with ranks of its own; leave out --rank and --plan to go on with it.")
    if not isinstance(model, PeftModel):
        if not fresh:
            raise InputError(f"{name} has no adapter to go on with; begin one with --rank N or --plan FILE.")
        model.name_or_path = name
    return model, tokenizer


def _pairs(
    source: PairOptions, measured: "Part", model: "Model", tokenizer: "PreTrainedTokenizerBase"
) -> "tuple[PairSet, dict[str, PairSet]]":
    """The train part of the valid pairs, none longer than the model reads, and what accuracy is measured on."""
    from circuitune.experiments.inputs import require_context
    from circuitune.tasks.checks import check

    pairs = read_source(source)
    if source.chat:
        pairs = pairs.chat(tokenizer)
    checked = check(pairs, tokenizer, multi_token=source.multi_token, strict=source.strict)
    report_left_out(checked.left_out)
    require_context(checked.pairs, model, tokenizer)
    return checked.pairs.split("train"), {measured: checked.pairs.split(measured)}


def _show(result: "TrainingResult", method: str, out: Path, json: bool) -> None:
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
