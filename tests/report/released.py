"""A run folder of the study's size: its two released circuits, and random scores where they say nothing.

24 layers of 16 heads, ten checkpoints on the way from the first file to the second; SYNTHETIC in between.
"""

from pathlib import Path

import torch

from circuitune.circuits.interchange import import_circuit
from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import write_text
from circuitune.core.csvio import write_rows
from circuitune.core.records import CircuitRow

RELEASED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "released"
FILES = ("two_step_pythia-1.4b_epoch0.json", "two_step_pythia-1.4b_r2_epoch4.json")
CHECKPOINTS = 10
SHARE = 0.1


def build_released_run(folder: Path) -> Path:
    """Write the run: a recipe, the circuits and their table."""
    first, last = (_whole(RELEASED / name, seed) for seed, name in enumerate(FILES))
    rows: list[CircuitRow] = []
    for step in range(CHECKPOINTS):
        part = step / (CHECKPOINTS - 1)
        scores = EdgeScores((1 - part) * first.values + part * last.values, first.graph)
        circuit = scores.top(SHARE)
        paths = [f"jobs/circuits-tune-seed0/{kind}/step-{step:05d}.safetensors" for kind in ("scores", "circuits")]
        scores.save(folder / paths[0])
        circuit.save(folder / paths[1])
        rows.append(
            CircuitRow(
                label="tune seed 0",
                role="tune",
                seed=0,
                step=step,
                share=SHARE,
                nodes=len(circuit.nodes),
                edges=len(circuit),
                scores=paths[0],
                circuit=paths[1],
            )
        )
    write_rows(folder / "tables" / "circuits.csv", rows, CircuitRow)
    write_text(folder / "recipe.yaml", "name: released\nmodel: pythia-1.4b\n")
    return folder


def _whole(path: Path, seed: int) -> EdgeScores:
    """The scores of a file scaled to unit mass; edges that it does not list get smaller ones by chance."""
    scores = import_circuit(path).scores
    assert scores is not None
    listed = scores.values != 0
    smallest = scores.values[listed].abs().min()
    drawn = smallest * (2 * torch.rand(listed.shape, generator=torch.Generator().manual_seed(seed)) - 1)
    values = torch.where(listed, scores.values, drawn) * scores.graph.edge_mask
    return EdgeScores(values / values.abs().sum(), scores.graph)
