"""How scores or a circuit were made, as a record beside what other tools read.

It lies under the key ``provenance``, which their readers ignore, and makes a round trip lossless.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import JsonValue, ValidationError

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.parsing import parse_json
from circuitune.core.records import Record

TOOL = "circuitune"


class GraphRecord(Record):
    """The graph before k and v were listed per query head."""

    layers: int
    heads: int
    kv_heads: int
    parallel: bool
    collapsed: bool


class Provenance(Record):
    """How scores or a circuit were made.

    ``kind`` says what was exported; ``settings`` are its own, ``scores_settings`` those of the scores (None for a
    circuit without scores); ``completeness`` is that of the scores.
    """

    tool: Literal["circuitune"] = TOOL
    format: Literal[1] = 1
    version: str
    kind: Literal["scores", "circuit"]
    graph: GraphRecord
    completeness: float | None
    settings: dict[str, JsonValue]
    scores_settings: dict[str, JsonValue] | None


def provenance_of(what: EdgeScores | Circuit) -> Provenance:
    """The record of scores or a circuit."""
    scores = what if isinstance(what, EdgeScores) else what.scores
    return Provenance(
        version=version(TOOL),
        kind="scores" if isinstance(what, EdgeScores) else "circuit",
        graph=GraphRecord(**what.graph.to_record()),
        completeness=None if scores is None else scores.completeness,
        settings=_plain(what.settings),
        scores_settings=None if scores is None else _plain(scores.settings),
    )


def read_provenance(value: object, path: Path, graph: Graph) -> tuple[Provenance | None, tuple[str, ...]]:
    """The record in a file's ``provenance`` field, or None with a note if another tool wrote one.

    Args:
        value: what the field holds, decoded or as JSON text; None if there is no such field.
        path: the file, for messages.
        graph: the graph that the rest of the file describes.

    Raises:
        InputError: circuitune wrote it and it is damaged or contradicts the file.
    """
    if value is None:
        return None, ()
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise InputError(f"{path}: field provenance is not JSON; export the file again.") from error
    if not isinstance(value, dict) or cast(dict[str, Any], value).get("tool") != TOOL:
        return None, (f"{path.name} has a provenance field of another tool, which was ignored.",)
    try:
        record = Provenance.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("provenance", *first["loc"]))
        raise InputError(f"{path}: field {place} is wrong ({first['msg']}); export the file again.") from error
    written = record.graph
    said = (written.layers, written.heads, written.parallel, written.collapsed)
    if said != (graph.layers, graph.heads, graph.parallel, graph.collapsed):
        raise InputError(f"{path}: field provenance.graph contradicts cfg and edges; export the file again.")
    if record.kind == "scores" and record.scores_settings is None:
        raise InputError(f"{path}: field provenance.scores_settings is missing; export the file again.")
    return record, ()


def _plain(settings: Any) -> dict[str, JsonValue]:
    """Settings as JSON keeps them (tuples become lists)."""
    try:
        return cast(dict[str, JsonValue], json.loads(json.dumps(dict(settings), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise InputError(f"The settings hold what JSON cannot ({error}); keep texts and finite numbers.") from error
