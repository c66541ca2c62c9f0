from itertools import combinations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from circuitune.adapters.allocation import RankPlan, rank_plan
from circuitune.adapters.gate import Gate, examine, of_random_weights
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.dynamics.bootstrap import layer_stability
from circuitune.models.anatomy import anatomy_of
from circuitune.testing import tiny_model

LAYERS = 12
K = 2
PAIRS = 40


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt_neox", layers=LAYERS)


@pytest.fixture(scope="module")
def graph(model):
    return Graph.of(anatomy_of(model))


def noisy(graph, seed, changed=(), noise=1.0, everywhere=0.0, examples=True):
    """Scores of single pairs: noise, a change of 1 at the edges that leave the MLPs of these layers."""
    generator = torch.Generator().manual_seed(seed)
    shape = (PAIRS, len(graph.sources), len(graph.destinations))
    values = noise * torch.randn(shape, generator=generator) + everywhere
    for layer in changed:
        values[:, graph.mlp_source(layer)] += 1
    values *= graph.edge_mask
    return EdgeScores(values.mean(0), graph, examples=values if examples else None)


@pytest.fixture(scope="module")
def clear(graph):
    """Fine-tuning changes what layers 7 and 4 write, far above the noise."""
    return noisy(graph, 0, noise=0.1), noisy(graph, 1, changed=(4, 7), noise=0.1)


@pytest.fixture(scope="module")
def chance(graph):
    """Nothing changes but the noise of the pairs."""
    return noisy(graph, 0), noisy(graph, 1)


def test_a_clear_change_passes(clear):
    gate = examine(*clear, critical_layers=K)
    assert gate.passed
    assert (gate.chosen, gate.candidates, gate.unit) == (2, LAYERS, "layers")
    assert gate.stability == 1
    assert gate.chance == pytest.approx(1 / 66)
    assert gate.halves == 0
    assert "stable and more than chance" in gate.sentence


def test_stability_is_that_of_the_critical_layers(chance):
    gate = examine(*chance, critical_layers=K)
    assert gate.stability == pytest.approx(layer_stability(*chance, K).mean, abs=1e-12)


def test_a_choice_that_halves_of_the_base_pairs_make_too_fails(graph):
    """The same layers have the largest scores, so the largest noise: stable, but no matter of fine-tuning."""
    loud = torch.ones(len(graph.sources), 1)
    loud[[graph.mlp_source(layer) for layer in (3, 9)]] = 50
    maps = []
    for seed in (0, 1):
        scores = noisy(graph, seed)
        assert scores.examples is not None
        examples = scores.examples * loud
        maps.append(EdgeScores(examples.mean(0), graph, examples=examples))
    gate = examine(*maps, critical_layers=K)
    assert gate.stability is not None
    assert gate.stability > 0.8
    assert gate.halves == 1
    assert gate.passed is False
    assert "two halves of the base model's pairs in 100%" in gate.sentence


@pytest.mark.parametrize("rule", ["before", "after"])
def test_rules_that_look_at_no_change_have_no_halves(clear, rule):
    gate = examine(*clear, critical_layers=K, rule=rule)
    assert gate.halves is None
    assert gate.chance is not None


def drawn(graph, *changed):
    """Maps of what stands for models with random weights; layers of each that are far above the noise."""
    return iter([noisy(graph, 10 + place, layers, noise=0.1) for place, layers in enumerate(changed)])


ELSEWHERE = [(0, 1)] * 5


@pytest.mark.parametrize("rule", ["before", "after"])
def test_one_map_that_chooses_as_random_weights_do_fails(clear, graph, rule):
    maps = (clear[1], clear[1]) if rule == "after" else (clear[1],)
    apart = examine(*maps, critical_layers=K, rule=rule, drawn=drawn(graph, *ELSEWHERE))
    assert apart.random_weights == (0,) * 5
    assert apart.passed
    assert "stable and more than a random draw of layers and random weights" in apart.sentence
    assert "agree with it by 0.00, 0 of them as well" in apart.sentence
    assert "even none leaves up to 45% possible" in apart.sentence
    one = examine(*maps, critical_layers=K, rule=rule, drawn=drawn(graph, (4, 7), *ELSEWHERE[1:]))
    assert one.random_weights == (1, 0, 0, 0, 0)
    assert one.passed is False
    assert "stable, but no more than random weights:" in one.sentence
    assert "agree with it by 0.20, 1 of them as well" in one.sentence
    assert one.to_record()["gate.random_models_agreeing"] == 1


def test_random_weights_are_not_asked_where_a_change_decides(clear):
    def never():
        raise AssertionError("nobody should ask")
        yield

    gate = examine(*clear, critical_layers=K, drawn=never())
    assert gate.random_weights == ()
    assert "random weights" not in gate.sentence


def test_models_with_random_weights_are_of_the_shape_and_never_the_model(model):
    """Each is another; the model itself keeps its weights."""
    before = [parameter.clone() for parameter in model.parameters()]
    seen = []

    def score(other):
        assert other.config == model.config
        seen.append(next(other.parameters()).clone())
        return noisy(Graph.of(anatomy_of(other)), len(seen))

    maps = of_random_weights(model, score)
    assert maps is not None
    assert not seen
    assert len(list(maps)) == 5
    assert not any(torch.equal(one, other) for one, other in combinations([*seen, before[0]], 2))
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_random_weights_that_cannot_be_scored_are_not_tried(model, clear):
    def overflowing(other):
        raise MachineError("Some edge scores are not finite.")

    assert list(of_random_weights(model, overflowing)) == []
    gate = examine(clear[1], critical_layers=K, drawn=of_random_weights(model, overflowing))
    assert "that was not tried" in gate.sentence
    assert of_random_weights(None, overflowing) is None
    assert of_random_weights(model, None) is None
    assert of_random_weights(get_peft_model(tiny_model(), LoraConfig(target_modules=["dense"])), overflowing) is None


def test_a_choice_of_most_layers_is_no_choice(clear):
    gate = examine(*clear, critical_layers=LAYERS)
    assert gate.chance == 1
    assert gate.passed is False


def test_modules_are_looked_at_as_modules(clear, model):
    gate = examine(*clear, critical_layers=K, model=model)
    assert (gate.chosen, gate.candidates, gate.unit) == (8, 4 * LAYERS, "modules")
    assert gate.stability is not None


def test_scores_without_examples_are_named_as_such(clear, graph):
    means = noisy(graph, 0, examples=False)
    for maps in ((means, clear[1]), (clear[0], means)):
        gate = examine(*maps, critical_layers=K)
        assert gate.passed is None
        assert "per_example=True" in gate.sentence
        assert gate.to_record() == {}


@pytest.mark.parametrize(
    ("stability", "chance", "words"),
    [
        (1.0, 0.01, "is stable and more than {}:"),
        (1.0, 0.3, "is stable, but no more than {}:"),
        (0.1, 0.01, "is not stable, but more than {}:"),
        (0.1, 0.3, "is neither stable nor more than {}:"),
    ],
)
def test_the_sentence_says_which_of_both_failed(stability, chance, words):
    one = Gate(2, LAYERS, "layers", stability, chance).sentence
    assert words.format("a random draw of layers") in one
    assert "random weights may choose the same" in one
    assert words.format("chance") in Gate(2, LAYERS, "layers", stability, chance, halves=0.0).sentence


# ---- in a plan ----


def test_a_plan_says_what_the_gate_found(clear, model, tmp_path):
    plan = rank_plan(*clear, rank=1, critical_rank=5, critical_layers=K, model=model)
    assert plan.gate is not None
    assert plan.gate.passed
    plan.save(tmp_path / "plan.json")
    provenance = RankPlan.load(tmp_path / "plan.json").provenance
    assert (provenance["gate"], provenance["gate.stability"]) == ("passed", 1.0)


def test_warn_warns_and_keeps_the_plan(chance, model):
    with pytest.warns(UserWarning, match=r"no more than chance.*gate: uniform"):
        plan = rank_plan(*chance, rank=1, critical_rank=5, critical_layers=K, model=model)
    off = rank_plan(*chance, rank=1, critical_rank=5, critical_layers=K, model=model, gate="off")
    assert plan.ranks == off.ranks
    assert plan.provenance["gate"] == "failed"
    assert off.gate is None
    assert "gate" not in off.provenance


def test_one_map_with_a_way_to_score_tries_random_weights(clear, model):
    def score(other):
        return noisy(Graph.of(anatomy_of(other)), 3, changed=(4, 7), noise=0.1)

    options = {"rank": 1, "critical_rank": 5, "critical_layers": K, "model": model}
    with pytest.warns(UserWarning, match="no more than random weights"):
        plan = rank_plan(clear[1], score=score, **options)
    assert plan.gate.random_weights == (1,) * 5
    for modules in (True, False):
        untried = rank_plan(clear[1], modules=modules, **options)
        assert untried.gate.random_weights == ()
        assert "gate.random_models" not in untried.provenance


def test_uniform_plans_as_many_parameters_evenly(chance, clear, model):
    levels = {"rank": 1, "critical_rank": 5, "critical_layers": K, "model": model}
    with pytest.warns(UserWarning, match="So the plan is uniform"):
        plan = rank_plan(*chance, **levels, gate="uniform")
    planned = rank_plan(*chance, **levels, gate="off")
    assert plan.ranks == RankPlan.uniform(model, parameters=planned.count).ranks
    assert (plan.provenance["allocation"], plan.provenance["gate"]) == ("uniform", "failed")
    assert not {"rule", "count", "per"} & set(plan.provenance)
    assert rank_plan(*clear, **levels, gate="uniform").ranks == rank_plan(*clear, **levels, gate="off").ranks


def test_scores_without_examples_change_nothing_but_the_sentence(graph, model):
    means = noisy(graph, 0, examples=False), noisy(graph, 1, examples=False)
    plan = rank_plan(*means, critical_layers=K)
    assert plan.gate is not None
    assert "per_example=True" in plan.gate.sentence
    assert plan == rank_plan(*means, critical_layers=K, gate="off")
    with pytest.raises(InputError, match="per_example=True"):
        rank_plan(*means, critical_layers=K, model=model, gate="uniform")
