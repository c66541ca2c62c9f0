"""A rank plan from training data alone."""

import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model

import circuitune as ct
from adapters.ranks import ranks_of
from adapters.sft import messages, sums, tokenizer
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.completions import read_completions
from circuitune.adapters.data_plan import (
    completion_scores,
    data_plan,
    plan_for,
    readable,
    scoring_cost,
)
from circuitune.adapters.modules import linear_modules
from circuitune.adapters.verdicts import FROM_DATA
from circuitune.circuits.graph import Graph
from circuitune.circuits.metrics import appended
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.testing import tiny_model

ROWS = sums(20)


def completion_loss(model, inputs, prompts):
    """Mean negative log-likelihood of all completions' tokens, by Transformers' own loss, after the given prompts."""
    total, tokens = 0.0, 0
    lengths = inputs.lengths().tolist()
    for prompt, answer, length in zip(prompts.tolist(), inputs.answer.tolist(), lengths, strict=True):
        completion = [token for token in answer if token >= 0]
        ids = torch.tensor([prompt[:length] + completion])
        labels = torch.tensor([[-100] * length + completion])
        with torch.no_grad():
            total += float(model(input_ids=ids, labels=labels).loss) * len(completion)
        tokens += len(completion)
    return total / tokens


def test_scores_account_for_the_loss_of_all_completions_tokens():
    """Another row's prompt: the edges out of the input carry the whole rise of the loss per token."""
    model = tiny_model()
    sample = read_completions(ROWS, tokenizer(), ablation="interchange")
    inputs = sample.inputs
    scores = completion_scores(model, sample, steps=40)
    rise = completion_loss(model, inputs, inputs.corrupted) - completion_loss(model, inputs, inputs.clean)
    assert sample.inputs.answer.shape[1] > 1
    assert float(scores.values[0].sum()) == pytest.approx(rise, rel=1e-2)
    assert scores.settings["loss"] == "completion nll per token"


@pytest.mark.parametrize("ablation", ["mean", "interchange"])
def test_scores_do_not_depend_on_the_memory_they_are_given(ablation):
    model = tiny_model()
    sample = read_completions(ROWS, tokenizer(), ablation=ablation)
    wide, narrow = (completion_scores(model, sample, steps=2, memory=memory) for memory in (2**30, 2**18))
    assert torch.allclose(wide.values, narrow.values, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama"])
def test_the_plan_is_a_config_of_the_size_of_uniform_rank_8(family):
    model = tiny_model(family, kv_heads=2 if family == "llama" else None)
    plan = ct.plan_for(model, tokenizer(), ROWS, steps=2, gate="off")
    modules = linear_modules(model)
    uniform = RankPlan.uniform(model, rank=8).count
    assert uniform - min(module.rank_cost for module in modules.values()) < plan.count <= uniform
    assert min(plan.ranks.values()) == plan.rank == 4
    best = plan.importance.top(len(modules) // 3)
    assert {name for name, rank in plan.ranks.items() if rank > 5} == set(best)
    adapted = get_peft_model(model, plan.to_lora_config(model))
    assert ranks_of(adapted) == plan.ranks
    ids = torch.arange(10)[None]
    adapted(input_ids=ids, labels=ids).loss.backward()


def test_conversations_and_single_positions_work_too():
    model = tiny_model()
    chats = [messages(row) for row in ROWS]
    same = [{"prompt": f"{row} +", "completion": "="} for row in range(10, 30)]
    for rows in (chats, same):
        assert plan_for(model, tokenizer(), rows, steps=2, gate="off").count


def test_provenance_says_what_the_plan_was_made_of(tmp_path):
    model = tiny_model()
    plan = plan_for(
        model, tokenizer(), [*ROWS, {"prompt": "", "completion": "a"}], steps=2, gate="off", max_tokens=8, seed=3
    )
    said = plan.provenance
    assert (said["rule"], said["per"], said["rows"], said["rows_read"]) == ("before", "module", 20, 21)
    assert said["before.ablation"] == "mean"
    assert said["before.metric"] == "nll"
    assert said["max_tokens"] == 8
    assert said["seed"] == 3
    assert said["rows_cut"] > 0
    assert sum(key.startswith("left_out.") for key in said) == 1
    assert said["contest"] == FROM_DATA
    plan.save(tmp_path / "plan.json")
    assert RankPlan.load(tmp_path / "plan.json").provenance == said


def test_the_gate_looks_at_the_rows():
    """One of three layers: a uniform draw finds it in a third of all cases."""
    with pytest.warns(UserWarning, match="The choice of 1 of 3 layers"):
        plan = plan_for(tiny_model(), tokenizer(), ROWS, steps=2, modules=False)
    assert plan.gate is not None
    assert plan.gate.stability is not None


def test_a_budget_decides_the_ordinary_rank():
    model = tiny_model()
    sample = read_completions(ROWS, tokenizer())
    scores = completion_scores(model, sample, steps=2)
    cost = sum(module.rank_cost for module in linear_modules(model).values())
    for even, ordinary in ((3, 2), (2, 1), (1, 1), (0, 0)):
        plan = data_plan(model, sample, scores, budget=even * cost + 70, gate="off")
        assert plan.rank == ordinary
        assert plan.count <= even * cost + 70
    assert min(plan.ranks.values()) == 0
    with pytest.raises(InputError, match="A budget of 10 parameters is not between one rank of the cheapest"):
        data_plan(model, sample, scores, budget=10, gate="off")
    for modules in (True, False):
        with pytest.raises(InputError, match="0 critical layers of 3"):
            data_plan(model, sample, scores, critical_layers=0, modules=modules, gate="off")
    filled = data_plan(model, sample, scores, budget=5 * cost, allocator="water-filling", gate="off")
    assert filled.provenance["allocation"] == "water-filling"


def test_a_model_with_an_adapter_is_refused_and_none_reads_more_than_it_can():
    model = tiny_model()
    assert readable(model, 10**6) == model.config.max_position_embeddings
    adapted = get_peft_model(model, LoraConfig(target_modules=["dense"]))
    for one in (adapted, model):
        with pytest.raises(InputError, match="looks at the base model"):
            plan_for(one, tokenizer(), ROWS)


def test_the_model_is_left_as_it_was():
    model = tiny_model().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan_for(model, tokenizer(), ROWS, steps=2, gate="off")
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_cost_is_known_before():
    model = tiny_model()
    sample = read_completions(ROWS, tokenizer())
    cost = scoring_cost(model, sample, steps=3)
    run = appended(sample.inputs, sample.inputs.answer)
    assert cost.tokens == int(run.lengths().sum())
    assert cost.longest == int(run.lengths().max())
    assert (cost.rows, cost.forward, cost.backward) == (20, 5, 3)
    assert cost.seconds > 0
    assert "as much as training on 73 such rows" in cost.sentence


def test_the_gates_cost_is_in_it():
    """Scores of single rows, one model more, and five times twenty rows."""
    model = tiny_model()
    sample = read_completions(ROWS, tokenizer())
    without, cost = (scoring_cost(model, sample, steps=3, gate=gate) for gate in (False, True))
    graph = Graph.of(anatomy_of(model))
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert cost.memory - without.memory == 4 * (20 * graph.edge_mask.numel() + weights)
    assert (without.random_rows, cost.random_rows) == (0, 100)
    assert (
        "3 backward passes over each, and 100 rows through models with random weights, for the gate" in cost.sentence
    )
    assert "as much as training on 440 such rows" in cost.sentence


@pytest.mark.parametrize("modules", [True, False])
def test_random_weights_choose_too(modules):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan = plan_for(tiny_model(), tokenizer(), ROWS, steps=2, modules=modules)
    assert plan.gate is not None
    assert len(plan.gate.random_weights) == 5
    assert "models with random weights agree with it by" in plan.gate.sentence
    assert plan.provenance["gate.random_models"] == 5
