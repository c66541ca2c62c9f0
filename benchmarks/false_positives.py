"""How often the tests of single edges find a change where there is none.

    python benchmarks/false_positives.py                                # nano
    python benchmarks/false_positives.py --model DIR --draws 200        # a model's folder, or an adapter's

Pairs of one model are halved at random, and the halves tested against each other: whatever is found is false. Printed
for both families of edges that q values can be adjusted for: those of either circuit, and all of the graph.
"""

import argparse
from typing import get_args

import torch

import circuitune as ct
from circuitune.dynamics.edge_tests import Family, false_positives


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


if __name__ == "__main__":
    main()
