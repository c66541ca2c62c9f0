import re
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from circuitune.adapters.allocation import ALLOCATORS, RankPlan, rank_plan
from circuitune.adapters.importance import Importance, ModuleImportance
from circuitune.adapters.lora import attach
from circuitune.adapters.modules import linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.testing import tiny_model

NEOX_LINEARS = ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]


@cache
def neox_on_meta(layers, width):
    with torch.device("meta"):
        config = GPTNeoXConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            intermediate_size=4 * width,
            num_attention_heads=8,
            vocab_size=50_304,
        )
        return GPTNeoXForCausalLM(config)


@cache
def tiny(family):
    return tiny_model(family, kv_heads=2 if family == "llama" else None)


def changed_scores(layers, importance):
    """Scores before and after whose released importance per layer is as given."""
    graph = Graph(layers, heads=2, kv_heads=2, parallel=True)
    before = torch.zeros(len(graph.sources), len(graph.destinations))
    after = before.clone()
    for layer, value in enumerate(importance):
        after[graph.mlp_source(layer), graph.logits_destination] = value
    made = {"method": "eap-ig", "steps": 5, "ranges": [1, 2]}
    return EdgeScores(before, graph, settings=made), EdgeScores(after, graph, settings=made)


# ---- the study's numbers ----


@pytest.mark.parametrize(
    ("plan", "percent"),
    [
        (lambda model: RankPlan.two_level(model, [0, 4, 6, 5, 2], 8, 32), "0.7175"),
        (lambda model: RankPlan.two_level(model, [0, 3, 4, 11, 13], 16, 64), "1.4248"),
        (lambda model: RankPlan.uniform(model, rank=2), "0.1111"),
        (lambda model: RankPlan.uniform(model, rank=8), "0.4428"),
        (lambda model: RankPlan.uniform(model, rank=16), "0.8816"),
        (lambda model: RankPlan.uniform(model, rank=32), "1.7479"),
        (lambda model: RankPlan.uniform(model, rank=64), "3.4357"),
    ],
)
def test_parameter_ratios_of_the_study_for_pythia_1_4b(plan, percent):
    model = neox_on_meta(24, 2048)
    base = model.num_parameters()
    assert base == 1_414_647_808
    trainable = plan(model).parameters(model)
    assert f"{100 * trainable / (base + trainable):.4f}" == percent


def test_the_meta_device_count_is_what_peft_makes_there():
    with torch.device("meta"):
        model = GPTNeoXForCausalLM(GPTNeoXConfig(num_hidden_layers=3, hidden_size=64, num_attention_heads=4))
    plan = RankPlan.two_level(model, [1], 2, 7)
    adapted = attach(model, plan, seed=0)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == plan.parameters(adapted) == plan.count


@pytest.mark.parametrize(("rank", "critical_rank", "rival"), [(1, 5, 2), (4, 12, 6)])
@pytest.mark.parametrize("critical", [(0, 1), (3, 7)])
def test_the_exact_uniform_rivals_for_eight_layers(rank, critical_rank, rival, critical):
    model = neox_on_meta(8, 96)
    plan = RankPlan.two_level(model, critical, rank, critical_rank)
    assert set(RankPlan.uniform(model, parameters=plan.parameters(model)).ranks.values()) == {rival}


# ---- allocation ----


def test_two_levels_cover_every_linear_module():
    model = tiny("gpt_neox")
    plan = RankPlan.two_level(model, [2, 0], rank=1, critical_rank=5)
    wanted = {
        f"gpt_neox.layers.{layer}.{name}": 1 if layer == 1 else 5 for layer in range(3) for name in NEOX_LINEARS
    }
    assert plan.ranks == wanted
    assert plan.critical_layers == (2, 0)


@settings(max_examples=50, deadline=None)
@given(family=st.sampled_from(["gpt2", "gpt_neox", "llama"]), budget=st.integers(64, 100_000))
def test_a_uniform_plan_spends_its_budget_to_less_than_one_rank_of_the_cheapest_module(family, budget):
    model = tiny(family)
    plan = RankPlan.uniform(model, parameters=budget)
    costs = {name: module.rank_cost for name, module in linear_modules(model).items()}
    spent = sum(rank * costs[name] for name, rank in plan.ranks.items())
    assert spent == plan.count
    assert budget - min(costs.values()) < spent <= budget


@settings(max_examples=30, deadline=None)
@given(
    critical=st.sets(st.integers(0, 2), min_size=1),
    rank=st.integers(1, 8),
    more=st.integers(0, 24),
    family=st.sampled_from(["gpt2", "gpt_neox", "llama"]),
)
def test_a_uniform_rival_of_a_plan_is_even_and_not_larger(critical, rank, more, family):
    model = tiny(family)
    plan = RankPlan.two_level(model, sorted(critical), rank, rank + more)
    rival = RankPlan.uniform(model, parameters=plan.parameters(model))
    assert rival.parameters(model) <= plan.parameters(model)
    assert rank <= min(rival.ranks.values())
    assert max(rival.ranks.values()) <= rank + more


def test_extra_ranks_go_to_the_first_modules():
    model = tiny("gpt_neox")
    modules = linear_modules(model)
    first = next(iter(modules))
    whole = sum(module.rank_cost for module in modules.values())
    plan = RankPlan.uniform(model, parameters=3 * whole + modules[first].rank_cost)
    assert plan.ranks == {name: 4 if name == first else 3 for name in modules}


def test_a_budget_below_one_rank_is_refused():
    with pytest.raises(InputError, match="cheapest module"):
        RankPlan.uniform(tiny("gpt2"), parameters=10)


def test_random_layers_are_a_seeded_draw_of_the_right_size():
    model = neox_on_meta(8, 96)
    plans = [RankPlan.random_layers(model, 2, 1, 5, seed) for seed in range(20)]
    assert plans[0] == RankPlan.random_layers(model, 2, 1, 5, 0)
    assert {len(set(plan.critical_layers)) for plan in plans} == {2}
    assert len({frozenset(plan.critical_layers) for plan in plans}) > 5
    assert {plan.parameters(model) for plan in plans} == {plans[0].parameters(model)}


def test_a_circuit_plan_is_by_layer_until_it_meets_a_model(tmp_path):
    before, after = changed_scores(3, [1.0, 0.0, 4.0])
    plan = rank_plan(before, after, rank=2, critical_rank=6, critical_layers=1)
    assert plan.critical_layers == (2,)
    assert plan.importance is not None
    assert plan.importance.values == (1.0, 0.0, 4.0)
    assert plan.provenance["rule"] == "released"
    assert plan.provenance["after.steps"] == 5
    with pytest.raises(InputError, match="resolve"):
        plan.save(tmp_path / "plan.json")
    model = tiny("gpt_neox")
    assert plan.to_lora_config(model) == rank_plan(
        before, after, rank=2, critical_rank=6, critical_layers=1, model=model
    ).to_lora_config(model)


def test_provenance_tells_other_scores_apart():
    before, after = changed_scores(3, [1.0, 0.0, 4.0])
    one = rank_plan(before, after, critical_layers=1).provenance
    other = rank_plan(after, after, critical_layers=1).provenance
    assert one["after.scores_sha256"] == other["after.scores_sha256"] != one["before.scores_sha256"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model: RankPlan.two_level(model, [3], 1, 2), "no layer 3"),
        (lambda model: RankPlan.two_level(model, [-1], 1, 2), "no layer -1"),
        (lambda model: RankPlan.two_level(model, [1, 1], 1, 2), "repeat"),
        (lambda model: RankPlan.two_level(model, [1], -1, 2), "negative"),
        (lambda model: RankPlan.uniform(model), "either a rank or"),
        (lambda model: rank_plan(*changed_scores(4, [1, 2, 3, 4]), critical_layers=1, model=model), "4 layers"),
        (lambda model: rank_plan(*changed_scores(3, [1, 2, 3]), critical_layers=1, rule="best"), "best"),
        (lambda model: RankPlan.uniform(tiny("gpt2"), rank=2).resolve(model), "transformer.h.0"),
        (lambda model: RankPlan.uniform(model, rank=0).to_lora_config(model), "nothing to train"),
        (lambda model: RankPlan.uniform(model, rank=2).to_lora_config(model, lora_alpha=3), "lora_alpha"),
    ],
)
def test_wrong_requests_are_refused_in_words(make, message):
    with pytest.raises(InputError, match=message):
        make(tiny("gpt_neox"))


# ---- any importance, any allocator ----


def test_the_study_s_numbers_come_from_any_importance_on_the_meta_device():
    model = neox_on_meta(24, 2048)
    importance = Importance.random(24, seed=0)
    for levels, percent in [((8, 32), "0.7175"), ((16, 64), "1.4248"), ((32, 32), "1.7479")]:
        plan = RankPlan.from_importance(model, importance, rank=levels[0], critical_rank=levels[1])
        assert plan.ranks == RankPlan.two_level(model, importance.top(5), *levels).ranks
        assert f"{100 * plan.count / (model.num_parameters() + plan.count):.4f}" == percent


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "qwen2_moe"])
@pytest.mark.parametrize("by", ["layer", "module"])
@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_every_allocator_keeps_to_the_budget(family, by, allocator):
    model = tiny(family)
    modules = linear_modules(model)
    importance = Importance.last(3) if by == "layer" else ModuleImportance.random(model, 1)
    for budget in (2000, 3333, 7001):
        options = {"rank": 0 if budget == 2000 else 1, "critical_layers": 1}
        plan = RankPlan.from_importance(model, importance, allocator=allocator, budget=budget, **options)
        growing = [module.rank_cost for name, module in modules.items() if plan.ranks[name] < module.full_rank]
        assert budget - min(growing) < plan.count <= budget
        assert plan.provenance["budget"] == budget
        rival = RankPlan.uniform(model, parameters=plan.parameters(model))
        assert plan.count - min(growing) < rival.count <= plan.count


@pytest.mark.parametrize("allocator", ALLOCATORS)
def test_without_a_budget_allocators_take_what_the_two_levels_do(allocator):
    model = tiny("gpt_neox")
    plan = RankPlan.from_importance(
        model, Importance.first(3), allocator=allocator, rank=2, critical_rank=6, critical_layers=1
    )
    cheapest = min(module.rank_cost for module in linear_modules(model).values())
    assert 0 <= RankPlan.two_level(model, [0], 2, 6).count - plan.count < cheapest


def test_two_levels_by_module_take_the_same_share_of_the_modules():
    model = tiny("llama")
    importance = ModuleImportance.random(model, 3)
    plan = RankPlan.from_importance(model, importance, rank=1, critical_rank=4, critical_layers=2)
    assert {name for name, rank in plan.ranks.items() if rank == 4} == set(importance.top(14))
    assert set(plan.ranks.values()) == {1, 4}
    assert (plan.rank, plan.critical_rank, plan.critical_layers) == (1, 4, ())


def test_a_budget_raises_the_critical_rank():
    model = tiny("gpt_neox")
    wanted = RankPlan.two_level(model, [2], 1, 9)
    plan = RankPlan.from_importance(model, Importance.last(3), rank=1, critical_layers=1, budget=wanted.count)
    assert plan.ranks == wanted.ranks
    assert (plan.rank, plan.critical_rank, plan.critical_layers) == (1, 9, (2,))


def test_mlp_only_puts_all_into_the_mlps():
    model = tiny("gpt_neox")
    importance = ModuleImportance.mlp_only(model)
    plan = RankPlan.from_importance(model, importance, allocator="proportional", budget=5000)
    assert {name.split(".")[3] for name, rank in plan.ranks.items() if rank > 1} == {"mlp"}
    config = plan.to_lora_config(model)
    assert attach(tiny_model("gpt_neox"), config, seed=0)


def test_a_rank_plan_by_module_and_from_the_base_circuit_alone(tmp_path):
    model = tiny_model("gpt_neox", heads=2)
    before, after = changed_scores(3, [1.0, 0.0, 4.0])
    plan = rank_plan(
        before, after, budget=6000, allocator="water-filling", critical_layers=1, modules=True, model=model
    )
    best = max(plan.ranks, key=lambda name: plan.ranks[name])
    assert best.endswith("layers.2.mlp.dense_4h_to_h")
    assert plan.provenance["per"] == "module"
    plan.save(tmp_path / "plan.json")
    assert RankPlan.load(tmp_path / "plan.json") == plan
    alone = rank_plan(after, critical_layers=1)
    assert alone.critical_layers == (2,)
    assert alone.provenance["rule"] == "before"
    assert not any(key.startswith("after.") for key in alone.provenance)
    assert alone.critical_layers == rank_plan(before, after, critical_layers=1, rule="after").critical_layers


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model, scores: rank_plan(*scores, modules=True), "needs the model"),
        (lambda model, scores: rank_plan(*scores, budget=5000), "needs the model"),
        (lambda model, scores: rank_plan(*scores, allocator="best", model=model), "'best' is no allocator"),
        (lambda model, scores: rank_plan(scores[0], rule="count"), "'count' needs the scores after"),
        (lambda model, scores: rank_plan(*scores, model=model, critical_layers=4), "4 critical layers of 3"),
        (lambda model, scores: rank_plan(*scores, model=model, modules=True), "4 critical layers|5 critical layers"),
        (
            lambda model, scores: RankPlan.from_importance(model, ModuleImportance.random(tiny("gpt2"), 0)),
            "other modules than the model's",
        ),
    ],
)
def test_wrong_plans_are_refused_in_words(make, message):
    with pytest.raises(InputError, match=message):
        make(tiny_model("gpt_neox", heads=2), changed_scores(3, [1, 2, 3]))


# ---- the LoraConfig ----


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_alphas_can_be_those_of_another_plan(family):
    model = tiny_model(family)
    planned = RankPlan.two_level(model, (1,), 1, 5)
    modules = linear_modules(model)
    config = RankPlan.uniform(model, rank=2).to_lora_config(model, alphas_of=planned)
    adapted = attach(model, config, seed=0).get_base_model()
    for name, module in modules.items():
        tuned = adapted.get_submodule(name)
        assert tuned.r["default"] == 2
        assert tuned.scaling["default"] == (5 if module.layer == 1 else 1)  # twice the planned rank over this one


def test_alphas_of_a_plan_that_names_fewer_modules_are_refused():
    model = tiny("gpt_neox")
    first, *others = RankPlan.uniform(model, rank=2).resolve(model).ranks
    fewer = RankPlan(None, None, ranks={first: 4})
    whole = RankPlan.uniform(model, rank=2)
    missing = rf"names no rank of {re.escape(others[0])}, .* \({len(others)} of its {1 + len(others)} modules"
    with pytest.raises(InputError, match=missing):
        whole.to_lora_config(model, alphas_of=fewer)
    assert fewer.to_lora_config(model, alphas_of=whole).lora_alpha


def test_a_uniform_plan_needs_no_patterns():
    model = tiny("llama")
    config = RankPlan.uniform(model, rank=4).to_lora_config(model, lora_dropout=0.1)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.1)
    assert not config.rank_pattern
    assert not config.alpha_pattern


def test_rank_zero_leaves_modules_out():
    model = tiny("gpt_neox")
    plan = RankPlan.two_level(model, [1], rank=0, critical_rank=3)
    assert plan.to_lora_config(model).target_modules == {f"gpt_neox.layers.1.{name}" for name in NEOX_LINEARS}
    assert plan.parameters(model) == sum(
        3 * module.rank_cost for module in linear_modules(model).values() if module.layer == 1
    )


# ---- files ----


def test_a_plan_reads_back_as_it_was_and_is_the_same_bytes_again(tmp_path):
    model = tiny("gpt2")
    before, after = changed_scores(3, [1.0, 0.0, 4.0])
    for index, plan in enumerate(
        [
            rank_plan(before, after, rank=2, critical_rank=6, critical_layers=1, model=model),
            RankPlan.uniform(model, parameters=3000),
            RankPlan.random_layers(model, 2, 1, 4, seed=1),
        ]
    ):
        plan.save(tmp_path / f"{index}.json")
        loaded = RankPlan.load(tmp_path / f"{index}.json")
        assert loaded == plan
        assert loaded.to_lora_config(model) == plan.to_lora_config(model)
        loaded.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / f"{index}.json").read_bytes()


def test_a_damaged_plan_is_refused(tmp_path):
    path = tmp_path / "circuit_plan.json"
    path.write_text('{"ranks": {}}')
    with pytest.raises(InputError, match=r"circuit_plan\.json"):
        RankPlan.load(path)
