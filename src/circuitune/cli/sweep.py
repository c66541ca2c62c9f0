"""``circuitune sweep``: all runs of a study, and the registered verdict on each claim."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from circuitune.cli.output import say, show, table
from circuitune.cli.places import LATER, PLACE, Place, at_a_time
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.experiments.engines.schedule import Engine
    from circuitune.experiments.run import Watch
    from circuitune.experiments.specs import JobSpec
    from circuitune.experiments.study import Part, Study


@Parameter(name="*")
@dataclass(frozen=True)
class Rehearsal:
    """How a rehearsal differs from what is registered."""

    model: str | None = None
    "Rehearse the study with another model: a folder, the name of one on the hub, or nano."
    rehearse: Path | None = None
    "Rehearse it with the recipe fields of this YAML file in every run, such as fewer rows and seeds."

    def changes(self) -> dict[str, Any] | None:
        """Of recipe fields; None where nothing is rehearsed."""
        from circuitune.experiments.recipe import anchored, parsed, read_text

        if self.model is None and self.rehearse is None:
            return None
        changes: dict[str, Any] = {}
        if self.rehearse is not None:
            what = f"--rehearse {self.rehearse}"
            text = read_text(self.rehearse, what, "give a YAML file of recipe fields")
            changes = anchored(parsed(text, what), self.rehearse.parent)
        return changes if self.model is None else {**changes, "model": self.model, "revision": None}


REGISTERED = Rehearsal()


def sweep(
    study: Path,
    /,
    *,
    out: Path | None = None,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    rehearsal: Rehearsal = REGISTERED,
    place: Place = PLACE,
    dry_run: bool = False,
    teraflops: float | None = None,
    export: Path | None = None,
) -> None:
    """Do all runs of a study and say what becomes of each claim that was registered beforehand.

    What is done already is kept: after an interruption the same command goes on. Each run is a run folder of its
    own, with a report. With --engine slurm it leaves the jobs of all runs in the queue; called again when they are
    done, it makes tables, reports and verdicts.

    A rehearsal (--model, --rehearse) does the same runs otherwise than registered; it says that its verdicts do not
    count, and is not exported.

    Examples:
      circuitune sweep studies/dynamics.yaml --dry-run
      circuitune sweep studies/paper/pythia-1.4b-corrected.yaml --dry-run --teraflops 40
      circuitune sweep studies/paper/pythia-1.4b-corrected.yaml --only add_sub
      circuitune sweep studies/paper/pythia-1.4b-corrected.yaml --model my-tiny-model
      --rehearse studies/paper/rehearsal.yaml
      circuitune sweep studies/dynamics.yaml --export docs/studies/dynamics

    Parameters
    ----------
    study: Path
        A study file (YAML): a recipe, a list of runs, and a registration.
    out: Path
        The folder of the study; runs/NAME by default, of a rehearsal runs/NAME-rehearsal. On a cluster all its
        machines must reach it.
    only: tuple[str, ...]
        Names of the runs to do; all by default.
    dry_run: bool
        Say what would be done, how long it takes and what the finished runs show; write nothing. Of a study that
        gives its model's shape: jobs, peak memory and GPU hours, without reading the model.
    teraflops: float
        With such a dry run: 1e12 operations that the GPU does in a second, in place of an assumption.
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
    whole = load_study(study, rehearsal.changes())
    read = whole.only(only)
    if read.rehearsed and export is not None:
        raise InputError("A rehearsal is not exported, since its verdicts do not count; leave out --export.")
    if dry_run and read.shape is not None:
        show(_by_shape(read, rehearsal.model, teraflops))
        return
    if teraflops is not None:
        raise InputError("--teraflops belongs to --dry-run of a study that gives its model's shape; leave it out.")
    if read.shape is not None and rehearsal.model is None:
        _require_shape(read)
    folder = out or Path("runs") / (f"{read.name}-rehearsal" if read.rehearsed else read.name)
    say("Reading the model and the pairs of all runs ...")
    every = prepare(whole, folder, here=place.here, only=only)
    parts = tuple(part for part in every if part.name in read.recipes)
    finished = [part for part in every if part.finished]
    foreseen = _foreseen(parts, engine.at_once)
    if dry_run:
        show(foreseen)
        _show(whole, finished)
        return
    say(foreseen)
    _show(whole, _do(whole, parts, finished, folder, engine, export))


def _by_shape(study: "Study", model: str | None, teraflops: float | None) -> str:
    """Jobs, memory and GPU hours of every run, from the shape in the study file or another model's configuration."""
    from circuitune.experiments.scale import TERAFLOPS, config_from, config_of, need, outline

    if teraflops is not None and teraflops <= 0:
        raise InputError(f"--teraflops {teraflops:g}: give a number above 0.")
    assert study.shape is not None
    empty = outline(config_from(study.shape) if model is None else config_of(model))
    rows: list[list[object]] = []
    rates: set[float] = set()
    total, whole = 0, 0.0
    for name, recipe in study.recipes.items():
        taken = need(recipe, empty)
        rate = teraflops or TERAFLOPS[recipe.dtype or "float32"]
        rates.add(rate)
        total, whole = total + taken.jobs, whole + taken.hours(rate)
        rows.append([name, taken.jobs, f"{taken.memory / 2**30:.1f}", f"{taken.hours(rate):.2f}"])
    return "\n".join(
        [
            table(["run", "jobs", "peak memory (GiB)", "GPU hours"], rows),
            f"{total} jobs, about {whole:.1f} GPU hours, done or not; {empty.parameters:,} parameters, "
            f"{empty.graph.edges:,} edges.",
            f"Assumed: {', '.join(f'{rate:g}' for rate in sorted(rates))} x 1e12 operations a second (--teraflops); "
            "2 operations per parameter and token forward, 4 backward; every word, number and sign a token; no row "
            "left out. No weights were read.",
            *([f"A rehearsal: {study.rehearsed}."] if study.rehearsed else []),
        ]
    )


def _require_shape(study: "Study") -> None:
    """InputError where the model is not of the shape that the study says."""
    from circuitune.experiments.scale import require_shape

    assert study.shape is not None
    for name, revision in {(recipe.model, recipe.revision) for recipe in study.recipes.values()}:
        require_shape(study.shape, name, revision)


def _do(
    study: "Study",
    parts: "tuple[Part, ...]",
    finished: "list[Part]",
    folder: Path,
    engine: "Engine",
    exported: Path | None,
) -> "list[Part]":
    """Do these runs; the study's tables, and what is exported, are written anew after each, of all that are finished.

    Returns:
        The runs of the study that are finished.
    """
    from circuitune.core.manifest import complete
    from circuitune.experiments.engines.schedule import Pending
    from circuitune.experiments.ledger import LEDGER, keep
    from circuitune.experiments.run import conduct
    from circuitune.experiments.study import RESULTS, export, judged, write_results
    from circuitune.report import build

    done = {part.name: part for part in finished}
    for number, part in enumerate(parts, start=1):
        say(f"Run {part.name} ({number} of {len(parts)}) in {part.folder} ...")
        ledger = exported / part.name / LEDGER if exported and part.frozen.recipe.contest else None
        watch = _watch(part, engine.at_once, ledger)
        run = conduct(part.frozen, part.folder, engine, watch, ledger=ledger, surveyed=(part.jobs, part.size))
        if isinstance(run, Pending):
            show(f"{part.name}: {run.sentence} {LATER}")
            done.pop(part.name, None)
            continue
        build(run.folder)
        if ledger is not None:
            keep(run, part.jobs.jobs, ledger)
        done[part.name] = part
        there = list(done.values())
        verdicts = judged(study, there)
        write_results(study, verdicts, folder / RESULTS)
        complete(folder / RESULTS)
        if exported is not None:
            export(study, there, verdicts, exported)
            say(f"Tables and verdicts are in {exported}.")
    return list(done.values())


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
