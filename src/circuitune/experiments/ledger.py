"""What finished fine-tunings of a contest came to, small enough to keep under version control.

``jobs.jsonl.gz`` has one line per job: its folder's name, which is the hash of all that it was asked, and its small
files. A run that starts from nothing but that file takes those jobs as done; weights are not in it, so phase 1 and
its circuits are done again where a job that is missing needs them.
"""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

from circuitune.core.atomic import write_bytes, write_json, write_text
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import complete
from circuitune.core.parsing import parse_json
from circuitune.core.records import AccuracyRow, RankPlanRecord, Record, TextRow, TrainedRecord, read_record
from circuitune.experiments.artefacts import PLAN, TEXT, TRAINED
from circuitune.experiments.specs import JobSpec, TrainSpec, folder_name
from circuitune.experiments.store import SPEC, JobFolder, Run

LEDGER = "jobs.jsonl.gz"
ACCURACY = "accuracy.csv"
KEPT = (ACCURACY, PLAN, TEXT, TRAINED)
"""Files of a fine-tuning that its tables are made of."""
LARGEST = 2**28
"""Bytes of a ledger unpacked; a job takes a few thousand, and a small file can stand for any number of them."""


class Entry(Record):
    """One finished job: the name of its folder, and its files by name."""

    job: str
    files: dict[str, str]


def kept_jobs(specs: Sequence[JobSpec]) -> list[TrainSpec]:
    """The fine-tunings whose weights no other job reads."""
    read = {name for spec in specs for role, name in spec.inputs.items() if role in ("training", "phase1")}
    return [spec for spec in specs if isinstance(spec, TrainSpec) and folder_name(spec) not in read]


def keep(run: Run, specs: Sequence[JobSpec], path: Path) -> None:
    """Enter the jobs that are complete into the ledger; equal jobs give equal bytes.

    Jobs of another recipe stay in it: whoever comes back to that finds them.
    """
    entries = {entry.job: entry for entry in read_ledger(path)} if path.is_file() else {}
    for spec in kept_jobs(specs):
        job = run.job(spec)
        if job.complete:
            files = {name: (job.folder / name).read_text("utf-8") for name in KEPT if (job.folder / name).is_file()}
            entries[job.folder.name] = Entry(job=job.folder.name, files=files)
    lines = [f"{entries[name].model_dump_json()}\n" for name in sorted(entries)]
    write_bytes(path, gzip.compress("".join(lines).encode(), mtime=0))


def restore(run: Run, specs: Sequence[JobSpec], path: Path) -> int:
    """Take over the jobs of a ledger that this run has and has not done; returns how many.

    Raises:
        InputError: the file is damaged or none of ours.
    """
    if not path.is_file():
        return 0
    found = {entry.job: entry for entry in read_ledger(path)}
    restored = 0
    for spec in kept_jobs(specs):
        job, entry = run.job(spec), found.get(folder_name(spec))
        if entry is None or job.complete:
            continue
        if (job.folder / SPEC).is_file():
            job.clear()
        write_json(job.folder / SPEC, spec.model_dump(mode="json"))
        for name, text in entry.files.items():
            write_text(job.folder / name, text)
        _require_whole(job, spec, path)
        complete(job.folder)
        restored += 1
    return restored


def _require_whole(job: JobFolder, spec: TrainSpec, path: Path) -> None:
    """InputError unless the files of a restored job are those that tables are made of, and of this job."""
    hint = f"{path} has the job {job.folder.name} damaged; restore the ledger, or remove it."
    try:
        read_record(job.folder / TRAINED, TrainedRecord)
        rows = read_rows(job.folder / ACCURACY, AccuracyRow)
        if (job.folder / PLAN).is_file():
            read_record(job.folder / PLAN, RankPlanRecord)
        texts = read_rows(job.folder / TEXT, TextRow) if spec.text else []
    except InputError as error:
        raise InputError(f"{hint} ({error})") from error
    if not rows or {(row.arm, row.seed) for row in (*rows, *texts)} != {(spec.arm, spec.seed)}:
        raise InputError(hint)


def read_ledger(path: Path) -> list[Entry]:
    """The jobs of a ledger; InputError where the file is damaged or none of ours."""
    try:
        with gzip.open(path) as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError("larger than any ledger")
        entries = [Entry.model_validate(parse_json(line)) for line in text.decode().splitlines()]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is no ledger of jobs, or is damaged; restore it, or remove it.") from error
    for entry in entries:
        if not set(entry.files) <= set(KEPT):
            raise InputError(f"{path}: {entry.job} has a file that no ledger keeps; restore it, or remove it.")
    return entries
