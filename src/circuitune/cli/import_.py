"""``circuitune import``: a circuit file of another tool as ours."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitune.cli.discover import counts
from circuitune.cli.output import say, show, show_json, table
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.circuits.interchange import Imported


def import_(file: Path, /, *, out: Path = Path("imported"), kv_heads: int | None = None, json: bool = False) -> None:
    """Read a circuit file of another tool: .json or .pt of EAP-IG, a folder of the benchmark's, .graphml of ours.

    Writes to a folder what it finds: scores.safetensors, circuit.safetensors (or circuit-1 to -9), node_scores.json.

    Examples:
      circuitune import graph.json --out theirs
      circuitune import llama.pt --kv-heads 2 --out llama.safetensors

    Parameters
    ----------
    file: Path
        The file, or the benchmark's folder of one task and model.
    out: Path
        A folder, or a file that ends in .safetensors for the circuit alone (without one: the scores).
    kv_heads: int
        Key/value heads per layer of a model with grouped-query attention, which other tools' files do not say.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.interchange import import_circuit

    found = import_circuit(file, kv_heads=kv_heads)
    files = _save_one(found, out) if out.suffix == ".safetensors" else _save_all(found, out)
    for note in found.notes:
        say(note)
    circuits = [counts(circuit) for circuit in found.circuits]
    if json:
        show_json({"format": found.format, "files": files, "circuits": circuits, "notes": list(found.notes)})
        return
    show(f"{file} is {found.format}; it has {'scores' if found.scores else 'no scores'}.")
    if circuits:
        show(table(list(circuits[0]), [list(circuit.values()) for circuit in circuits]))
    for name in files:
        show(f"Written: {name}")


def _save_one(found: "Imported", out: Path) -> list[str]:
    """The circuit (with its scores), or without one the scores, as the file `out`."""
    from circuitune.core.atomic import ensure_writable_folder

    what = found.circuit or found.scores
    if what is None:
        raise InputError(f"{out} cannot hold several circuits or node scores; name a folder with --out.")
    ensure_writable_folder(out.parent)
    what.save(out)
    return [str(out)]


def _save_all(found: "Imported", out: Path) -> list[str]:
    """All there is, as files of the folder `out`."""
    from circuitune.core.atomic import ensure_writable_folder, write_json

    ensure_writable_folder(out)
    parts: dict[str, Any] = {}
    if found.scores is not None:
        parts["scores"] = found.scores
    for number, circuit in enumerate(found.circuits, 1):
        parts["circuit" if len(found.circuits) == 1 else f"circuit-{number}"] = circuit
    for name, part in parts.items():
        part.save(out / f"{name}.safetensors")
    files = [str(out / f"{name}.safetensors") for name in parts]
    if found.node_scores:
        scores = {name: None if math.isnan(score) else score for name, score in found.node_scores.items()}
        write_json(out / "node_scores.json", scores)
        files.append(str(out / "node_scores.json"))
    return files
