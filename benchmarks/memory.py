"""Predicted beside measured peak memory of `attribute` above the model, each case in a process of its own.

python benchmarks/memory.py
python benchmarks/memory.py --default-heap                  # with what the C library keeps of freed memory
python benchmarks/memory.py --plan                          # what Llama-3.1-8B would take: planned, nothing is run
python benchmarks/memory.py --case "pythia-160m 19 17 32"
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig

from circuitune.circuits.attribution import attribute
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import attribution_memory
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs

SHAPES = {
    "pythia-160m": GPTNeoXConfig(
        num_hidden_layers=12, num_attention_heads=12, hidden_size=768, intermediate_size=3072, vocab_size=50304
    ),
    "gpt2": GPT2Config(),
    "llama-like": LlamaConfig(
        num_hidden_layers=8,
        num_attention_heads=16,
        num_key_value_heads=4,
        hidden_size=1024,
        intermediate_size=2816,
        vocab_size=32000,
    ),
    "llama-3.1-8b": LlamaConfig(
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        hidden_size=4096,
        intermediate_size=14336,
        vocab_size=128256,
    ),
}
CASES = [
    "pythia-160m 19 17 32",
    "pythia-160m 19 1 16",
    "pythia-160m 64 1 8",
    "gpt2 32 25 32",
    "gpt2 32 1 16",
    "llama-like 32 1 16",
    "llama-like 64 33 16",
]
"""Shape, tokens, first token that differs (counted from 1), pairs."""
STEPS = 5
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": str(256 * 1024)}
"""Has the C library give memory back when a tensor goes: by default its heap keeps up to half as much again."""


def measure(case: str) -> None:
    """Print predicted and measured bytes of one case."""
    shape, tokens, different, rows = case.split()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(SHAPES[shape]).eval()
    clean = torch.randint(5, 1000, (int(rows), int(tokens)))
    corrupted = clean.clone()
    corrupted[:, int(different) - 1] += 1
    inputs = EncodedPairs(clean, corrupted, clean[:, 0], corrupted[:, -1])
    anatomy = anatomy_of(model)
    need = attribution_memory(anatomy, Graph.of(anatomy), STEPS)
    shared = int(different) - 1
    predicted = need.peak(int(rows), int(tokens) - shared, shared)
    model(input_ids=clean[:1])  # libraries allocate their own on first use
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    attribute(model, inputs, steps=STEPS, batch_size=int(rows))
    print(predicted, resident("VmHWM") - before)


def plan() -> None:
    """Print what attributing 4 pairs of 64 tokens on the shape of Llama-3.1-8B in bfloat16 takes, by the planner."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SHAPES["llama-3.1-8b"], dtype=torch.bfloat16)
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    above = attribution_memory(anatomy, graph, STEPS).peak(4, 64, 0)
    print(
        f"Llama-3.1-8B shape, bfloat16, {graph.edges:,} edges, 4 pairs of 64 tokens that share nothing, m = {STEPS}: "
        f"weights {weights / 1e9:.1f} GB, above them {above / 1e9:.1f} GB, together {(weights + above) / 1e9:.1f} GB"
    )


def resident(field: str) -> int:
    """Bytes, as the kernel counts them for this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


def main() -> None:
    """Measure the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="only this one, in this process")
    parser.add_argument("--plan", action="store_true", help="the plan for a large model, nothing measured")
    parser.add_argument("--default-heap", action="store_true", help="leave the C library's heap as it is")
    options = parser.parse_args()
    if options.plan:
        plan()
        return
    case = options.case
    if case is not None:
        measure(case)
        return
    heap = {} if options.default_heap else AT_ONCE
    print(f"eap-ig, {STEPS} steps, float32, one thread; MiB above the model at the peak")
    print(f"{'shape':12} {'tokens':>6} {'from':>5} {'pairs':>5} {'predicted':>10} {'measured':>9} {'ratio':>6}")
    for one in CASES:
        command = [sys.executable, __file__, "--case", one]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **heap})
        predicted, measured = (int(number) / 2**20 for number in done.stdout.split())
        shape, tokens, different, rows = one.split()
        sizes = f"{shape:12} {tokens:>6} {different:>5} {rows:>5}"
        print(f"{sizes} {predicted:10.0f} {measured:9.0f} {predicted / measured:6.2f}", flush=True)


if __name__ == "__main__":
    main()
