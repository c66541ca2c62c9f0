import torch

from circuitune.models.finite import broken_weight, origin
from circuitune.testing import tiny_model

PROMPT = torch.tensor([[1, 2, 3]])


def test_a_finite_model_leaves_the_gradients():
    model = tiny_model("gpt_neox")
    assert broken_weight(model) is None
    assert origin(model, lambda: model(PROMPT)) == "all weights and activations are finite, so the gradients overflow"


def test_a_broken_weight_is_named():
    model = tiny_model("gpt_neox")
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight[0, 0] = torch.inf
    assert broken_weight(model) == "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    assert "gpt_neox.layers.1.mlp.dense_h_to_4h.weight holds NaN" in origin(model, lambda: model(PROMPT))


def test_the_first_module_that_overflows_is_named_and_no_hook_stays():
    model = tiny_model("gpt_neox")
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight.mul_(1e38)
        model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight.mul_(1e6)
    assert "the output of gpt_neox.layers.1.mlp.dense_4h_to_h is the first" in origin(model, lambda: model(PROMPT))
    assert not any(module._forward_hooks for module in model.modules())
