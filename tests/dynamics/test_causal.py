"""How much of a gain passes through changed edges: planted changes, identities, and the numbers behind each row."""

import copy
from dataclasses import replace

import pytest
import torch

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import Run
from circuitune.circuits.scores import Circuit
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import CausalRow
from circuitune.core.statistics import Interval
from circuitune.dynamics.causal import CausalCheck, Swap, Swaps, causal_check
from circuitune.models.versions import before_and_after
from circuitune.testing import random_pairs, tiny_model
from dynamics.tuned import adapted

INPUTS = random_pairs(16, positions=7)


def planted():
    """Only one head of the tuned model writes otherwise; answers are chosen so that this is a gain."""
    base = tiny_model("llama", layers=2, kv_heads=2, dtype=torch.float64)
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        tuned.model.layers[0].self_attn.o_proj.weight[:, 8:16] *= -3
        gain = tuned(input_ids=INPUTS.clean).logits[:, -1] - base(input_ids=INPUTS.clean).logits[:, -1]
        answer = tuned(input_ids=INPUTS.clean).logits[:, -1].argmax(-1)
    inputs = replace(INPUTS, answer=answer, wrong=gain.argmin(-1))
    return base, tuned, inputs


@pytest.fixture(scope="module")
def check():
    base, tuned, inputs = planted()
    before, after = (attribute(model, inputs, method="eap") for model in (base, tuned))
    graph = before.graph
    leaving = torch.zeros_like(graph.edge_mask)
    source = graph.sources.index("a0.h1")
    leaving[source] = graph.edge_mask[source]
    changed = Circuit(leaving, graph)
    return causal_check(tuned, inputs, before, after, base=base, changed=changed, draws=3)


def rows_of(check, **columns):
    return [row for row in check.rows if all(getattr(row, name) == value for name, value in columns.items())]


def test_the_whole_gain_passes_through_the_one_head_that_changed(check):
    for direction in ("removal", "insertion"):
        (row,) = rows_of(check, direction=direction, swapped="changed", measure="logit_diff")
        assert row.share == pytest.approx(1, abs=1e-5)
        assert row.tuned > row.base
        assert row.value == pytest.approx(row.base if direction == "removal" else row.tuned, rel=1e-5)
        for draw in rows_of(check, direction=direction, swapped="random unchanged", measure="logit_diff"):
            assert draw.share == pytest.approx(0, abs=0.5)
            assert draw.edges == row.edges
        for name in ("changed less random", "changed less strongest"):
            (contrast,) = rows_of(check, direction=direction, swapped=name, measure="logit_diff")
            assert 0 < contrast.low <= contrast.share <= contrast.high
    assert (
        "Of 3 random sets, the changed edges clearly beat 3 in what is lost and 3 in what is won." in check.sentence
    )
    assert "They carry more than the strongest unchanged edges." in check.sentence
    assert "loses 100% [100%, 100%] of it." in check.sentence


def test_all_edges_swapped_carry_all_of_it_and_accuracy_is_measured_too(check):
    for row in rows_of(check, swapped="all", measure="logit_diff"):
        assert row.share == pytest.approx(1, abs=1e-5)  # the unembedding was not tuned
    accuracy = rows_of(check, swapped="changed", measure="accuracy")
    assert [row.tuned for row in accuracy] == [1, 1]
    assert [row.share for row in accuracy] == pytest.approx([1, 1])
    assert "of that gain is lost" in check.sentence


def test_rows_are_a_table(check, tmp_path):
    write_rows(tmp_path / "causal.csv", check.rows, CausalRow)
    assert read_rows(tmp_path / "causal.csv", CausalRow) == check.rows
    assert len(check.rows) == 2 * 2 * (1 + 1 + 3 + 1 + 2)


def test_an_adapter_is_its_own_base_and_equal_calls_give_equal_rows():
    model = adapted("llama", kv_heads=2)
    before, after = before_and_after(model)
    scores = []
    for version in (before, after):
        with version.active():
            scores.append(attribute(model, INPUTS, method="eap"))
    pairs = INPUTS.rows(range(5))
    one, same, other = (causal_check(model, pairs, *scores, share=0.1, draws=1, seed=seed) for seed in (0, 0, 1))
    assert one.rows[0].edges == len(scores[0].top(0.1) ^ scores[1].top(0.1))
    assert one.rows == same.rows != other.rows
    assert [row.value for row in one.rows if row.swapped == "changed"] == [
        row.value for row in other.rows if row.swapped == "changed"
    ]
    assert model.get_model_status().enabled is True


def run(metric: list[float]) -> Run:
    n = len(metric)
    return Run(torch.tensor(metric), torch.tensor(metric) > 0, torch.zeros(n), torch.zeros(n))


def made(changed, random, base=(0.0, 0.0, 0.0, 0.1), tuned=(4.0, 4.0, 4.0, 4.0)) -> CausalCheck:
    base, tuned = run(list(base)), run(list(tuned))
    swaps = (
        Swap("changed", 0, 7, run(changed)),
        Swap("strongest unchanged", 0, 7, run(random)),
        Swap("random unchanged", 0, 7, run(random)),
        Swap("random unchanged", 1, 7, run([2 * value for value in random])),
    )
    return CausalCheck(Swaps("removal", tuned, base, swaps), Swaps("insertion", base, tuned, swaps), "logit_diff")


def test_shares_by_hand():
    check = made([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0])
    lost = check.removal.share(check.removal.changed.run, "logit_diff")
    won = check.insertion.share(check.insertion.changed.run, "logit_diff")
    assert isinstance(lost, Interval)
    assert isinstance(won, Interval)
    assert lost.estimate == pytest.approx(3 / 3.975)
    assert won.estimate == pytest.approx(0.975 / 3.975)
    above = check.removal.above("random unchanged", "logit_diff")
    assert isinstance(above, Interval)
    assert above.estimate == pytest.approx((3 - 1) / 3.975)


def test_the_verdict_follows_the_intervals():
    mixed = made([2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]).sentence
    # As much as the first draw; the second takes the tuned model's answers as they are: lost nothing, won all.
    assert "Of 2 random sets, the changed edges clearly beat 1 in what is lost and 0 in what is won." in mixed
    assert "not clearly more than the strongest" in mixed
    nothing = made([0.0, 0.0, 0.0, 0.1], [1.0, 1.0, 1.0, 1.0], tuned=(0.0, 0.1, -0.1, 0.1)).sentence
    assert "no gain large enough" in nothing
    assert nothing.endswith("contains 0).")


def test_without_a_changed_or_an_unchanged_edge():
    model = adapted()
    scores = attribute(model, INPUTS, method="eap")
    with pytest.raises(InputError, match="No edge changed"):
        causal_check(model, INPUTS, scores, scores)
    every = Circuit(scores.graph.edge_mask, scores.graph)
    check = causal_check(model, INPUTS, scores, scores, changed=every, draws=1)
    assert [swap.swapped for swap in check.removal.swaps] == ["changed", "all"]
    assert all(swap.edges == scores.graph.edges for swap in check.removal.swaps)
