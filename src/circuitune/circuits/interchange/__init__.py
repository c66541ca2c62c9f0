"""Circuits of other tools: read and write EAP-IG's JSON and ``.pt``, the benchmark's folders, GraphML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from circuitune.circuits.interchange import eap_ig_json, eap_ig_pt, graphml, mib
from circuitune.circuits.interchange.contents import Contents, Imported, contents_of, imported, is_sparse
from circuitune.circuits.interchange.mib import circuits_of as mib_circuits
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.errors import InputError

__all__ = ["FORMATS", "Exported", "Format", "Imported", "export_circuit", "import_circuit", "mib_circuits"]

Format = Literal["eap-ig-json", "eap-ig-json-old", "pt", "mib", "graphml"]
FORMATS: tuple[Format, ...] = get_args(Format)

COLLAPSED: tuple[Format, ...] = ("eap-ig-json-old", "graphml")
"""Formats that can say that q, k and v of a head are one."""

READERS = {".json": eap_ig_json.read, ".pt": eap_ig_pt.read, ".pth": eap_ig_pt.read, ".graphml": graphml.read}


@dataclass(frozen=True)
class Exported:
    """The files that were written, and sentences about what they do not say."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def import_circuit(path: str | Path, *, kv_heads: int | None = None) -> Imported:
    """Read a circuit or scores that another tool wrote.

    Args:
        path: EAP-IG's ``.json`` (either schema, q/k/v merged or not) or ``.pt``, a folder of the benchmark's,
            ``.graphml`` of ours.
        kv_heads: key/value heads per block of a model with grouped-query attention, which such files do not say:
            scores of a group's query heads are summed, their marks or-ed. By default what the provenance says
            if circuitune wrote the file, else one per query head.

    Returns:
        Scores and circuit as far as the file has them, node scores, and notes on what was left out.

    Raises:
        InputError: the file is damaged, not of these formats, or contradicts itself; the sentence names the field.
    """
    path = Path(path)
    if path.is_dir():
        return mib.read(path, kv_heads)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        ours = "; EdgeScores.load and Circuit.load read circuitune's own" if path.suffix == ".safetensors" else ""
        raise InputError(f"{path} ends in none of {', '.join(READERS)} and is no folder{ours}.")
    contents, kind = reader(path)
    return imported(contents, path, kind, kv_heads)


def export_circuit(
    what: EdgeScores | Circuit | Sequence[Circuit],
    path: str | Path,
    *,
    format: Format,
    width: int | None = None,
    node_scores: Mapping[str, float] | None = None,
) -> Exported:
    """Write scores or a circuit for other tools.

    Args:
        what: scores, a circuit, or for ``mib`` nine circuits (`mib_circuits` cuts them from scores).
        path: the file to write; for ``mib`` the folder.
        format: ``eap-ig-json`` and ``pt`` (EAP-IG 2, the benchmark), ``eap-ig-json-old`` (EAP-IG 0.1 and 0.2;
            collapsed circuits as FinetuneCircuits writes them), ``mib``, ``graphml`` (NetworkX, Gephi).
        width: the model's width, for the file's ``cfg``; by default the settings' ``width``, else 0, as readers
            need it for neurons alone.
        node_scores: score by source name, for ``eap-ig-json``, ``pt`` and ``mib``.

    Returns:
        The files written and notes on what they do not say.

    Raises:
        InputError: the format cannot say it.
    """
    path = Path(path)
    several = [what] if isinstance(what, EdgeScores | Circuit) else list(what)
    _require_sayable(what, several, format, node_scores)
    if width is None and several:
        width = several[0].settings.get("width")
    parts = [contents_of(one, node_scores) for one in several]
    notes = tuple(dict.fromkeys(note for part in parts for note in (*part.notes, *_unlisted(part, format))))
    if format == "mib":
        write_mib = mib.write_scores if isinstance(what, EdgeScores) else mib.write_circuits
        return Exported(tuple(write_mib(parts, path, width=width)), (*notes, *mib.name_notes(path)))
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the file to write.")
    ensure_writable_folder(path.parent)
    if format == "eap-ig-json":
        eap_ig_json.write(parts[0], path, width=width)
    elif format == "eap-ig-json-old":
        eap_ig_json.write_old(parts[0], path)
    elif format == "pt":
        eap_ig_pt.write(parts[0], path, width=width)
    else:
        graphml.write(parts[0], path)
    return Exported((path,), notes)


def _require_sayable(
    what: object, several: Sequence[EdgeScores | Circuit], format: Format, node_scores: Mapping[str, float] | None
) -> None:
    """InputError where the format has no way to say it."""
    if format not in FORMATS:
        raise InputError(f"format is {format!r}; expected one of {', '.join(FORMATS)}.")
    if not isinstance(what, EdgeScores | Circuit):
        if not all(isinstance(one, Circuit) for one in several):
            raise InputError("Only scores, a circuit or a list of circuits can be exported.")
        if format != "mib":
            raise InputError(f"{format} is one circuit in one file; give one circuit, or take the format mib.")
    if format == "mib" and isinstance(what, Circuit):
        raise InputError("A submission is scores or nine circuits, not one circuit; give the scores.")
    if node_scores and format in ("eap-ig-json-old", "graphml"):
        raise InputError(f"{format} has no place for node scores; take eap-ig-json, pt or mib.")
    if format not in COLLAPSED and any(one.graph.collapsed for one in several):
        raise InputError(
            f"{format} lists q, k and v apart and here they are merged; take {' or '.join(COLLAPSED)}, or export it "
            "before collapsing."
        )


def _unlisted(contents: Contents, format: Format) -> tuple[str, ...]:
    """What a format that lists a circuit's own edges alone leaves out."""
    own_alone = format == "graphml" or (format == "eap-ig-json-old" and contents.graph.collapsed)
    if not own_alone or not is_sparse(contents) or contents.scores is None:
        return ()
    if not bool((contents.scores[~contents.mask] != 0).any()):
        return ()
    return ("The file lists the circuit's edges alone: scores of the other edges were left out.",)
