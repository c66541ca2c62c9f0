"""How good the scores are: error of the path integral, and agreement with exact patching.

    python benchmarks/accuracy.py quadrature                          # nano, before and after fine-tuning
    python benchmarks/accuracy.py quadrature --model DIR --pairs FILE # a model and pairs of one's own
    python benchmarks/accuracy.py fidelity                            # nano, every task
    python benchmarks/accuracy.py fidelity --task add_sub lcm --adapter tuned/checkpoints/step-00200
    python benchmarks/accuracy.py exact                               # the golden GPT-NeoX model: the time of exact

`quadrature` prints the relative Frobenius error of all edge scores against 64 Gauss points. `fidelity` prints the
correlation of EAP and EAP-IG (5 midpoint steps) with the exact scores of all edges on pairs of the circuit split, and
its interval over resampled pairs.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from safetensors.torch import load_file
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

import circuitune as ct
from circuitune.adapters.allocation import RankPlan
from circuitune.models.encoding import EncodedPairs
from circuitune.tasks import registry
from circuitune.tasks.checks import check
from circuitune.training.finetune import finetune
from circuitune.training.methods import TrainingSettings

RULES = ("midpoint", "left", "right", "gauss")
STEPS = (3, 5, 10)
SHORT = {"style": "short"}
RESAMPLES = 200


def pairs_of(name: str) -> Any:
    """A task in its short wording, where it has one."""
    return registry.task(name, **(SHORT if "style" in registry.parameters(name) else {}))


def quadrature(model: Any, inputs: EncodedPairs, label: str) -> None:
    """Print one line per rule: the error at each number of steps."""
    best = ct.attribute(model, inputs, quadrature="gauss", steps=64).values
    for rule in RULES:
        errors = []
        for steps in STEPS:
            values = ct.attribute(model, inputs, quadrature=rule, steps=steps).values
            errors.append(float((values - best).norm() / best.norm()))
        cells = " | ".join(f"{error:.4f}" for error in errors)
        print(f"| {label} | {rule} | {cells} |", flush=True)


def before_and_after(name: str, count: int) -> Iterator[tuple[str, Any, EncodedPairs]]:
    """nano, and nano after three epochs of LoRA of rank 8 on the task."""
    model, tokenizer = ct.load("nano")
    task = pairs_of(name)
    inputs = ct.encode(task.split("circuit").sample(count), tokenizer)
    yield f"nano, {name}", model, inputs
    settings = TrainingSettings(epochs=3, learning_rate=5e-3, batch_size=64, accumulation=1, checkpoints=1)
    with tempfile.TemporaryDirectory() as folder:
        finetune(
            model,
            tokenizer,
            task.split("train"),
            settings,
            config=RankPlan.uniform(model, rank=8).to_lora_config(model),
            folder=Path(folder),
            evaluate={},
            seed=0,
        )
        base, _ = ct.load("nano")
        last = max((Path(folder) / "checkpoints").iterdir())
        yield f"nano tuned on {name}", PeftModel.from_pretrained(base, str(last)).eval(), inputs


def fidelity(model: Any, tokenizer: Any, name: str, count: int) -> str:
    """One line: Pearson and Spearman of EAP and EAP-IG with the exact scores, over all edges."""
    try:
        pairs = check(pairs_of(name), tokenizer).pairs.split("circuit").sample(count)
    except ct.InputError as error:
        return f"| {name} | {error} |"
    inputs = ct.encode(pairs, tokenizer)
    exact = ct.attribute(model, inputs, method="exact", per_example=True)
    real = exact.graph.edge_mask
    cells = []
    for method in ("eap", "eap-ig"):
        scores = ct.attribute(model, inputs, method=method, per_example=True)
        assert scores.examples is not None
        assert exact.examples is not None
        mine, true = (x.examples[:, real].double().numpy() for x in (scores, exact))
        low, high = np.quantile(resampled(mine, true), [0.025, 0.975])
        pearson = np.corrcoef(mine.mean(0), true.mean(0))[0, 1]
        rank = spearmanr(np.abs(mine.mean(0)), np.abs(true.mean(0))).statistic
        cells.append(f"{pearson:.3f} [{low:.3f}, {high:.3f}] | {rank:.3f}")
    return f"| {name} | {' | '.join(cells)} |"


def exact_time() -> str:
    """Processor seconds of the exact scores of all edges of the golden GPT-NeoX model."""
    folder = Path(__file__).parents[1] / "tests" / "golden" / "gpt_neox"
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    golden = load_file(folder / "golden.safetensors")
    inputs = EncodedPairs(*(golden[name] for name in ("clean", "corrupted", "answer", "wrong")))
    begun = time.process_time()
    scores = ct.attribute(model, inputs, method="exact")
    return f"exact, {scores.graph.edges} edges, {len(inputs)} pairs, one thread: {time.process_time() - begun:.2f} s"


def resampled(mine: np.ndarray, true: np.ndarray) -> list[float]:
    """Correlations of the mean scores over pairs drawn with replacement."""
    generator = np.random.default_rng(0)
    draws = (generator.integers(len(mine), size=len(mine)) for _ in range(RESAMPLES))
    return [float(np.corrcoef(mine[rows].mean(0), true[rows].mean(0))[0, 1]) for rows in draws]


def main() -> None:
    """Read the options and print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quadrature", "fidelity", "exact"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter", help="a PEFT adapter of the model")
    parser.add_argument("--pairs", help="a file of pairs, for a model of one's own")
    parser.add_argument("--task", nargs="+", default=list(registry.names()), choices=registry.names())
    parser.add_argument("--count", type=int, default=32, help="pairs per task")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "exact":
        print(exact_time())
        return
    print(f"{options.count} pairs, one thread, float32")
    if options.what == "quadrature":
        print(f"| model | rule | {' | '.join(f'm = {steps}' for steps in STEPS)} |\n|---|---|" + "---|" * len(STEPS))
        if options.pairs is None:
            for label, model, inputs in before_and_after("add_sub", options.count):
                quadrature(model, inputs, label)
            return
        model, tokenizer = ct.load(options.model)
        pairs = ct.read_pairs(options.pairs).sample(options.count)
        quadrature(model, ct.encode(pairs, tokenizer), Path(options.model).name)
        return
    model, tokenizer = ct.load(options.model)
    if options.adapter is not None:
        model = PeftModel.from_pretrained(model, options.adapter).eval()
    print("| task | EAP: r [95 %] | rank | EAP-IG: r [95 %] | rank |\n|---|---|---|---|---|")
    for name in options.task:
        print(fidelity(model, tokenizer, name, options.count), flush=True)


if __name__ == "__main__":
    main()
