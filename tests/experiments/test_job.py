import shutil
from pathlib import Path

import pytest
import torch

import circuitune
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import COMPLETE
from circuitune.core.records import AccuracyRow, FaithfulnessRow, PairsRecord, RankPlanRecord, read_record
from circuitune.experiments.artefacts import PLAN
from circuitune.experiments.inputs import freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run
from circuitune.tasks.pairs import PairSet
from experiments import tiny

PARTS = ("train", "circuit", "validation", "test")


def test_pairs_are_split_into_disjoint_parts_and_limited(finished: tuple[Run, Plan]):
    folder = finished[0].job(finished[1].pairs).folder
    parts = {part: PairSet.from_jsonl(folder / f"{part}.jsonl") for part in PARTS}
    groups = [group for pairs in parts.values() for group in {pair.group for pair in pairs}]
    assert len(groups) == len(set(groups))
    assert (len(parts["train"]), len(parts["test"])) == (120, 40)
    record = read_record(folder / "pairs.json", PairsRecord)
    assert record.parts == {part: len(pairs) for part, pairs in parts.items()}
    assert (record.wrong, record.metric, record.left_out) == ("given", "logit_diff", [])


def test_training_keeps_checkpoints_from_step_0_and_measures_the_right_split(finished: tuple[Run, Plan]):
    run, jobs = finished
    for job, split in ((jobs.tuning[0], "test"), (jobs.phase1[0], "validation")):
        rows = read_rows(run.job(job).folder / "accuracy.csv", AccuracyRow)
        assert {row.split for row in rows} == {split}
        assert rows[0].step == 0
        assert rows[-1].step == rows[-1].steps == 3
    steps = sorted(path.name for path in (run.job(jobs.tuning[0]).folder / "checkpoints").iterdir())
    assert steps == ["step-00000", "step-00002", "step-00003"]


def test_circuits_are_cut_from_their_scores_at_every_checkpoint(finished: tuple[Run, Plan]):
    run, jobs = finished
    folder = run.job(jobs.tuning_circuits[0]).folder
    scores = sorted((folder / "scores").iterdir())
    assert [path.name for path in scores] == [path.name for path in sorted((folder / "circuits").iterdir())]
    for path in scores:
        circuit = Circuit.load(folder / "circuits" / path.name)
        assert circuit == EdgeScores.load(path).top(0.2)
    first, last = (EdgeScores.load(path).values for path in (scores[0], scores[-1]))
    assert not torch.equal(first, last)


def test_scores_say_whose_they_are_and_what_made_them(finished: tuple[Run, Plan]):
    run, jobs = finished
    for spec in (jobs.tuning_circuits[1], jobs.phase1_circuits[0]):
        for kind, file in (("scores", EdgeScores), ("circuits", Circuit)):
            settings = file.load(run.job(spec).folder / kind / "step-00003.safetensors").settings
            assert (settings["model"], settings["model_fingerprint"]) == (spec.model.name, spec.model.fingerprint)
            assert (settings["training"], settings["step"]) == (f"{spec.arm} seed {spec.seed}", 3)
            assert settings["version"] == circuitune.__version__
    plan = read_record(run.job(jobs.methods[0]).folder / PLAN, RankPlanRecord)
    assert (plan.provenance["before.step"], plan.provenance["after.step"]) == (0, 3)
    assert plan.provenance["after.training"] == "phase1 seed 0"


def test_both_seeds_start_from_the_same_circuit(finished: tuple[Run, Plan]):
    run, jobs = finished
    first, second = (
        EdgeScores.load(run.job(job).folder / "scores" / "step-00000.safetensors").values
        for job in jobs.tuning_circuits
    )
    assert torch.equal(first, second)


def test_faithfulness_is_measured_at_every_size_and_checkpoint(finished: tuple[Run, Plan]):
    run, jobs = finished
    rows = read_rows(run.job(jobs.tuning_circuits[0]).folder / "faithfulness.csv", FaithfulnessRow)
    shares = jobs.tuning_circuits[0].discovery.shares
    assert [(row.step, row.share) for row in rows] == [(step, share) for step in (0, 2, 3) for share in shares]
    assert all((row.normalized is None) == bool(row.reason) for row in rows)
    assert all(row.kl >= 0 for row in rows)


def test_the_plan_comes_from_phase_1_and_its_rivals_have_its_size(finished: tuple[Run, Plan]):
    run, jobs = finished
    plans = {job.arm: read_record(run.job(job).folder / PLAN, RankPlanRecord) for job in jobs.methods}
    ours = plans["circuitlora"]
    assert (ours.rank, ours.critical_rank, len(ours.critical_layers)) == (1, 5, 1)
    assert ours.importance is not None
    assert len({plan.parameters for plan in plans.values()}) == 1
    assert plans["uniform"].critical_layers == []
    assert len(plans["random"].critical_layers) == 1


def test_a_job_done_again_gives_the_same_bytes(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    run, jobs = Run(tmp_path / "run"), finished[1]
    before = tiny.content(run.folder)
    for spec in (jobs.phase1[0], jobs.phase1_circuits[0]):
        folder = run.job(spec).folder
        (folder / COMPLETE).unlink()
        (folder / "left-over.partial").write_text("from a killed attempt")
        run_job(folder)
    assert tiny.content(run.folder) == before


def test_a_complete_job_returns_at_once(finished: tuple[Run, Plan]):
    folder = finished[0].job(finished[1].tuning[0]).folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run_job(folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_model_that_changed_is_refused(tmp_path: Path):
    model = tiny.save_model(tmp_path / "model")
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="has changed since the run began"):
        run_job(run.job(jobs.pairs).folder)


def test_a_folder_that_is_no_job_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"spec\.json"):
        run_job(tmp_path)
