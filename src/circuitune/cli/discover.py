"""``circuitune discover``: the scores of all edges and the circuit cut from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from circuitune.cli.output import say, show, show_json
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_model, load_pairs
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.circuits.scores import Circuit, EdgeScores
    from circuitune.tasks.pairs import PairSet

NO_PAIRS = PairOptions()
Method = Literal["eap", "eap-ig", "eap-ig-activations", "clean-corrupted", "exact", "information-flow"]
Metric = Literal["auto", "logit_diff", "kl", "nll", "prob_diff"]
Ablation = Literal["interchange", "zero", "mean", "mean-positional"]


def discover(
    *,
    model: str = "nano",
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    method: Method = "eap-ig",
    steps: int = 5,
    quadrature: Literal["midpoint", "left", "right", "gauss"] = "midpoint",
    metric: Metric = "auto",
    ablation: Ablation = "interchange",
    pairs_count: int = 200,
    share: float = 0.05,
    select: Literal["top", "signed", "greedy"] = "top",
    memory: str | None = None,
    per_example: bool = False,
    out: Path = Path("discovered"),
    json: bool = False,
) -> None:
    """Find the circuit of a task in a model.

    Writes scores.safetensors and circuit.safetensors to a folder. Under torchrun the pairs are split over processes.

    Examples:
      circuitune discover --task add_sub --set limit=100 --out base
      circuitune discover --model my-gpt2 --pairs ioi.csv --out ioi

    Parameters
    ----------
    model: str
        A model folder (also of a PEFT adapter), the name of one on the hub, or nano.
    method: str
        eap-ig integrates over interpolated inputs; eap takes one gradient; exact ablates every edge by itself.
    steps: int
        Steps of the integral.
    quadrature: str
        Where on the path the steps lie.
    metric: str
        auto: the logit difference where wrong answers are known, else kl.
    ablation: str
        What a removed edge carries: the corrupted run's activation, zero, or a mean over the prompts.
    pairs_count: int
        How many pairs to use at most.
    share: float
        Share of all edges that makes the circuit.
    select: str
        The strongest edges by magnitude, by signed score, or grown greedily from the logits.
    memory: str
        What the engine may take above the model, such as 4GB; by default 1 GiB.
    per_example: bool
        Keep the scores of every pair too: error bars, nulls and tests of `circuitune compare` need them.
    out: Path
        The folder to write to.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.attribution import attribute
    from circuitune.circuits.reduce import joined
    from circuitune.core.atomic import ensure_writable_folder
    from circuitune.models.encoding import encode

    if not 0 < share <= 1:
        raise InputError(f"--share {share} is no share of the edges; give a number above 0, at most 1.")
    budget = bytes_of(memory)
    loaded, tokenizer = load_model(model, loading)
    pairs, chosen = load_pairs(source, loaded, tokenizer, metric, "circuit")
    sample = usable(pairs, chosen).sample(pairs_count)
    ensure_writable_folder(out)
    say(f"Scoring all edges on {len(sample)} pairs, metric {chosen} ...")
    with joined() as first:
        scores = attribute(
            loaded,
            encode(sample, tokenizer),
            method=method,
            steps=steps,
            metric=chosen,
            quadrature=quadrature,
            ablation=ablation,
            per_example=per_example,
            memory=budget,
        )
        if not first:
            return
    circuit = scores.greedy(share) if select == "greedy" else scores.top(share, absolute=select == "top")
    scores.save(out / "scores.safetensors")
    circuit.save(out / "circuit.safetensors")
    facts = {"pairs": len(sample), "metric": chosen, "share": share, "select": select}
    _report(scores, circuit, facts, out, json)


def _report(scores: "EdgeScores", circuit: "Circuit", facts: dict[str, Any], out: Path, json: bool) -> None:
    """What was found, and where it was saved."""
    result = {
        "scores": str(out / "scores.safetensors"),
        "circuit": str(out / "circuit.safetensors"),
        "pairs": facts["pairs"],
        "metric": facts["metric"],
        **counts(circuit),
        "completeness": scores.completeness,
    }
    if json:
        show_json(result)
        return
    show(
        f"{result['edges']} of {result['possible_edges']} edges and {result['nodes']} of {result['possible_nodes']} "
        f"nodes are in the circuit ({facts['select']} {facts['share']:.2%}, pruned); {facts['pairs']} pairs, "
        f"metric {facts['metric']}."
    )
    if scores.completeness is not None:
        show(f"Completeness residual {scores.completeness:.2e} (0: the scores account for the whole effect).")
    show(f"Scores:  {result['scores']}\nCircuit: {result['circuit']}")


def bytes_of(memory: str | None) -> int:
    """``4GB`` or ``500MB`` as bytes; InputError where it is neither."""
    import re

    from circuitune.circuits.memory import BUDGET

    if memory is None:
        return BUDGET
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])i?B?", memory.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise InputError(f"--memory {memory} is no amount; write for example 4GB or 500MB.")
    return int(float(found[1]) * 1024 ** (" KMGT".index(found[2].upper())))


def usable(pairs: "PairSet", metric: str) -> "PairSet":
    """For the logit difference only pairs with a wrong answer; InputError where none is left."""
    from dataclasses import replace

    kept = tuple(pair for pair in pairs if pair.wrong is not None or metric not in ("logit_diff", "prob_diff"))
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
