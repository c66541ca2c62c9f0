"""Which heads changed most, and sentences that say what the numbers say."""

import copy

import pytest
import torch

from circuitune.circuits.attribution import attribute
from circuitune.circuits.heads import observe
from circuitune.circuits.scores import EdgeScores
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import HeadRoleRow
from circuitune.dynamics.roles import HeadRole, HeadView, at_heads, roles, tokens_from_the_end
from circuitune.models.versions import before_and_after
from circuitune.testing import random_pairs, tiny_model
from dynamics.strategies import GRAPHS, planted, scores_of
from dynamics.tuned import adapted

INPUTS = random_pairs(6, positions=7, common=2)


def test_mass_at_heads_by_hand():
    """An edge between two heads counts at both; one into a key/value head at all heads of its group."""
    edges = planted(GRAPHS[0], "input->a0.h1<q>", "a0.h1->a1.h0<v>", "m0->logits", "a1.h0->logits")
    assert at_heads(edges.mask.double(), GRAPHS[0]).tolist() == [0, 2, 2, 0]
    grouped = planted(GRAPHS[1], "input->a0.kv0<k>", "a0.h1->logits")
    assert at_heads(grouped.mask.double(), GRAPHS[1]).tolist() == [1, 2, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def tuned():
    """One head of the second layer attends and writes otherwise, and its edges' scores are raised by hand."""
    base = tiny_model("llama", layers=2, dtype=torch.float64)
    model = copy.deepcopy(base)
    with torch.no_grad():
        block = model.model.layers[1].self_attn
        block.q_proj.weight[16:24] *= -3
        block.o_proj.weight[:, 16:24] *= -2
    before = attribute(base, INPUTS, method="eap")
    values, source = before.values.clone(), before.graph.sources.index("a1.h2")
    values[source] *= -9
    values[:, before.graph.feeds[:, source]] *= 9
    return base, model, before, EdgeScores(values, before.graph)


def test_the_head_that_was_changed_is_found_and_described(tuned):
    base, model, before, after = tuned
    first, *others = roles(model, INPUTS, before, after, base=base, count=3)
    assert (first.head, first.layer, first.place) == ("a1.h2", 1, 1)
    assert first.change > 2 * others[0].change > 0
    assert [role.place for role in others] == [2, 3]
    old, new = before_and_after(model, base)
    for version, view in ((old, first.before), (new, first.after)):
        alone = observe(version, INPUTS, [(1, 2)])
        torch.testing.assert_close(view.attention, alone.attention[0])
        assert view.answer == pytest.approx(float(alone.answer.mean()))
        assert view.direct == pytest.approx(float((alone.answer - alone.wrong).mean()))
    moved = (first.after.attention - first.before.attention).abs()
    assert moved[first.position] == moved.max() > 0.1
    assert first.tokens[:2] == tuple(INPUTS.clean[0, :2].tolist())
    assert first.tokens[2:] == (None,) * 5


def test_rows_are_a_table_of_ten_heads_at_most(tuned, tmp_path):
    base, model, before, after = tuned
    found = roles(model, INPUTS, before, after, base=base)
    assert len({role.head for role in found}) == len(found) == 8
    changes = [role.change for role in found]
    assert changes == sorted(changes, reverse=True)
    rows = [role.row() for role in found]
    write_rows(tmp_path / "roles.csv", rows, HeadRoleRow)
    assert read_rows(tmp_path / "roles.csv", HeadRoleRow) == rows
    assert rows[0].position == found[0].position < 0


def test_an_adapter_is_its_own_base_and_collapsed_scores_will_do():
    model = adapted("gpt_neox")
    before, after = before_and_after(model)
    scores = []
    for version in (before, after):
        with version.active():
            scores.append(attribute(model, INPUTS, method="eap"))
    (role,) = roles(model, INPUTS, *scores, count=1)
    assert role.head.startswith("a")
    (merged,) = roles(model, INPUTS, *(one.collapse("l1") for one in scores), count=1)
    assert merged.tokens == role.tokens


def role(old=0.12, new=0.41, direct=(0.1, 0.8), wrong=0.0):
    attention = [torch.tensor([0.3, value, 0.2, 0.1]) for value in (old, new)]
    views = [HeadView(row, value, wrong) for row, value in zip(attention, direct, strict=True)]
    return HeadRole(1, "a3.h1", 3, 0.02, 0.01, 0.03, *views, (5, None, None, 7))


def test_sentences_by_hand():
    assert role().position == -3
    assert role().sentence({-3: "the second operand"}) == (
        "a3.h1 attends to the second operand more than before (0.12 -> 0.41) "
        "and now raises the answer over the wrong one by 0.80 logits (before: +0.10)."
    )
    assert "the token 2 before the last less than before (0.41 -> 0.12)" in role(0.41, 0.12).sentence()
    assert "now lowers the answer by 0.80 logits (before: -0.10)" in role(direct=(-0.1, -0.8), wrong=None).sentence()
    quiet = role(0.12, 0.13, direct=(0.01, -0.02)).sentence()
    assert quiet == "a3.h1 attends as before and adds nothing to the answer directly, then or now."


def test_tokens_that_all_pairs_share_are_named_from_the_end():
    inputs = random_pairs(3, positions=4, first_difference=2, common=3)
    tokens = tokens_from_the_end(inputs)
    assert tokens[:3] == tuple(inputs.clean[0, :3].tolist())
    assert len(tokens) == 4


def test_bad_requests_are_refused(tuned):
    base, model, before, after = tuned
    with pytest.raises(InputError, match="different graphs"):
        roles(model, INPUTS, before, scores_of(GRAPHS[0], 0), base=base)
    with pytest.raises(InputError, match="got 0"):
        roles(model, INPUTS, before, EdgeScores(after.values, after.graph), base=base, count=0)
    with pytest.raises(InputError, match="base="):
        roles(model, INPUTS, before, after)
