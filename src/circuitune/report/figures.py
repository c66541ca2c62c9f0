"""A run folder -> the figures of a paper as PNG, SVG and PDF, and their captions in ``figures.md``.

The rows are those that the page reads (`payload.read_tables`), so that figures and page agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from circuitune.core import chance_records, study_records
from circuitune.core.atomic import write_bytes, write_text
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.places import inside
from circuitune.core.records import CircuitRow
from circuitune.figures.circuit import MOST_DRAWN, Edges, Shape, circuit_drawing
from circuitune.figures.style import FORMATS
from circuitune.report import plates
from circuitune.report.embedding import read_maps
from circuitune.report.payload import TABLES, main_circuits, read_tables
from circuitune.report.plates import Plate
from circuitune.report.wiring import Wiring

ALL: Final = {
    **TABLES,
    "similarity": chance_records.SimilarityRow,
    "composition_overlap": chance_records.TunedTopOverlapRow,
}
"""The tables of the page, and two that are too fine for it."""

CAPTIONS: Final = "figures.md"

_MADE: Final[Mapping[str, Callable[[Any], Plate | str]]] = {
    "robustness": plates.robustness,
    "transitions": plates.transitions,
    "chance": plates.chance,
    "layers": plates.layers,
    "similarity": plates.top_overlap,
    "composition_overlap": plates.composition_overlap,
    "methods": plates.methods,
}
"""The figures that need one table alone, by its name."""

_NAMES: Final = {"similarity": "overlap", "composition_overlap": "composition-overlap"}
"""Figures that are not called as their table is."""

_ASKED: Final = {
    "robustness": "a recipe asks for it with `robustness`",
    "composition_overlap": "a recipe asks for it with `composition`",
    "methods": "a recipe asks for it with `contest`",
}


@dataclass(frozen=True)
class Drawn:
    """What was written, and for every figure that was left out the reason."""

    files: tuple[Path, ...]
    left_out: Mapping[str, str]


def draw(run: Path, out: Path | None = None, formats: Sequence[str] = FORMATS) -> Drawn:
    """Draw every figure that a run has the tables for, into its folder ``figures`` unless told otherwise.

    Raises:
        InputError: it is neither a run folder nor that of a study's results, a table is damaged, an unknown format,
            or no figure can be drawn.
        MachineError: a file could not be written.
    """
    found = collect(run)
    if not any(isinstance(plate, Plate) for plate in found.values()):
        raise InputError(f"{run} has nothing to draw yet: {'; '.join(map(str, found.values()))}.")
    return write(found, out or run / "figures", formats)


def write(found: Mapping[str, Plate | str], folder: Path, formats: Sequence[str] = FORMATS) -> Drawn:
    """Write figures by name in every format, and their captions and what was left out into ``figures.md``.

    Raises:
        InputError: an unknown format, or none.
        MachineError: a file could not be written.
    """
    unknown = [form for form in formats if form not in FORMATS]
    if unknown or not formats:
        raise InputError(
            f"{unknown[0] if unknown else 'none'} is no format of figures; choose of {', '.join(FORMATS)}."
        )
    made = {name: plate for name, plate in found.items() if isinstance(plate, Plate)}
    left_out = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    files: list[Path] = []
    for name, plate in made.items():
        for form in dict.fromkeys(formats):
            files.append(folder / f"{name}.{form}")
            write_bytes(files[-1], plate.drawing.encode(form))
    write_text(folder / CAPTIONS, _captions(made, left_out, formats[0]))
    return Drawn((*files, folder / CAPTIONS), left_out)


def collect(run: Path) -> dict[str, Plate | str]:
    """Every figure by name, or why there is none; of the folder of a study's results that of its verdicts.

    Raises:
        InputError: it is neither a run folder nor that of a study's results, or one of its tables is damaged.
    """
    if (run / "tasks.csv").is_file():
        tasks = read_rows(run / "tasks.csv", study_records.TaskEffectRow)
        return {"verdicts": plates.verdicts(tasks, read_rows(run / "verdicts.csv", study_records.ClaimRow))}
    tables: dict[str, Any] = dict(read_tables(run, ALL))
    circuits: list[CircuitRow] = main_circuits(tables.get("circuits", []))
    share = circuits[0].share if circuits else None
    found: dict[str, Plate | str] = {"circuit": _circuit(run, circuits)}
    found["faithfulness"] = (
        plates.faithfulness(tables["faithfulness"], share) if "faithfulness" in tables else _absent("faithfulness")
    )
    for name, make in _MADE.items():
        found[_NAMES.get(name, name)] = make(tables[name]) if name in tables else _absent(name)
    return found


def _absent(table: str) -> str:
    asked = f" ({_ASKED[table]})" if table in _ASKED else ""
    return f"the run has no tables/{table}.csv{asked}"


def _circuit(run: Path, rows: Sequence[CircuitRow]) -> Plate | str:
    """The first fine-tuning's circuit before and after."""
    own = [row for row in rows if row.label == rows[0].label]
    if len(own) < 2:
        return "the run has no circuits of two checkpoints of one fine-tuning"
    before, after = own[0], own[-1]
    try:
        (old, wiring), (new, other) = _edges(run, before), _edges(run, after)
    except InputError as error:
        return str(error).rstrip(".")
    if wiring != other:
        return f"the circuits of {before.label} belong to models of different shapes"
    shape = Shape(wiring.layers, wiring.heads, wiring.kv_heads, wiring.parallel)
    titles = (f"Before (step {before.step:,})", f"After (step {after.step:,})")
    drawn = circuit_drawing(shape, dict(zip(titles, (old, new), strict=True)))
    tunings = len({row.label for row in rows if row.role == before.role})
    if len(old | new) > MOST_DRAWN:
        which = (
            f"Drawn are the {MOST_DRAWN} edges of largest share of their map's total absolute score, in either map."
        )
    else:
        which = "Edges are wider the larger their share of the map's total absolute score."
    merged = " The query, key and value of a head are one input." if wiring.merged else ""
    caption = (
        f"The circuit of {before.label} before ({before.edges:,} edges, {before.nodes} nodes) and after fine-tuning "
        f"({after.edges:,} edges, {after.nodes} nodes) of {wiring.edges:,} possible edges, layers from bottom to "
        f"top; one of {plates.plural(tunings, 'fine-tuning')}. Shades count all edges of a node. {which}{merged} "
        "Grey: in both circuits; orange, dashed: removed; blue: added."
    )
    return Plate("The circuit before and after fine-tuning", drawn, caption)


def _edges(run: Path, row: CircuitRow) -> tuple[Edges, Wiring]:
    """Every edge of a circuit with its share of the map's total absolute score."""
    values, mask, wiring = read_maps(inside(run, row.scores), inside(run, row.circuit))
    size = np.abs(values.astype(np.float64))
    relative = size / (size.sum() or 1.0)
    rows, columns = np.nonzero(mask)
    names = ((wiring.sources[s], wiring.destinations[d]) for s, d in zip(rows, columns, strict=True))
    return dict(zip(names, relative[rows, columns].tolist(), strict=True)), wiring


def _captions(made: Mapping[str, Plate], left_out: Mapping[str, str], form: str) -> str:
    """One section per figure, as Markdown; what was left out, last."""
    parts = ["# Figures\n"]
    for name, plate in made.items():
        shown = f"![{plate.title}]({name}.{form})" if form != "pdf" else f"[{name}.pdf]({name}.pdf)"
        parts += [f"## {plate.title}\n", f"{shown}\n", f"{plate.caption}\n"]
        parts += [f"{plate.numbers.markdown}\n"] if plate.numbers else []
    if left_out:
        parts += ["## Left out\n", *(f"- {name}: {reason}." for name, reason in left_out.items()), ""]
    return "\n".join(parts).replace("<", "&lt;")  # labels are data
