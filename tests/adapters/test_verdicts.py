"""What is said of rank plans is what the contest's tables hold."""

import re
from pathlib import Path

from circuitune.adapters.verdicts import EVEN, FROM_CHANGE, FROM_DATA, contest_verdict
from circuitune.core.csvio import read_rows
from circuitune.core.study_records import TaskEffectRow

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


def findings(study: str, hypothesis: str) -> list[str]:
    rows = [row for row in read_rows(STUDIES / study / "tasks.csv", TaskEffectRow) if row.hypothesis == hypothesis]
    assert {row.seeds for row in rows} == {10}
    return [row.finding for row in rows]


def test_the_counts_are_those_of_the_contest():
    found = findings("contest", "uniform")
    counts = [int(n) for n in re.findall(r"below even ranks on (\d) of (\d) runs and above on (\d)", FROM_CHANGE)[0]]
    assert counts == [found.count("below"), len(found), found.count("above")]


def test_the_counts_of_other_ranks_are_those_of_the_last_study():
    data = findings("beyond", "data")
    counts = [int(n) for n in re.findall(r"above even ranks on (\d) task and below on (\d)", FROM_DATA)[0]]
    assert counts == [data.count("above"), data.count("below")]
    eva = [*zip(findings("beyond", "eva"), findings("beyond", "eva_compute"), strict=True)]
    counts = [int(n) for n in re.findall(r"on (\d) of (\d) tasks", EVEN)[0]]
    assert counts == [eva.count(("above", "above")), len(eva)]
    assert "open on the other" in EVEN
    assert ("open", "open") in eva


def test_a_plan_gets_what_is_known_of_its_kind():
    assert contest_verdict({"rule": "released"}) == contest_verdict({"rule": "normalised"}) == FROM_CHANGE
    assert contest_verdict({"rule": "before", "dataset": "rows"}) == FROM_DATA
    for unknown in ({"rule": "before"}, {"rule": "random"}, {"allocation": "uniform"}, {}):
        assert contest_verdict(unknown) == ""
