"""What every process of test_processes runs: scores and faithfulness of a tiny model, saved by the first process."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.reduce import joined
from circuitune.testing import random_pairs, tiny_model


def results(sharded: bool, family: str) -> dict[str, torch.Tensor]:
    model, inputs = tiny_model(family, layers=2, kv_heads=2), random_pairs(7, common=2)
    if sharded:
        for block in model.get_submodule("transformer.h" if family == "gpt2" else "model.layers"):
            fully_shard(block)
        fully_shard(model)
    scores = attribute(model, inputs, steps=2, per_example=True)
    circuit = scores.top(0.2)
    interchange = evaluate(model, inputs, [circuit, scores.top(0.6)])
    mean = evaluate(model, inputs, circuit, ablation="mean", metric="nll")
    exact = attribute(model, inputs, method="exact", batch_size=4)
    return {
        "scores": scores.values,
        "examples": scores.examples,
        "exact": exact.values,
        "metric": torch.stack([run.circuit.metric for run in interchange]),
        "kl": interchange[0].circuit.kl_from_model,
        "mean": mean.circuit.metric,
    }


if __name__ == "__main__":
    _, kind, family, out = sys.argv
    with joined() as first:
        assert dist.get_world_size() == 2
        found = results(kind == "sharded", family)
        if first:
            torch.save(found, Path(out))
    # FSDP2's caches hold its process group for good: gloo's threads live until the interpreter is torn down, and one
    # of them that then drops a tensor ends the process by SIGABRT (seldom, with all work done). So no tearing down.
    os._exit(0)
