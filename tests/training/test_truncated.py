from dataclasses import replace

import pytest
import torch

from circuitune.core.errors import InputError
from circuitune.models.answering import answer
from circuitune.models.encoding import encode
from circuitune.testing import tiny_model
from circuitune.training.truncated import WIDER
from training.tuned import RANK, SETTINGS, reloaded, tuned


def change(model, name):
    """What an adapter adds to a module's weight."""
    return model.get_base_model().get_submodule(name).get_delta_weight("default").detach()


def test_what_is_kept_is_the_best_approximation_of_what_was_trained(tokenizer, sums, tmp_path):
    """LoRA at the high rank is the same training, without the cut."""
    wide = tuned("lora", tokenizer, sums, tmp_path / "wide", options={"rank": WIDER * RANK})
    tuned("truncated", tokenizer, sums, tmp_path / "narrow")
    narrow = reloaded(tmp_path / "narrow/checkpoints/step-00030")
    for layer in range(3):
        for module in ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"):
            name = f"gpt_neox.layers.{layer}.{module}"
            left, values, right = torch.linalg.svd(change(wide.model, name), full_matrices=False)
            best = left[:, :RANK] * values[:RANK] @ right[:RANK]
            torch.testing.assert_close(change(narrow, name), best, rtol=1e-3, atol=1e-4)


def test_every_checkpoint_was_measured_as_it_is_saved(tokenizer, sums, tmp_path):
    result = tuned("truncated", tokenizer, sums, tmp_path, settings=replace(SETTINGS, checkpoints=3))
    for row in result.rows:
        saved = reloaded(tmp_path / f"checkpoints/step-{row.step:05d}")
        assert {layer.r["default"] for layer in saved.modules() if hasattr(layer, "lora_A")} == {RANK}
        assert float(answer(saved, encode(sums, tokenizer)).loss.double().mean()) == row.loss


@pytest.mark.slow
def test_measuring_in_between_does_not_change_what_is_learned(tokenizer, sums, tmp_path):
    for name, checkpoints in (("few", 1), ("many", 5)):
        tuned("truncated", tokenizer, sums, tmp_path / name, settings=replace(SETTINGS, checkpoints=checkpoints))
    last = "checkpoints/step-00030/adapter_model.safetensors"
    assert (tmp_path / "few" / last).read_bytes() == (tmp_path / "many" / last).read_bytes()


def test_a_rank_that_no_module_has_is_refused(tokenizer, sums, tmp_path):
    with pytest.raises(InputError, match="rank of at most 32"):
        tuned("truncated", tokenizer, sums, tmp_path, options={"rank": 33})
    assert tiny_model().config.hidden_size == 32
