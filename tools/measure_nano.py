"""Measure what `nano` answers before and after LoRA, on every task; print a Markdown table for its model card.

    python tools/measure_nano.py
    python tools/measure_nano.py --task add_sub --seeds 0 1 2 --ranks 8

Accuracy is on the whole test part (unseen rows), of the base model and after fine-tuning through the library's own
`finetune`, at the last step. Settings were tried on the validation part (`--part validation`), not searched.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from circuitune.adapters.allocation import RankPlan
from circuitune.models.answering import answer
from circuitune.models.encoding import encode
from circuitune.models.loading import NANO, load
from circuitune.tasks import registry
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import PairSet
from circuitune.training.finetune import finetune
from circuitune.training.methods import TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """How nano is fine-tuned on a task: the task's parameters, passes over its rows, peak learning rate."""

    parameters: dict[str, Any] = field(default_factory=dict)
    epochs: float = 5
    learning_rate: float = 1e-2
    batch_size: int = 64


SHORT = {"style": "short"}
RECIPES = {
    "add_sub": Recipe({"limit": 100, **SHORT}, epochs=3),
    "mul_div": Recipe(SHORT),
    "sequence": Recipe(SHORT),
    "lcm": Recipe(SHORT),
    "function": Recipe(epochs=3),
    "two_step": Recipe({**SHORT, "size": 10_000}),
    "two_step_inner": Recipe(SHORT),
    "two_step_outer": Recipe(SHORT),
    "complex_ioi": Recipe(epochs=3),
    "ioi": Recipe(epochs=1),
    "greater_than": Recipe(epochs=1),
}


def base_accuracy(pairs: PairSet) -> float:
    """Accuracy of nano as it ships."""
    model, tokenizer = load(NANO)
    return answer(model, encode(pairs, tokenizer)).correct.float().mean().item()


def tuned_accuracy(task: PairSet, measured: PairSet, recipe: Recipe, rank: int, seed: int) -> float:
    """Accuracy after LoRA of one rank on all linear modules, alpha = 2 r, one seed."""
    model, tokenizer = load(NANO)
    settings = TrainingSettings(
        epochs=recipe.epochs,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        accumulation=1,
        checkpoints=1,
    )
    with tempfile.TemporaryDirectory() as folder, tqdm(leave=False, desc=f"{task.name} r={rank} seed {seed}") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = finetune(
            model,
            tokenizer,
            task.split("train"),
            settings,
            config=RankPlan.uniform(model, rank=rank).to_lora_config(model),
            folder=Path(folder),
            evaluate={"measured": measured},
            seed=seed,
            progress=advance,
        )
    return result.rows[-1].accuracy


def measure(name: str, part: str, ranks: Sequence[int], seeds: Sequence[int]) -> str:
    """One row of the table."""
    recipe = RECIPES.get(name, Recipe())
    task = check(registry.task(name, **recipe.parameters), load(NANO)[1]).pairs  # as every command has them
    measured = task.split(part)  # type: ignore[arg-type]
    shown = ", ".join(f"{key}={value}" for key, value in recipe.parameters.items())
    how = f"{recipe.epochs:g} epochs, rate {recipe.learning_rate:g}"
    cells = [
        f"{name}({shown})",
        f"{len(task.split('train'))} / {len(measured)}",
        how,
        percent(base_accuracy(measured)),
    ]
    for rank in ranks:
        started = time.process_time()
        after = [tuned_accuracy(task, measured, recipe, rank, seed) for seed in seeds]
        spent = (time.process_time() - started) / len(seeds)
        cells.append(f"{' '.join(percent(value) for value in after)} ({spent:.0f} s)")
    return f"| {' | '.join(cells)} |"


def percent(share: float) -> str:
    """A share in percent, to one digit."""
    return f"{100 * share:.1f}"


def main() -> None:
    """Read the options and print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description="Accuracy of nano before and after LoRA.")
    parser.add_argument("--task", nargs="+", default=list(registry.names()), choices=registry.names())
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 8])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--part", default="test", choices=("validation", "test"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    ranks = "".join(f" after r = {rank} |" for rank in options.ranks)
    print(f"Percent correct; after: seeds {', '.join(map(str, options.seeds))} (processor seconds of one training)\n")
    print(f"| task | rows: train / {options.part} | training | before |{ranks}")
    print("|---|---|---|---|" + "---|" * len(options.ranks), flush=True)
    for name in options.task:
        print(measure(name, options.part, options.ranks, options.seeds), flush=True)


if __name__ == "__main__":
    main()
