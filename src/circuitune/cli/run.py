"""``circuitune run``: everything from one recipe, ending in a report."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from circuitune.cli.output import say, show
from circuitune.cli.places import LATER, PLACE, Place, at_a_time
from circuitune.cli.sources import parameters
from circuitune.core.errors import InputError
from circuitune.core.placement import Device, Dtype

if TYPE_CHECKING:
    from circuitune.experiments.engines.schedule import Observer
    from circuitune.experiments.estimate import Size
    from circuitune.experiments.run import Watch
    from circuitune.experiments.specs import JobSpec


def run(
    *,
    model: str | None = None,
    task: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = (),
    pairs: Path | None = None,
    answer_prefix: str | None = None,
    strict: bool = False,
    quick: bool = False,
    full: bool = False,
    recipe: Path | None = None,
    device: Device | None = None,
    dtype: Dtype | None = None,
    out: Path | None = None,
    place: Place = PLACE,
) -> None:
    """Fine-tune, follow the circuits, compare rank plans; ends in a report.

    Without options: the embedded model on add_sub, in at most eight minutes. What is done already is kept:
    after an interruption the same command goes on. With --engine slurm it leaves the jobs in the queue; called again
    when they are done, it makes the tables and the report.

    Examples:
      circuitune run
      circuitune run --quick --pairs mine.csv --model EleutherAI/pythia-160m --out runs/mine

    Parameters
    ----------
    model: str
        A model folder, the name of one on the hub, or nano.
    task: str
        A task by name; `circuitune tasks list` has them.
    settings: tuple[str, ...]
        A task's parameter, such as limit=300; may be given several times.
    pairs: Path
        Your own file: CSV or JSONL with clean, corrupted, answer (or label) and, if known, wrong.
    answer_prefix: str
        What stands before every bare answer of the file, such as a space.
    strict: bool
        Stop if any row breaks a rule, in place of leaving it out.
    quick: bool
        Fewer rows, epochs and checkpoints: about two minutes.
    full: bool
        Three seeds, five random draws, the study's long prompts.
    recipe: Path
        A recipe file (YAML) in place of the built-in one.
    device: str
        Where models run: by default on the first GPU if there is one (nano stays on the CPU; for a cluster say it).
    dtype: str
        Type of the weights; by default as stored, but half precision on the CPU becomes float32.
    out: Path
        The run folder; runs/NAME by default. On a cluster all its machines must reach it.
    """
    from circuitune.experiments.engines.schedule import Pending
    from circuitune.experiments.inputs import freeze
    from circuitune.experiments.recipe import load_recipe
    from circuitune.experiments.run import conduct
    from circuitune.report import build

    engine = place.open()
    base = _base(quick, full, recipe)
    changes = _changes(load_recipe(base).data.parameters, model, task, settings, pairs, answer_prefix, strict)
    changes |= {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
    if changes and recipe is None:
        changes["name"] = _name(load_recipe(base, changes), quick, full)
    chosen = load_recipe(base, changes)
    folder = out or Path("runs") / chosen.name
    say("Reading the model and the pairs ...")
    done = conduct(freeze(chosen, here=place.here, folder=folder), folder, engine, _watch(folder, engine.at_once))
    if isinstance(done, Pending):
        show(f"{done.sentence} {LATER}")
        return
    say("Building the report ...")
    report = build(done.folder)
    _summary(done.folder)
    show(f"Report: {report}")


def _base(quick: bool, full: bool, recipe: Path | None) -> str | Path:
    if quick + full + (recipe is not None) > 1:
        raise InputError("Choose one of --quick, --full and --recipe.")
    return recipe or ("quick" if quick else "full" if full else "default")


def _changes(
    defaults: dict[str, Any],
    model: str | None,
    task: str | None,
    settings: tuple[str, ...],
    pairs: Path | None,
    answer_prefix: str | None,
    strict: bool,
) -> dict[str, Any]:
    """What the options say differently from the recipe; InputError where two of them exclude each other."""
    changes: dict[str, Any] = {"model": model} if model is not None else {}
    if pairs is not None:
        if task is not None or settings:
            raise InputError("Choose either --pairs or --task (with --set).")
        if not pairs.is_file():
            kind = "a folder" if pairs.is_dir() else "not there"
            raise InputError(f"--pairs {pairs} is {kind}; give a CSV or JSONL file of pairs.")
        changes["data"] = {"file": str(pairs), "answer_prefix": answer_prefix, "strict": strict}
    elif answer_prefix is not None:
        raise InputError("--answer-prefix belongs to --pairs; a task's answers are complete.")
    elif task is not None or settings or strict:
        changes["data"] = _task_data(defaults, task, settings, strict)
    return changes


def _task_data(defaults: dict[str, Any], task: str | None, settings: tuple[str, ...], strict: bool) -> dict[str, Any]:
    """A task with the recipe's parameters as far as it has them, and ``--set`` on top."""
    from circuitune.tasks.registry import parameters as task_parameters

    name = task or "add_sub"
    known = task_parameters(name)
    kept = {key: value for key, value in defaults.items() if key in known and (task is None or key == "style")}
    return {"task": name, "parameters": {**kept, **parameters(settings)}, "strict": strict}


def _name(recipe: Any, quick: bool, full: bool) -> str:
    """A folder name from the model and the pairs, such as ``nano-mine-quick``."""
    data = recipe.data
    parts = [Path(recipe.model).name, data.task or Path(data.file).stem, "quick" if quick else "full" if full else ""]
    text = "-".join(part for part in parts if part)
    plain = (letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in text)
    return "".join(plain).lstrip("._-")[:100] or "run"


def _watch(folder: Path, workers: int | None) -> "Watch":
    """Says what will be done and for how long, then shows it."""

    def watch(specs: "tuple[JobSpec, ...]", size: "Size") -> "AbstractContextManager[Observer]":
        from circuitune.cli.progress import Bars
        from circuitune.experiments.estimate import duration, estimate
        from circuitune.experiments.store import Run

        missing = [spec for spec in specs if not Run(folder).job(spec).complete]
        time = duration(estimate(missing, specs, workers or 1, size)) + ("" if workers else " one by one")
        left = f"{len(missing)} to do{at_a_time(workers)}: about {time}" if missing else "all are done already"
        say(f"{len(specs)} jobs in {folder}; {left}.")
        return Bars(specs, size, workers or 1)

    return watch


def _summary(folder: Path) -> None:
    from circuitune.core.records import SummaryRecord, read_record

    summary = read_record(folder / "summary.json", SummaryRecord)
    show("\n".join([summary.title, *(f"- {sentence}" for sentence in summary.sentences)]))
