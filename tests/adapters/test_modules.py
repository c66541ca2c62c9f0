import pytest
from peft import LoraConfig
from transformers import LlamaConfig, LlamaForCausalLM

from circuitune.adapters.lora import attach
from circuitune.adapters.modules import linear_modules, parameter_count
from circuitune.testing import SHAPES, tiny_model


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_rank_cost_is_what_peft_adds_for_one_rank(family):
    model = tiny_model(family, kv_heads=2 if family == "llama" else None)
    modules = linear_modules(model)
    fan_in_fan_out = any(module.transposed for module in modules.values())
    config = LoraConfig(r=1, target_modules=list(modules), fan_in_fan_out=fan_in_fan_out, task_type="CAUSAL_LM")
    adapted = attach(model, config, seed=0)
    added = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert added == parameter_count(dict.fromkeys(modules, 1), modules)


def test_modules_come_in_the_order_of_the_blocks():
    layers = [module.layer for module in linear_modules(tiny_model("llama", layers=12)).values()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(12))


def test_an_adapted_model_has_the_modules_of_its_base():
    before = linear_modules(tiny_model("gpt2"))
    model = tiny_model("gpt2")
    config = LoraConfig(r=2, target_modules=list(before), fan_in_fan_out=True, task_type="CAUSAL_LM")
    assert linear_modules(attach(model, config, seed=0)) == before


# ---- which edges pass through a module ----


def roles(family, **options):
    """Last part of the name -> what it reads, what it writes, for the modules of layer 1."""
    modules = linear_modules(tiny_model(family, **options)).values()
    return {
        module.name.split(".")[-1]: (" ".join(module.reads), module.writes) for module in modules if module.layer == 1
    }


LLAMA = {
    "q_proj": ("q", None),
    "k_proj": ("k", None),
    "v_proj": ("v", None),
    "o_proj": ("", "head"),
    "gate_proj": ("mlp", None),
    "up_proj": ("mlp", None),
    "down_proj": ("", "mlp"),
}


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (
            "gpt_neox",
            {
                "query_key_value": ("q k v", None),
                "dense": ("", "head"),
                "dense_h_to_4h": ("mlp", None),
                "dense_4h_to_h": ("", "mlp"),
            },
        ),
        ("llama", LLAMA),
        ("gemma2", LLAMA),
        (
            "opt",
            {
                "k_proj": ("k", None),
                "v_proj": ("v", None),
                "q_proj": ("q", None),
                "out_proj": ("", "head"),
                "fc1": ("mlp", None),
                "fc2": ("", "mlp"),
            },
        ),
        (
            "phi3",
            {
                "o_proj": ("", "head"),
                "qkv_proj": ("q k v", None),
                "gate_up_proj": ("mlp", None),
                "down_proj": ("", "mlp"),
            },
        ),
        ("qwen2_moe", {**LLAMA, "shared_expert_gate": ("mlp", None)}),
        ("mixtral", {name: role for name, role in LLAMA.items() if "mlp" not in role}),
    ],
)
def test_the_edges_of_a_module_follow_from_its_place_in_the_block(family, expected):
    assert roles(family) == expected


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_every_family_has_one_reader_of_each_kind_and_one_output_of_the_heads(family):
    modules = [module for module in linear_modules(tiny_model(family)).values() if module.layer == 0]
    letters = [letter for module in modules for letter in module.reads if letter != "mlp"]
    assert sorted(letters) == ["k", "q", "v"]
    assert [module.writes for module in modules].count("head") == 1
    assert [module.writes for module in modules].count("mlp") <= 1
    assert all(bool(module.reads) != bool(module.writes) for module in modules)


def test_an_mlp_as_wide_as_the_stream_writes_with_its_last_module():
    model = LlamaForCausalLM(
        LlamaConfig(num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=4, vocab_size=50)
    )
    found = {name.split(".")[-1]: module.writes for name, module in linear_modules(model).items()}
    assert found["down_proj"] == "mlp"
    assert found["gate_proj"] is found["up_proj"] is None
