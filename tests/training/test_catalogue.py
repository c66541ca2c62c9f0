"""Every method: it learns, trains what it says, and its checkpoints are plain PEFT or Transformers folders."""

import json

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from circuitune.circuits.attribution import attribute
from circuitune.core.errors import InputError
from circuitune.models.encoding import encode
from circuitune.models.loading import load
from circuitune.testing import tiny_model
from circuitune.training.catalogue import tuning
from marks import slow_but
from training.tuned import RANK, content, logits, method_on, reloaded, tuned

ADAPTERS = ["lora", "rslora", "dora", "lora+", "ia3", "adalora", "eva", "truncated"]
ON_BOTH = [("gpt_neox", method) for method in ADAPTERS] + [("gpt2", method) for method in ADAPTERS[2:]]

# Inputs and outputs of the linear modules of the tiny GPT-NeoX, in each of its three layers.
SHAPES = [(32, 96), (32, 32), (32, 64), (64, 32)]
LORA = 3 * RANK * sum(inputs + outputs for inputs, outputs in SHAPES)
BY_HAND = {
    "lora": (LORA, LORA),
    "rslora": (LORA, LORA),
    "lora+": (LORA, LORA),
    "dora": (LORA + 3 * 224, LORA + 3 * 224),  # a magnitude per output
    "ia3": (3 * (96 + 64), 3 * (96 + 64)),  # outputs of the fused q, k, v and inputs of the MLP's second module
    "truncated": (4 * LORA, LORA),
}


@pytest.mark.parametrize(
    ("family", "method"),
    slow_but(ON_BOTH, *((family, method) for family, method in ON_BOTH if family == "gpt_neox"), ("gpt2", "dora")),
)
def test_an_adapter_learns_and_plain_peft_loads_what_was_measured(family, method, tokenizer, sums, tmp_path):
    result = tuned(method, tokenizer, sums, tmp_path, family=family)
    first, *_, last = result.rows
    assert last.loss < first.loss - 1
    assert last.correct > first.correct

    saved = reloaded(tmp_path / "checkpoints/step-00030", family)
    # AdaLoRA leaves out ranks that are 0: the same sum in another order.
    tolerance = 1e-5 if method == "adalora" else 0
    torch.testing.assert_close(logits(saved), logits(result.model), rtol=tolerance, atol=tolerance)
    held = load_file(tmp_path / "checkpoints/step-00030/adapter_model.safetensors")
    assert result.saved == sum(tensor.numel() for tensor in held.values())
    if family == "gpt_neox" and method in BY_HAND:
        assert (result.parameters, result.saved) == BY_HAND[method]


@pytest.mark.parametrize("method", slow_but(ADAPTERS, "lora", "dora", "adalora"))
@pytest.mark.filterwarnings("ignore:Adapter merge:UserWarning")
def test_the_engine_scores_an_adapter_as_it_scores_the_merged_model(method, tokenizer, sums, tmp_path):
    tuned(method, tokenizer, sums, tmp_path)
    inputs = encode(sums, tokenizer)
    last = tmp_path / "checkpoints/step-00030"
    scores = attribute(reloaded(last), inputs, steps=3).values
    merged = attribute(reloaded(last).merge_and_unload(), inputs, steps=3).values
    torch.testing.assert_close(scores, merged, rtol=1e-3, atol=1e-4 * float(merged.abs().max()))
    untrained = attribute(tiny_model(), inputs, steps=3).values
    assert not torch.allclose(scores, untrained, rtol=0.1)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_full_fine_tuning_trains_everything_and_saves_whole_models(family, tokenizer, sums, tmp_path):
    result = tuned("full", tokenizer, sums, tmp_path, family=family)
    first, *_, last = result.rows
    assert last.loss < first.loss - 1
    weights = sum(parameter.numel() for parameter in tiny_model(family).parameters())
    assert (result.parameters, result.saved) == (weights, weights)

    folder = tmp_path / "checkpoints/step-00030"
    expected = logits(result.model)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(folder)), expected)
    model, same_tokenizer = load(folder)
    assert torch.equal(logits(model), expected)
    assert torch.equal(encode(sums, same_tokenizer).clean, encode(sums, tokenizer).clean)
    assert torch.equal(logits(load(tmp_path / "checkpoints/step-00000")[0]), logits(tiny_model(family)))

    said = json.loads((folder / "config.json").read_text())
    assert said["use_cache"] == tiny_model(family).config.use_cache  # training without a cache is no setting of it
    assert str(tmp_path) not in json.dumps(said)


@pytest.mark.parametrize("method", slow_but(["full", "adalora", "eva", "truncated"], "truncated"))
def test_equal_arguments_give_equal_bytes(method, tokenizer, sums, tmp_path):
    for name in ("one", "two"):
        tuned(method, tokenizer, sums, tmp_path / name, family="gpt2")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_rank_stabilised_lora_is_scaled_by_the_root_of_the_rank(tokenizer, sums, tmp_path):
    result = tuned("rslora", tokenizer, sums, tmp_path)
    layers = [module for module in result.model.modules() if isinstance(module, LoraLayer)]
    assert {layer.scaling["default"] for layer in layers} == {2 * RANK / RANK**0.5}


def test_ia3_needs_a_model_that_peft_knows():
    with pytest.raises(InputError, match="no modules for IA3 in models of type olmo2"):
        tuning("ia3", tiny_model("olmo2"))


def test_faster_layers_go_with_lora_alone():
    with pytest.raises(InputError, match="not with dora"):
        method_on(tiny_model(), "dora", faster=(1,))
