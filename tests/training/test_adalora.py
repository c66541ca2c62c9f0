from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError
from circuitune.models.answering import answer
from circuitune.models.encoding import encode
from circuitune.testing import tiny_model
from circuitune.training.adalora import AdaLora
from training.tuned import RANK, SETTINGS, TOKENS, logits, reloaded, tuned


def ranks(folder):
    """Rank of every module in a saved adapter."""
    tensors = load_file(folder / "adapter_model.safetensors")
    return {name: len(tensor) for name, tensor in tensors.items() if "lora_E" in name}


def test_ranks_fall_from_twice_the_rank_to_the_rank_on_average_and_differ(tokenizer, sums, tmp_path):
    result = tuned("adalora", tokenizer, sums, tmp_path, settings=replace(SETTINGS, checkpoints=6))
    found = [ranks(tmp_path / f"checkpoints/step-{step:05d}") for step in result.steps]
    modules = linear_modules(tiny_model())
    totals = [sum(one.values()) for one in found]
    assert set(found[0].values()) == {2 * RANK}
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] == RANK * len(modules)
    assert len(set(found[-1].values())) > 1
    assert found[-1] == found[-2]  # the last third of the steps trains what is left

    costs = {name: module.rank_cost + 1 for name, module in modules.items()}
    assert result.parameters == 2 * RANK * sum(costs.values())
    kept = {name.removeprefix("base_model.model.").removesuffix(".lora_E"): rank for name, rank in found[-1].items()}
    assert result.saved == sum(rank * costs[name] for name, rank in kept.items())


def test_a_checkpoint_while_ranks_fall_is_the_model_that_was_measured(tokenizer, sums, tmp_path):
    result = tuned("adalora", tokenizer, sums, tmp_path, settings=replace(SETTINGS, checkpoints=3))
    assert [row.step for row in result.rows] == [0, 10, 20, 30]
    for row in result.rows:
        again = answer(reloaded(tmp_path / f"checkpoints/step-{row.step:05d}"), encode(sums, tokenizer))
        assert float(again.loss.double().mean()) == pytest.approx(row.loss, rel=1e-5)


def test_the_penalty_is_what_peft_adds_to_a_loss_of_its_own(tokenizer, sums, tmp_path):
    method = AdaLora(RANK)
    model = method.attach(tiny_model(), rows=None, steps=10, seed=0)
    whole = model(input_ids=TOKENS, labels=TOKENS).loss
    alone = model.get_base_model()(input_ids=TOKENS, labels=TOKENS).loss
    torch.testing.assert_close(method.penalty(model), whole - alone, rtol=1e-4, atol=1e-5)


def test_the_penalty_counts_once_however_rows_are_accumulated(tokenizer, ragged_sums, tmp_path):
    for name, size, accumulation in (("whole", 18, 1), ("split", 6, 3)):
        settings = replace(SETTINGS, max_steps=4, batch_size=size, accumulation=accumulation)
        tuned("adalora", tokenizer, ragged_sums, tmp_path / name, settings=settings)
    last = "checkpoints/step-00004"
    torch.testing.assert_close(
        logits(reloaded(tmp_path / "whole" / last)), logits(reloaded(tmp_path / "split" / last)), rtol=1e-3, atol=1e-3
    )


def test_the_recorded_loss_is_the_answers_alone(tokenizer, sums, tmp_path):
    result = tuned("adalora", tokenizer, sums, tmp_path, settings=replace(SETTINGS, max_steps=2))
    first = (tmp_path / "training.csv").read_text().splitlines()[1]
    assert float(first.split(",")[1]) == pytest.approx(result.rows[0].loss, rel=1e-6)


def test_one_step_is_too_few(tokenizer, sums, tmp_path):
    with pytest.raises(InputError, match="at least 2"):
        tuned("adalora", tokenizer, sums, tmp_path, settings=replace(SETTINGS, max_steps=1))


@pytest.mark.parametrize("steps", [2, 3, 4, 7, 11])
def test_every_number_of_steps_ends_at_the_rank(steps, tokenizer, sums, tmp_path):
    tuned("adalora", tokenizer, sums, tmp_path, settings=replace(SETTINGS, max_steps=steps))
    assert sum(ranks(tmp_path / f"checkpoints/step-{steps:05d}").values()) == 12 * RANK
