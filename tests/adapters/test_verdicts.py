"""What is said of rank plans is what the contest's tables hold."""

import re
from pathlib import Path

from circuitune.adapters.verdicts import FROM_CHANGE, FROM_DATA, contest_verdict
from circuitune.core.csvio import read_rows
from circuitune.core.study_records import TaskEffectRow

CONTEST = Path(__file__).parents[2] / "docs" / "studies" / "contest"


def test_the_counts_are_those_of_the_contest():
    rows = [row for row in read_rows(CONTEST / "tasks.csv", TaskEffectRow) if row.hypothesis == "uniform"]
    found = [row.finding for row in rows]
    counts = [int(n) for n in re.findall(r"below even ranks on (\d) of (\d) runs and above on (\d)", FROM_CHANGE)[0]]
    assert counts == [found.count("below"), len(rows), found.count("above")]
    assert {row.seeds for row in rows} == {10}
    assert len({row.task.partition("-")[0] for row in rows}) == 4


def test_a_plan_gets_what_is_known_of_its_kind():
    assert contest_verdict({"rule": "released"}) == contest_verdict({"rule": "normalised"}) == FROM_CHANGE
    assert contest_verdict({"rule": "before", "dataset": "rows"}) == FROM_DATA
    for unknown in ({"rule": "before"}, {"rule": "random"}, {"allocation": "uniform"}, {}):
        assert contest_verdict(unknown) == ""
