import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, get_peft_model

from circuitune.adapters import probes
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach, save_adapter
from circuitune.adapters.modules import linear_modules
from circuitune.adapters.probes import explained_variance, gradient_probe, weight_change
from circuitune.core.errors import InputError
from circuitune.models.encoding import PADDING, EncodedPairs
from circuitune.models.loading import load
from circuitune.testing import random_pairs, tiny_model
from experiments.tiny import save_model

FAMILIES = ["gpt2", "gpt_neox", "llama"]


def trained(model, plan, seed=1):
    """An adapter whose factors are not 0, as after training."""
    adapted = attach(model, plan, seed=0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return adapted.eval()


# ---- weight change ----


@pytest.mark.parametrize("family", FAMILIES)
def test_weight_change_is_the_norm_of_what_merging_adds(family):
    model = tiny_model(family)
    before = {name: model.get_submodule(name).weight.detach().clone() for name in linear_modules(model)}
    adapted = trained(model, RankPlan.two_level(model, [1], rank=0, critical_rank=3))
    importance = weight_change(adapted)
    merged = adapted.merge_and_unload()
    for name, weight in before.items():
        moved = float((merged.get_submodule(name).weight - weight).double().norm())
        assert importance.values[name] == pytest.approx(moved, rel=1e-5, abs=1e-9)
    assert min(importance.values.values()) == 0 < max(importance.values.values())


def test_weight_change_reads_an_adapter_s_folder(tmp_path):
    base, _ = load(save_model(tmp_path / "base"))
    adapted = trained(base, RankPlan.uniform(base, rank=2))
    save_adapter(adapted, tmp_path / "adapter")
    read, held = weight_change(tmp_path / "adapter").values, weight_change(adapted).values
    assert read == pytest.approx(held, rel=1e-6)


def test_only_plain_lora_has_a_weight_change(tmp_path):
    targets = ["attention.dense"]
    dora = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=targets, use_dora=True))
    with pytest.raises(InputError, match="DoRA"):
        weight_change(dora)
    ada = get_peft_model(tiny_model(), AdaLoraConfig(target_modules=targets, total_step=10, tfinal=1))
    with pytest.raises(InputError, match="ADALORA"):
        weight_change(ada)


# ---- gradient probe ----


def mean_loss(model, inputs):
    """Mean negative log-likelihood of the answers' tokens, row by row and without padding."""
    losses = []
    for row in range(len(inputs)):
        answer = inputs.answer[row].reshape(-1)
        answer = answer[answer != PADDING]
        prompt = inputs.clean[row] if inputs.mask is None else inputs.clean[row][inputs.mask[row]]
        logits = model(torch.cat([prompt, answer[:-1]])[None]).logits[0, len(prompt) - 1 :]
        losses.append(-logits.log_softmax(-1).gather(1, answer[:, None])[:, 0])
    return torch.cat(losses).mean()


def ragged(count=5):
    """Prompts of several lengths with answers of one to three tokens."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(3, 97, (count, 8), generator=generator)
    answer = torch.randint(3, 97, (count, 3), generator=generator)
    answer[::2, 1:] = PADDING
    mask = torch.arange(8) < torch.tensor([8, 6, 7, 8, 5])[:, None]
    return EncodedPairs(clean, clean.flip(0), answer, None, mask)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("inputs", [random_pairs(5), ragged()], ids=["single", "ragged"])
def test_sensitivity_is_the_mean_of_weight_times_gradient(family, inputs):
    model = tiny_model(family)
    names = list(linear_modules(model))
    weights = [model.get_submodule(name).weight for name in names]
    gradients = torch.autograd.grad(mean_loss(model, inputs), weights)
    wanted = {
        name: float((w * g).detach().abs().mean()) for name, w, g in zip(names, weights, gradients, strict=True)
    }
    for batch_size in (2, 8):
        assert gradient_probe(model, inputs, batch_size=batch_size).values == pytest.approx(wanted, rel=1e-4)


def test_the_gradient_probe_leaves_the_model_as_it_was():
    model = attach(tiny_model(), RankPlan.uniform(tiny_model(), rank=1), seed=0).train()
    needed = [parameter.requires_grad for parameter in model.parameters()]
    bare = gradient_probe(tiny_model(), random_pairs(3))
    assert gradient_probe(model, random_pairs(3)).values == pytest.approx(bare.values)
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == needed
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_weight_without_gradient_is_refused():
    with torch.device("meta"):
        model = tiny_model()
    with pytest.raises(InputError, match="quantised or offloaded"):
        gradient_probe(model.to("meta"), random_pairs(3))


# ---- EVA ----


def test_eva_redistributes_a_uniform_rank():
    model = tiny_model(layers=2)
    hooks = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    importance = explained_variance(model, random_pairs(40), rank=2)
    modules = linear_modules(model)
    assert sum(importance.values.values()) == 2 * len(modules)
    assert 0 <= min(importance.values.values()) < max(importance.values.values()) <= 4
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == hooks
    assert not hasattr(model, "peft_config")
    plan = RankPlan.from_importance(
        model, importance, allocator="proportional", budget=RankPlan.uniform(model, rank=2).count
    )
    assert plan.importance is importance


def test_eva_gives_no_more_ranks_than_an_input_has_directions():
    model = tiny_model(layers=2)
    with torch.no_grad():  # what the second MLP's output projection reads is one direction and little else
        up = model.gpt_neox.layers[1].mlp.dense_h_to_4h
        up.weight[1:] *= 1e-3
        up.bias[:] = 0
    values = explained_variance(model, random_pairs(40), rank=2).values
    assert values["gpt_neox.layers.1.mlp.dense_4h_to_h"] == 1
    assert values["gpt_neox.layers.0.mlp.dense_4h_to_h"] > 1


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (random_pairs(2), {"rank": 20}, "40 components, in batches of 18 tokens"),
        (random_pairs(40), {"rank": 20}, "inputs as narrow as 32"),
    ],
)
def test_components_that_cannot_be_found_are_refused(pairs, options, message):
    with pytest.raises(InputError, match=message):
        explained_variance(tiny_model(), pairs, **options)


def test_components_that_never_settle_end_in_an_error_and_leave_no_hook(monkeypatch):
    monkeypatch.setattr(probes, "PASSES", 1)
    model = tiny_model()
    with pytest.raises(InputError, match="did not settle"):
        explained_variance(model, random_pairs(40), rank=2)
    assert not any(module._forward_hooks for module in model.modules())


def test_eva_wants_a_model_without_an_adapter():
    with pytest.raises(InputError, match="without an adapter"):
        explained_variance(attach(tiny_model(), RankPlan.uniform(tiny_model(), rank=1), seed=0), random_pairs(9))
