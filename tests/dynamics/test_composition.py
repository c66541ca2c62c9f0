"""Unions cut to a size, controls cut alike, and a verdict that follows the numbers."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.circuits import faithfulness
from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.selection import prune
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import CompositionRow, TopOverlapRow
from circuitune.dynamics import composition
from circuitune.dynamics.composition import (
    compose,
    intersection,
    intersection_scores,
    matched,
    union,
    union_scores,
)
from circuitune.testing import random_pairs, tiny_model
from dynamics.strategies import GRAPHS, circuit_of, graphs, planted, scores_of, seeds

INPUTS = random_pairs(16, positions=7)
SERIAL = GRAPHS[0]


def test_sets_by_hand():
    one = planted(SERIAL, "input->m0", "m0->logits", "input->logits")
    other = planted(SERIAL, "input->m0", "m0->m1", "m1->logits", "input->logits")
    assert union([one, other]).edges == tuple(sorted({*one.edges, *other.edges}, key=(one | other).edges.index))
    assert intersection([one, other]).edges == ("input->logits",)  # input->m0 leads nowhere any more


@settings(deadline=None, max_examples=8)
@given(graphs, seeds, st.integers(0, 60))
def test_a_matched_circuit_is_the_largest_of_at_most_as_many_edges(graph, seed, edges):
    scores = scores_of(graph, seed)
    sizes = [len(scores.top(n)) for n in range(graph.edges + 1)]
    assert len(matched(scores, edges)) == max(size for size in sizes if size <= edges)
    assert sizes == sorted(sizes)


def test_a_matched_circuit_sorts_its_edges_twice_at_most(monkeypatch):
    """Once to search the size, once to cut; the search itself only prunes. Ties are broken as `top` breaks them."""
    drawn = scores_of(GRAPHS[1], 0)
    scores = replace(drawn, values=(2 * drawn.values).round())
    expected = [matched(scores, edges) for edges in (0, 7, 40)]
    sizes = [scores.top(n) for n in range(scores.graph.edges + 1)]
    sorts = []
    for owner in (torch, torch.Tensor):
        real = owner.argsort
        monkeypatch.setattr(owner, "argsort", lambda *a, real=real, **k: (sorts.append(1), real(*a, **k))[1])
    for edges, circuit in zip((0, 7, 40), expected, strict=True):
        sorts.clear()
        assert matched(scores, edges) == circuit
        assert len(sorts) <= 2
        assert circuit == [size for size in sizes if len(size) <= edges][-1]


@settings(deadline=None, max_examples=25)
@given(graphs, seeds, seeds, st.sampled_from([1.0, 1e6]))
def test_merged_scores_do_not_depend_on_a_maps_scale_or_sign(graph, first, second, scale):
    one, other = scores_of(graph, first), scores_of(graph, second)
    grown = EdgeScores(-scale * other.values, graph)
    for merge in (union_scores, intersection_scores):
        torch.testing.assert_close(merge([one, other]).values, merge([one, grown]).values)
    more, less = union_scores([one, other]).values, intersection_scores([one, other]).values
    assert bool((more >= less).all())
    assert float(more.sum() + less.sum()) == pytest.approx(2, rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(graphs, seeds, seeds)
def test_set_operations_stay_inside_their_parts(graph, first, second):
    parts = [Circuit(prune(circuit_of(graph, seed, 0.5).mask, graph), graph) for seed in (first, second)]
    either, both = union(parts), intersection(parts)
    assert torch.equal(prune(either.mask, graph), either.mask)
    assert torch.equal(prune(both.mask, graph), both.mask)
    assert not bool((both.mask & ~(parts[0].mask & parts[1].mask)).any())


@pytest.fixture(scope="module")
def composed():
    """A task whose scores are those of its two parts, each with half of the edges; the unrelated maps are random."""
    model = tiny_model(layers=2, dtype=torch.float64)
    with torch.no_grad():  # answers that make the logit difference move with the prompt
        moved = model(input_ids=INPUTS.clean).logits[:, -1] - model(input_ids=INPUTS.corrupted).logits[:, -1]
    inputs = replace(INPUTS, answer=moved.argmax(-1), wrong=moved.argmin(-1))
    whole = attribute(model, inputs)
    half = torch.rand(whole.values.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    parts = {
        "add": EdgeScores(whole.values * half, whole.graph),
        "mul": EdgeScores(whole.values * ~half, whole.graph),
    }
    unrelated = {name: scores_of(whole.graph, seed) for seed, name in enumerate(("ioi", "lcm"))}
    calls = []

    def counted(*arguments, **options):
        calls.append(len(arguments[2]))
        return evaluate(*arguments, **options)

    composition.evaluate = counted
    try:
        result = compose(
            model,
            inputs,
            whole,
            parts,
            task="two_step",
            unrelated=unrelated,
            shares=(0.1, 0.3),
            at=0.3,
            draws=2,
            sizes=(5, 30),
        )
    finally:
        composition.evaluate = faithfulness.evaluate
    return model, inputs, whole, result, calls


def test_all_circuits_go_through_one_call(composed):
    *_, result, calls = composed
    assert calls == [len(result.members)] == [2 * (5 + 2 + 1 + 2)]


def test_every_control_is_as_large_as_the_compositional_circuit(composed):
    _, _, whole, result, _ = composed
    for share in (0.1, 0.3):
        (own,) = result.of("whole", share)
        assert own.circuit == whole.top(share)
        for kind in ("union", "intersection", "part", "unrelated", "random"):
            for member in result.of(kind, share):
                assert len(member.circuit) <= len(own.circuit)
        for kind in ("union", "unrelated", "random"):
            assert len(result.of(kind, share)[0].circuit) >= len(own.circuit) - 6
        assert len(result.of("random", share)) == 2


def test_rows_are_the_circuits_as_evaluated_alone(composed, tmp_path):
    model, inputs, _, result, _ = composed
    for place in (0, 1, 6, 9, 13):
        member, row = result.members[place], result.rows[place]
        alone = evaluate(model, inputs, member.circuit)
        assert row.kl == pytest.approx(alone.kl, abs=1e-6)
        assert row.value == pytest.approx(float(alone.circuit.metric.double().mean()), abs=1e-5)
        assert row.normalized == pytest.approx(alone.normalized.estimate, abs=1e-5)
        assert row.edges == len(member.circuit)
    own = [row for row in result.rows if row.kind == "whole"]
    assert {(row.overlap, row.jaccard) for row in own} == {(1.0, 1.0)}
    write_rows(tmp_path / "composition.csv", result.rows, CompositionRow)
    assert read_rows(tmp_path / "composition.csv", CompositionRow) == result.rows


def test_a_task_made_of_its_parts_overlaps_with_their_union_and_not_with_others(composed, tmp_path):
    result = composed[3]
    shares = {(row.first, row.second): row.share for row in result.overlaps if row.size == 30}
    assert shares["add", "mul"] == 0
    assert shares["add + mul", "two_step"] > 0.7 > shares["ioi + lcm", "two_step"]
    write_rows(tmp_path / "overlap.csv", result.overlaps, TopOverlapRow)
    assert read_rows(tmp_path / "overlap.csv", TopOverlapRow) == list(result.overlaps)


def test_the_sentence_names_the_numbers_and_every_control(composed):
    result = composed[3]
    (one,) = result.of("union")
    assert f"{one.result.normalized.estimate:.0%} [" in result.sentence
    assert result.sentence.startswith("At 30 % of all edges")
    for control in ("add alone", "mul alone", "the unrelated ioi + lcm", "random edges", "the task's own circuit"):
        assert control in result.sentence
    verdicts = {label: result.above(group) for label, group in (("random edges", result.of("random")),)}
    assert (verdicts["random edges"].low > 0) == ("It is more faithful than" in result.sentence)


def test_without_a_share_to_give_it_speaks_of_kl():
    """Where corruption does not move the metric there is no normalised faithfulness."""
    model = tiny_model(layers=2)
    scores = attribute(model, INPUTS, method="eap", metric="nll")
    same = replace(INPUTS, corrupted=INPUTS.clean)
    result = compose(model, same, scores, {"a": scores, "b": scores}, shares=(0.05,), draws=1)
    assert "KL" in result.sentence
    assert "contains 0" in result.sentence
    assert all(row.normalized is None and row.reason for row in result.rows)


@pytest.mark.parametrize(
    ("parts", "options"),
    [(1, {}), (2, {"at": 0.07}), (2, {"draws": 0}), (2, {"unrelated": {"x": scores_of(SERIAL, 0)}})],
)
def test_bad_requests_are_refused(parts, options):
    model = tiny_model(layers=2)
    scores = attribute(model, INPUTS, method="eap", metric="nll")
    with pytest.raises(InputError, match=r"at least two parts|different graphs"):
        compose(model, INPUTS, scores, {str(n): scores for n in range(parts)}, **options)
