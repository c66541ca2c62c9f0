"""The helpers that users test their own families and tasks with."""

import pytest
import torch

from circuitune.models.anatomy import anatomy_of
from circuitune.testing import random_pairs, tiny_model


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gpt_neox_serial", "llama"])
def test_a_tiny_model_is_the_same_every_time_and_has_no_trivial_parameter(family):
    one, other = tiny_model(family, seed=3), tiny_model(family, seed=3)
    for (name, parameter), again in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, again), name
        assert float(parameter.detach().std()) > 0.01, name
    assert anatomy_of(one).parallel == (family == "gpt_neox")


def test_a_tiny_model_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny_model()
    assert torch.equal(torch.rand(3), expected)


def test_random_pairs_differ_first_where_asked():
    inputs = random_pairs(20, positions=8, first_difference=3, common=2)
    differs = inputs.clean != inputs.corrupted
    assert not differs[:, :3].any()
    assert differs[:, 3].all()
    assert (inputs.clean[:, :2] == inputs.clean[:1, :2]).all()
    assert inputs.wrong is not None
    assert (inputs.answer != inputs.wrong).all()
