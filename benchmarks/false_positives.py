"""How often the tests of single edges and of nodes find a change where there is none.

    python benchmarks/false_positives.py                                # nano
    python benchmarks/false_positives.py --model DIR --draws 200        # a model's folder, or an adapter's

Pairs of one model are halved at random, and the halves tested against each other: whatever is found is false. Printed
for both families of edges that q values can be adjusted for: those of either circuit, and all of the graph.

Nodes: half as many pairs are drawn twice, with replacement, for two maps of one mean; in the second the pairs'
deviations from it are scaled down, since noise lends weak nodes a share.
"""

import argparse
from typing import get_args

import torch

import circuitune as ct
from circuitune.circuits.scores import EdgeScores
from circuitune.core.statistics import Undefined
from circuitune.dynamics.comparison import split_halves
from circuitune.dynamics.edge_tests import Family, false_positives
from circuitune.dynamics.measures import node_shares
from circuitune.dynamics.nodes import node_changes

NOISE = (1.0, 0.5, 0.25)
"""Of the second map's pairs, as a share of the first's."""

NODE_DRAWS = 60


def main() -> None:
    """Read the options and print a sentence per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--task", default="add_sub")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = ct.load(options.model)
    task = ct.task(options.task, style="short") if options.task == "add_sub" else ct.task(options.task)
    inputs = ct.encode(task.split("circuit").sample(options.pairs), tokenizer)
    scores = ct.attribute(model, inputs, per_example=True)
    print(f"{options.model}, {options.task}, {len(inputs)} pairs, EAP-IG, seed {options.seed}")
    for family in get_args(Family):
        found = false_positives(scores, options.draws, family=family, seed=options.seed)
        print(f"- q over {family}: {found.sentence}", flush=True)
    for noise in NOISE:
        single, some, mean = changed_nodes(scores, noise, options.seed)
        print(
            f"- nodes, noise {noise:g} times as large after: p < 0.05 at a rate of {single:.3f}, some node found "
            f"changed in {some:.3f} of {NODE_DRAWS} draws, {mean:.2f} on average",
            flush=True,
        )


def changed_nodes(scores: EdgeScores, noise: float, seed: int) -> tuple[float, float, float]:
    """Share of nodes with p < 0.05, share of draws that find any changed, and how many they find on average."""
    random = torch.Generator().manual_seed(seed)
    unknown = [Undefined("intervals decide nothing here")] * len(scores.graph.sources)
    small, found = [], []
    for _ in range(NODE_DRAWS):
        before, after = (drawn(scores, share, random) for share in (1.0, noise))
        moved = [node_shares(other) - node_shares(one) for one, other in split_halves(before, after, seed=seed)]
        nodes = node_changes(before, after, 1.0, intervals=unknown, halves=moved)
        small += [node.p < 0.05 for node in nodes]
        found.append(sum(node.changed for node in nodes))
    return sum(small) / len(small), sum(map(bool, found)) / NODE_DRAWS, sum(found) / NODE_DRAWS


def drawn(scores: EdgeScores, noise: float, random: torch.Generator) -> EdgeScores:
    """A map of half as many pairs, drawn with replacement, their deviations from the mean of all scaled."""
    assert scores.examples is not None
    count = len(scores.examples)
    chosen = scores.examples[torch.randint(count, (count // 2,), generator=random)]
    examples = scores.values + noise * (chosen - scores.values)
    return EdgeScores(examples.mean(0), scores.graph, None, examples, {"pairs_digest": "drawn again"})


if __name__ == "__main__":
    main()
