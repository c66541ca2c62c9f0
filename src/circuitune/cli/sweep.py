"""``circuitune sweep``: all runs of a study, and the registered verdict on each claim."""

from pathlib import Path
from typing import TYPE_CHECKING

from circuitune.cli.output import say, show, table
from circuitune.cli.places import LATER, PLACE, Place, at_a_time
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.experiments.engines.schedule import Engine
    from circuitune.experiments.run import Watch
    from circuitune.experiments.specs import JobSpec
    from circuitune.experiments.study import Part, Study


def sweep(
    study: Path,
    /,
    *,
    out: Path | None = None,
    place: Place = PLACE,
    dry_run: bool = False,
    export: Path | None = None,
) -> None:
    """Do all runs of a study and say what becomes of each claim that was registered beforehand.

    What is done already is kept: after an interruption the same command goes on. Each run is a run folder of its
    own, with a report. With --engine slurm it leaves the jobs of all runs in the queue; called again when they are
    done, it makes tables, reports and verdicts.

    Examples:
      circuitune sweep studies/dynamics.yaml --dry-run
      circuitune sweep studies/dynamics.yaml --export docs/studies/dynamics

    Parameters
    ----------
    study: Path
        A study file (YAML): a recipe, a list of runs, and a registration.
    out: Path
        The folder of the study; runs/NAME by default. On a cluster all its machines must reach it.
    dry_run: bool
        Say what would be done, how long it takes and what the finished runs show; write nothing.
    export: Path
        Also copy the verdicts and the small tables to this folder, and of a contest every job as it ends: where the
        folder of the study is gone, the sweep goes on from there.
    """
    from circuitune.experiments.study import load_study, prepare

    engine = place.open()
    if dry_run and export is not None:
        raise InputError("Choose either --dry-run, which writes nothing, or --export.")
    if export is not None and export.exists() and not export.is_dir():
        raise InputError(f"--export {export} is a file; give a folder.")
    read = load_study(study)
    folder = out or Path("runs") / read.name
    say("Reading the model and the pairs of all runs ...")
    parts = prepare(read, folder, here=place.here)
    foreseen = _foreseen(parts, engine.at_once)
    if dry_run:
        show(foreseen)
        _show(read, [part for part in parts if part.finished])
        return
    say(foreseen)
    _show(read, _do(read, parts, folder, engine, export))


def _do(
    study: "Study", parts: "tuple[Part, ...]", folder: Path, engine: "Engine", exported: Path | None
) -> "list[Part]":
    """Do every run; the study's tables, and what is exported, are written anew after each that is finished."""
    from circuitune.core.manifest import complete
    from circuitune.experiments.engines.schedule import Pending
    from circuitune.experiments.ledger import LEDGER, keep
    from circuitune.experiments.run import conduct
    from circuitune.experiments.study import RESULTS, judged, write_results
    from circuitune.report import build

    done: list[Part] = []
    for number, part in enumerate(parts, start=1):
        say(f"Run {part.name} ({number} of {len(parts)}) in {part.folder} ...")
        ledger = exported / part.name / LEDGER if exported and part.frozen.recipe.contest else None
        run = conduct(part.frozen, part.folder, engine, _watch(part, engine.at_once, ledger), ledger)
        if isinstance(run, Pending):
            show(f"{part.name}: {run.sentence} {LATER}")
            continue
        build(run.folder)
        if ledger is not None:
            keep(run, part.jobs.jobs, ledger)
        done.append(part)
        write_results(study, judged(study, done), folder / RESULTS)
        complete(folder / RESULTS)
        if exported is not None:
            _export(study, done, exported)
    return done


def _watch(part: "Part", workers: int | None, ledger: Path | None) -> "Watch":
    """Shows the jobs; every one that ends is entered in the ledger."""
    from circuitune.cli.progress import Bars
    from circuitune.experiments.ledger import keep
    from circuitune.experiments.store import Run

    class Kept(Bars):
        def finished(self, spec: "JobSpec", seconds: float | None) -> None:
            super().finished(spec, seconds)
            if ledger is not None and seconds is not None:
                keep(Run(part.folder), part.jobs.jobs, ledger)

    return lambda specs, size: Kept(specs, size, workers or 1)


def _foreseen(parts: "tuple[Part, ...]", workers: int | None) -> str:
    """The runs of the study: their jobs, how many are complete, and how long the others will take."""
    from circuitune.experiments.estimate import duration

    rows: list[list[object]] = []
    whole = 0.0
    for part in parts:
        seconds, total = part.seconds(workers or 1), len(part.jobs.jobs)
        whole += seconds
        rows.append([part.name, total, total - len(part.missing), f"{seconds / 3600:.2f}"])
    left = f"About {duration(whole)} of work are left{at_a_time(workers)}." if whole else "All are done already."
    return f"{table(['run', 'jobs', 'complete', 'hours left'], rows)}\n{left}"


def _show(study: "Study", parts: "list[Part]") -> None:
    from circuitune.experiments.study import judged

    if not parts:
        show("No run is finished yet, so there is no verdict.")
        return
    for claim in judged(study, parts).claims:
        show(claim.sentence)


def _export(study: "Study", parts: "list[Part]", folder: Path) -> None:
    from circuitune.experiments.study import export, judged

    export(study, parts, judged(study, parts), folder)
    say(f"Tables and verdicts are in {folder}.")
