"""The change of a tuning against chance, in a finished run: what the tables hold agrees with what they are about."""

import shutil
from pathlib import Path

import pytest

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.chance_records import (
    ChanceRow,
    ChangedRow,
    EdgeRow,
    FoundRow,
    KindRow,
    LayerFrequencyRow,
    NodeRow,
    RuleRow,
    SimilarityRow,
    SpeedRow,
    StabilityRow,
    TunedCausalRow,
    TunedRoleRow,
    VerdictRow,
)
from circuitune.core.csvio import read_rows
from circuitune.core.records import ChangeRow, SummaryRecord, TransitionRow, read_record
from circuitune.dynamics.layers import RULES
from circuitune.dynamics.measures import node_shares, overlap, weighted_jaccard
from circuitune.experiments.comparisons import Series, between_seeds, compared
from circuitune.experiments.plan import Plan
from circuitune.experiments.recipe import Recipe
from circuitune.experiments.store import Run
from circuitune.experiments.tables import write_tables
from experiments import tiny

TABLES = {
    "chance": ChanceRow,
    "verdicts": VerdictRow,
    "edges": EdgeRow,
    "nodes": NodeRow,
    "changed": ChangedRow,
    "stability": StabilityRow,
    "layer_frequency": LayerFrequencyRow,
    "causal": TunedCausalRow,
    "roles": TunedRoleRow,
    "similarity": SimilarityRow,
    "kinds": KindRow,
    "speed": SpeedRow,
    "rules": RuleRow,
    "found": FoundRow,
}


@pytest.fixture
def tables(finished: tuple[Run, Plan]) -> Path:
    return finished[0].folder / "tables"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_there_and_readable(tables: Path, name: str):
    assert read_rows(tables / f"{name}.csv", TABLES[name])


def test_the_change_with_an_interval_is_the_change_of_the_run(tables: Path):
    counted = {
        (row.comparison.split(",")[0], row.kind): row.rate
        for row in read_rows(tables / "change.csv", ChangeRow)
        if row.role == "change"
    }
    found = {
        (row.label, row.measure.removesuffix("_rate")): row
        for row in read_rows(tables / "chance.csv", ChanceRow)
        if row.role == "change" and row.measure.endswith("_rate")
    }
    assert counted.keys() == found.keys()
    assert len(found) == 4  # two seeds, nodes and edges
    for key, row in found.items():
        assert row.estimate == counted[key]
        assert row.comparisons == 200
        assert row.low is not None
        assert row.high is not None
        assert row.low <= row.high


def test_every_null_is_there_with_its_number_of_comparisons(tables: Path):
    rows = [row for row in read_rows(tables / "chance.csv", ChanceRow) if row.measure == "edge_rate"]
    counts = {(row.role, row.label): row.comparisons for row in rows if row.role != "change"}
    assert counts.pop(("seed", "seeds 0 1")) == 1
    expected = {"split": 6, "random-init": 1, "rewired": 10, "random": 10}  # 3 halvings of two models, and 2 models
    assert counts == {(role, f"tune seed {seed}"): number for seed in (0, 1) for role, number in expected.items()}


def test_rewiring_is_a_null_of_edges_alone_since_it_keeps_the_nodes(tables: Path):
    rows = [row for row in read_rows(tables / "chance.csv", ChanceRow) if row.role == "rewired"]
    assert {row.measure for row in rows} == {"edge_rate", "edge_jaccard"}


def test_edges_are_those_of_either_circuit_and_their_counts_add_up(finished: tuple[Run, Plan], tables: Path):
    run, jobs = finished
    for job, changed in zip(jobs.tuning_circuits, read_rows(tables / "changed.csv", ChangedRow), strict=True):
        folder = run.job(job).folder / "circuits"
        before, after = (Circuit.load(folder / f"step-0000{step}.safetensors") for step in (0, 3))
        own = [row for row in read_rows(tables / "edges.csv", EdgeRow) if row.label == changed.label]
        names = [f"{row.source}->{row.destination}" for row in own]
        assert set(names) == {*before.edges, *after.edges}
        assert len(names) == len(set(names))
        assert changed.raw == len(before ^ after) == sum(row.in_before != row.in_after for row in own)
        assert changed.tested == sum(row.changed for row in own)
        assert all(row.q < 0.05 and row.in_before != row.in_after for row in own if row.changed)
        assert changed.significant == sum(row.q < 0.05 for row in own)


def test_nodes_are_those_of_either_circuit_with_their_share_of_the_saved_maps(
    finished: tuple[Run, Plan], tables: Path
):
    run, jobs = finished
    ends: list[dict[str, float]] = []
    for job in jobs.tuning_circuits:
        folder = run.job(job).folder
        before, after = (Circuit.load(folder / f"circuits/step-0000{step}.safetensors") for step in (0, 3))
        own = {row.node: row for row in read_rows(tables / "nodes.csv", NodeRow) if row.seed == job.seed}
        assert own.keys() == {*before.nodes, *after.nodes} - {"logits"}
        assert {row.node for row in own.values() if row.in_after} == {*after.nodes} - {"logits"}
        scores = EdgeScores.load(folder / "scores/step-00003.safetensors")
        shares = dict(zip(scores.graph.sources, map(float, node_shares(scores)), strict=True))
        for row in own.values():
            assert row.share_after == pytest.approx(shares[row.node], rel=1e-4)
            assert row.change == row.share_after - row.share_before
            assert row.low is not None
            assert row.high is not None
            assert row.low <= row.high
            assert (row.half_comparisons, row.seed_comparisons) == (6, 1)
            assert row.halves is not None
            assert row.changed == (row.q < 0.05 and abs(row.change) > row.halves)
        ends.append(shares)
    for row in read_rows(tables / "nodes.csv", NodeRow):
        assert row.seeds == pytest.approx(abs(ends[1][row.node] - ends[0][row.node]), abs=1e-9)
        assert "Two seeds, after fine-tuning, differ by at most" in row.sentence


def test_analyses_of_an_earlier_version_have_no_nodes_and_all_other_tables(
    finished: tuple[Run, Plan], tmp_path: Path
):
    run, jobs = finished
    earlier = Run.open(Path(shutil.copytree(run.folder, tmp_path / "run")))
    former = {path.name: path.read_bytes() for path in (earlier.folder / "tables").iterdir()}
    for job in jobs.analyses:
        (earlier.job(job).folder / "nodes.csv").unlink()
    write_tables(earlier, jobs)
    now = {path.name: path.read_bytes() for path in (earlier.folder / "tables").iterdir()}
    del former["nodes.csv"]
    assert now == former


def test_verdicts_are_on_what_can_only_grow_with_change(tables: Path):
    rows = read_rows(tables / "verdicts.csv", VerdictRow)
    assert [row.measure for row in rows] == ["edge_rate", "node_rate", "ratio"] * 2
    assert {row.outcome for row in rows} == {"not enough to say"}  # six comparisons are too few


def test_circuits_and_layers_have_a_stability(tables: Path):
    rows = read_rows(tables / "stability.csv", StabilityRow)
    assert [row.what for row in rows[:4]] == [
        "circuit before",
        "circuit after",
        "critical layers (released)",
        "critical layers (normalised)",
    ]
    assert all(0 < row.jaccard <= 1 and row.unstable == (row.jaccard < 0.8) for row in rows)
    assert all((row.consensus_edges is None) == row.what.startswith("critical") for row in rows)
    often = read_rows(tables / "layer_frequency.csv", LayerFrequencyRow)
    assert sum(row.frequency for row in often if (row.seed, row.rule) == (0, "released")) == pytest.approx(1)
    assert sum(row.chosen for row in often) == 4  # one layer by each of two rules, for two seeds


def test_the_causal_check_swaps_the_changed_edges(tables: Path):
    rows = [row for row in read_rows(tables / "causal.csv", TunedCausalRow) if row.label == "tune seed 1"]
    changed = read_rows(tables / "changed.csv", ChangedRow)[1]
    assert {row.edges for row in rows if row.swapped == "changed"} == {changed.raw}
    assert {row.direction for row in rows} == {"removal", "insertion"}
    assert max(row.draw for row in rows) == 1


def test_the_six_heads_of_three_layers_have_a_role(tables: Path):
    rows = read_rows(tables / "roles.csv", TunedRoleRow)
    assert [row.place for row in rows] == [1, 2, 3, 4, 5, 6] * 2
    assert all(row.sentence.startswith(row.head) for row in rows)


def test_similarity_is_of_the_saved_maps_and_seeds_are_compared_too(finished: tuple[Run, Plan], tables: Path):
    run, jobs = finished
    rows = read_rows(tables / "similarity.csv", SimilarityRow)
    assert [row.role for row in rows if row.measure == "weighted_jaccard"] == ["change", "change", "null"]
    folder = run.job(jobs.tuning_circuits[0]).folder / "scores"
    before, after = (EdgeScores.load(folder / f"step-0000{step}.safetensors") for step in (0, 3))
    own = {row.measure: row.value for row in rows if row.comparison.startswith("tune seed 0")}
    assert own["weighted_jaccard"] == weighted_jaccard(before, after)
    forms = {row.form for row in rows if row.measure == "edge_jaccard"}
    assert forms == {"split", "collapsed"}


def test_kinds_of_edges_add_up_to_the_change(tables: Path):
    change = read_rows(tables / "change.csv", ChangeRow)[1]
    own = [row for row in read_rows(tables / "kinds.csv", KindRow) if row.comparison == change.comparison]
    assert sum(row.added for row in own) == change.added
    assert sum(row.removed for row in own) == change.removed


def test_speed_is_the_rate_over_the_steps_between(tables: Path):
    rates = {
        (row.step_from, row.step_to): row.rate
        for row in read_rows(tables / "transitions.csv", TransitionRow)
        if row.label == "tune seed 0" and row.kind == "edge"
    }
    own = [row for row in read_rows(tables / "speed.csv", SpeedRow) if row.label == "tune seed 0"]
    assert {row.spacing for row in own} == {"even", "log"}
    for row in own:
        if row.kind == "edge" and (row.step_from, row.step_to) in rates:
            assert row.rate == rates[row.step_from, row.step_to]
        assert row.rate is not None
        assert row.rate_per_step == pytest.approx(row.rate / (row.step_to - row.step_from))


def test_every_two_rules_are_compared_and_the_last_set_is_found(tables: Path):
    rows = read_rows(tables / "rules.csv", RuleRow)
    assert len(rows) == 2 * len(RULES) * (len(RULES) - 1) // 2
    found = read_rows(tables / "found.csv", FoundRow)
    assert all(row.found and row.jaccard == 1 for row in found if row.step == 3)


def test_the_summary_says_it_in_words(finished: tuple[Run, Plan]):
    found = read_record(finished[0].folder / "summary.json", SummaryRecord).findings
    edges, nodes, ratio, single, stable = found.chance
    assert edges.startswith("Edges, before against after")
    assert "Both circuits rewired with their degrees kept" in edges
    assert "rewired" not in nodes
    assert "not enough to say" in edges
    assert nodes.startswith("Nodes")
    assert "Change of edges over change of nodes" in ratio
    assert "differ by more than the pairs explain" in single
    assert "mean Jaccard similarity" in stable
    assert [sentence.split(":")[0] for sentence in found.causal] == ["tune seed 0", "tune seed 1"]


def test_seeds_in_any_order_have_one_null(finished: tuple[Run, Plan]):
    run, jobs = finished
    ends = [EdgeScores.load(run.job(job).folder / "scores/step-00003.safetensors") for job in jobs.tuning_circuits]
    series = [Series(f"tune seed {seed}", seed, (0,), (end,)) for seed, end in enumerate(ends)]
    one, other = (list(compared(given))[-1] for given in (series, series[::-1]))
    assert one == other
    overlaps = [overlap(one.before.top(0.2), one.after.top(0.2))]
    assert between_seeds([0, 1], overlaps) == between_seeds([1, 0], overlaps)


@pytest.mark.slow
def test_a_single_pair_leaves_chance_out_and_says_so(model: Path, tmp_path: Path):
    """All training is done by then: what cannot be known must not stop the run."""
    one = tiny.recipe(model, tmp_path).model_dump()
    one["discovery"]["pairs"] = 1
    run, _ = tiny.finished(Recipe.model_validate(one), tmp_path / "run")
    chance = read_rows(run.folder / "tables" / "chance.csv", ChanceRow)
    changes = [row for row in chance if row.role == "change"]
    assert changes
    assert all(row.estimate is None and "independent pairs" in row.reason for row in changes)
    assert "split" not in {row.role for row in chance}
    assert read_rows(run.folder / "tables" / "edges.csv", EdgeRow) == []
    words = read_record(run.folder / "summary.json", SummaryRecord).findings.chance
    assert "undefined (there are no two independent pairs" in words[0]
    assert words[3:] == [
        "Single edges could not be tested: no independent pairs, or an empty circuit before.",
        "Stability could not be measured: there are no independent pairs to draw again.",
    ]
