import pytest
import torch
from torch import nn

from circuitune.models.finite import broken_weight, origin
from circuitune.testing import tiny_model

PROMPT = torch.tensor([[1, 2, 3]])


def test_of_a_finite_model_no_more_is_said_than_was_looked_at():
    model = tiny_model("gpt_neox")
    run = lambda: model(PROMPT)  # noqa: E731
    assert broken_weight(model) is None
    computed = "what is computed from them overflows"
    assert origin(model, None) == f"all weights are finite, so {computed}"
    assert origin(model, run) == f"all weights and activations are finite, so {computed}"
    gradients = "all weights and activations are finite, so the gradients overflow"
    assert origin(model, run, "the gradients overflow") == gradients


def test_weights_that_are_not_here_are_passed_over():
    model = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    assert broken_weight(model) is None
    with torch.no_grad():
        model[1].bias[0] = torch.nan
    assert broken_weight(model) == "1.bias"


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz])
def test_weights_of_eight_bits_are_looked_at(dtype: torch.dtype):
    model = nn.Linear(2, 2)
    model.weight.data = model.weight.data.to(dtype)
    assert broken_weight(model) is None
    model.weight.data = torch.full((2, 2), torch.nan).to(dtype)
    assert broken_weight(model) == "weight"


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
