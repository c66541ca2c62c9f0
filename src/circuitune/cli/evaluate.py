"""``circuitune evaluate``: how much of a model's behaviour a circuit reproduces."""

from pathlib import Path
from typing import Any

from circuitune.cli.discover import NO_PAIRS, Ablation, Metric, usable
from circuitune.cli.output import say, show, show_json, table
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_model, load_pairs
from circuitune.core.errors import InputError

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


def evaluate(
    file: Path,
    /,
    *,
    model: str = "nano",
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    metric: Metric = "auto",
    ablation: Ablation = "interchange",
    pairs_count: int = 200,
    shares: tuple[float, ...] = SHARES,
    json: bool = False,
) -> None:
    """Measure how faithful a circuit is: the model run with all other edges ablated.

    A scores file is cut to several sizes; a circuit file is taken as it is.

    Examples:
      circuitune evaluate base/scores.safetensors --task add_sub
      circuitune evaluate ioi/circuit.safetensors --model my-gpt2 --pairs ioi.csv

    Parameters
    ----------
    file: Path
        scores.safetensors or circuit.safetensors, as `circuitune discover` writes them.
    model: str
        A model folder (also of a PEFT adapter), the name of one on the hub, or nano.
    metric: str
        auto: the logit difference where wrong answers are known, else kl.
    ablation: str
        What the other edges carry: the corrupted run's activation, zero, or a mean over the prompts.
    pairs_count: int
        How many pairs to use at most; a task's come from its validation split unless --part says otherwise.
    shares: tuple[float, ...]
        Sizes to cut a scores file to, as shares of all edges.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.faithfulness import evaluate as measure
    from circuitune.circuits.scores import EdgeScores
    from circuitune.models.encoding import encode

    outside = [share for share in shares if not 0 < share <= 1]
    if outside:
        raise InputError(f"--shares {outside[0]} is no share of the edges; give numbers above 0, at most 1.")
    loaded_file = read_file(file)
    cuts = [loaded_file.top(share) for share in shares] if isinstance(loaded_file, EdgeScores) else [loaded_file]
    loaded, tokenizer = load_model(model, loading)
    pairs, chosen = load_pairs(source, loaded, tokenizer, metric, "validation")
    sample = usable(pairs, chosen).sample(pairs_count)
    say(f"Running {len(cuts)} circuits on {len(sample)} pairs, metric {chosen} ...")
    results = measure(loaded, encode(sample, tokenizer), cuts, metric=chosen, ablation=ablation)
    rows = [_row(cut, result) for cut, result in zip(cuts, results, strict=True)]
    if json:
        show_json({"pairs": len(sample), "metric": chosen, "circuits": rows})
        return
    show(table(list(rows[0])[:-1], [list(row.values())[:-1] for row in rows]))
    for reason in dict.fromkeys(row["reason"] for row in rows if row["reason"]):
        show(f"No normalised faithfulness: {reason}.")


def read_file(path: Path) -> Any:
    """The scores or the circuit in a file; InputError where it holds neither."""
    from circuitune.circuits.scores import Circuit, EdgeScores
    from circuitune.core.tensors import load

    _, metadata = load(path)
    return EdgeScores.load(path) if metadata.get("kind") == "scores" else Circuit.load(path)


def _row(cut: Any, result: Any) -> dict[str, Any]:
    normalized = result.normalized
    return {
        "edges": len(cut.edges),
        "nodes": len(cut.nodes),
        "faithfulness": normalized.estimate if normalized else None,
        "low": normalized.low if normalized else None,
        "high": normalized.high if normalized else None,
        "model": float(result.model.metric.double().mean()),
        "circuit": float(result.circuit.metric.double().mean()),
        "corrupted": float(result.corrupted.metric.double().mean()),
        "kl": result.kl,
        "accuracy": result.accuracy,
        "reason": result.reason or "",
    }
