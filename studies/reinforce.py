"""Does reinforcement rewire a circuit as learning from answers does? add_sub(100), short style, on one thread.

    python studies/reinforce.py                                         # seeds 0, 1 and 2; goes on after a kill
    python studies/reinforce.py --seeds 0 --out runs/reinforce          # one after the other, in one folder
    python studies/reinforce.py --export docs/studies/reinforce         # its tables, to be kept

Every seed has a fine-tuning on answers (LoRA). `start` is its last checkpoint that answers 10 to 30 % of the
validation prompts; `reinforced` is GRPO from there; `answers` is the checkpoint of the fine-tuning whose validation
accuracy is nearest to that of `reinforced`. Their circuits, from the same pairs, are compared two by two beside what
chance gives: halves of the pairs, and the same kind of model between seeds. Needs circuitune[rl].
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import torch
from transformers import PreTrainedModel

import circuitune as ct
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.records import AccuracyRow, Record
from circuitune.core.statistics import wilson
from circuitune.dynamics.comparison import compare_with_chance
from circuitune.dynamics.nulls import between, null
from circuitune.models.answering import answer
from circuitune.training.callbacks import checkpoint_folder
from circuitune.training.course import TrainingResult
from circuitune.training.finetune import finetune
from circuitune.training.methods import ReinforceSettings, TrainingSettings
from circuitune.training.reinforce import reinforce

LOW, HIGH = 0.1, 0.3
RANK, PAIRS, SHARE = 8, 200, 0.05
KINDS = ("start", "reinforced", "answers")
TUNING = TrainingSettings(epochs=1, learning_rate=5e-3, batch_size=64, accumulation=1, checkpoints=19)
REWARDS = ReinforceSettings(steps=200, prompts=16, learning_rate=1e-3, checkpoints=10)


class ModelRow(Record):
    """models.csv: one model of a seed; accuracy on the test split with its Wilson interval."""

    seed: int
    kind: str
    step: int
    accuracy: float
    low: float
    high: float


class PairRow(Record):
    """comparisons.csv: edges that differ between two models of a seed, over those of the first.

    ``low`` to ``high`` is the interval of resampled pairs; ``split_bound`` what halves of the pairs exceed in 2.5 %
    of comparisons; ``seeds`` the mean rate between seeds of the second kind; ``verdict`` is `compare_with_chance`'s.
    """

    seed: int
    before: str
    after: str
    edge_rate: float
    low: float | None
    high: float | None
    split_mean: float | None
    split_bound: float | None
    seeds: float | None
    verdict: str


def main() -> None:
    """Train what is missing, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/reinforce"))
    parser.add_argument("--export", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = ct.task("add_sub", limit=100, style="short")
    models: list[ModelRow] = []
    scores: dict[tuple[int, str], ct.EdgeScores] = {}
    for seed in options.seeds:
        for row, found in one_seed(options.model, task, seed, options.out / f"seed-{seed}"):
            models.append(row)
            scores[seed, row.kind] = found
            print(f"seed {seed}, {row.kind}: {row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})", flush=True)
    pairs = [row for seed in options.seeds for row in compared(seed, options.seeds, scores)]
    for row in pairs:
        seeds = "" if row.seeds is None else f", between seeds {row.seeds:.2f}"
        print(
            f"seed {row.seed}, {row.before} and {row.after}: edge rate {row.edge_rate:.2f} "
            f"(splits {row.split_mean:.2f}, at most {row.split_bound:.2f}{seeds}), {row.verdict}"
        )
    for folder in filter(None, (options.out, options.export)):
        write_rows(folder / "models.csv", models, ModelRow)
        write_rows(folder / "comparisons.csv", pairs, PairRow)


def one_seed(base: str, task: ct.PairSet, seed: int, folder: Path) -> Iterator[tuple[ModelRow, ct.EdgeScores]]:
    """The three models of a seed: accuracy on the test split, and scores from pairs of the circuit split."""
    tuned, rewarded = folder / "tuned", folder / "rewarded"
    train, evaluate = task.split("train"), {"validation": task.split("validation")}
    steps = trained(tuned, lambda: tune(base, train, seed, folder=tuned, evaluate=evaluate))
    able = [step for step, accuracy in steps.items() if LOW <= accuracy <= HIGH]
    if not able:
        raise InputError(f"No checkpoint in {tuned} answers {LOW:.0%} to {HIGH:.0%}; take more checkpoints.")
    start, begun = able[-1], checkpoint_folder(tuned / "checkpoints", able[-1])

    def reward() -> TrainingResult:
        model, tokenizer = ct.load(str(begun))
        return reinforce(
            model, tokenizer, train, REWARDS, folder=rewarded, evaluate=evaluate, seed=seed, resumable=True
        )

    last, reached = list(trained(rewarded, reward).items())[-1]
    equal = min(steps, key=lambda step: abs(steps[step] - reached))
    reinforced, answers = (
        checkpoint_folder(folder / "checkpoints", step) for folder, step in ((rewarded, last), (tuned, equal))
    )
    places = (begun, reinforced, answers)
    for kind, step, place in zip(KINDS, (start, last, equal), places, strict=True):
        yield measured(task, seed, kind, step, place, folder / f"{kind}.safetensors")


def tune(base: str, train: ct.PairSet, seed: int, *, folder: Path, evaluate: dict[str, ct.PairSet]) -> TrainingResult:
    """LoRA on the answers."""
    model, tokenizer = ct.load(base)
    assert isinstance(model, PreTrainedModel)
    model.name_or_path = base
    config = ct.RankPlan.uniform(model, rank=RANK).to_lora_config(model)
    return finetune(
        model, tokenizer, train, TUNING, config=config, folder=folder, evaluate=evaluate, seed=seed, resumable=True
    )


def trained(folder: Path, train: Callable[[], TrainingResult]) -> dict[int, float]:
    """Step -> accuracy; of a training that is finished from its table."""
    path = folder / "accuracy.csv"
    rows: Sequence[AccuracyRow] = read_rows(path, AccuracyRow) if path.exists() else train().rows
    return {row.step: row.accuracy for row in rows}


def measured(
    task: ct.PairSet, seed: int, kind: str, step: int, place: Path, path: Path
) -> tuple[ModelRow, ct.EdgeScores]:
    """A model's accuracy, and its scores, kept in `path`."""
    model, tokenizer = ct.load(str(place))
    test = ct.encode(task.split("test"), tokenizer)
    interval = wilson(int(answer(model, test).correct.sum()), len(test))
    row = ModelRow(seed=seed, kind=kind, step=step, accuracy=interval.estimate, low=interval.low, high=interval.high)
    if path.exists():
        return row, ct.EdgeScores.load(path)
    inputs = ct.encode(task.split("circuit").sample(PAIRS), tokenizer)
    scores = ct.attribute(model, inputs, per_example=True)
    scores.save(path)
    return row, scores


def compared(seed: int, seeds: Sequence[int], scores: dict[tuple[int, str], ct.EdgeScores]) -> Iterator[PairRow]:
    """The three models of a seed two by two."""
    for before, after in combinations(KINDS, 2):
        found = compare_with_chance(scores[seed, before], scores[seed, after], size=SHARE)
        measure = found.measures["edge_rate"]
        split = measure["nulls"].get("split", {})
        yield PairRow(
            seed=seed,
            before=before,
            after=after,
            edge_rate=measure["estimate"],
            low=measure["low"],
            high=measure["high"],
            split_mean=split.get("mean"),
            split_bound=split.get("bound"),
            seeds=between_seeds([scores[one, after] for one in seeds]),
            verdict=found.verdicts["edge_rate"].outcome,
        )


def between_seeds(scores: Sequence[ct.EdgeScores]) -> float | None:
    """Mean edge rate between models that differ by their seed alone; None for a single seed."""
    return null("seed", between(scores, SHARE), "edge_rate").mean if len(scores) > 1 else None


if __name__ == "__main__":
    main()
