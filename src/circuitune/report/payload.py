"""A run folder -> everything the page shows, as plain JSON values.

Nothing here judges, and neither does the page: it draws these tables, and shows the sentences of ``summary.json``.
A page is handed on, so it does not say on which machine, or where on it, the run was made.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast

from pydantic import BaseModel

from circuitune.core import chance_records, records
from circuitune.core.arms import arm_name
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.formats import require_readable
from circuitune.core.manifest import COMPLETE, verify
from circuitune.core.parsing import parse_yaml
from circuitune.core.places import inside, require_contained
from circuitune.report.embedding import pack
from circuitune.report.wiring import Wiring

FORMAT: Final = 1
"""Version of the payload; ``web/src/payload.ts`` reads exactly this one."""

TABLES: Final[Mapping[str, type[BaseModel]]] = {
    "accuracy": records.AccuracyRow,
    "faithfulness": records.FaithfulnessRow,
    "change": records.ChangeRow,
    "transitions": records.TransitionRow,
    "layers": records.LayerRow,
    "critical_layers": records.CriticalRow,
    "methods": records.MethodRow,
    "circuits": records.CircuitRow,
    "chance": chance_records.ChanceRow,
    "verdicts": chance_records.VerdictRow,
    "edges": chance_records.EdgeRow,
    "nodes": chance_records.NodeRow,
    "changed": chance_records.ChangedRow,
    "stability": chance_records.StabilityRow,
    "layer_frequency": chance_records.LayerFrequencyRow,
    "rules": chance_records.RuleRow,
    "robustness": chance_records.RobustnessRow,
    "composition": chance_records.TunedCompositionRow,
    "causal": chance_records.TunedCausalRow,
    "roles": chance_records.TunedRoleRow,
}

MOST_EDGES: Final = 5000
"""Rows of edges.csv embedded per fine-tuning; large models have a hundred thousand, which no page can list."""

PRIVATE: Final = ("host",)
"""Settings that are not embedded; of an absolute path only the last name is."""


@dataclass(frozen=True)
class Payload:
    """What is embedded: ``page`` as JSON, ``blobs`` as text blocks of their own (see ``embedding``)."""

    page: Mapping[str, object]
    blobs: Mapping[str, str]

    @property
    def title(self) -> str:
        """Title of the page."""
        return str(self.page["title"])

    @property
    def sentences(self) -> Sequence[str]:
        """The summary, in plain words."""
        return cast(Sequence[str], self.page["sentences"])


@dataclass(frozen=True)
class Located:
    """A circuit's graph, and where its scores and edges are: a data block of the page, or an address to ask."""

    wiring: Wiring
    scale: float | None
    blob: str


def collect(run: Path) -> Payload:
    """Read a run folder.

    Raises:
        InputError: it is no run folder, or one of its tables or documents is damaged. What is merely absent,
            and circuits that cannot be read, are named in the payload's ``problems`` instead.
    """
    blobs = dict[str, str]()

    def embed(row: records.CircuitRow) -> Located:
        packed = pack(inside(run, row.scores), inside(run, row.circuit))
        blob = f"circuit-{len(blobs)}"
        blobs[blob] = packed.data
        return Located(packed.wiring, packed.scale, blob)

    page, used = describe(run, read_tables(run), embed)
    return Payload(page, {name: data for name, data in blobs.items() if name in used})


def describe(
    run: Path, tables: Mapping[str, Sequence[BaseModel]], locate: Callable[[records.CircuitRow], Located]
) -> tuple[dict[str, object], set[str]]:
    """The page of a run with these tables, and the blobs it names; ``locate`` raises InputError for a bad circuit.

    Raises:
        InputError: a document of the run is damaged.
    """
    rows = dict(tables)
    drawn, problems, used = _circuits(cast(Sequence[records.CircuitRow], rows.get("circuits", [])), locate)
    counts = {name: len(table) for name, table in rows.items()}
    if "edges" in rows:
        rows["edges"] = _smallest_q(cast(Sequence[chance_records.EdgeRow], rows["edges"]))
    summary = _summary(run)
    page: dict[str, object] = {
        "format": FORMAT,
        "run": run.resolve().name,
        "title": summary.title,
        "sentences": summary.sentences,
        "notes": summary.notes,
        "findings": summary.findings.model_dump(),
        "problems": _shortly(problems),
        "tables": {name: _columns(name, rows.get(name)) for name in TABLES},
        "counts": counts,
        "arms": {row.arm: arm_name(row.arm) for row in cast(Sequence[records.MethodRow], rows.get("methods", []))},
        "recipe": _optional(run / "recipe.yaml", _settings),
        "environment": _optional(run / "environment.json", _settings),
        "pairs": _pairs(run),
        **drawn,
    }
    return page, used


def read_tables(run: Path, models: Mapping[str, type[BaseModel]] = TABLES) -> dict[str, Sequence[BaseModel]]:
    """The rows of these tables of a run, of as many as there are.

    Raises:
        InputError: it is no run folder, or one of the tables is damaged.
    """
    if not run.is_dir():
        raise InputError(f"{run} is no folder; give the folder of a run, such as runs/first.")
    require_readable(run)
    known = [run / "recipe.yaml", run / "summary.json", *(_table(run, name) for name in TABLES)]
    if not any(path.is_file() for path in known):
        raise InputError(f"{run} is no run folder: it has neither recipe.yaml, summary.json nor tables/*.csv.")
    require_contained(run)
    if (run / COMPLETE).is_file():  # a run under way has none
        _require(verify(run), "The command that made the run makes it anew.")
    return {
        name: read_rows(_table(run, name), model) for name, model in models.items() if _table(run, name).is_file()
    }


def _table(run: Path, name: str) -> Path:
    return run / "tables" / f"{name}.csv"


def _summary(run: Path) -> records.SummaryRecord:
    path = run / "summary.json"
    if path.is_file():
        return records.read_record(path, records.SummaryRecord)
    sentence = "This run has no summary yet (summary.json is missing); the figures show what there is."
    none = records.FindingsRecord()
    return records.SummaryRecord(title=f"Run {run.resolve().name}", sentences=[sentence], notes=[], findings=none)


def _columns(name: str, rows: Sequence[BaseModel] | None) -> dict[str, object] | None:
    if rows is None:
        return None
    columns = list(TABLES[name].model_fields)
    return {"columns": columns, "rows": [[getattr(row, column) for column in columns] for row in rows]}


def _smallest_q(rows: Sequence[chance_records.EdgeRow]) -> list[chance_records.EdgeRow]:
    """The edges of smallest q of every fine-tuning, in the table's order."""
    labels = {row.label for row in rows}
    own = [sorted((row for row in rows if row.label == label), key=lambda row: row.q) for label in labels]
    kept = {id(row) for one in own for row in one[:MOST_EDGES]}
    return [row for row in rows if id(row) in kept]


def _circuits(
    rows: Sequence[records.CircuitRow], locate: Callable[[records.CircuitRow], Located]
) -> tuple[dict[str, object], list[str], set[str]]:
    """The page's ``graph`` and ``circuits``, problems in words, and the blobs that it uses."""
    entries, problems, used = list[dict[str, object]](), list[str](), set[str]()
    first: Wiring | None = None
    for row in main_circuits(rows):
        try:
            found = locate(row)
        except InputError as error:
            problems.append(f"{row.label}, step {row.step}: {error}")
            continue
        first = first or found.wiring
        if found.wiring != first:
            problems.append(f"{row.label}, step {row.step}: it belongs to a model of another shape.")
            continue
        described = row.model_dump(include={"label", "role", "seed", "step", "share", "nodes", "edges"})
        entries.append({**described, "scale": found.scale, "blob": found.blob})
        used.add(found.blob)
    return {"graph": _graph(first) if first else None, "circuits": entries}, problems, used


def main_circuits(rows: Sequence[records.CircuitRow]) -> list[records.CircuitRow]:
    """The circuits of the size most rows have (the larger one on a tie): the tuning first, by label and step."""
    sizes = Counter(row.share for row in rows)
    share = max(sizes, key=lambda size: (sizes[size], size), default=0.0)
    return sorted(
        (row for row in rows if row.share == share), key=lambda row: (row.role != "tune", row.label, row.step)
    )


def _shortly(problems: list[str]) -> list[str]:
    """One sentence for all circuits that could not be read."""
    return [f"Circuits left out: {len(problems)}; the first is {problems[0]}"] if problems else []


def _graph(wiring: Wiring) -> dict[str, object]:
    return {
        "layers": wiring.layers,
        "heads": wiring.heads,
        "kv_heads": wiring.kv_heads,
        "parallel": wiring.parallel,
        "sources": wiring.sources,
        "destinations": wiring.destinations,
        "readable": wiring.readable,
    }


def _pairs(run: Path) -> object:
    """The run's pairs.json, if it has exactly one: an example, and what was left out and why."""
    found = sorted((run / "jobs").glob("*/pairs.json"))
    if len(found) != 1:
        return None
    if (found[0].parent / COMPLETE).is_file():
        _require(verify(found[0].parent, found[0].name), "`circuitune runs check` says what to do.")
    return records.read_record(found[0], records.PairsRecord).model_dump(mode="json")


def _require(problems: Sequence[str], fix: str) -> None:
    """InputError with the first of the problems."""
    if problems:
        raise InputError(f"{problems[0]} {fix}")


def _optional(path: Path, read: Callable[[Path], object]) -> object:
    return read(path) if path.is_file() else None


def _settings(path: Path) -> list[list[str]]:
    """A YAML or JSON document as [dotted name, value] lines, in the document's order, without what is private."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}); restore it or start a new run.") from error
    return [[name, value] for name, value in _flat("", document) if name not in PRIVATE]


def _flat(prefix: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        inner = {f"{prefix}.{key}" if prefix else str(key): item for key, item in cast(dict[Any, Any], value).items()}
        return [line for name, item in inner.items() for line in _flat(name, item)]
    if isinstance(value, list):
        items = cast(list[object], value)
        if not any(isinstance(item, dict | list) for item in items):
            return [(prefix, ", ".join(map(_plain, items)) or "none")]
    return [(prefix, _plain(cast(object, value)))]


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return json.dumps(value, default=str)
    path = PurePosixPath(value)
    return path.name if path.is_absolute() else value
