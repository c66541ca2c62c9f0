"""``circuitune report``: the page of a run, built again from its files."""

from pathlib import Path

from cyclopts import App

from circuitune.cli.output import show

report = App(name="report", help="Build the report of a run folder again.")


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
