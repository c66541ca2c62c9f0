"""``circuitune rerun``: one arm of a study's contest again, beside what was published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from circuitune.cli.output import say, show, table
from circuitune.cli.places import PLACE, Place
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.core.records import MethodRow


def rerun(
    study: Path,
    run: str,
    arm: str,
    /,
    *,
    seeds: Annotated[tuple[int, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    published: Path | None = None,
    out: Path | None = None,
    place: Place = PLACE,
) -> None:
    """Do one arm of a study's contest again, with all that it depends on and nothing else.

    The jobs are those of the study, registration and all, so `circuitune sweep` goes on from them. What is done
    already is kept; to do an arm again that is there, name another folder with --out.

    Example: circuitune rerun studies/contest.yaml add_sub-small base --seeds 0 1 --published docs/studies/contest

    Parameters
    ----------
    study: Path
        A study file (YAML).
    run: str
        One of its runs.
    arm: str
        Who takes part in its contest, such as uniform, circuitlora or base.
    seeds: tuple[int, ...]
        Of the contest's seeds; all by default.
    published: Path
        The folder to which the study was exported: its numbers are shown beside the new ones.
    out: Path
        The folder of the study; runs/NAME by default.
    """
    from circuitune.cli.progress import Bars
    from circuitune.experiments.engines.schedule import Pending
    from circuitune.experiments.run import conduct
    from circuitune.experiments.store import Run
    from circuitune.experiments.study import load_study, prepare
    from circuitune.experiments.tables import method_row

    engine = place.open()
    read = load_study(study).only((run,))
    folder = out or Path("runs") / read.name
    known = [] if published is None else _published(published / run / "methods.csv")
    say("Reading the model and the pairs ...")
    part = prepare(read, folder, here=place.here)[0]
    wanted = part.jobs.of_arm(arm, seeds)
    done = Run(part.folder)
    if not all(done.job(spec).complete for spec in wanted):
        say(f"{len(part.jobs.needed(wanted))} jobs in {part.folder} ...")
        result = conduct(
            part.frozen,
            part.folder,
            engine,
            lambda specs, size: Bars(specs, size, engine.at_once or 1),
            surveyed=(part.jobs, part.size),
            only=wanted,
        )
        if isinstance(result, Pending):
            show(f"{result.sentence} When they are done, the same command shows what came out.")
            return
    show(_beside([method_row(done, spec) for spec in wanted], known))


def _published(path: Path) -> "list[MethodRow]":
    from circuitune.core.csvio import read_rows
    from circuitune.core.records import MethodRow

    if not path.is_file():
        raise InputError(f"{path} is not there: --published takes the folder that a study was exported to.")
    return read_rows(path, MethodRow)


def _beside(rows: "list[MethodRow]", known: "list[MethodRow]") -> str:
    """Accuracy on the test split by seed and draw, beside what was published of the same."""
    there = {(row.arm, row.draw, row.seed): row.accuracy for row in known}
    heads = ["seed", "draw", "parameters", "learning rate", "accuracy", "95 % interval"]
    cells: list[list[object]] = []
    for row in rows:
        interval = f"{row.low:.4f} to {row.high:.4f}"
        own = [row.seed, row.draw, row.parameters, f"{row.learning_rate:g}", f"{row.accuracy:.4f}", interval]
        old = there.get((row.arm, row.draw, row.seed))
        beside = [] if not known else ["-", "-"] if old is None else [f"{old:.4f}", f"{row.accuracy - old:+.4f}"]
        cells.append([*own, *beside])
    return table([*heads, "published", "difference"] if known else heads, cells)
