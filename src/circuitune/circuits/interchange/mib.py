"""Folders as the Mechanistic Interpretability Benchmark takes them: one per task and model (``ioi_gpt2``).

Either one file with scores, or nine circuits of at most 0.1, 0.2, 0.5, 1, 2, 5, 10, 20 and 50 % of the edges.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from circuitune.circuits.interchange import eap_ig_json, eap_ig_pt
from circuitune.circuits.interchange.contents import Contents, Imported, head_columns, imported, ungrouped
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.errors import InputError

NAME = "mib"
PERCENT = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
MODELS = ("gpt2", "qwen2.5", "gemma2", "llama3", "interpbench")
IMPORTANCES = "importances.json"


def circuits_of(scores: EdgeScores) -> list[Circuit]:
    """The nine circuits of the benchmark's sizes, smallest first, each pruned.

    With grouped-query attention the benchmark counts an edge into a key/value head once per query head, so
    such a circuit has as many edges as fit when they are counted that way.
    """
    graph = scores.graph
    if graph.collapsed:
        raise InputError("The benchmark lists q, k and v apart and in these scores they are merged; give others.")
    weights = head_columns(graph).bincount().expand(graph.edge_mask.shape)[graph.edge_mask]
    order = torch.argsort(scores.values[graph.edge_mask].abs(), descending=True, stable=True)
    used = weights[order].cumsum(0)
    return [scores.top(int((used <= limit).sum())) for limit in _limits(ungrouped(graph).edges)]


def write_scores(scores: Sequence[Contents], folder: Path, *, width: int | None) -> list[Path]:
    """Write the folder's one file with scores (of one graph); the folder must not hold another circuit file."""
    _make(folder)
    eap_ig_json.write(scores[0], folder / IMPORTANCES, width=width)
    return [folder / IMPORTANCES]


def write_circuits(circuits: Sequence[Contents], folder: Path, *, width: int | None) -> list[Path]:
    """Write nine circuits, smallest first; the folder must not hold another circuit file.

    Raises:
        InputError: they are not nine, not of one graph, or one is larger than its share of the edges.
    """
    if len(circuits) != len(PERCENT):
        raise InputError(f"A submission has {len(PERCENT)} circuits, or one file with scores; got {len(circuits)}.")
    graph = circuits[0].graph
    if any(contents.graph != graph for contents in circuits):
        raise InputError("The circuits of a submission are of one model; these are of different graphs.")
    for contents, percent, limit in zip(circuits, PERCENT, _limits(graph.edges), strict=True):
        if int(contents.mask.sum()) > limit:
            raise InputError(
                f"The circuit for {percent:g} % has {int(contents.mask.sum())} edges, more than {limit} of "
                f"{graph.edges}; cut it smaller."
            )
    _make(folder)
    paths = [folder / f"circuit-{percent:g}-percent.pt" for percent in PERCENT]
    for contents, path in zip(circuits, paths, strict=True):
        eap_ig_pt.write(contents, path, width=width)
    return paths


def name_notes(folder: Path) -> tuple[str, ...]:
    """A note if the folder is not named as the benchmark wants it."""
    task, _, model = folder.resolve().name.rpartition("_")
    if task and "_" not in task and model in MODELS:
        return ()
    return (
        f"The benchmark wants folders named TASK_MODEL, such as ioi_gpt2 or arc-easy_llama3 (models: "
        f"{', '.join(MODELS)}); {folder.resolve().name} is not.",
    )


def read(folder: Path, kv_heads: int | None = None) -> Imported:
    """The scores, or the nine circuits, of one folder.

    Raises:
        InputError: the folder holds neither one circuit file nor nine, or one of them is damaged.
    """
    files = _files(folder)
    if len(files) not in (1, len(PERCENT)):
        below = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        hint = f"import one of its folders ({', '.join(below[:4])})" if below and not files else "import one file"
        raise InputError(
            f"{folder} holds {len(files)} files that end in .json or .pt; a submission's folder has one with scores "
            f"or nine circuits: {hint}."
        )
    pairs = [(_read_file(path), path) for path in files]
    if len(files) == 1:
        return imported(*pairs[0], NAME, kv_heads)
    pairs.sort(key=lambda pair: int(pair[0].mask.sum()))
    notes = _oversized(pairs)
    found = [imported(contents, path, NAME, kv_heads) for contents, path in pairs]
    if all(one.circuit is None for one in found):
        raise InputError(f"{folder} holds {len(files)} files that mark no edges; nine files are nine circuits.")
    circuits = [one.circuit or _empty(one) for one in found]
    for circuit, (_, path) in zip(circuits, pairs, strict=True):
        if circuit.graph != circuits[0].graph:
            raise InputError(f"{path}: field cfg differs from that of {pairs[0][1].name}; one folder is one model.")
    notes += [note for one in found for note in one.notes]
    return Imported(None, None, tuple(circuits), found[-1].node_scores, NAME, tuple(dict.fromkeys(notes)))


def _empty(one: Imported) -> Circuit:
    """The circuit of a file with scores and no marks: at the smallest sizes no edge may be left."""
    assert one.scores is not None
    graph = one.scores.graph
    return Circuit(torch.zeros_like(graph.edge_mask), graph, one.scores, one.scores.settings)


def _limits(edges: int) -> list[int]:
    return [int(percent / 100 * edges) for percent in PERCENT]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".pt") and path.is_file())


def _read_file(path: Path) -> Contents:
    return (eap_ig_json if path.suffix == ".json" else eap_ig_pt).read(path)[0]


def _oversized(pairs: Sequence[tuple[Contents, Path]]) -> list[str]:
    """A note for every circuit that is larger than the benchmark allows at its place."""
    limits = _limits(pairs[0][0].graph.edges)
    return [
        f"{path.name} has {int(contents.mask.sum())} edges, more than the {limit} that {percent:g} % allow."
        for (contents, path), percent, limit in zip(pairs, PERCENT, limits, strict=True)
        if int(contents.mask.sum()) > limit
    ]


def _make(folder: Path) -> None:
    """Create the folder; one that holds a circuit file already would no longer be a submission."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name the folder of the submission, such as ioi_gpt2.")
    if folder.is_dir() and _files(folder):
        raise InputError(f"{folder} already holds {_files(folder)[0].name}; name a new folder.")
    ensure_writable_folder(folder)
