"""``circuitune plan``: LoRA ranks from the circuits before and after a short fine-tuning, or the base's alone."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import load_model
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.adapters.allocation import RankPlan
    from circuitune.adapters.modules import Model

Rule = Literal["released", "normalised", "destination", "both", "count", "before", "after"]


def plan(
    before: Path,
    after: Path | None = None,
    /,
    *,
    model: str = "nano",
    rank: int = 8,
    critical_rank: int = 32,
    critical_layers: int = 5,
    rule: Rule | None = None,
    allocator: Literal["two-level", "proportional", "water-filling"] = "two-level",
    budget: int | None = None,
    modules: bool = False,
    gate: Literal["warn", "uniform", "off"] = "warn",
    out: Path = Path("circuit_plan.json"),
    json: bool = False,
) -> None:
    """Turn edge scores into LoRA ranks: a high rank for the layers whose edges changed most.

    Writes circuit_plan.json; `circuitune train --plan` and RankPlan.load read it.

    Examples:
      circuitune plan base/scores.safetensors tuned/scores.safetensors --rank 4 --critical-rank 12 --critical-layers 2
      circuitune plan base/scores.safetensors --model my-gpt2          (without a first fine-tuning)
      circuitune plan base/scores.safetensors tuned/scores.safetensors --rule normalised --gate uniform
      circuitune plan base/scores.safetensors tuned/scores.safetensors --modules --allocator water-filling
      --budget 500000

    Parameters
    ----------
    before: Path
        Scores of the base model, as `circuitune discover` writes them.
    after: Path
        Scores of the same model after a short fine-tuning, on the same pairs; without them the base model's decide.
    model: str
        The model to train: a folder, the name of one on the hub, or nano.
    rank: int
        LoRA rank of the ordinary layers.
    critical_rank: int
        LoRA rank of the critical layers; with --budget what the budget allows.
    critical_layers: int
        How many layers are critical; with --modules the same share of all modules is.
    rule: str
        How importance follows from the scores; by default released, or before where there is no AFTER.
    allocator: str
        two-level: a high and a low rank; proportional to importance; water-filling: importance times log(1 + rank).
    budget: int
        Most trainable parameters; by default what the two levels take.
    modules: bool
        Rank every linear module by itself: an edge counts for the modules at both of its ends.
    gate: str
        Where the choice is unstable or no more than chance: warn, or plan the same size uniform; off: do not look.
        Needs scores of every pair (discover --per-example).
    out: Path
        The file to write.
    json: bool
        Print the result as JSON.
    """
    from circuitune.adapters.allocation import rank_plan
    from circuitune.circuits.scores import EdgeScores
    from circuitune.core.atomic import ensure_writable_folder

    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name the file to write, such as {out / 'circuit_plan.json'}.")
    scores = EdgeScores.load(before), EdgeScores.load(after) if after is not None else None
    loaded, _ = load_model(model)
    made = rank_plan(
        *scores,
        rank=rank,
        critical_rank=critical_rank,
        critical_layers=critical_layers,
        rule=rule,
        allocator=allocator,
        budget=budget,
        modules=modules,
        gate=gate,
        model=loaded,
    )
    ensure_writable_folder(out.parent)
    made.save(out)
    _report(made, loaded, budget, out, json)


def _report(made: "RankPlan", model: "Model", budget: int | None, out: Path, json: bool) -> None:
    """Ranks by layer or by module, the number of parameters, and what the gate found."""
    base = model.num_parameters()
    unit, rows = _ranks(made, model)
    if json:
        result: dict[str, Any] = {
            "plan": str(out),
            "critical_layers": list(made.critical_layers),
            "budget": budget,
            "parameters": made.count,
            f"{unit}s": rows,
            "gate": made.gate and {**asdict(made.gate), "passed": made.gate.passed},
        }
        show_json(result)
        return
    show(table([unit, "rank", "importance"], [list(row.values()) for row in rows]))
    if made.critical_layers:
        layers = ", ".join(map(str, made.critical_layers))
        show(f"Critical layers, most important first: {layers} (rule {made.provenance['rule']}).")
    planned = "" if budget is None else f"Budget {budget:,}: "
    show(f"{planned}{made.count:,} trainable parameters, {made.count / (base + made.count):.4%} of the whole.")
    if made.gate is not None:
        show(made.gate.sentence)
    show(f"Plan: {out}")


def _ranks(made: "RankPlan", model: "Model") -> tuple[str, list[dict[str, Any]]]:
    """Rank and importance by layer where all modules of each layer share them, else by module; and which it is."""
    from circuitune.adapters.modules import linear_modules

    modules = linear_modules(model)
    weights = made.importance.per_module(modules) if made.importance else [None] * len(modules)
    facts = [
        (module.layer, made.ranks[name], weight)
        for (name, module), weight in zip(modules.items(), weights, strict=True)
    ]
    layers = list(dict.fromkeys(facts))
    if len(layers) == 1 + max(layer for layer, *_ in layers):
        return "layer", [{"layer": layer, "rank": rank, "importance": weight} for layer, rank, weight in layers]
    named = zip(modules, facts, strict=True)
    return "module", [{"module": name, "rank": rank, "importance": weight} for name, (_, rank, weight) in named]
