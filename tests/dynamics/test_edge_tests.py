"""Planted changes are found, and where nothing changed the tests say so at their nominal rate."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.statistics import wilson
from circuitune.dynamics import edge_tests as module
from circuitune.dynamics.edge_tests import edge_tests, false_positives, unit_examples
from circuitune.dynamics.nulls import disjoint_splits
from dynamics.strategies import GRAPHS, sampled, scores_of

SERIAL = GRAPHS[0]
LAYERS = Graph(layers=4, heads=2, kv_heads=2, parallel=True)


def heavy(seed: int, graph: Graph = LAYERS) -> EdgeScores:
    """A map with a few strong edges and many weak ones, as circuits have."""
    drawn = scores_of(graph, seed)
    return EdgeScores(drawn.values.sign() * torch.exp(2 * drawn.values.abs()) * graph.edge_mask, graph)


def planted_change(seed: int) -> tuple[EdgeScores, EdgeScores, torch.Tensor, torch.Tensor]:
    """Two maps; three strong edges into the logits faded in the second, three faint ones grew strong."""
    drawn = heavy(seed)
    before, after = drawn.values.clone(), drawn.values.clone()
    order = 1 + drawn.values[1:, -1].abs().argsort(descending=True)
    lost, won = order[:3], order[-3:]
    before[0], after[0] = 20.0, 20.0  # the input reaches every node, so pruning takes nothing of this away
    strong, faint = float(drawn.values.abs().max()), float(drawn.values[drawn.graph.edge_mask].abs().min())
    before[lost, -1], before[won, -1] = strong, faint
    after[lost, -1], after[won, -1] = faint, -strong
    return EdgeScores(before, LAYERS), EdgeScores(after, LAYERS), lost, won


@pytest.mark.parametrize("paired", [True, False])
def test_a_planted_change_is_found_and_little_else(paired):
    before, after, lost, won = planted_change(3)
    noise = float(before.values.abs().mean()) / 4
    first, second = sampled(before, 60, noise, 1), sampled(after, 60, noise, 2)
    if not paired:
        second = replace(second, settings={"pairs_digest": "of others"})
    grown = replace(second, values=50 * second.values, examples=50 * second.examples)  # as in fine-tuning
    tests = edge_tests(first, grown, 0.5, paired=paired)
    assert bool(tests.removed.mask[lost, -1].all())
    assert bool(tests.added.mask[won, -1].all())
    assert tests.tested_count == len(tests.added) + len(tests.removed)
    assert 6 <= tests.tested_count <= min(8, tests.raw_count)
    assert tests.tested_count <= tests.significant_count


@pytest.mark.parametrize("family", ["union", "all"])
def test_halves_of_one_models_pairs_differ_at_the_nominal_rate(family):
    """200 draws; every pair also has a strength of its own, which the L1 norm takes from all its edges at once."""
    mean = heavy(1)
    rng = torch.Generator().manual_seed(4)
    strength = 1 + 0.5 * torch.randn(80, 1, 1, generator=rng)
    noise = 0.3 * mean.values.abs() * torch.randn(80, *mean.values.shape, generator=rng)
    examples = mean.values * strength + noise
    result = false_positives(EdgeScores(examples.mean(0), LAYERS, None, examples), 200, 0.2, family=family)
    assert result.draws == 200
    assert result.nominal
    assert "which contains the nominal level" in result.sentence
    assert result.single.low <= 0.05 <= result.single.high
    assert result.family.low <= 0.05
    assert result.tested_count <= 0.1 < result.raw_count


@pytest.mark.parametrize("paired", [True, False])
def test_p_values_of_fresh_data_without_change_are_uniform(paired):
    """200 fresh draws: the rate of p < 0.05 of one edge each, and of any q < 0.05."""
    mean = heavy(2, SERIAL)
    draws = [(sampled(mean, 25, 1.0, 2 * n), sampled(mean, 25, 1.0, 2 * n + 1)) for n in range(200)]
    tests = [edge_tests(one, other, 1.0, paired=paired) for one, other in draws]
    p = np.stack([test.p for test in tests])
    single = wilson(int((p[:, 7] < 0.05).sum()), 200)
    found = wilson(sum(test.significant_count > 0 for test in tests), 200)
    assert single.low <= 0.05 <= single.high
    assert found.low <= 0.05 <= found.high
    assert p.mean() == pytest.approx(0.5, abs=0.02)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.01)


def test_where_noise_chooses_the_edges_the_family_of_all_is_the_safe_one():
    noise = sampled(EdgeScores(torch.zeros(LAYERS.edge_mask.shape), LAYERS), 60, 1.0, 1)
    chosen, safe = (false_positives(noise, 60, 0.1, family=family) for family in ("union", "all"))
    assert chosen.single.estimate > 0.08
    assert safe.tested_count <= chosen.tested_count


def test_halves_are_let_go_after_their_test(monkeypatch):
    halves: list[weakref.ref[torch.Tensor]] = []
    most = []

    def watched(scores, parts, *, seed):
        made = disjoint_splits(scores, parts, seed=seed)
        halves.extend(weakref.ref(part.examples) for part in made)
        most.append(sum(half() is not None for half in halves))
        return made

    monkeypatch.setattr(module, "disjoint_splits", watched)
    false_positives(sampled(heavy(1), 12, 1.0, 1), 10)
    assert len(most) == 10
    assert max(most) <= 4  # those just made, and those of the draw before


def test_unit_examples_average_to_the_unit_map():
    scores = sampled(heavy(1), 7, 1.0, 1)
    mask = LAYERS.edge_mask
    unit = scores.values.double() / scores.values.double().abs().sum()
    assert torch.allclose(unit_examples(scores, mask).mean(0), unit[mask], atol=1e-8)


def test_a_strength_common_to_all_edges_is_no_change_at_all():
    """Every pair is the map times a number: scaled to unit L1 nothing varies."""
    mean = heavy(1)
    strength = torch.rand(9, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    examples = (mean.values.double() * strength).float()
    scores = EdgeScores(examples.double().mean(0).float(), LAYERS, None, examples)
    spread = unit_examples(scores, LAYERS.edge_mask).std(0)
    assert float(spread.max()) < 1e-6


def test_statistics_are_scipys():
    before, after = sampled(heavy(1), 12, 2.0, 1), sampled(heavy(2), 12, 2.0, 2)
    tests = edge_tests(before, after, 0.3)
    ours = [unit_examples(scores, tests.union.mask).numpy() for scores in (after, before)]
    paired = stats.ttest_rel(*ours)
    assert np.allclose(tests.statistic, paired.statistic)
    assert np.allclose(tests.p, paired.pvalue)
    welch = edge_tests(before, after, 0.3, paired=False)
    assert np.allclose(welch.p, stats.ttest_ind(*ours, equal_var=False).pvalue)
    assert np.allclose(welch.q, stats.false_discovery_control(welch.p))
    assert np.allclose(tests.difference, ours[0].mean(0) - ours[1].mean(0))
    assert len(tests.p) == len(tests.union)


def test_edges_some_at_a_time_are_edges_at_once(monkeypatch):
    before, after = sampled(heavy(1), 12, 2.0, 1), sampled(heavy(2), 12, 2.0, 2)
    whole = edge_tests(before, after, 0.3)
    monkeypatch.setattr("circuitune.dynamics.edge_tests._CHUNK", 12 * 5)
    parts = edge_tests(before, after, 0.3)
    assert np.array_equal(whole.p, parts.p)
    assert np.array_equal(whole.q, parts.q)


def test_maps_that_do_not_vary_are_certain():
    same, other = sampled(heavy(1), 4, 0.0, 1), sampled(heavy(2), 4, 0.0, 1)
    nothing = edge_tests(same, same, 0.3)
    assert nothing.tested_count == nothing.raw_count == 0
    assert set(nothing.p) == {1.0}
    everything = edge_tests(same, other, 0.3)
    assert everything.tested_count == everything.raw_count > 0


def test_empty_circuits_have_no_tests():
    silent = sampled(EdgeScores(torch.zeros(SERIAL.edge_mask.shape), SERIAL), 4, 0.0, 1)
    tests = edge_tests(silent, silent, 0)
    assert (len(tests.p), tests.raw_count, tests.tested_count, len(tests.changed)) == (0, 0, 0, 0)


def test_other_pairs_are_refused_unless_asked_for():
    scores = sampled(heavy(1), 8, 1.0, 1)
    one, other = disjoint_splits(scores, 2)
    with pytest.raises(InputError, match=r"different pairs.*paired=False"):
        edge_tests(one, other)
    assert not edge_tests(one, other, paired=False).paired
    bare = replace(scores, settings={})
    for two in ((bare, bare), (scores, bare)):
        with pytest.raises(InputError, match=r"not known to be of the same pairs.*no pairs_digest.*paired=False"):
            edge_tests(*two)
    assert "pairs_digest" not in disjoint_splits(bare, 2)[0].settings
    with pytest.raises(InputError, match=r"per_example=True"):
        edge_tests(scores, replace(scores, examples=None))
    with pytest.raises(InputError, match="different graphs"):
        edge_tests(scores, sampled(heavy(1, SERIAL), 8, 1.0, 1))
    with pytest.raises(InputError, match="0 draws"):
        false_positives(scores, 0)
    with pytest.raises(InputError, match="3 pairs"):
        false_positives(sampled(heavy(1), 3, 1.0, 1))
