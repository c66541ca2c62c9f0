import pytest
import torch
from peft.tuners.lora import LoraLayer

from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError, MachineError
from circuitune.models.encoding import encode
from circuitune.tasks.pairs import PairSet
from circuitune.testing import tiny_model
from circuitune.training import eva
from circuitune.training.eva import Eva
from circuitune.training.rows import answer_rows
from training.tuned import RANK, tuned


def attached(pairs, tokenizer, family="gpt_neox", rank=RANK, even=False):
    model = tiny_model(family)
    return Eva(rank, even).attach(model, answer_rows(encode(pairs, tokenizer)), steps=10, seed=0)


def layers(model):
    modules = model.get_base_model().named_modules()
    return {name: module for name, module in modules if isinstance(module, LoraLayer)}


def what_it_reads(name, pairs, tokenizer):
    """Inputs of a module of the bare model at all tokens of all prompts, less their mean."""
    model, seen = tiny_model(), []
    model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    inputs = encode(pairs, tokenizer)
    with torch.no_grad():
        for index in range(len(inputs)):
            row = inputs.clean[index] if inputs.mask is None else inputs.clean[index][inputs.mask[index]]
            model(input_ids=row[None])
    read = torch.cat([one.flatten(0, 1) for one in seen])
    return read - read.mean(0)


def test_ranks_come_from_the_rows_within_the_budget(sums, tokenizer):
    ranks = {name: layer.r["default"] for name, layer in layers(attached(sums, tokenizer)).items()}
    assert sum(ranks.values()) == RANK * len(linear_modules(tiny_model()))
    assert max(ranks.values()) <= 2 * RANK
    assert len(set(ranks.values())) > 1


def test_a_starts_as_the_main_directions_of_what_a_module_reads(ragged_sums, tokenizer):
    for name, layer in layers(attached(ragged_sums, tokenizer)).items():
        directions = layer.lora_A["default"].weight.detach()
        torch.testing.assert_close(directions @ directions.T, torch.eye(len(directions)), rtol=0, atol=1e-4)
        read = what_it_reads(name, ragged_sums, tokenizer)
        spread = (read @ directions.T).square().sum() / read.square().sum()
        values = torch.linalg.svdvals(read).square()
        best = values[: len(directions)].sum() / values.sum()
        assert float(spread) > 0.98 * float(best), name
        assert not layer.lora_B["default"].weight.any()


def test_without_ranks_to_choose_every_module_starts_with_its_main_directions(sums, tokenizer):
    chosen, even = (layers(attached(sums, tokenizer, even=even)) for even in (False, True))
    assert {layer.r["default"] for layer in even.values()} == {RANK}
    for name in chosen.keys() & even.keys():
        ours, theirs = (found[name].lora_A["default"].weight[:RANK] for found in (even, chosen))
        torch.testing.assert_close((ours[: len(theirs)] * theirs).sum(1).abs(), torch.ones(len(theirs)))


def test_other_rows_give_other_directions(sums, ragged_sums, tokenizer):
    one, other = (layers(attached(pairs, tokenizer)) for pairs in (sums, ragged_sums))
    first = next(iter(one))
    assert not torch.equal(one[first].lora_A["default"].weight, other[first].lora_A["default"].weight)


def test_the_scale_is_the_same_at_every_rank(sums, tokenizer):
    found = layers(attached(sums, tokenizer)).values()
    assert {layer.scaling["default"] for layer in found} == {2.0}


def test_the_config_names_the_modules_in_full(sums, tokenizer):
    model = attached(sums, tokenizer, "gpt2")
    assert sorted(model.peft_config["default"].target_modules) == sorted(layers(model))


@pytest.mark.slow
def test_nothing_is_printed_and_random_state_is_left(sums, tokenizer, tmp_path, capfd):
    before = torch.get_rng_state()
    tuned("eva", tokenizer, sums, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")


def test_what_eva_cannot_do_is_refused(sums, tokenizer, monkeypatch):
    with pytest.raises(InputError, match="rank of at most 8"):
        attached(sums, tokenizer, rank=9)
    with pytest.raises(InputError, match="needs 12 tokens of training rows for rank 3 and there are 4"):
        attached(PairSet("one", sums.pairs[:1]), tokenizer)
    monkeypatch.setattr(eva, "_LIMIT", 1)
    with pytest.raises(MachineError, match="have not settled after 1 batches"):
        attached(sums, tokenizer)
