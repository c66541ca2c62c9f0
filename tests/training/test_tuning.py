"""Learning rates of their own: LoRA+ and faster layers."""

from dataclasses import replace

import pytest
import torch

from circuitune.adapters.allocation import RankPlan
from circuitune.core.errors import InputError
from circuitune.testing import tiny_model
from circuitune.training.tuning import LORA_PLUS_RATIO
from training.tuned import SETTINGS, content, method_on, tuned

RATE = 1e-3
ONE_STEP = replace(SETTINGS, max_steps=1, learning_rate=RATE, warmup_steps=0, weight_decay=0.0)


def largest(result, name, inside=""):
    """Adam's first step moves an entry by the learning rate, where its gradient is not tiny."""
    found = [p for key, p in result.model.named_parameters() if name in key and inside in key]
    return max(float(parameter.detach().abs().max()) for parameter in found)


def test_in_lora_plus_b_learns_faster(tokenizer, sums, tmp_path):
    plain = tuned("lora", tokenizer, sums, tmp_path / "plain", settings=ONE_STEP)
    plus = tuned("lora+", tokenizer, sums, tmp_path / "plus", settings=ONE_STEP)
    assert largest(plain, "lora_B") == pytest.approx(RATE, rel=1e-3)
    assert largest(plus, "lora_B") == pytest.approx(LORA_PLUS_RATIO * RATE, rel=1e-3)
    assert largest(plain, "lora_A") == largest(plus, "lora_A")  # without a gradient yet


def test_named_layers_learn_twice_as_fast(tokenizer, sums, tmp_path):
    result = tuned("lora", tokenizer, sums, tmp_path, settings=ONE_STEP, options={"faster": (2, 0)})
    found = [largest(result, "lora_B", f"layers.{layer}.") for layer in range(3)]
    assert found == pytest.approx([2 * RATE, RATE, 2 * RATE], rel=1e-3)


def test_all_layers_twice_as_fast_is_twice_the_learning_rate(tokenizer, sums, tmp_path):
    settings = replace(SETTINGS, max_steps=5, learning_rate=RATE)
    tuned("lora", tokenizer, sums, tmp_path / "all", settings=settings, options={"faster": (0, 1, 2)})
    tuned("lora", tokenizer, sums, tmp_path / "rate", settings=replace(settings, learning_rate=2 * RATE))
    assert content(tmp_path / "all") == content(tmp_path / "rate")


def test_a_plan_gives_the_ranks_of_every_method_that_takes_one(tokenizer, sums, tmp_path):
    plan = RankPlan.two_level(tiny_model(), [1], 1, 4)
    for method in ("lora", "rslora", "dora", "lora+"):
        config = method_on(tiny_model(), method, rank=None, plan=plan).config
        assert (config.r, set(config.rank_pattern.values())) == (1, {4})


def test_a_layer_that_is_not_there_cannot_be_faster(tokenizer, sums, tmp_path):
    with pytest.raises(InputError, match="no layer 3 in a model of 3 layers"):
        tuned("lora", tokenizer, sums, tmp_path, options={"faster": (3,)})


def test_a_penalty_or_rates_are_no_part_of_plain_lora():
    method = method_on(tiny_model(), "lora")
    assert method.penalty(tiny_model()) is None
    assert method.optimizer(tiny_model(), torch.optim.AdamW, {"lr": RATE}, 0.0) is None
