"""What is said of a circuit beside the model: ratios, areas, and when there is no ratio to give."""

from dataclasses import replace

import pytest
import torch

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import Faithfulness, Run, evaluate, faithfulness_curve
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError
from circuitune.testing import random_pairs, tiny_model


def run(metric: list[float], moved: float = 1.0) -> Run:
    n = len(metric)
    return Run(torch.tensor(metric), torch.arange(n) % 2 == 0, torch.zeros(n), torch.full((n,), moved))


def test_the_ratio_is_of_means_with_an_interval_around_it():
    result = Faithfulness(run([4.0, 6.0, 5.0]), run([3.0, 4.0, 3.5]), run([0.0, 0.0, 1.0]), "logit_diff", 3)
    assert result.normalized is not None
    assert result.normalized.estimate == pytest.approx((10.5 - 1) / (15 - 1))
    assert result.normalized.low <= result.normalized.estimate <= result.normalized.high
    assert result.reason is None
    assert result.accuracy == pytest.approx(2 / 3)


def test_no_ratio_is_given_where_corruption_does_nothing():
    result = Faithfulness(run([1.0, -1.0, 0.5]), run([1.0, 1.0, 1.0]), run([-1.0, 1.0, 0.4]), "logit_diff", 3)
    assert result.normalized is None
    assert result.reason is not None
    assert "contains 0" in result.reason


def test_the_released_formula_says_how_far_the_circuit_moves():
    model, half, still = run([1.0, 2.0], 4.0), run([1.0, 2.0], 2.0), run([1.0, 2.0], 0.0)
    assert Faithfulness(model, half, still, "kl", 1).percent_released == pytest.approx(50)
    assert Faithfulness(model, still, still, "kl", 1).percent_released == pytest.approx(0)
    assert Faithfulness(still, still, still, "kl", 1).percent_released is None


def test_a_curve_ends_at_the_whole_model():
    model, inputs = tiny_model(dtype=torch.float64), random_pairs(24)
    scores = attribute(model, inputs)
    curve = faithfulness_curve(model, inputs, scores, shares=(1.0, 0.1, 0.5), metric="nll")
    assert curve.shares == (0.1, 0.5, 1.0)
    assert [result.edges for result in curve.results][-1] == scores.graph.edges
    assert curve.results[-1].kl == pytest.approx(0, abs=1e-7)
    for result in curve.results:
        assert result.kl == pytest.approx(float(result.circuit.kl_from_model.mean()))


def test_areas_are_trapezoids_over_the_share_of_edges():
    ratios = (0.5, 1.0, 2.0)
    results = tuple(
        Faithfulness(run([2.0, 2.0]), run([2.0 * r, 2.0 * r]), run([0.0, 0.0]), "logit_diff", 1) for r in ratios
    )
    from circuitune.circuits.faithfulness import FaithfulnessCurve

    curve = FaithfulnessCurve((0.0, 0.5, 1.0), results)
    assert curve.cpr == pytest.approx(0.5 * 0.75 + 0.5 * 1.5)
    assert curve.cmd == pytest.approx(0.5 * 0.25 + 0.5 * 0.5)


def test_a_circuit_of_another_shape_is_refused():
    other = Graph(2, 4, 4, parallel=True)
    with pytest.raises(InputError, match="graph"):
        evaluate(tiny_model(), random_pairs(3), Circuit(other.edge_mask, other))


def test_accuracy_counts_the_answer_against_the_whole_vocabulary():
    model, inputs = tiny_model(), random_pairs(10)
    with torch.no_grad():
        predicted = model(input_ids=inputs.clean).logits[:, -1].argmax(-1)
    half = torch.arange(10) < 5
    inputs = replace(inputs, answer=torch.where(half, predicted, (predicted + 1) % 97))
    graph = attribute(model, inputs, metric="nll", method="eap").graph
    assert evaluate(model, inputs, Circuit(graph.edge_mask, graph), metric="nll").accuracy == 0.5
