"""The model run as a circuit: golden outputs, exact single-edge effects, and what must hold on any model."""

import pytest
import torch

from circuits.golden import golden
from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.scores import Circuit
from circuitune.circuits.selection import prune
from circuitune.testing import in_double, random_pairs, tiny_model

FAMILIES = ["gpt2", "gpt_neox", "gpt_neox_serial", "llama"]


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2"])
@pytest.mark.parametrize(("ablation", "key"), [("interchange", "patching"), ("zero", "zero")])
@pytest.mark.parametrize("metric", ["logit_diff", "kl"])
def test_circuits_and_their_outputs_equal_the_reference(name, ablation, key, metric):
    facts = golden(name)
    entries = {share: values for share, values in facts.facts["evaluation"].items() if "." in share}
    scores = attribute(facts.model, facts.inputs, quadrature="left")
    circuits = [scores.top(float(share)) for share in entries]
    results = evaluate(facts.model, facts.inputs, circuits, metric=metric, ablation=ablation)
    for (share, values), circuit, result in zip(entries.items(), circuits, results, strict=True):
        assert torch.equal(circuit.mask, facts.arrays[f"circuit.{share}"].bool())
        assert len(circuit) == values["n_edges"]
        if f"{metric}.{key}" in values:
            expected = torch.tensor(values[f"{metric}.{key}"])
            assert float((result.circuit.metric - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2"])
def test_corrupting_each_single_edge_equals_the_reference(name):
    facts = golden(name)
    graph = attribute(facts.model, facts.inputs, method="eap").graph
    edges = graph.edge_mask.nonzero().tolist()
    circuits = []
    for source, destination in edges:
        mask = graph.edge_mask.clone()
        mask[source, destination] = False
        circuits.append(Circuit(mask, graph))
    results = evaluate(facts.model, facts.inputs, circuits)
    changes = torch.stack([(result.circuit.metric - result.model.metric).mean() for result in results])
    expected = torch.stack([facts.arrays["exact.logit_diff"][s, r] for s, r in edges])
    assert float((changes - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ablation", ["interchange", "zero"])
def test_the_full_circuit_is_the_model_and_the_empty_one_is_the_ablated_model(family, ablation):
    model, inputs = tiny_model(family, kv_heads=2, dtype=torch.float64), random_pairs(7, common=2)
    graph = attribute(model, inputs, method="eap").graph
    full, empty = Circuit(graph.edge_mask, graph), Circuit(torch.zeros_like(graph.edge_mask), graph)
    whole, nothing = evaluate(model, inputs, [full, empty], ablation=ablation)
    with torch.no_grad():
        logits = model(input_ids=inputs.clean).logits[:, -1]
        corrupted = model(input_ids=inputs.corrupted).logits[:, -1]
    rows = torch.arange(len(inputs))

    def difference(x):
        return (x[rows, inputs.answer] - x[rows, inputs.wrong]).float()

    torch.testing.assert_close(whole.circuit.metric, difference(logits))
    torch.testing.assert_close(whole.model.metric, difference(logits))
    torch.testing.assert_close(nothing.circuit.metric, nothing.corrupted.metric)
    if ablation == "interchange":
        torch.testing.assert_close(nothing.circuit.metric, difference(corrupted))
    assert whole.kl == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_circuits_run_together_or_alone_in_any_batch_size_alike(family):
    model, inputs = tiny_model(family, kv_heads=2, dtype=torch.float64), random_pairs(7)
    scores = attribute(model, inputs)
    circuits = [scores.top(share) for share in (0.05, 0.2, 0.6)]
    together = evaluate(model, inputs, circuits)
    for circuit, result in zip(circuits, together, strict=True):
        alone = evaluate(model, inputs, circuit, batch_size=2)
        torch.testing.assert_close(alone.circuit.metric, result.circuit.metric)


@pytest.mark.parametrize("family", ["llama", "gemma2", "olmo2"])
def test_what_is_ablated_to_nothing_leaves_no_rounding_for_a_norm_to_blow_up(family):
    """Zero ablation in float32 agrees with float64 as closely as interchange does."""
    inputs = random_pairs(4, common=2)
    exact = tiny_model(family, layers=4, kv_heads=2, dtype=torch.float64)
    with in_double():
        scores = attribute(exact, inputs, steps=2)
        circuits = [scores.top(share) for share in (0.02, 0.1, 0.3)]
        wanted = [run.circuit.metric for run in evaluate(exact, inputs, circuits, ablation="zero")]
    found = evaluate(tiny_model(family, layers=4, kv_heads=2), inputs, circuits, ablation="zero")
    for run, metric in zip(found, wanted, strict=True):
        torch.testing.assert_close(run.circuit.metric.double(), metric.double(), rtol=1e-5, atol=1e-5)


def test_zero_ablation_of_every_edge_leaves_what_no_source_writes():
    """GPT-2's logits then come from its position embeddings and attention output biases alone."""
    model, inputs = tiny_model("gpt2", dtype=torch.float64), random_pairs(4)
    graph = attribute(model, inputs, method="eap").graph
    empty = Circuit(torch.zeros_like(graph.edge_mask), graph)
    result = evaluate(model, inputs, empty, ablation="zero")
    with torch.no_grad():
        stream = model.transformer.wpe.weight[inputs.clean.shape[1] - 1]
        stream = stream + sum(block.attn.c_proj.bias for block in model.transformer.h)
        logits = model.lm_head(model.transformer.ln_f(stream))
    expected = (logits[inputs.answer] - logits[inputs.wrong]).float()
    torch.testing.assert_close(result.circuit.metric, expected)


def test_an_unpruned_circuit_runs_as_its_pruned_one_under_interchange():
    """Edges on no path from the input to the logits carry what the corrupted run carries: nothing changes."""
    model, inputs = tiny_model(dtype=torch.float64), random_pairs(5)
    scores = attribute(model, inputs)
    generator = torch.Generator().manual_seed(0)
    loose = scores.graph.edge_mask & (torch.rand(scores.graph.edge_mask.shape, generator=generator) < 0.15)
    unpruned, pruned = Circuit(loose, scores.graph), Circuit(prune(loose, scores.graph), scores.graph)
    assert len(pruned) < len(unpruned)
    one, other = evaluate(model, inputs, [unpruned, pruned])
    torch.testing.assert_close(one.circuit.metric, other.circuit.metric)
