"""Memory and time of every stage against layers, heads, width, tokens and pairs: predicted beside measured.

python benchmarks/scale.py                       # every stage over the grid, then what grows and what does not
python benchmarks/scale.py --stage attribute     # may be repeated
python benchmarks/scale.py --case "2 4 64 12 8"  # layers, heads, width, tokens, pairs; may be repeated
python benchmarks/scale.py --growth              # tables at few and at many checkpoints and seeds alone

Memory is the peak above what was resident when the stage began; what a prediction says is in `STAGES`. Time is
predicted up to one factor a stage, the machine's, taken from the grid itself (its geometric mean): a formula that
leaves out what time depends on shows as ratios that differ. Ends with 1 where a ratio is above `FACTOR` (memory) or
`FACTOR_TIME`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import SHARES, evaluate, faithfulness_curve
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import attribution_memory, evaluation_memory
from circuitune.circuits.scores import EdgeScores
from circuitune.core.chance_records import ChanceRow
from circuitune.core.csvio import write_rows
from circuitune.core.records import CircuitRow
from circuitune.dynamics.bootstrap import LEAST_RESAMPLES, bootstrap_change
from circuitune.dynamics.change import compare
from circuitune.dynamics.edge_tests import edge_tests
from circuitune.experiments.estimate import TRAINED
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import ModelRef
from circuitune.experiments.store import create
from circuitune.experiments.tables import write_change, write_finer
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.loading import NANO_FOLDER, load
from circuitune.report import build
from measuring import CLEAR, resident, status

GRID = ("2 4 64 12 8", "4 4 128 12 16", "8 8 256 12 16", "8 8 256 48 16", "8 8 256 12 64", "4 16 256 24 32")
"""Layers, heads, width, tokens, pairs."""
STEPS = 5
FACTOR, FACTOR_TIME = 2.0, 3.0
FLOOR = 16 * 2**20
"""Bytes below which a peak says nothing: allocators take more at a time."""
SMALL = 0.1
"""Seconds below which a time says nothing."""
GROWTH = 1.25
FEW, MANY = 2, 40
COMPARED = 4 * 1024
"""Bytes that a comparison of two seeds may add: its counts, for the interval of all of them."""


@dataclass(frozen=True)
class Case:
    """A random model and random pairs of these sizes."""

    layers: int
    heads: int
    width: int
    tokens: int
    pairs: int

    def model(self) -> GPTNeoXForCausalLM:
        """GPT-NeoX with nano's vocabulary."""
        torch.manual_seed(0)
        shape = {"num_hidden_layers": self.layers, "num_attention_heads": self.heads, "hidden_size": self.width}
        config = GPTNeoXConfig(**shape, intermediate_size=4 * self.width, vocab_size=1500, max_position_embeddings=64)
        return GPTNeoXForCausalLM(config).eval()

    def inputs(self) -> EncodedPairs:
        """Pairs that share nothing."""
        clean, corrupted = (torch.randint(5, 1000, (self.pairs, self.tokens)) for _ in range(2))
        corrupted[:, 0] = clean[:, 0] + 1
        return EncodedPairs(clean, corrupted, clean[:, 0], corrupted[:, -1])


class Bench:
    """One case's model, pairs and maps, and the numbers that formulas are made of."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.model, self.inputs = case.model(), case.inputs()
        self.anatomy = anatomy_of(self.model)
        self.graph = Graph.of(self.anatomy)
        self.model.save_pretrained(folder / "model")
        AutoTokenizer.from_pretrained(NANO_FOLDER).save_pretrained(folder / "model")
        self.parameters = self.model.num_parameters()
        self.entries = len(self.graph.sources) * len(self.graph.destinations)
        self.maps = [self._map(seed) for seed in range(2)]
        self.circuit = self.maps[0].top(0.05)

    def _map(self, seed: int) -> EdgeScores:
        noise = torch.Generator().manual_seed(seed)
        shape = (self.case.pairs, *self.graph.edge_mask.shape)
        examples = torch.randn(shape, generator=noise) * self.graph.edge_mask
        return EdgeScores(examples.mean(0), self.graph, None, examples, {"pairs_digest": "random"})

    @property
    def passed(self) -> float:
        """What one forward pass over all pairs costs: parameters x tokens x pairs."""
        return self.parameters * self.case.tokens * self.case.pairs

    def page(self) -> None:
        """The report of a run of ten checkpoints."""
        run = self.folder / "run"
        if not run.exists():
            rows = list[CircuitRow]()
            for step in range(10):
                paths = {
                    kind: Path("jobs") / kind / f"step-{step:05d}.safetensors" for kind in ("scores", "circuits")
                }
                _bare(self.maps[0]).save(run / paths["scores"])
                self.circuit.save(run / paths["circuits"])
                rows.append(_row(step, paths["scores"], paths["circuits"]))
            write_rows(run / "tables" / "circuits.csv", rows, CircuitRow)
        build(run)


def _bare(scores: EdgeScores) -> EdgeScores:
    return EdgeScores(scores.values, scores.graph, None, None, scores.settings)


def _row(step: int, scores: Path, circuit: Path) -> CircuitRow:
    return CircuitRow(
        label="tune seed 0", role="tune", seed=0, step=step, share=0.05, nodes=1, edges=1, scores=scores.as_posix(),
        circuit=circuit.as_posix(),
    )  # fmt: skip


def train(bench: Bench) -> None:
    """Two steps of full fine-tuning: weights, gradients and AdamW's moments."""
    model, tokens = bench.case.model().train(), bench.inputs.clean
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(2):
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@dataclass(frozen=True)
class Stage:
    """What is run, the bytes it takes above what was there (``most``: at most), what its time grows with."""

    run: Callable[[Bench], Any]
    memory: Callable[[Bench], float]
    work: Callable[[Bench], float]
    said: str
    most: bool = False


def _activations(bench: Bench) -> float:
    """Bytes that a backward pass of all pairs keeps: about 34 values per width, layer and token, and the logits."""
    case = bench.case
    seen = case.layers * (34 * case.width + 3 * case.heads * case.tokens) + 4 * 1500
    return 4.0 * case.pairs * case.tokens * seen


STAGES = {
    "load": Stage(
        lambda b: load(str(b.folder / "model")),
        lambda b: 4.0 * b.parameters,
        lambda b: b.parameters,
        "at most 4 bytes a parameter: the file is mapped, and its pages come as they are used; time: parameters",
        most=True,
    ),
    "attribute": Stage(
        lambda b: attribute(b.model, b.inputs, steps=STEPS, batch_size=b.case.pairs),
        lambda b: attribution_memory(b.anatomy, b.graph, STEPS).peak(b.case.pairs, b.case.tokens),
        lambda b: b.passed * (2 + 3 * STEPS),
        "circuits/memory.py; time: passes (2 + 3 steps) x parameters x tokens x pairs",
    ),
    "evaluate": Stage(
        lambda b: evaluate(b.model, b.inputs, b.circuit, batch_size=b.case.pairs),
        lambda b: evaluation_memory(b.anatomy, b.graph).peak(b.case.pairs, b.case.tokens),
        lambda b: b.passed * (2 + 4),
        "at most circuits/memory.py, as for a circuit of all nodes; time: passes (2 + 4 circuits)",
        most=True,
    ),
    "curve": Stage(
        lambda b: faithfulness_curve(b.model, b.inputs, b.maps[0]),
        lambda b: min(2**30, len(SHARES) * evaluation_memory(b.anatomy, b.graph).peak(b.case.pairs, b.case.tokens)),
        lambda b: b.passed * (2 + 4 * len(SHARES)),
        "the same for every circuit that runs at once, at most the budget; time: as evaluate",
        most=True,
    ),
    "bootstrap": Stage(
        lambda b: bootstrap_change(*b.maps, resamples=LEAST_RESAMPLES),
        lambda b: min(64 * 2**20, LEAST_RESAMPLES * 2 * 4.0 * b.entries) + 40.0 * b.entries,
        lambda b: LEAST_RESAMPLES * (3000.0 + b.entries),
        "maps of the resamples, at most 64 MiB of them; time: resamples x (3,000 + S R)",
    ),
    "edge tests": Stage(
        lambda b: edge_tests(*b.maps),
        lambda b: 3 * 8.0 * b.case.pairs * 0.1 * b.graph.edges,
        lambda b: b.case.pairs * b.graph.edges,
        "at most the pairs' scores of the edges in either circuit in float64; time: pairs x edges",
        most=True,
    ),
    "compare": Stage(
        lambda b: compare(*b.maps),
        lambda b: 40.0 * b.entries,
        lambda b: b.entries,
        "sorting one map; time: edges",
    ),
    "training": Stage(
        train,
        lambda b: TRAINED * b.parameters + _activations(b),
        lambda b: 2 * 3 * b.passed,
        "16 bytes a parameter and a batch's activations; time: 3 passes a step",
    ),
    "report": Stage(
        Bench.page,
        lambda b: 10 * 3 * b.graph.edges * (2 + 1 / 8) * 4 / 3 + 2**20,
        lambda b: 10 * b.graph.edges,
        "three copies of a page of 2.8 bytes an edge and checkpoint; time: edges x checkpoints",
    ),
}


def measure(case: Case, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Every stage once to warm up and once measured."""
    found = dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(case, Path(folder))
        for name in names:
            stage = STAGES[name]
            stage.run(bench)
            peak, seconds = weighed(lambda stage=stage: stage.run(bench))
            found[name] = {
                "predicted": stage.memory(bench), "peak": peak, "seconds": seconds, "work": stage.work(bench)
            }  # fmt: skip
    return found


def weighed(run: Callable[[], Any]) -> tuple[int, float]:
    """Peak bytes above what is resident now, and seconds on the processor."""
    before = resident() or 0
    CLEAR.write_text("5")
    begun = time.process_time()
    run()
    return status("VmHWM") - before, time.process_time() - begun


# ---- what grows ----


def grown(seeds: int, checkpoints: int, shape: tuple[int, int] = (8, 8)) -> tuple[int, float]:
    """Peak bytes and seconds of the tables of change of a run with so many fine-tunings and checkpoints."""
    recipe = load_recipe("quick", {"contest": None, "tuning": {"seeds": list(range(seeds))}})
    jobs = plan(recipe, ModelRef(name="nano", fingerprint="random"))
    graph = Graph(*shape, shape[1], parallel=True)
    noise = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        run = create(Path(folder) / "run", recipe, {})
        for spec in jobs.tuning_circuits:
            for step in range(checkpoints):
                values = torch.randn(graph.edge_mask.shape, generator=noise) * graph.edge_mask
                scores, place = EdgeScores(values, graph, None, None, {}), run.job(spec).folder
                scores.save(place / "scores" / f"step-{step:05d}.safetensors")
                scores.top(0.05).save(place / "circuits" / f"step-{step:05d}.safetensors")
        for spec in jobs.analyses:
            write_rows(run.job(spec).folder / "chance.csv", [], ChanceRow)
        first = jobs.tuning_circuits[0]
        EdgeScores.load(run.job(first).folder / "scores" / "step-00000.safetensors")
        return weighed(lambda: (write_change(run, jobs), write_finer(run, jobs)))


def growth() -> bool:
    """Print the peaks of tables at few and many checkpoints and seeds; whether no more than counts come on top."""
    well = True
    print(f"\ntables of change: peak MiB, at {FEW} and at {MANY}")
    for name, counts in {"checkpoints": [(2, FEW), (2, MANY)], "seeds": [(FEW, 2), (MANY, 2)]}.items():
        few, many = (child("--grown", f"{seeds} {checkpoints}") for seeds, checkpoints in counts)
        compared = counts[1][0] * (counts[1][0] - 1) // 2
        stays = many["peak"] <= few["peak"] * GROWTH + 2**20 + compared * COMPARED
        well &= stays
        each = (many["peak"] - few["peak"]) / compared / 2**10
        more = f"  {each:.1f} KiB a comparison of two seeds" if compared > 1 else ""
        print(
            f"{name:12} {few['peak'] / 2**20:8.1f} {many['peak'] / 2**20:8.1f}"
            f"  {'as said' if stays else 'GROWS'}{more}"
        )
    return well


# ---- the table ----


def child(*arguments: str) -> Any:
    """Run this file with one thread and take what it prints last."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **limits, "HF_HUB_OFFLINE": "1", "MALLOC_MMAP_THRESHOLD_": str(256 * 1024)}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def fits(name: str, row: dict[str, float]) -> bool:
    """Whether a stage's peak is what its formula says, or too small to tell."""
    if max(row["peak"], row["predicted"]) < FLOOR:
        return True
    ratio = row["predicted"] / max(row["peak"], 1)
    return ratio >= 1 / FACTOR and (STAGES[name].most or ratio <= FACTOR)


def show(name: str, rows: dict[str, dict[str, float]]) -> bool:
    """Print a stage's lines; whether all its ratios are within their factors."""
    stage, well = STAGES[name], True
    print(f"\n{name}: {stage.said}")
    timed = [math.log(row["seconds"] / row["work"]) for row in rows.values() if row["seconds"] >= SMALL]
    machine = math.exp(sum(timed) / len(timed)) if timed else 0.0
    for case, row in rows.items():
        memory = row["predicted"] / max(row["peak"], 1)
        clock = row["work"] * machine / max(row["seconds"], 1e-9)
        told = max(row["peak"], row["predicted"]) >= FLOOR
        right = fits(name, row) and (row["seconds"] < SMALL or 1 / FACTOR_TIME <= clock <= FACTOR_TIME)
        well &= right
        print(
            f"  {case:16} {row['predicted'] / 2**20:9.1f} {row['peak'] / 2**20:9.1f} MiB"
            f" {f'{memory:6.2f}' if told else '     -'}"
            f" {row['work'] * machine:9.3f} {row['seconds']:9.3f} s"
            f" {f'{clock:6.2f}' if row['seconds'] >= SMALL else '     -'}"
            f"{'' if right else '  OFF'}",
            flush=True,
        )
    return well


def main() -> None:
    """Measure and print; end with 1 where a formula is off or something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", action="append", choices=list(STAGES), help="only this one; may be repeated")
    parser.add_argument("--case", action="append", help="layers, heads, width, tokens, pairs; may be repeated")
    parser.add_argument("--growth", action="store_true", help="only what may not grow")
    parser.add_argument("--one", action="store_true", help="one case in this process, as JSON")
    parser.add_argument("--grown", help="seeds and checkpoints of tables in this process, as JSON")
    options = parser.parse_args()
    names, cases = options.stage or list(STAGES), options.case or list(GRID)
    if options.grown:
        seeds, checkpoints = map(int, options.grown.split())
        peak, seconds = grown(seeds, checkpoints)
        print(json.dumps({"peak": peak, "seconds": seconds}))
        return
    if options.one:
        print(json.dumps(measure(Case(*map(int, cases[0].split())), names)))
        return
    well = True
    if not options.growth:
        asked = [part for name in names for part in ("--stage", name)]
        rows = {case: child("--one", "--case", case, *asked) for case in cases}
        print(
            "layers heads width tokens pairs: predicted and measured peak, ratio; predicted and measured time, ratio"
        )
        for name in names:
            well &= show(name, {case: row[name] for case, row in rows.items()})
    if options.growth or not options.stage:
        well &= growth()
    if not well:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
