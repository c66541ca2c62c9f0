"""Set changes against Python's own sets, rates by hand, and the refusal to compare unlike graphs."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError
from circuitune.dynamics.change import (
    SetChange,
    change_rows,
    compare,
    cumulative_rate,
    transition_rows,
    transitions,
)
from dynamics.strategies import GRAPHS, circuit_of, circuits_of, planted, recipes, scores_of

SERIAL = GRAPHS[0]
names = st.lists(st.text("abcdef", min_size=1, max_size=2), unique=True, max_size=12)


@given(names, names)
def test_a_set_change_is_what_set_operations_say(before, after):
    change = SetChange.between(before, after)
    old, new = set(before), set(after)
    assert set(change.added) == new - old
    assert set(change.removed) == old - new
    assert set(change.kept) == old & new
    assert (change.before, change.after, change.changed) == (len(old), len(new), len(old ^ new))
    assert change.jaccard == (len(old & new) / len(old | new) if old | new else 1.0)
    assert change.rate == (len(old ^ new) / len(old) if old else None)


@given(names, names)
def test_names_keep_their_order(before, after):
    change = SetChange.between(before, after)
    assert list(change.added) == [name for name in after if name in change.added]
    assert list(change.removed) == [name for name in before if name in change.removed]
    assert list(change.kept) == [name for name in before if name in change.kept]


@settings(deadline=None)
@given(recipes(2))
def test_the_way_back_swaps_added_and_removed(recipe):
    circuits = circuits_of(recipe)
    there, back = compare(*circuits), compare(*reversed(circuits))
    for one, other in ((there.edges, back.edges), (there.nodes, back.nodes)):
        assert (one.added, one.removed, one.kept) == (other.removed, other.added, other.kept)
        assert one.jaccard == other.jaccard
    assert there.edges_at_changed_nodes == back.edges_at_changed_nodes


@settings(deadline=None)
@given(recipes(1))
def test_a_circuit_against_itself_has_not_changed(recipe):
    circuits = circuits_of(recipe)
    change = compare(circuits[0], circuits[0])
    assert change.edges.changed == change.nodes.changed == change.edges_at_changed_nodes == 0
    assert change.edges.jaccard == change.nodes.jaccard == 1.0
    assert change.edges.kept == circuits[0].edges
    assert change.nodes.kept == circuits[0].nodes


def test_a_change_by_hand():
    before = planted(SERIAL, "input->a0.h0<q>", "a0.h0->m1", "m1->logits", "input->m1")
    after = planted(SERIAL, "input->a0.h1<k>", "a0.h1->m1", "m1->logits", "input->m1", "input->logits")
    change = compare(before, after)
    assert change.edges.added == ("input->a0.h1<k>", "input->logits", "a0.h1->m1")
    assert change.edges.removed == ("input->a0.h0<q>", "a0.h0->m1")
    assert change.edges.kept == ("input->m1", "m1->logits")
    assert change.edges.rate == 5 / 4
    assert change.edges.jaccard == 2 / 7
    assert change.nodes.added == ("a0.h1",)
    assert change.nodes.removed == ("a0.h0",)
    assert change.nodes.kept == ("input", "m1", "logits")
    assert change.nodes.rate == 2 / 4
    assert change.edges_at_changed_nodes == 4  # all but input->logits


def test_edges_into_a_shared_key_input_touch_every_head_of_its_group():
    graph = Graph(layers=2, heads=4, kv_heads=2, parallel=False)
    common = ("input->m0", "m0->logits")
    before = planted(graph, *common)
    second_group = planted(graph, *common, "input->a0.kv1<k>", "a0.h3->logits")
    assert compare(before, second_group).nodes.added == ("a0.h3",)
    assert compare(before, second_group).edges_at_changed_nodes == 2
    first_group = planted(graph, *common, "input->a0.kv0<k>", "a0.h3->logits")
    assert compare(before, first_group).edges_at_changed_nodes == 1


def test_a_logits_node_that_disappears_touches_its_edges():
    before = planted(SERIAL, "input->m0", "m0->m1", "input->logits")
    after = planted(SERIAL, "input->m0", "m0->m1")
    assert compare(before, after).nodes.removed == ("logits",)
    assert compare(before, after).edges_at_changed_nodes == 1


def test_an_empty_circuit_has_no_rate():
    empty, full = planted(SERIAL), circuit_of(SERIAL, 0, 1.0)
    assert compare(empty, full).edges.rate is None
    assert compare(full, empty).edges.rate == 1.0
    assert compare(empty, empty).edges.jaccard == 1.0


def test_scores_are_cut_to_the_share_first():
    before, after = scores_of(SERIAL, 1), scores_of(SERIAL, 2)
    assert compare(before, after, share=0.5) == compare(before.top(0.5), after.top(0.5))
    assert compare(before, after) == compare(before.top(0.05), after.top(0.05))
    assert compare(before, after, share=0.5).edges.kept != compare(before, after).edges.kept


@pytest.mark.parametrize("other", [GRAPHS[1], GRAPHS[0].collapse(), Graph(2, 2, 2, parallel=True)])
def test_unlike_graphs_are_refused(other):
    with pytest.raises(InputError, match="different graphs"):
        compare(planted(SERIAL), planted(other))
    with pytest.raises(InputError, match="different graphs"):
        transitions([planted(SERIAL), planted(SERIAL), planted(other)])


@settings(deadline=None)
@given(recipes(4))
def test_the_cumulative_rate_is_the_sum_over_transitions(recipe):
    circuits = circuits_of(recipe)
    rates = cumulative_rate(circuits)
    sizes = len(circuits[0].nodes), len(circuits[0])
    if not sizes[1]:
        assert rates == (None, None)
        return
    edges = sum(int((old.mask ^ new.mask).sum()) for old, new in pairwise(circuits))
    assert rates.edges == edges / sizes[1]
    steps = transitions(circuits)
    assert rates.edges == pytest.approx(sum(step.edge_rate for step in steps))
    assert rates.nodes == pytest.approx(sum(step.node_rate for step in steps))


@settings(deadline=None)
@given(recipes(4))
def test_the_cumulative_rate_is_never_below_the_end_to_end_rate(recipe):
    circuits = circuits_of(recipe)
    rates, change = cumulative_rate(circuits), compare(circuits[0], circuits[-1])
    if rates.edges is not None:
        assert rates.edges >= change.edges.rate - 1e-12
        assert rates.nodes >= change.nodes.rate - 1e-12


def test_two_checkpoints_have_equal_cumulative_and_end_to_end_rates():
    pair = [circuit_of(SERIAL, 1, 0.5), circuit_of(SERIAL, 2, 0.5)]
    change = compare(*pair)
    assert cumulative_rate(pair) == (change.nodes.rate, change.edges.rate)


def test_there_and_back_counts_in_the_cumulative_rate_alone():
    here, there = planted(SERIAL, "input->logits"), planted(SERIAL, "input->m0", "m0->logits")
    assert cumulative_rate([here, there, here]).edges == 6.0
    assert compare(here, here).edges.rate == 0.0


def test_one_circuit_is_no_series():
    with pytest.raises(InputError, match="at least two circuits; got 1"):
        cumulative_rate([planted(SERIAL)])


def test_rows_carry_the_counts_and_rates():
    series = [circuit_of(SERIAL, seed, 0.5) for seed in range(3)]
    change, rates = compare(series[0], series[-1]), cumulative_rate(series)
    node, edge = change_rows(
        change, comparison="tune", role="change", before="step 0", after="step 20", cumulative=rates
    )
    assert (node.kind, edge.kind) == ("node", "edge")
    assert (node.rate, edge.rate) == (change.nodes.rate, change.edges.rate)
    assert (node.cumulative, edge.cumulative) == rates
    for row in (node, edge):
        assert row.before_count + row.added - row.removed == row.after_count
        assert row.jaccard == row.kept / (row.kept + row.added + row.removed)
    (without, _) = change_rows(change, comparison="tune", role="null", before="a", after="b")
    assert without.cumulative is None


def test_transition_rows_name_the_steps():
    series = [circuit_of(SERIAL, seed, 0.5) for seed in range(3)]
    rows = transition_rows(transitions(series), label="tune", seed=1, steps=(0, 10, 30))
    assert [(row.step_from, row.step_to, row.kind) for row in rows] == [
        (0, 10, "node"),
        (0, 10, "edge"),
        (10, 30, "node"),
        (10, 30, "edge"),
    ]
    assert rows[3].added == int((series[2].mask & ~series[1].mask).sum())
    assert sum(row.rate for row in rows if row.kind == "edge") == pytest.approx(cumulative_rate(series).edges)
    with pytest.raises(ValueError, match="shorter"):
        transition_rows(transitions(series), label="tune", seed=1, steps=(0, 10))


def test_nothing_is_mutated():
    before, after = circuit_of(SERIAL, 1, 0.5), circuit_of(SERIAL, 2, 0.5)
    copies = [Circuit(circuit.mask.clone(), circuit.graph) for circuit in (before, after)]
    compare(before, after)
    transitions([before, after])
    assert torch.equal(before.mask, copies[0].mask)
    assert torch.equal(after.mask, copies[1].mask)
