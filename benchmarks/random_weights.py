"""Do models with random weights choose the layers (modules) that the base model's circuit alone chooses?

    python benchmarks/random_weights.py                       # nano, all tasks it can read, 2 layers of 8
    python benchmarks/random_weights.py --critical-layers 1 --task ioi

One map decides (rule ``before``), and low layers have the most outgoing edges, so they may come first whatever was
learned. Random models are drawn and scored as the gate of a rank plan does it (`adapters.gate`). A row per task: what
its map chooses and what those of five models with random weights choose; then, for layers and for modules, how like
it resampled pairs choose (mean Jaccard), how like it random weights do, how many of them as well as the resamples,
how often a random draw does, and whether the gate passes.
"""

import argparse
import warnings
from typing import Any

import torch

import circuitune as ct
from accuracy import pairs_of
from circuitune.adapters.gate import RANDOM_ROWS, Gate, examine, of_random_weights
from circuitune.adapters.importance import Importance
from circuitune.circuits.scores import EdgeScores
from circuitune.experiments.inputs import metric_for
from circuitune.tasks import registry
from circuitune.tasks.checks import check

COLUMNS = "resamples | random weights | as well | random draw | passes"


def cells(gate: Gate) -> str:
    """What is found of one choice."""
    found = gate.to_record()
    alike = sum(gate.random_weights) / len(gate.random_weights)
    agreeing = f"{found['gate.random_models_agreeing']} of {found['gate.random_models']}"
    return f"{gate.stability:.2f} | {alike:.2f} | {agreeing} | {gate.chance:.2%} | {'yes' if gate.passed else 'no'}"


def chosen(scores: EdgeScores, count: int) -> str:
    """The most important layers of one map, in their order."""
    return "+".join(map(str, sorted(Importance.from_scores(scores).top(count))))


def row(name: str, model: Any, tokenizer: Any, count: int, layers: int) -> str:
    """One task; InputError where its pairs are none for this model."""
    pairs = check(pairs_of(name), tokenizer).pairs
    metric = metric_for(pairs, "auto")
    sample = pairs.split("circuit").sample(count)
    few = ct.encode(sample.sample(RANDOM_ROWS), tokenizer)
    scores = ct.attribute(model, ct.encode(sample, tokenizer), metric=metric, per_example=True)
    maps = list(of_random_weights(model, lambda other: ct.attribute(other, few, metric=metric)) or ())
    gates = [examine(scores, critical_layers=layers, model=by, drawn=iter(maps)) for by in (None, model)]
    random = " ".join(chosen(one, layers) for one in maps)
    return f"| {name} | {chosen(scores, layers)} | {random} | {' | '.join(map(cells, gates))} |"


def main() -> None:
    """Read the options and print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--task", nargs="+", default=list(registry.names()), choices=registry.names())
    parser.add_argument("--pairs", type=int, default=200, help="of the map")
    parser.add_argument("--critical-layers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)  # about steps of the integral
    model, tokenizer = ct.load(options.model)
    print(f"{options.model}, {options.pairs} pairs, {RANDOM_ROWS} for random weights, EAP-IG")
    print(f"| task | layers | of random weights | by layer: {COLUMNS} | by module: {COLUMNS} |\n|{'---|' * 13}")
    for name in options.task:
        try:
            print(row(name, model, tokenizer, options.pairs, options.critical_layers), flush=True)
        except ct.InputError as error:
            print(f"| {name} | {error} |")


if __name__ == "__main__":
    main()
