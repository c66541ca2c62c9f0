"""``circuitune compare``: what is added, removed and kept between two circuits."""

from pathlib import Path
from typing import Any, Literal

from circuitune.cli.discover import NO_PAIRS, usable
from circuitune.cli.evaluate import read_file
from circuitune.cli.output import say, show, show_json, table
from circuitune.cli.sources import PairOptions, load_model, load_pairs
from circuitune.core.errors import InputError


def compare(
    before: str,
    after: str,
    /,
    *,
    source: PairOptions = NO_PAIRS,
    share: float = 0.05,
    metric: Literal["auto", "logit_diff", "kl", "nll"] = "auto",
    pairs_count: int = 200,
    json: bool = False,
) -> None:
    """Say what changed between two circuits: edges and nodes added, removed and kept, and where.

    Each side is a saved circuit or scores file, or a model; models need --task or --pairs.

    Examples:
      circuitune compare base/circuit.safetensors tuned/circuit.safetensors
      circuitune compare nano adapters/step-00500 --task add_sub

    Parameters
    ----------
    before: str
        A circuit or scores file, a model folder, the name of a model on the hub, or nano.
    after: str
        The same.
    share: float
        Share of all edges that scores are cut to.
    metric: str
        For models: auto is the logit difference where wrong answers are known, else kl.
    pairs_count: int
        For models: how many pairs to use at most.
    json: bool
        Print the result as JSON, with the names of all changed edges and nodes.
    """
    from circuitune.dynamics.change import compare as between

    if not 0 < share <= 1:
        raise InputError(f"--share {share} is no share of the edges; give a number above 0, at most 1.")
    sides = (before, after)
    models = [side for side in sides if not _is_file(side)]
    if models and source.task is None and source.pairs is None:
        raise InputError(f"{models[0]} is no file, so it is taken for a model: name pairs with --task or --pairs.")
    files = {side: read_file(Path(side)) for side in sides if _is_file(side)}
    old, new = _circuits(sides, files, source, metric, pairs_count)
    change = between(old, new, share)
    sets = {"nodes": change.nodes, "edges": change.edges}
    if json:
        show_json(
            {
                **{kind: {**_counts(part), "names": _names(part)} for kind, part in sets.items()},
                "edges_at_changed_nodes": change.edges_at_changed_nodes,
            }
        )
        return
    rows = [[kind, *_counts(part).values()] for kind, part in sets.items()]
    show(table(["kind", "before", "after", "added", "removed", "kept", "jaccard", "rate"], rows))
    show(f"{change.edges_at_changed_nodes} of the changed edges touch a changed node.")
    layers = [
        [layer.layer, layer.possible, layer.before, layer.after, layer.added, layer.removed]
        for layer in change.layers
        if layer.kind == "edge" and layer.side == "source"
    ]
    show("\nEdges by the layer they leave (-1 is the input):")
    show(table(["layer", "possible", "before", "after", "added", "removed"], layers))


def _is_file(side: str) -> bool:
    return Path(side).is_file() or side.endswith(".safetensors")


def _circuits(
    sides: tuple[str, str], files: dict[str, Any], source: PairOptions, metric: str, pairs_count: int
) -> list[Any]:
    """Both sides as scores or circuits; files are read before a model is loaded."""
    models = [side for side in sides if side not in files]
    scored = iter(_score(models, source, metric, pairs_count)) if models else iter(())
    return [files[side] if side in files else next(scored) for side in sides]


def _score(models: list[str], source: PairOptions, metric: str, pairs_count: int) -> list[Any]:
    """Edge scores of every model on the same pairs; the first model checks them and answers for missing ones."""
    from circuitune.circuits.attribution import attribute
    from circuitune.models.encoding import encode

    first, tokenizer = load_model(models[0])
    pairs, chosen = load_pairs(source, first, tokenizer, metric, "circuit")
    sample = usable(pairs, chosen).sample(pairs_count)
    scores: list[Any] = []
    for name in models:
        model, tokenizer = (first, tokenizer) if name == models[0] else load_model(name)
        say(f"Scoring all edges of {name} on {len(sample)} pairs, metric {chosen} ...")
        scores.append(attribute(model, encode(sample, tokenizer), metric=chosen))
    return scores


def _counts(part: Any) -> dict[str, Any]:
    return {
        "before": part.before,
        "after": part.after,
        "added": len(part.added),
        "removed": len(part.removed),
        "kept": len(part.kept),
        "jaccard": part.jaccard,
        "rate": part.rate,
    }


def _names(part: Any) -> dict[str, list[str]]:
    return {"added": list(part.added), "removed": list(part.removed)}
