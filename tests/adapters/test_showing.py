"""Rank plans in notebooks: what was decided in HTML, a frame of every module, a drawing of the ranks."""

import pytest

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError
from circuitune.testing import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt_neox")


def test_a_frame_holds_the_rank_of_every_module(model):
    plan = RankPlan.two_level(model, [0], 1, 4)
    found = plan.to_pandas()
    assert dict(zip(found["module"], found["rank"], strict=True)) == dict(plan.ranks)
    modules = linear_modules(model)
    assert list(found["layer"]) == [modules[name].layer for name in found["module"]]


def test_html_says_what_was_decided(model):
    shown = RankPlan.two_level(model, [0], 1, 4)._repr_html_()
    assert "critical layers 0: rank 4, elsewhere 1" in shown
    assert "<td>mlp.dense_h_to_4h</td><td>4</td><td>1</td>" in shown


def test_the_drawing_has_a_row_per_kind_and_a_column_per_layer(model):
    axes = RankPlan.two_level(model, [1], 1, 4).plot().axes[0]
    kinds = [text.get_text() for text in axes.get_yticklabels()]
    assert "attention.query_key_value" in kinds
    assert axes.images[0].get_array()[0].tolist()[:2] == [1, 4]


def test_experts_of_a_mixture_are_one_kind():
    ranks = {f"model.layers.0.mlp.experts.{n}.up_proj": n + 1 for n in range(3)} | {"model.layers.1.mlp.gate": 2}
    plan = RankPlan(1, None, ranks=ranks)
    assert [text.get_text() for text in plan.plot().axes[0].get_yticklabels()] == [
        "mlp.experts.*.up_proj",
        "mlp.gate",
    ]
    assert "<td>1–3</td><td></td>" in plan._repr_html_()


def test_a_plan_that_has_not_met_its_model_says_so():
    plan = RankPlan(1, 4, (0,))
    assert "not resolved" in plan._repr_html_()
    for call in (plan.to_pandas, plan.plot):
        with pytest.raises(InputError, match=r"plan\.resolve\(model\)"):
            call()
