"""A run folder made up from random numbers, for tests of the report: SYNTHETIC, no model was run.

The shapes are those of a real default run: the nano graph (8 layers x 8 heads), eleven checkpoints, two seeds of the
tuning and a phase 1, five circuit sizes, one seed each of CircuitLoRA, uniform and three random draws.
"""

import itertools
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from circuitune.core import records, tensors
from circuitune.core.atomic import write_json, write_text
from circuitune.core.csvio import read_rows, write_rows
from circuitune.experiments.summary import find
from circuitune.report.wiring import Wiring, wiring
from report.synthetic_chance import write_chance

STEPS = tuple(range(0, 1001, 100))
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
MAIN = 0.05
EXAMPLES = 2000
TITLE = "What fine-tuning on add_sub rewired in nano (synthetic)"
CAUSAL = ["tune seed 0: the gain passes through the changed edges in part (synthetic)."]
RECIPE = """\
name: synthetic
model: nano
task:
  name: add_sub
  limit: 100
  style: short
seeds: [0, 1]
training: {rank: 2, epochs: 15, batch_size: 32, learning_rate: 0.003, checkpoints: 10}
discovery: {method: eap-ig, steps: 5, metric: logit_diff, pairs: 200, share: 0.05}
"""


@dataclass(frozen=True)
class Tuning:
    """One fine-tuning: its score map at every checkpoint, [steps, sources, destinations]."""

    label: str
    role: str
    seed: int
    steps: tuple[int, ...]
    scores: np.ndarray
    circuits: np.ndarray


def build_run(
    folder: Path,
    *,
    seed_noise: float = 0.35,
    sentence: str | None = None,
    shape: tuple[int, int] = (8, 8),
    steps: tuple[int, ...] = STEPS,
    drawn: int | None = None,
) -> Path:
    """Write the run; the larger `seed_noise`, the more two seeds of the tuning differ. `shape`: layers, heads.

    `drawn`: of how many fine-tunings the circuits are there, all by default.
    """
    layers, heads = shape
    graph = wiring(layers, heads, heads, parallel=True)
    tunings = [
        _tuning(graph, "tune seed 0", "tune", 0, steps, seed_noise),
        _tuning(graph, "tune seed 1", "tune", 1, steps, seed_noise),
        _tuning(graph, "phase1 seed 0", "phase1", 0, (0, 70), seed_noise),
    ]
    tables = folder / "tables"
    write_rows(tables / "circuits.csv", _circuits(folder, graph, tunings[:drawn]), records.CircuitRow)
    write_rows(tables / "accuracy.csv", _accuracy(), records.AccuracyRow)
    write_rows(tables / "faithfulness.csv", _faithfulness(), records.FaithfulnessRow)
    write_rows(tables / "change.csv", _changes(graph, tunings), records.ChangeRow)
    write_rows(tables / "transitions.csv", _transitions(graph, tunings), records.TransitionRow)
    write_rows(tables / "layers.csv", _layers(graph, tunings), records.LayerRow)
    write_rows(tables / "critical_layers.csv", _critical(graph, tunings[-1]), records.CriticalRow)
    write_rows(tables / "methods.csv", _methods(), records.MethodRow)
    write_chance(tables, graph, tunings[:2])
    write_text(folder / "recipe.yaml", RECIPE)
    sentences = [sentence or "These numbers are synthetic: they test the page and say nothing about any model."]
    summary = records.SummaryRecord(
        title=TITLE,
        sentences=[*sentences, "Accuracy on unseen rows rose from 2.4 % to about 90 % in 1,000 steps."],
        notes=["3 of 5,000 rows were left out: row 17 (clean and corrupted differ in length) and two like it."],
        findings=find(tables, MAIN).model_copy(update={"causal": CAUSAL}),
    )
    write_json(folder / "summary.json", summary)
    return folder


def take_back(run: Path) -> Path:
    """The run as it was while its jobs were at work: two jobs a fine-tuning, none of them complete, no table."""
    for label in ("tune seed 0", "tune seed 1", "phase1 seed 0"):
        name = label.replace(" seed ", "-seed")
        for kind, table, model in (
            ("train", "accuracy", records.AccuracyRow),
            ("circuits", "faithfulness", records.FaithfulnessRow),
        ):
            job = run / "jobs" / f"{kind}-{name}-0123456789ab"
            rows = [row for row in read_rows(run / "tables" / f"{table}.csv", model) if row.label == label]
            write_rows(job / f"{table}.csv", rows, model)
            write_text(job / "spec.json", json.dumps({"discovery": {"share": MAIN}} if kind == "circuits" else {}))
    shutil.rmtree(run / "tables")
    (run / "summary.json").unlink()
    return run


def build_large_run(folder: Path) -> Path:
    """A run on a model of 24 layers of 16 heads, of one fine-tuning with ten checkpoints."""
    return build_run(folder, shape=(24, 16), steps=tuple(range(0, 1000, 100)), drawn=1)


def _tuning(graph: Wiring, label: str, role: str, seed: int, steps: tuple[int, ...], noise: float) -> Tuning:
    possible = np.arange(len(graph.sources))[:, None] < np.array(graph.readable)[None, :]
    shared, own = np.random.default_rng(7), np.random.default_rng([11, seed, len(steps)])
    rows, columns = possible.shape
    strong_source = np.array([{"i": 2.0, "m": 0.9}.get(name[0], 0.0) for name in graph.sources])
    strong_reader = np.array([{"l": 1.5, "m": 0.5}.get(name[0], 0.0) for name in graph.destinations])
    nodes = (strong_source + 0.8 * shared.standard_normal(rows))[:, None] + (
        strong_reader + 0.6 * shared.standard_normal(columns)
    )
    before = 0.8 * shared.standard_normal((rows, columns))
    tuned = 0.7 * before + 0.6 * shared.standard_normal((rows, columns)) + 0.5 * shared.standard_normal(rows)[:, None]
    after = math.sqrt(1 - noise) * tuned + noise * own.standard_normal((rows, columns))
    sign = np.sign(shared.standard_normal((rows, columns)) + 0.7) * possible
    progress = [1 - math.exp(-step / 250) for step in steps]
    scores = np.stack([1e-3 * (1 + 50 * p) * sign * np.exp(nodes + (1 - p) * before + p * after) for p in progress])
    circuits = np.stack([_top(graph, values, MAIN) for values in scores])
    return Tuning(label, role, seed, steps, scores.astype(np.float32), circuits)


def _top(graph: Wiring, values: np.ndarray, share: float) -> np.ndarray:
    """The strongest share of the edges, then pruned to those on a path from the input to the logits."""
    count = int(share * graph.edges)
    mask = np.abs(values) >= np.sort(np.abs(values), axis=None)[-count]
    while True:
        written = {"input"} | {_node(graph.destinations[r]) for r in np.flatnonzero(mask.any(0))}
        read = {"logits"} | {graph.sources[s] for s in np.flatnonzero(mask.any(1))}
        kept = mask & np.array([name in written for name in graph.sources])[:, None]
        kept &= np.array([_node(name) in read for name in graph.destinations])[None, :]
        if (kept == mask).all():
            return mask
        mask = kept


def _node(name: str) -> str:
    return name.split("<")[0]


def _node_set(graph: Wiring, mask: np.ndarray) -> set[str]:
    readers = {_node(graph.destinations[r]) for r in np.flatnonzero(mask.any(0))}
    return readers | {graph.sources[s] for s in np.flatnonzero(mask.any(1))}


def _edge_set(graph: Wiring, mask: np.ndarray) -> set[str]:
    return {f"{graph.sources[s]}->{graph.destinations[r]}" for s, r in zip(*np.nonzero(mask), strict=True)}


def _circuits(folder: Path, graph: Wiring, tunings: list[Tuning]) -> list[records.CircuitRow]:
    rows = []
    shape = {"layers": graph.layers, "heads": graph.heads, "kv_heads": graph.kv_heads, "parallel": graph.parallel}
    metadata = {"format": 1, "graph": {**shape, "collapsed": False}, "settings": {"synthetic": True}}
    for tuning in tunings:
        job = Path("jobs") / f"circuits-{tuning.role}-seed{tuning.seed}-0123456789ab"
        for step, values, mask in zip(tuning.steps, tuning.scores, tuning.circuits, strict=True):
            paths = {name: job / name / f"step-{step:05d}.safetensors" for name in ("scores", "circuits")}
            tensors.save(
                folder / paths["scores"], {"values": torch.from_numpy(values)}, {**metadata, "kind": "scores"}
            )
            tensors.save(
                folder / paths["circuits"], {"mask": torch.from_numpy(mask)}, {**metadata, "kind": "circuit"}
            )
            rows.append(
                records.CircuitRow(
                    label=tuning.label, role=tuning.role, seed=tuning.seed, step=step, share=MAIN,
                    nodes=len(_node_set(graph, mask)), edges=int(mask.sum()),
                    scores=paths["scores"].as_posix(), circuit=paths["circuits"].as_posix(),
                )
            )  # fmt: skip
    return rows


def _wilson(correct: int, n: int) -> tuple[float, float]:
    centre, spread = (correct + 1.92) / (n + 3.84), 1.96 * math.sqrt(correct * (n - correct) / n + 0.96) / (n + 3.84)
    return centre - spread, centre + spread


def _accuracy() -> list[records.AccuracyRow]:
    rows = []
    for label, arm, seed, final in (
        ("tune seed 0", "tune", 0, 0.91),
        ("tune seed 1", "tune", 1, 0.87),
        ("circuitlora seed 0", "circuitlora", 0, 0.93),
    ):
        for step in STEPS:
            correct = int(EXAMPLES * (0.024 + (final - 0.024) / (1 + math.exp(-(step - 330 - 40 * seed) / 90))))
            low, high = _wilson(correct, EXAMPLES)
            rows.append(
                records.AccuracyRow(
                    label=label, arm=arm, seed=seed, step=step, steps=1000, epoch=step / 66.7, split="test",
                    examples=EXAMPLES, correct=correct, accuracy=correct / EXAMPLES, low=low, high=high,
                    loss=3.2 * math.exp(-step / 300),
                )
            )  # fmt: skip
    return rows


def _faithfulness() -> list[records.FaithfulnessRow]:
    rows = []
    for seed in (0, 1):
        for step in STEPS:
            for share in SHARES:
                good = min(1.02, (0.55 + 0.2 * seed + 0.45 * (step / 1000) ** 0.5) * (1 - math.exp(-share * 45)))
                defined = step > 0 or share < 0.2
                width = 0.15 / (1 + step / 150)
                rows.append(
                    records.FaithfulnessRow(
                        label=f"tune seed {seed}", arm="tune", seed=seed, step=step, share=share,
                        edges=int(share * 6573), nodes=int(73 * min(1, share * 12)), metric="logit_diff",
                        model=4.0, circuit=4.0 * good, corrupted=-4.0,
                        normalized=good if defined else None,
                        normalized_low=good - width if defined else None,
                        normalized_high=good + width if defined else None,
                        reason="" if defined else "the interval of model - corrupted contains 0",
                        kl=0.4 * (1.1 - good), accuracy=0.9 * good, percent_released=100 * good,
                    )
                )  # fmt: skip
    return rows


def _compare(
    comparison: str, role: str, kind: str, names: tuple[str, str], sets: tuple[set[str], set[str]],
    cumulative: float | None,
) -> records.ChangeRow:  # fmt: skip
    before, after = sets
    return records.ChangeRow(
        comparison=comparison, role=role, kind=kind, before=names[0], after=names[1],  # pyright: ignore[reportArgumentType]
        before_count=len(before), after_count=len(after), added=len(after - before), removed=len(before - after),
        kept=len(before & after), jaccard=len(before & after) / len(before | after),
        rate=len(before ^ after) / len(before), cumulative=cumulative,
    )  # fmt: skip


def _comparisons(tunings: list[Tuning]) -> list[tuple[str, str, tuple[str, str], np.ndarray, np.ndarray]]:
    changes = [
        (
            f"{t.label}, before against after",
            "change",
            (f"{t.label} step 0", f"{t.label} step {t.steps[-1]}"),
            t.circuits[0],
            t.circuits[-1],
        )
        for t in tunings[:2]
    ]
    one, two = tunings[0], tunings[1]
    names = (f"{one.label} step {one.steps[-1]}", f"{two.label} step {two.steps[-1]}")
    return [*changes, ("after tuning, seed 0 against seed 1", "null", names, one.circuits[-1], two.circuits[-1])]


def _changes(graph: Wiring, tunings: list[Tuning]) -> list[records.ChangeRow]:
    rows = []
    by_label = {f"{tuning.label}, before against after": tuning for tuning in tunings}
    for name, role, names, before, after in _comparisons(tunings):
        for kind, members in (("node", _node_set), ("edge", _edge_set)):
            total = None
            if name in by_label:
                sets = [members(graph, mask) for mask in by_label[name].circuits]
                total = sum(len(a ^ b) for a, b in itertools.pairwise(sets)) / len(sets[0])
            rows.append(_compare(name, role, kind, names, (members(graph, before), members(graph, after)), total))
    return rows


def _transitions(graph: Wiring, tunings: list[Tuning]) -> list[records.TransitionRow]:
    rows = []
    for tuning in tunings[:2]:
        for kind, members in (("node", _node_set), ("edge", _edge_set)):
            sets = [members(graph, mask) for mask in tuning.circuits]
            for index in range(len(sets) - 1):
                before, after = sets[index], sets[index + 1]
                rows.append(
                    records.TransitionRow(
                        label=tuning.label, seed=tuning.seed, step_from=tuning.steps[index],
                        step_to=tuning.steps[index + 1], kind=kind,  # pyright: ignore[reportArgumentType]
                        added=len(after - before), removed=len(before - after),
                        rate=len(before ^ after) / len(sets[0]),
                    )
                )  # fmt: skip
    return rows


def _layer_of(name: str, layers: int) -> int:
    if name in ("input", "logits"):
        return -1 if name == "input" else layers
    return int(name.split(".")[0][1:])


def _layers(graph: Wiring, tunings: list[Tuning]) -> list[records.LayerRow]:
    nodes = [*graph.sources, "logits"]
    edges = [
        (s, r) for r, count in zip(graph.destinations, graph.readable, strict=True) for s in graph.sources[:count]
    ]
    places = {
        ("node", "source"): {name: _layer_of(name, graph.layers) for name in nodes},
        ("edge", "source"): {f"{s}->{r}": _layer_of(s, graph.layers) for s, r in edges},
        ("edge", "destination"): {f"{s}->{r}": _layer_of(r, graph.layers) for s, r in edges},
    }
    rows = []
    for name, role, _, before, after in _comparisons(tunings):
        for (kind, side), place in places.items():
            members = _node_set if kind == "node" else _edge_set
            old, new = members(graph, before), members(graph, after)
            for layer in sorted(set(place.values())):
                here = {item for item, at in place.items() if at == layer}
                absent, present = here - old, here & old
                rows.append(
                    records.LayerRow(
                        comparison=name, role=role, kind=kind, side=side, layer=layer,  # pyright: ignore[reportArgumentType]
                        possible=len(here), before=len(present), after=len(here & new),
                        added=len(absent & new), removed=len(present - new),
                        share_absent_added=len(absent & new) / len(absent) if absent else None,
                        share_present_removed=len(present - new) / len(present) if present else None,
                    )
                )  # fmt: skip
    return rows


def _critical(graph: Wiring, tuning: Tuning) -> list[records.CriticalRow]:
    layer = np.array([max(0, _layer_of(name, graph.layers)) for name in graph.sources])
    before, after = tuning.scores[0].astype(float), tuning.scores[-1].astype(float)
    maps = {
        "released": np.abs(after - before),
        "normalised": np.abs(after / np.abs(after).sum() - before / np.abs(before).sum()),
    }
    rows = []
    for rule, change in maps.items():
        importance = np.bincount(layer, change.sum(1), graph.layers)
        order = sorted(range(graph.layers), key=lambda index, values=importance: (-values[index], index))
        for place, index in enumerate(order, start=1):
            rows.append(
                records.CriticalRow(
                    seed=tuning.seed,
                    rule=rule,
                    layer=index,
                    importance=float(importance[index]),
                    place=place,
                    chosen=place <= 2,
                )
            )
    return rows


def _methods() -> list[records.MethodRow]:
    rows = []
    for arm, draw, layers, rank, accuracy in (
        ("circuitlora", 0, "0 3", 1, 0.931),
        ("uniform", 0, "", 2, 0.9105),
        ("random", 0, "1 6", 1, 0.9015),
        ("random", 1, "2 7", 1, 0.9235),
        ("random", 2, "0 5", 1, 0.887),
    ):
        correct = round(EXAMPLES * accuracy)
        low, high = _wilson(correct, EXAMPLES)
        rows.append(
            records.MethodRow(
                arm=arm, draw=draw, seed=0, layers=layers, rank=rank, critical_rank=5 if layers else rank,
                parameters=18432, planned=18432, peak=18432, learning_rate=0.01, steps=1000, allocation_flops=10**9,
                training_flops=10**11, before=0.01, examples=EXAMPLES, accuracy=correct / EXAMPLES,
                low=low, high=high, loss=0.3,
            )
        )  # fmt: skip
    return rows
