"""Runs with a shared start, and recordings, against the model called as usual."""

import pytest
import torch

from circuitune.models.anatomy import anatomy_of
from circuitune.models.running import forward, prepared, shared_prefix
from circuitune.testing import SHAPES, in_double, random_pairs, tiny_model


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize(("length", "common"), [(0, 0), (4, 0), (4, 2), (4, 4)])
def test_a_shared_prefix_changes_nothing_and_is_not_used_up(family, length, common):
    anatomy = anatomy_of(tiny_model(family, kv_heads=2, dtype=torch.float64))
    tokens = random_pairs(5, common=common).clean
    with torch.no_grad(), in_double():
        expected = anatomy.model(input_ids=tokens).logits[:, -1]
        prefix = shared_prefix(anatomy, tokens, length)
        for _ in range(2):
            logits = forward(anatomy, anatomy.embed(tokens[:, length:]), prefix)[:, -1]
            torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


def test_preparing_a_model_puts_modes_and_gradients_back():
    model = tiny_model().train()
    model.gpt_neox.layers[0].eval()
    model.lm_head.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    with prepared(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [module.training for module in model.modules()] == modes
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["lm_head.weight"]
