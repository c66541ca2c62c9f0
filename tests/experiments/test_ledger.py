"""Finished fine-tunings go on from a small file, byte for byte, and nothing else is taken from it."""

import gzip
from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.manifest import verify
from circuitune.experiments.inputs import freeze
from circuitune.experiments.ledger import KEPT, LEDGER, Entry, keep, kept_jobs, read_ledger, restore
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run
from circuitune.experiments.tables import methods
from experiments import tiny


@pytest.fixture
def ledger(finished: tuple[Run, Plan], tmp_path: Path) -> Path:
    keep(finished[0], finished[1].jobs, tmp_path / LEDGER)
    return tmp_path / LEDGER


def _fresh(finished: tuple[Run, Plan], folder: Path) -> Run:
    return tiny.prepared(freeze(finished[0].recipe), folder / "fresh")[0]


def test_jobs_whose_weights_nobody_reads_are_kept(finished: tuple[Run, Plan]):
    jobs = finished[1]
    assert kept_jobs(jobs.jobs) == list(jobs.methods)


def test_a_fresh_run_takes_them_over(finished: tuple[Run, Plan], ledger: Path, tmp_path: Path):
    run, jobs = finished
    fresh = _fresh(finished, tmp_path)
    assert restore(fresh, jobs.jobs, ledger) == len(jobs.methods)
    assert list(methods(fresh, jobs)) == list(methods(run, jobs))
    assert all(fresh.job(spec).complete and not verify(fresh.job(spec).folder) for spec in jobs.methods)
    assert not fresh.job(jobs.phase1[0]).complete
    for spec in jobs.methods:
        for name in filter(lambda name: (run.job(spec).folder / name).exists(), KEPT):
            assert (fresh.job(spec).folder / name).read_bytes() == (run.job(spec).folder / name).read_bytes()


def test_what_was_restored_is_kept_in_the_same_bytes(finished: tuple[Run, Plan], ledger: Path, tmp_path: Path):
    fresh = _fresh(finished, tmp_path)
    restore(fresh, finished[1].jobs, ledger)
    keep(fresh, finished[1].jobs, tmp_path / "again.gz")
    assert (tmp_path / "again.gz").read_bytes() == ledger.read_bytes()
    assert restore(fresh, finished[1].jobs, ledger) == 0


def test_jobs_of_another_recipe_stay_in_it(finished: tuple[Run, Plan], ledger: Path):
    entries = read_ledger(ledger)
    other = Entry(job="train-uniform-seed9-000000000000", files=entries[0].files)
    ledger.write_bytes(gzip.compress(b"".join(f"{one.model_dump_json()}\n".encode() for one in (*entries, other))))
    keep(finished[0], finished[1].jobs, ledger)
    assert read_ledger(ledger) == [*entries, other]


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy.csv": None},
        {"trained.json": None},
        {"trained.json": "{}"},
        {"accuracy.csv": "garbage"},
        {"circuit_plan.json": "[]"},
        {"accuracy.csv": ""},
    ],
    ids=str,
)
def test_a_job_without_what_tables_need_is_not_taken_over(
    changes: dict[str, str | None], finished: tuple[Run, Plan], ledger: Path, tmp_path: Path
):
    first, *others = read_ledger(ledger)
    files = {name: text for name, text in {**first.files, **changes}.items() if text is not None}
    entries = [first.model_copy(update={"files": files}), *others]
    ledger.write_bytes(gzip.compress(b"".join(f"{one.model_dump_json()}\n".encode() for one in entries)))
    fresh = _fresh(finished, tmp_path)
    with pytest.raises(InputError, match=f"{LEDGER} has the job {first.job} damaged"):
        restore(fresh, finished[1].jobs, ledger)
    assert not fresh.job(first.job).complete


def test_files_of_another_job_are_not_taken_over(finished: tuple[Run, Plan], ledger: Path, tmp_path: Path):
    first, second, *others = read_ledger(ledger)
    entries = [first.model_copy(update={"files": second.files}), second, *others]
    ledger.write_bytes(gzip.compress(b"".join(f"{one.model_dump_json()}\n".encode() for one in entries)))
    with pytest.raises(InputError, match=f"{first.job} damaged"):
        restore(_fresh(finished, tmp_path), finished[1].jobs, ledger)


def test_without_a_ledger_nothing_is_restored(finished: tuple[Run, Plan], tmp_path: Path):
    assert restore(finished[0], finished[1].jobs, tmp_path / LEDGER) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"no JSON"),
        gzip.compress(b'{"job": "a"}\n'),
        gzip.compress(b'{"job": "a", "files": {"../../elsewhere": "text"}}\n'),
    ],
    ids=["no gzip", "no JSON", "no files", "a file elsewhere"],  # compressed bytes have the time in them
)
def test_a_damaged_ledger_is_refused(finished: tuple[Run, Plan], tmp_path: Path, content: bytes):
    (tmp_path / LEDGER).write_bytes(content)
    with pytest.raises(InputError, match=LEDGER):
        restore(_fresh(finished, tmp_path), finished[1].jobs, tmp_path / LEDGER)
    assert not (tmp_path / "elsewhere").exists()
