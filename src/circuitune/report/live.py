"""A run while it is at work: which of its jobs are complete, and the rows they have written so far.

The tables of a run are written when all its jobs are complete. Until then the rows of accuracy, faithfulness and
circuits are read from the finished jobs themselves, which write the same schemas. Other tables and the summary may
be there from before the run's last change; `former_of` says so.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import COMPLETE
from circuitune.core.parsing import parse_object
from circuitune.core.records import AccuracyRow, CircuitRow, FaithfulnessRow
from circuitune.report.payload import read_tables

SHOWN: Final = (
    "COMPLETE.json",
    "recipe.yaml",
    "environment.json",
    "summary.json",
    "tables/*.csv",
    "jobs/*/spec.json",
    "jobs/*/COMPLETE.json",
)
"""The files that change what the page shows."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class State:
    """How far a run is; ``version`` differs where what the page shows does."""

    version: str
    complete: int
    jobs: int


def state_of(run: Path) -> State:
    """Read no content, only which files there are, when they were written and how long they are."""
    seen = hashlib.sha256()
    for path in (path for pattern in SHOWN for path in sorted(run.glob(pattern))):
        try:
            status = path.stat()
        except FileNotFoundError:  # replaced or put aside meanwhile
            continue
        seen.update(json.dumps([path.relative_to(run).as_posix(), status.st_mtime_ns, status.st_size]).encode())
    jobs = _jobs(run)
    return State(seen.hexdigest()[:16], sum(map(_complete, jobs)), len(jobs))


def tables_of(run: Path) -> dict[str, Sequence[BaseModel]]:
    """The rows of a run's tables; those that finished jobs have too from there, unless the run is finished.

    As in the tables of a finished run, fine-tunings and circuits of a composed task's parts are not among them.

    Raises:
        InputError: it is no run folder, or a table is damaged.
    """
    tables = read_tables(run)
    at_work = _at_work(run)  # before jobs are read: what they finish from here on is in no table
    done = [job for job in _jobs(run) if _complete(job) and not _spec(job).get("part")]
    so_far: dict[str, Sequence[BaseModel]] = {
        "accuracy": _joined(done, AccuracyRow, "accuracy.csv"),
        "faithfulness": _joined(done, FaithfulnessRow, "faithfulness.csv"),
        "circuits": [row for job in done for row in _circuits(run, job)],
    }
    return tables | {name: rows for name, rows in so_far.items() if rows and (at_work or name not in tables)}


def former_of(run: Path) -> list[str]:
    """A sentence where the page may show what was made before the run's last change; none of a run that is finished.

    A folder without jobs, such as one of tables alone, is taken for finished.
    """
    made = (run / "summary.json").is_file() or any(run.glob("tables/*.csv"))
    if not _at_work(run) or not made:
        return []
    return [
        "This run is not finished: its summary, and all tables but those of accuracy, faithfulness and circuits, may "
        "be of the run before its last change."
    ]


def _at_work(run: Path) -> bool:
    """Whether there are jobs, and tables and summary are not yet those of all of them."""
    return not (run / COMPLETE).is_file() and bool(_jobs(run))


def _jobs(run: Path) -> list[Path]:
    return sorted(path.parent for path in run.glob("jobs/*/spec.json"))


def _complete(job: Path) -> bool:
    return (job / COMPLETE).is_file()


def _joined(jobs: Sequence[Path], model: type[R], name: str) -> list[R]:
    return [row for job in jobs if (job / name).is_file() for row in read_rows(job / name, model)]


def _circuits(run: Path, job: Path) -> Iterator[CircuitRow]:
    """The circuits that a job saved, counted by the faithfulness of the same size."""
    if not (job / "faithfulness.csv").is_file():
        return
    share = _share(job)
    for row in read_rows(job / "faithfulness.csv", FaithfulnessRow):
        paths = [job / kind / f"step-{row.step:05d}.safetensors" for kind in ("scores", "circuits")]
        if row.share == share and all(path.is_file() for path in paths):
            scores, circuit = (path.relative_to(run).as_posix() for path in paths)
            own = row.model_dump(include={"label", "seed", "step", "share", "nodes", "edges"})
            yield CircuitRow(**own, role=row.arm, scores=scores, circuit=circuit)


def _share(job: Path) -> float:
    """The size of the circuits that a job saves."""
    try:
        return float(_spec(job)["discovery"]["share"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{job / 'spec.json'} is no job of a circuit; run the recipe again.") from error


def _spec(job: Path) -> dict[str, Any]:
    """What a job is to do, unchecked."""
    try:
        return parse_object((job / "spec.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{job / 'spec.json'} cannot be read ({error}); run the recipe again.") from error
