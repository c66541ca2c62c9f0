"""The studies of studies/paper from end to end, each rehearsed with two narrow layers of its model's family."""

from pathlib import Path

import pytest
import yaml

from circuitune.core.csvio import read_rows
from circuitune.core.study_records import ClaimRow, EffectRow
from circuitune.experiments.study import judged, load_study, prepare, write_results
from experiments import tiny, tiny_paper

PAPER = Path(__file__).parents[2] / "studies" / "paper"
SOME = ("sequence", "two_step", "add_sub-full")
"""Without wrong answers in the reproduction; composed; whole models as checkpoints."""


# Few steps integrate badly, and models of random weights are asked nothing that they could know.
@pytest.mark.filterwarnings("ignore:completeness residual")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant", "only"),
    [
        ("pythia-1.4b", "reproduction", SOME),
        ("pythia-1.4b", "corrected", ()),
        ("gpt-neo-2.7b", "reproduction", SOME),
        ("gpt-neo-2.7b", "corrected", SOME),
        ("opt-6.7b", "reproduction", SOME),
        ("opt-6.7b", "corrected", SOME),
    ],
)
def test_a_study_runs_from_end_to_end(name: str, variant: str, only: tuple[str, ...], tmp_path: Path):
    model = tiny_paper.save_model(name, tmp_path / "model")
    changes = {**yaml.safe_load((PAPER / "rehearsal.yaml").read_text()), "model": str(model)}
    study = load_study(PAPER / f"{name}-{variant}.yaml", changes).only(only)
    parts = prepare(study, tmp_path / "out")
    for part in parts:
        run, jobs = tiny.prepared(part.frozen, part.folder)
        assert {spec.registration for spec in jobs.jobs} == {None}
        tiny.finish(run, jobs)
    write_results(study, judged(study, parts), tmp_path / "out" / "study")
    claims = read_rows(tmp_path / "out" / "study" / "verdicts.csv", ClaimRow)
    assert [claim.hypothesis for claim in claims] == list(study.registration.hypotheses)
    assert all(claim.sentence.startswith("Rehearsal, does not count.") for claim in claims)
    assert {claim.outcome for claim in claims} == {"undecided", "exploratory"}
    assert "**A rehearsal: no verdict below counts.**" in (tmp_path / "out" / "study" / "verdicts.md").read_text()
    effects = read_rows(tmp_path / "out" / "study" / "effects.csv", EffectRow)
    assert {row.task for row in effects} == set(only or study.registration.tasks)
    known = {row.hypothesis for row in effects if row.effect is not None}
    assert known >= {"faithful", "uniform", "random", "adalora", "union_ranks", "slowing"}
