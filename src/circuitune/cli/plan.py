"""``circuitune plan``: LoRA ranks from the circuits before and after a short fine-tuning."""

from pathlib import Path
from typing import Any, Literal

from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import load_model
from circuitune.core.errors import InputError

Rule = Literal["released", "normalised", "destination", "both", "count", "before", "after"]


def plan(
    before: Path,
    after: Path,
    /,
    *,
    model: str = "nano",
    rank: int = 8,
    critical_rank: int = 32,
    critical_layers: int = 5,
    rule: Rule = "released",
    out: Path = Path("circuit_plan.json"),
    json: bool = False,
) -> None:
    """Turn two sets of edge scores into LoRA ranks: a high rank for the layers whose edges changed most.

    Writes circuit_plan.json; `circuitune train --plan` and RankPlan.load read it.

    Example:
      circuitune plan base/scores.safetensors tuned/scores.safetensors --model nano --rank 4 --critical-rank 12
      --critical-layers 2

    Parameters
    ----------
    before: Path
        Scores of the base model, as `circuitune discover` writes them.
    after: Path
        Scores of the same model after a short fine-tuning, on the same pairs.
    model: str
        The model to train: a folder, the name of one on the hub, or nano.
    rank: int
        LoRA rank of the ordinary layers.
    critical_rank: int
        LoRA rank of the critical layers.
    critical_layers: int
        How many layers are critical.
    rule: str
        How a layer's importance follows from the scores.
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
    scores = EdgeScores.load(before), EdgeScores.load(after)
    loaded, _ = load_model(model)
    made = rank_plan(
        *scores, rank=rank, critical_rank=critical_rank, critical_layers=critical_layers, rule=rule, model=loaded
    )
    ensure_writable_folder(out.parent)
    made.save(out)
    parameters = made.parameters(loaded)
    base = loaded.num_parameters()
    layers = _layers(made, loaded)
    if json:
        show_json(
            {
                "plan": str(out),
                "critical_layers": list(made.critical_layers),
                "parameters": parameters,
                "layers": layers,
            }
        )
        return
    show(table(["layer", "rank", "importance"], [list(layer.values()) for layer in layers]))
    show(f"Critical layers, most important first: {', '.join(map(str, made.critical_layers))} (rule {rule}).")
    show(f"{parameters:,} trainable parameters, {parameters / (base + parameters):.4%} of the whole.")
    show(f"Plan: {out}")


def _layers(made: Any, model: Any) -> list[dict[str, Any]]:
    """Rank and importance by layer."""
    from circuitune.models.anatomy import anatomy_of

    ranks = [made.ranks[block.linears[0]] for block in anatomy_of(model).blocks]
    return [
        {"layer": layer, "rank": rank, "importance": value}
        for layer, (rank, value) in enumerate(zip(ranks, made.importance.values, strict=True))
    ]
