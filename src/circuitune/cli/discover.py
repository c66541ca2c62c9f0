"""``circuitune discover``: the scores of all edges and the circuit cut from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from circuitune.cli.output import say, show, show_json
from circuitune.cli.sources import PairOptions, load_model, load_pairs
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.circuits.scores import Circuit
    from circuitune.tasks.pairs import PairSet

NO_PAIRS = PairOptions()


def discover(
    *,
    model: str = "nano",
    source: PairOptions = NO_PAIRS,
    method: Literal["eap", "eap-ig"] = "eap-ig",
    steps: int = 5,
    quadrature: Literal["midpoint", "left", "right", "gauss"] = "midpoint",
    metric: Literal["auto", "logit_diff", "kl", "nll"] = "auto",
    pairs_count: int = 200,
    share: float = 0.05,
    out: Path = Path("discovered"),
    json: bool = False,
) -> None:
    """Find the circuit of a task in a model.

    Writes scores.safetensors and circuit.safetensors to a folder.

    Examples:
      circuitune discover --task add_sub --set limit=100 --out base
      circuitune discover --model my-gpt2 --pairs ioi.csv --out ioi

    Parameters
    ----------
    model: str
        A model folder (also of a PEFT adapter), the name of one on the hub, or nano.
    method: str
        eap-ig integrates over interpolated inputs; eap takes one gradient.
    steps: int
        Steps of the integral.
    quadrature: str
        Where on the path the steps lie.
    metric: str
        auto: the logit difference where wrong answers are known, else kl.
    pairs_count: int
        How many pairs to use at most.
    share: float
        Share of all edges that makes the circuit.
    out: Path
        The folder to write to.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.attribution import attribute
    from circuitune.core.atomic import ensure_writable_folder
    from circuitune.models.encoding import encode

    if not 0 < share <= 1:
        raise InputError(f"--share {share} is no share of the edges; give a number above 0, at most 1.")
    loaded, tokenizer = load_model(model)
    pairs, chosen = load_pairs(source, loaded, tokenizer, metric, "circuit")
    sample = usable(pairs, chosen).sample(pairs_count)
    ensure_writable_folder(out)
    say(f"Scoring all edges on {len(sample)} pairs, metric {chosen} ...")
    scores = attribute(
        loaded, encode(sample, tokenizer), method=method, steps=steps, metric=chosen, quadrature=quadrature
    )
    circuit = scores.top(share)
    scores.save(out / "scores.safetensors")
    circuit.save(out / "circuit.safetensors")
    result = {
        "scores": str(out / "scores.safetensors"),
        "circuit": str(out / "circuit.safetensors"),
        "pairs": len(sample),
        "metric": chosen,
        **counts(circuit),
        "completeness": scores.completeness,
    }
    if json:
        show_json(result)
        return
    show(
        f"{result['edges']} of {result['possible_edges']} edges and {result['nodes']} of {result['possible_nodes']} "
        f"nodes are in the circuit (top {share:.2%}, pruned); {len(sample)} pairs, metric {chosen}."
    )
    if scores.completeness is not None:
        show(f"Completeness residual {scores.completeness:.2e} (0: the scores account for the whole effect).")
    show(f"Scores:  {result['scores']}\nCircuit: {result['circuit']}")


def usable(pairs: "PairSet", metric: str) -> "PairSet":
    """For the logit difference only pairs with a wrong answer; InputError where none is left."""
    from dataclasses import replace

    kept = tuple(pair for pair in pairs if pair.wrong is not None or metric != "logit_diff")
    if not kept:
        raise InputError(f"No pair is usable for the metric {metric}; add wrong answers, or take --metric kl.")
    return replace(pairs, pairs=kept)


def counts(circuit: "Circuit") -> dict[str, int]:
    """Edges and nodes of a circuit, and of its graph."""
    return {
        "edges": len(circuit.edges),
        "possible_edges": circuit.graph.edges,
        "nodes": len(circuit.nodes),
        "possible_nodes": len(circuit.graph.sources) + 1,
    }
