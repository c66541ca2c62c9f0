import pytest
import torch
from peft import LoraConfig, get_peft_model

from adapters.ranks import ranks_of
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach, save_adapter
from circuitune.adapters.warm_start import warm_start
from circuitune.core.errors import InputError
from circuitune.models.loading import load
from circuitune.testing import in_double, tiny_model
from experiments.tiny import save_model

TOKENS = torch.arange(3, 27).view(2, 12)


def phase_1(model, **options):
    plan = RankPlan.uniform(model, rank=2)
    adapted = attach(model, plan.to_lora_config(model, **options), seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return adapted.eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


@pytest.mark.parametrize(
    ("dtype", "options", "close"),
    [(torch.float32, {}, 1e-6), (torch.float64, {}, 1e-12), (torch.float64, {"use_rslora": True}, 1e-12)],
    ids=["float32", "float64", "rslora"],
)
@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_phase_2_starts_where_phase_1_ended(family, dtype, options, close):
    with in_double():
        bare = logits(tiny_model(family, dtype=dtype))
        adapted = phase_1(tiny_model(family, dtype=dtype), **options)
        expected = logits(adapted)
        first = {name: factor.clone() for name, factor in adapted.state_dict().items() if "lora_A" in name}
        plan = RankPlan.two_level(adapted, [1], rank=2, critical_rank=7)
        warm = warm_start(adapted, plan, seed=3)
        largest = expected.abs().max()
        assert (logits(warm) - expected).abs().max() <= close * largest
        assert (logits(warm) - bare).abs().max() > 1e-2 * largest
    assert ranks_of(warm) == plan.ranks
    state = warm.state_dict()
    assert all(torch.equal(state[name][:2], factor) for name, factor in first.items())
    assert sum(p.numel() for p in warm.parameters() if p.requires_grad) == plan.count


def test_phase_1_is_read_from_its_folder(tmp_path):
    base, _ = load(save_model(tmp_path / "base"))
    adapted = phase_1(base)
    save_adapter(adapted, tmp_path / "phase1")
    expected = logits(adapted)
    warm = warm_start(tmp_path / "phase1", RankPlan.uniform(adapted, rank=4), seed=0)
    assert (logits(warm) - expected).abs().max() <= 1e-6 * expected.abs().max()
    save_adapter(warm, tmp_path / "phase2")
    again, _ = load(tmp_path / "phase2")
    assert torch.equal(logits(again), logits(warm))
    with pytest.raises(InputError, match="without an adapter"):
        warm_start(tmp_path / "base", RankPlan.uniform(base, rank=4), seed=0)


def test_the_fresh_directions_are_those_of_a_new_adapter():
    plan = RankPlan.uniform(tiny_model(), rank=5)
    cold = attach(tiny_model(), plan, seed=3).state_dict()
    warm = warm_start(phase_1(tiny_model()), plan, seed=3).state_dict()
    for name, factor in cold.items():
        if "lora_A" in name:
            assert torch.equal(warm[name][2:], factor[2:])
        if "lora_B" in name:
            assert not warm[name][:, 2:].any()
            assert warm[name][:, :2].any()


def test_modules_that_phase_1_left_out_start_afresh():
    model = tiny_model()
    plan = RankPlan.two_level(model, [0], rank=0, critical_rank=2)
    adapted = attach(model, plan, seed=0)
    warm = warm_start(adapted, RankPlan.uniform(tiny_model(), rank=3), seed=0)
    assert set(ranks_of(warm).values()) == {3}


def test_a_lower_rank_than_phase_1_s_is_refused():
    plan = RankPlan.two_level(tiny_model(), [1], rank=1, critical_rank=5)
    with pytest.raises(InputError, match=r"layers\.0\.\S+ rank 1, below the 2 of phase 1"):
        warm_start(phase_1(tiny_model()), plan, seed=0)


@pytest.mark.parametrize(
    ("options", "message"), [({"bias": "lora_only"}, "biases"), ({"use_dora": True}, "this one is DoRA")]
)
def test_what_ranks_cannot_hold_is_refused(options, message):
    adapted = get_peft_model(tiny_model(), LoraConfig(r=2, target_modules=["attention.dense"], **options))
    with pytest.raises(InputError, match=message):
        warm_start(adapted, RankPlan.uniform(tiny_model(), rank=2), seed=0)
