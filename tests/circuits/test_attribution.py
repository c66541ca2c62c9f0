"""Scores against golden values, against finite differences of the patched run, and their invariants."""

import re
from dataclasses import replace

import peft
import pytest
import torch

from circuits.golden import golden
from circuitune.circuits.attribution import attribute
from circuitune.circuits.batches import batches
from circuitune.circuits.graph import Graph
from circuitune.circuits.metrics import METRICS
from circuitune.circuits.patching import reference_run, run_circuits
from circuitune.circuits.quadrature import path_points
from circuitune.circuits.weights import Weights
from circuitune.core.errors import InputError, MachineError
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import prepared
from circuitune.testing import random_pairs, tiny_model

FAMILIES = ["gpt2", "gpt_neox", "gpt_neox_serial", "llama"]


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama_gqa"])
@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("eap-ig.logit_diff", {"quadrature": "left"}),
        ("eap-ig.logit_diff.steps20", {"quadrature": "left", "steps": 20}),
        ("eap-ig.kl", {"quadrature": "left", "metric": "kl"}),
        ("eap.logit_diff", {"method": "eap"}),
    ],
)
def test_scores_equal_the_reference(name, key, options):
    facts = golden(name)
    scores = attribute(facts.model, facts.inputs, **options)
    assert relative(scores.values, facts.scores(key)) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_eap_is_the_derivative_of_the_patched_run(family):
    """An independent path: how the loss of the model run as a circuit changes as one edge is faded, in float64."""
    model = tiny_model(family, layers=2, kv_heads=2, dtype=torch.float64)
    inputs = random_pairs(3, positions=6, first_difference=2)
    scores = attribute(model, inputs, method="eap")
    # Transformers' Llama norms compute in float32 whatever the model's type: a wider step, a wider bound.
    step, bound = (1e-3, 2e-4) if family == "llama" else (1e-4, 1e-6)
    anatomy = anatomy_of(model)
    graph = scores.graph
    edges = graph.edge_mask.nonzero()
    full = graph.edge_mask.double()
    masks = full.repeat(2 * len(edges), 1, 1)
    for index, (source, destination) in enumerate(edges.tolist()):
        masks[2 * index, source, destination] -= step
        masks[2 * index + 1, source, destination] += step
    rise = torch.zeros(len(edges), dtype=torch.float64)
    with prepared(model), torch.no_grad():
        weights = Weights(anatomy)
        for batch in batches(inputs, anatomy.device, 100):
            logits = run_circuits(anatomy, graph, weights, reference_run(anatomy, weights, batch, None), masks)
            loss = torch.stack([batch.losses(METRICS["logit_diff"], one, one).sum() for one in logits])
            rise += (loss[0::2] - loss[1::2]) / (2 * step) / len(inputs)
    assert relative(scores.values[graph.edge_mask].double(), rise) < bound


@pytest.mark.parametrize(
    ("family", "metric"), [*((family, "logit_diff") for family in FAMILIES), ("gpt_neox", "kl"), ("gpt_neox", "nll")]
)
def test_the_edges_out_of_the_input_add_up_to_the_rise_of_the_loss(family, metric):
    """Completeness: the path integral of the gradient is the difference of its ends (parity.md 4.9, item 1)."""
    model = tiny_model(family, layers=2, kv_heads=2, dtype=torch.float64)
    inputs = random_pairs(4)
    residual = attribute(model, inputs, metric=metric, quadrature="gauss", steps=48).completeness
    assert residual is not None
    assert residual < 1e-5


def test_a_poor_integral_warns_and_names_the_steps_that_would_do():
    model, inputs = tiny_model("gpt2", dtype=torch.float64), random_pairs(6)
    with pytest.warns(UserWarning, match="completeness residual") as caught:
        poor = attribute(model, inputs, quadrature="left", steps=1)
    enough = int(re.findall(r"about (\d+) steps", str(caught[0].message))[0])
    better = attribute(model, inputs, quadrature="left", steps=enough)
    assert poor.completeness is not None
    assert better.completeness is not None
    assert better.completeness < 0.2 < poor.completeness


def test_midpoint_is_closer_to_the_integral_than_the_one_sided_rules():
    model, inputs = tiny_model("gpt_neox", dtype=torch.float64), random_pairs(12)
    exact = attribute(model, inputs, quadrature="gauss", steps=64).values
    rules = ("midpoint", "left", "right")
    error = {rule: float((attribute(model, inputs, quadrature=rule).values - exact).norm()) for rule in rules}
    assert error["midpoint"] < min(error["left"], error["right"]) / 2


def _mixed_lengths() -> tuple[EncodedPairs, EncodedPairs]:
    """The same pairs padded on the right and on the left; lengths 6..9, first differences 0..4."""
    parts = [random_pairs(3, positions=6 + k % 4, first_difference=k, common=min(k, 2), seed=k) for k in range(5)]
    width = 9

    def joined(side: int) -> EncodedPairs:
        def padded(tensor: torch.Tensor, fill: int) -> torch.Tensor:
            amount = width - tensor.shape[1]
            return torch.nn.functional.pad(tensor, (amount, 0) if side else (0, amount), value=fill)

        return EncodedPairs(
            clean=torch.cat([padded(p.clean, 0) for p in parts]),
            corrupted=torch.cat([padded(p.corrupted, 1) for p in parts]),
            answer=torch.cat([p.answer for p in parts]),
            wrong=torch.cat([p.wrong for p in parts if p.wrong is not None]),
            mask=torch.cat([padded(torch.ones_like(p.clean), 0) for p in parts]).bool(),
        )

    return joined(0), joined(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_depend_on_nothing_but_model_and_pairs(family):
    """Batch size, order, padding side and prefix sharing change nothing (parity.md 4.9, items 3 and 4)."""
    model = tiny_model(family, layers=2, kv_heads=2, dtype=torch.float64)
    right, left = _mixed_lengths()
    expected = attribute(model, right, steps=2, per_example=True)
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(1))
    assert right.wrong is not None
    assert right.mask is not None
    shuffled = EncodedPairs(
        right.clean[order], right.corrupted[order], right.answer[order], right.wrong[order], right.mask[order]
    )
    for inputs, options in [
        (left, {}),
        (right, {"batch_size": 1}),
        (right, {"batch_size": 2, "share_prefix": False}),
        (shuffled, {}),
    ]:
        assert relative(attribute(model, inputs, steps=2, **options).values, expected.values) < 1e-6
    assert expected.examples is not None
    assert relative(expected.examples.mean(0), expected.values) < 1e-6
    again = attribute(model, shuffled, steps=2, per_example=True).examples
    assert again is not None
    assert relative(again, expected.examples[order]) < 1e-6


def test_pairs_that_do_not_differ_score_zero():
    inputs = random_pairs(4)
    same = replace(inputs, corrupted=inputs.clean)
    assert not attribute(tiny_model(), same).values.any()


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_a_live_adapter_scores_as_its_merged_model(options):
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", init_lora_weights=False, **options)
    adapted = peft.get_peft_model(tiny_model("gpt_neox", dtype=torch.float64), config)
    inputs = random_pairs(6)
    live = attribute(adapted, inputs)
    base = attribute(tiny_model("gpt_neox", dtype=torch.float64), inputs)
    with adapted.disable_adapter():
        off = attribute(adapted, inputs)
    merged = attribute(adapted.merge_and_unload(), inputs)
    assert relative(live.values, merged.values) < 1e-6
    assert relative(off.values, base.values) < 1e-6
    assert relative(live.values, base.values) > 1e-2


def test_the_model_is_left_as_it_was():
    model = tiny_model().train()
    model.lm_head.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attribute(model, random_pairs(4))
    assert all(module.training for module in model.modules())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["lm_head.weight"]
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_callable_metric_is_used_as_it_is():
    model, inputs = tiny_model(dtype=torch.float64), random_pairs(5)

    def twice_the_difference(logits, clean_logits, answer, wrong):
        rows = torch.arange(len(answer))
        return 2 * (logits[rows, wrong] - logits[rows, answer])

    scores = attribute(model, inputs, metric=twice_the_difference)
    assert relative(scores.values, 2 * attribute(model, inputs).values) < 1e-6
    assert scores.settings["metric"] == "twice_the_difference"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "at least one step"),
        ({"metric": "bleu"}, "metric"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_a_wrong_option_is_named(options, words):
    with pytest.raises(InputError, match=words):
        attribute(tiny_model(), random_pairs(2), **options)


@pytest.mark.parametrize(
    ("rule", "words"), [(("acdc", 5, "left"), "method"), (("eap-ig", 5, "simpson"), "quadrature")]
)
def test_an_unknown_rule_is_named(rule, words):
    with pytest.raises(InputError, match=words):
        path_points(*rule)


@pytest.mark.parametrize("rule", ["midpoint", "left", "right", "gauss"])
def test_a_rule_integrates_a_constant_exactly_and_stays_on_the_path(rule):
    points = path_points("eap-ig", 7, rule)
    assert sum(weight for _, weight in points) == pytest.approx(1)
    assert all(0 <= alpha <= 1 for alpha, _ in points)


def test_logit_diff_without_wrong_names_the_ways_out():
    inputs = replace(random_pairs(3), wrong=None)
    with pytest.raises(InputError, match=r"'wrong' column.*'kl'"):
        attribute(tiny_model(), inputs)
    assert attribute(tiny_model(), inputs, metric="kl").values.any()


def test_an_architecture_without_an_entry_is_refused_by_name():
    with pytest.raises(InputError, match="Linear"):
        attribute(torch.nn.Linear(2, 2), random_pairs(2))


def test_a_model_that_overflows_is_a_failure_of_the_machine_not_a_score():
    model = tiny_model()
    model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight.data[0, 0] = float("nan")
    with pytest.raises(MachineError, match="finite"):
        attribute(model, random_pairs(3))


def test_per_example_scores_are_kept_only_on_request():
    scores = attribute(tiny_model(), random_pairs(3))
    assert scores.examples is None
    assert scores.graph == Graph(3, 4, 4, parallel=True)
