"""``circuitune report``: the page of a run, in a file or served, and its figures for a paper."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from circuitune.cli.output import say, show, working
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.circuits.scores import Circuit, EdgeScores
    from circuitune.report.figures import Plate

_SHADES = "Shades count all edges of a node; drawn are the strongest edges, or all where no scores are known."
_LAYERS = "Nodes and edges that each layer gains (right) and loses (left) from the first circuit to the second."
_SCORES = "Sources by destinations. Blue: corrupting the edge raises the loss; orange: it lowers it; grey: no edge."

report = App(name="report", help="Build the report of a run folder again, serve it, or draw its figures.")


@report.command(name="build")
def build_report(run: Path, /) -> None:
    """Build report.html from the tables and circuits of a run folder.

    Example: circuitune report build runs/nano-add_sub

    Parameters
    ----------
    run: Path
        The run folder.
    """
    from circuitune.report import build

    show(f"Report: {build(run)}")


@report.command(name="serve")
def serve_report(run: Path, /, *, port: int = 8765) -> None:
    """Show a run in the browser, also while it is at work or too large for one file.

    The page follows the run by itself. Only this machine can reach it; Ctrl-C ends it.

    Example: circuitune report serve runs/nano-add_sub

    Parameters
    ----------
    run: Path
        The run folder.
    port: int
        The port of 127.0.0.1 to answer on; 0 takes any that is free.
    """
    from circuitune.report.server import ReportServer

    with ReportServer(run, port) as server:
        show(f"Report: {server.address}")
        sys.stdout.flush()  # whoever waits for the address in a pipe
        say("Following the run until Ctrl-C.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("Stopped.")


@report.command(name="figures")
def draw_figures(
    source: Path,
    after: Path | None = None,
    /,
    *,
    out: Path | None = None,
    format: list[Literal["png", "svg", "pdf"]] | None = None,
) -> None:
    """Draw the figures of a run, or of saved circuits and scores, for a paper: PNG, SVG and PDF, and their captions.

    Of a run: the circuit before and after, faithfulness, robustness, change between checkpoints and against chance,
    change per layer, overlaps and the table of methods, as far as the run has them. Of a study's results: what every
    hypothesis came to on every task. It needs pip install 'circuitune[plot]'.

    Examples:
      circuitune report figures runs/nano-add_sub
      circuitune report figures runs/nano-add_sub --out paper --format pdf
      circuitune report figures docs/studies/dynamics --out figures
      circuitune report figures base/circuit.safetensors tuned/circuit.safetensors --out paper

    Parameters
    ----------
    source: Path
        A run folder, a study's results, or a circuit or scores file; scores are cut to their strongest 5 %.
    after: Path
        Another circuit or scores file of the same kind of model, to draw beside the first.
    out: Path
        The folder to write into; by default `figures` in the run folder, or beside the file.
    format: str
        One format, or several by giving it again; all three by default.
    """
    from circuitune.report.figures import FORMATS, draw, write

    formats = format or FORMATS
    if source.is_file():
        with working("Drawing"):
            drawn = write(_of_files(source, after), out or source.parent / "figures", formats)
    elif after is not None:
        raise InputError(f"{source} is no file: two circuits or scores files are drawn together, a run alone.")
    else:
        with working("Drawing"):
            drawn = draw(source, out, formats)
    for file in drawn.files:
        show(str(file))
    for name, reason in drawn.left_out.items():
        show(f"Left out: {name}: {reason}.")


def _of_files(source: Path, after: Path | None) -> "dict[str, Plate | str]":
    """The figures of one circuit or scores file, or of two compared."""
    from circuitune.circuits.scores import EdgeScores
    from circuitune.cli.evaluate import read_file
    from circuitune.dynamics.change import compare
    from circuitune.report.figures import Plate

    first = read_file(source)
    before, said = _cut(first, source)
    found: dict[str, Plate | str] = {}
    if after is not None:
        other, also = _cut(read_file(after), after)
        found["circuit"] = Plate("Two circuits", before.plot(other), f"Before: {said}. After: {also}. {_SHADES}")
        found["layers"] = Plate("Change per layer", compare(before, other).plot(), _LAYERS)
        return found
    found["circuit"] = Plate("The circuit", before.plot(), f"The circuit: {said}. {_SHADES}")
    if isinstance(first, EdgeScores):
        found["scores"] = Plate("Edge scores", first.plot(), _SCORES)
    return found


def _cut(found: "Circuit | EdgeScores", path: Path) -> "tuple[Circuit, str]":
    """The circuit in a file, or that of its scores, and both in words."""
    from circuitune.circuits.scores import EdgeScores
    from circuitune.dynamics.layers import STUDY_SHARE

    circuit = found.top(STUDY_SHARE) if isinstance(found, EdgeScores) else found
    of = f"the strongest {STUDY_SHARE:.0%} of the scores in " if isinstance(found, EdgeScores) else ""
    merged = ", the query, key and value of a head being one input" if circuit.graph.collapsed else ""
    counts = f"{len(circuit):,} of {circuit.graph.edges:,} edges, {len(circuit.nodes)} nodes"
    return circuit, f"{of}{path.name}, {counts}{merged}"
