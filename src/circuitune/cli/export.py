"""``circuitune export``: scores or a circuit as a file of another tool."""

from pathlib import Path
from typing import Literal

from circuitune.cli.evaluate import read_file
from circuitune.cli.output import say, show, show_json
from circuitune.core.errors import InputError


def export(
    file: Path,
    /,
    *,
    format: Literal["eap-ig-json", "eap-ig-json-old", "pt", "mib", "graphml"],
    out: Path,
    binary: bool = False,
    json: bool = False,
) -> None:
    """Write scores or a circuit for another tool.

    Readers: EAP-IG 2 of eap-ig-json and pt, EAP-IG 0.2 of eap-ig-json-old, NetworkX of graphml, the benchmark of mib.

    Examples:
      circuitune export circuit.safetensors --format eap-ig-json --out c.json
      circuitune export scores.safetensors --format mib --out ioi_gpt2
      circuitune export circuit.safetensors --format graphml --out c.graphml

    Parameters
    ----------
    file: Path
        scores.safetensors or circuit.safetensors, as `circuitune discover` writes them.
    format: str
        What to write.
    out: Path
        The file to write; for mib the folder, named TASK_MODEL.
    binary: bool
        For mib: nine circuits of the benchmark's sizes, cut from the scores, in place of the scores.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.interchange import export_circuit, mib_circuits
    from circuitune.circuits.scores import EdgeScores

    what = read_file(file)
    if binary:
        if format != "mib" or not isinstance(what, EdgeScores):
            raise InputError("--binary cuts scores to nine circuits; give a scores file and --format mib.")
        what = mib_circuits(what)
    made = export_circuit(what, out, format=format)
    for note in made.notes:
        say(note)
    if json:
        show_json({"format": format, "files": [str(path) for path in made.files], "notes": list(made.notes)})
        return
    for path in made.files:
        show(f"Written: {path}")
