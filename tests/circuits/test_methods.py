"""Methods, metrics and criteria, each against a second way to compute it."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from circuits.independent import Streams, autograd_scores
from circuitune.circuits.ablation import constant
from circuitune.circuits.attribution import attribute
from circuitune.circuits.batches import batches
from circuitune.circuits.criteria import knockout, minimality, without
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.graph import Graph
from circuitune.circuits.metrics import METRICS
from circuitune.circuits.patching import reference_run, run_circuits
from circuitune.circuits.scores import Circuit
from circuitune.circuits.weights import Weights
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Norm, anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.families import FAMILIES
from circuitune.models.families.gpt2 import gpt2 as gpt2_anatomy
from circuitune.models.running import Prefix, forward, prepared, recorded_readers
from circuitune.testing import in_double, random_pairs, tiny_model


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def tiny(family: str = "gpt2", layers: int = 2):
    return tiny_model(family, layers=layers, kv_heads=2, dtype=torch.float64)


def test_clean_corrupted_is_the_mean_of_the_gradients_at_both_ends():
    model, inputs = tiny(), random_pairs(3)
    with in_double():
        both = attribute(model, inputs, method="clean-corrupted").values
        clean = attribute(model, inputs, method="eap").values
        # The gradient at the corrupted end, with the corrupted prompts in the place of the clean ones.
        swapped = attribute(
            model, replace(inputs, clean=inputs.corrupted, corrupted=inputs.clean), method="eap"
        ).values
    assert relative(both, (clean - swapped) / 2) < 1e-9


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "opt"])
def test_activation_interpolation_averages_over_nodes(family):
    """Every node's output in turn between its two values, by hooks of the test's own; the reference's rule."""
    model, inputs, steps = tiny(family), random_pairs(2), 2
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    with in_double(), prepared(model):
        scores = attribute(model, inputs, method="eap-ig-activations", steps=steps, quadrature="right")
        nodes = [anatomy.embedding]
        for block in anatomy.blocks:
            nodes += [block.output if block.heads_norm is None else block.heads_norm.module, block.mlp.writes]
        ends = {}
        for name, tokens in (("clean", inputs.clean), ("corrupted", inputs.corrupted)):
            with ExitStack() as hooks, torch.no_grad():
                for node in nodes:

                    def keep(module, _, output, name=name):
                        ends[module, name] = output.detach()

                    hooks.callback(node.register_forward_hook(keep).remove)
                anatomy.model(input_ids=tokens)
        total = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
        for node in nodes:
            for k in range(1, steps + 1):
                alpha = k / steps
                between = alpha * ends[node, "clean"] + (1 - alpha) * ends[node, "corrupted"]
                handle = node.register_forward_hook(lambda *_, between=between: between)
                total += _scores_at(anatomy, inputs)
                handle.remove()
    assert relative(scores.values.double(), total / (len(nodes) * steps)) < 1e-8


def _scores_at(anatomy, inputs):
    """EAP with the gradients of a run that the caller's hooks change and the differences of the runs without them."""
    graph = Graph.of(anatomy)
    run = Streams(anatomy)
    logits = run.run(inputs.clean)
    rows = torch.arange(len(inputs))
    loss = (logits[rows, inputs.wrong] - logits[rows, inputs.answer]).sum()
    columns = sorted(run.copies)
    found = torch.autograd.grad(loss, [run.copies[c] for c in columns], allow_unused=True, materialize_grads=True)
    changes = _changes(anatomy, inputs)
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    for column, gradient in zip(columns, found, strict=True):
        gradient = gradient.reshape(len(inputs), -1, anatomy.width)
        for source in graph.edge_mask[:, column].nonzero()[:, 0].tolist():
            scores[source, column] = (changes[source][:, -gradient.shape[1] :] * gradient).sum() / len(inputs)
    return scores


def _changes(anatomy, inputs):
    hooks = {module: module._forward_hooks.copy() for module in anatomy.model.modules()}
    for module in hooks:
        module._forward_hooks.clear()
    ends = []
    with torch.no_grad():
        for tokens in (inputs.clean, inputs.corrupted):
            run = Streams(anatomy)
            run.run(tokens)
            ends.append([run.written[source].reshape(*tokens.shape, -1) for source in range(len(run.graph.sources))])
    for module, kept in hooks.items():
        module._forward_hooks.update(kept)
    return [after - before for before, after in zip(*ends, strict=True)]


@pytest.mark.parametrize("ablation", ["zero", "mean", "mean-positional"])
def test_eap_under_a_constant_ablation_is_the_slope_of_fading_an_edge(ablation):
    model, inputs, step = tiny("gpt_neox", layers=1), random_pairs(3), 1e-4
    anatomy = anatomy_of(model)
    with in_double(), prepared(model), torch.no_grad():
        scores = attribute(model, inputs, method="eap", ablation=ablation)
        graph, weights = scores.graph, Weights(anatomy)
        edges = graph.edge_mask.nonzero().tolist()
        masks = graph.edge_mask.double().repeat(2 * len(edges), 1, 1)
        for index, (source, destination) in enumerate(edges):
            masks[2 * index, source, destination] -= step
            masks[2 * index + 1, source, destination] += step
        [batch] = batches(inputs, anatomy.device, 1000, share_prefix=False)
        reference = reference_run(anatomy, weights, batch, constant(anatomy, ablation, inputs, 1000))
        logits = run_circuits(anatomy, graph, weights, reference, masks)
        loss = torch.stack([batch.losses(METRICS["logit_diff"], one, one).mean() for one in logits])
    slopes = (loss[0::2] - loss[1::2]) / (2 * step)
    assert relative(torch.stack([scores.values[s, r] for s, r in edges]), slopes) < 1e-6


def test_information_flow_is_the_share_of_what_a_destination_reads():
    model, inputs = tiny("gpt_neox_serial"), random_pairs(2)
    anatomy = anatomy_of(model)
    with in_double(), torch.no_grad():
        scores = attribute(model, inputs, method="information-flow", per_example=True)
        run = Streams(anatomy)
        run.run(inputs.clean)
        with recorded_readers(anatomy, 2) as read:
            forward(anatomy, anatomy.embed(inputs.clean), Prefix(0, None))
    graph = scores.graph
    column = graph.mlp_destination(1)
    x = read.mlp_stream[1]
    sources = graph.edge_mask[:, column].nonzero()[:, 0].tolist()
    near = torch.stack([(x.abs().sum(-1) - (x - run.written[s]).abs().sum(-1)).clamp_min(0) for s in sources])
    torch.testing.assert_close(scores.examples[:, sources, column].double(), (near / near.sum(0)).mean(-1).T)
    assert float(scores.values[:, -1].sum()) == pytest.approx(1)


@pytest.mark.parametrize("method", ["eap", "eap-ig"])
def test_a_nodes_score_is_the_gradient_at_its_output_times_its_change(method):
    model, inputs = tiny("gpt_neox"), random_pairs(3)
    anatomy = anatomy_of(model)
    mlp = anatomy.blocks[0].mlp.writes
    with in_double(), prepared(model):
        scores = attribute(model, inputs, method=method, steps=3)
        corrupted, clean = (anatomy.embed(tokens) for tokens in (inputs.corrupted, inputs.clean))
        written = [_output(anatomy, mlp, e) for e in (clean, corrupted)]
        alphas = [1.0] if method == "eap" else [1 / 6, 1 / 2, 5 / 6]
        gradient = sum(_gradient(anatomy, mlp, corrupted + a * (clean - corrupted), inputs) for a in alphas)
    expected = float(((written[1] - written[0]) * gradient).sum()) / len(alphas) / len(inputs)
    assert scores.nodes["m0"] == pytest.approx(expected, rel=1e-8)


def _output(anatomy, module, embeddings):
    seen = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
    anatomy.model(inputs_embeds=embeddings)
    handle.remove()
    return seen[0].detach()


def _gradient(anatomy, module, embeddings, inputs):
    seen = []

    def watch(_, __, output):
        seen.append(output.detach().requires_grad_())
        return seen[0]

    handle = module.register_forward_hook(watch)
    logits = anatomy.model(inputs_embeds=embeddings).logits[:, -1]
    handle.remove()
    rows = torch.arange(len(inputs))
    loss = (logits[rows, inputs.wrong] - logits[rows, inputs.answer]).sum()
    return torch.autograd.grad(loss, seen[0])[0]


def _long(tokens: int = 3) -> EncodedPairs:
    """Answers of one to three tokens."""
    base, other = random_pairs(4), random_pairs(4, seed=5)
    answer = torch.stack([base.answer, other.answer, other.clean[:, 0]], 1)[:, :tokens].clone()
    wrong = torch.stack([base.wrong, other.wrong, other.clean[:, 1]], 1)[:, :tokens].clone()
    answer[0, 1:] = -100
    wrong[1, 2:] = -100
    return EncodedPairs(base.clean, base.corrupted, answer, wrong)


def _log_probability(model, prompt, answer):
    """Of an answer, token by token, by the model called as usual."""
    total, ids = 0.0, prompt.tolist()
    for token in answer[answer >= 0].tolist():
        total += float(model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token])
        ids.append(token)
    return total


@torch.no_grad()
def test_answers_of_several_tokens_are_judged_by_their_log_probability():
    model, inputs = tiny("llama"), _long()
    with in_double():
        graph = Graph.of(anatomy_of(model))
        full = Circuit(graph.edge_mask, graph)
        result = evaluate(model, inputs, full)
        nll = evaluate(model, inputs, full, metric="nll")
        right = [_log_probability(model, p, a) for p, a in zip(inputs.clean, inputs.answer, strict=True)]
        wrong = [_log_probability(model, p, a) for p, a in zip(inputs.clean, inputs.wrong, strict=True)]
        off = [_log_probability(model, p, a) for p, a in zip(inputs.corrupted, inputs.answer, strict=True)]
    expected = torch.tensor([a - b for a, b in zip(right, wrong, strict=True)])
    torch.testing.assert_close(result.model.metric.float(), expected)
    torch.testing.assert_close(result.circuit.metric.float(), expected)
    torch.testing.assert_close(nll.corrupted.metric.float(), -torch.tensor(off))


@pytest.mark.parametrize("metric", ["logit_diff", "nll", "kl"])
def test_scores_of_several_tokens_do_not_depend_on_batches(metric):
    model, inputs = tiny("gpt_neox", layers=1), _long()
    method = (
        "eap-ig" if metric == "kl" else "eap"
    )  # at the clean run the gradient of KL is 0, and its scores rounding
    with in_double():
        scores = attribute(model, inputs, metric=metric, method=method, per_example=True)
        again = attribute(model, inputs, metric=metric, method=method, batch_size=1, share_prefix=False)
    assert relative(again.values, scores.values) < 1e-9
    assert relative(scores.examples.mean(0), scores.values) < 1e-6


def test_scores_of_several_tokens_add_up_to_the_rise_of_the_loss():
    with in_double():
        scores = attribute(tiny("gpt_neox", layers=1), _long(), quadrature="gauss", steps=20)
    assert scores.completeness is not None
    assert scores.completeness < 1e-5


def test_one_token_in_two_dimensions_is_one_token():
    model, inputs = tiny(), random_pairs(3)
    wide = EncodedPairs(inputs.clean, inputs.corrupted, inputs.answer[:, None], inputs.wrong[:, None])
    one = attribute(model, inputs, metric="nll")
    assert relative(attribute(model, wide, metric="nll").values, one.values) < 1e-6


def test_prob_diff_weighs_sets_of_answers():
    model, inputs = tiny(), random_pairs(3)
    sets = torch.tensor([[3, 4, -100], [5, -100, -100], [6, 7, 8]])
    others = torch.tensor([[10, 11], [12, -100], [13, 14]])
    inputs = replace(inputs, answer_set=sets, wrong_set=others)
    with in_double():
        scores = attribute(model, inputs, metric="prob_diff", quadrature="gauss", steps=24)
        result = evaluate(model, inputs, scores.top(1.0), metric="prob_diff")
        p = model(input_ids=inputs.clean).logits[:, -1].softmax(-1).detach()
    expected = [
        float(row[right[right >= 0]].sum() - row[wrong[wrong >= 0]].sum())
        for row, right, wrong in zip(p, sets, others, strict=True)
    ]
    torch.testing.assert_close(result.model.metric.float(), torch.tensor(expected))
    assert scores.completeness is not None
    assert scores.completeness < 1e-5


def test_a_metric_that_reads_one_position_refuses_longer_answers():
    with pytest.raises(InputError, match="one position"):
        attribute(tiny(), _long(), metric="prob_diff")


def test_mean_positional_needs_prompts_of_one_length():
    inputs = random_pairs(3)
    mask = torch.ones_like(inputs.clean).bool()
    mask[0, -1] = False
    with pytest.raises(InputError, match="one length"):
        attribute(tiny(), replace(inputs, mask=mask), ablation="mean-positional")


def test_without_its_circuit_a_model_is_worse_and_the_rest_adds_up():
    model, inputs = tiny(layers=3), random_pairs(6)
    circuit = attribute(model, inputs).top(0.3)
    rest = without(circuit)
    assert len(circuit) + len(rest) == circuit.graph.edges
    assert not (circuit & rest).mask.any()
    out = knockout(model, inputs, circuit)
    kept = evaluate(model, inputs, circuit)
    assert out.normalized is None or kept.normalized is None or out.normalized.estimate < kept.normalized.estimate


def test_minimality_is_what_each_edge_adds_to_the_circuit():
    model, inputs = tiny(), random_pairs(5)
    circuit = attribute(model, inputs).top(20)
    found = minimality(model, inputs, circuit)
    assert found.edges == circuit.edges
    source, destination = circuit.mask.nonzero()[3].tolist()
    mask = circuit.mask.clone()
    mask[source, destination] = False
    with_it, without_it = evaluate(model, inputs, [circuit, Circuit(mask, circuit.graph)])
    rise = (with_it.circuit.metric - without_it.circuit.metric).double().mean()
    assert float(found.rise[3]) == pytest.approx(float(rise), abs=1e-6)
    assert set(found.idle(1e9)) == set(circuit.edges)


def test_greedy_and_node_circuits_lie_on_paths():
    scores = attribute(tiny(layers=3), random_pairs(5))
    for circuit in (scores.greedy(40), scores.top_nodes(6)):
        assert len(circuit) > 0
        assert Circuit(circuit.mask, circuit.graph) == circuit
    assert len(scores.top_nodes(6).nodes) <= 8
    assert scores.greedy(10_000).mask.equal(scores.top(1.0).mask)


def test_in_a_linear_model_eap_is_exact_for_every_edge(monkeypatch):
    """parity.md 4.9, item 10: without norms, softmax and activations the first order is all there is."""
    model, inputs = tiny("gpt2"), random_pairs(3)
    for block in model.transformer.h:
        block.mlp.act = torch.nn.Identity()
        block.attn.c_attn.weight.data[:, :64] = 0  # no queries and no keys: attention is even
        block.attn.c_attn.bias.data[:64] = 0
        block.ln_1, block.ln_2 = torch.nn.Identity(), torch.nn.Identity()
    model.transformer.ln_f = torch.nn.Identity()
    monkeypatch.setitem(FAMILIES, "linear", _without_norms)
    model.config.model_type = "linear"
    with in_double():
        eap, exact = (attribute(model, inputs, method=method) for method in ("eap", "exact"))
    assert relative(eap.values, exact.values) < 1e-9


def _without_norms(model):
    anatomy = gpt2_anatomy(model)
    blocks = tuple(
        replace(block, attention_norm=Norm(block.module.ln_1, "none"), mlp_norm=Norm(block.module.ln_2, "none"))
        for block in anatomy.blocks
    )
    return replace(anatomy, blocks=blocks, final_norm=Norm(model.transformer.ln_f, "none"))


def test_the_independent_path_itself_sees_a_planted_error():
    """The comparison of test_families would notice: scores of another loss differ."""
    model, inputs = tiny(), random_pairs(2)
    with in_double(), prepared(model):
        right = autograd_scores(anatomy_of(model), inputs.clean, inputs.corrupted, inputs.answer, inputs.wrong)
        other = autograd_scores(anatomy_of(model), inputs.clean, inputs.corrupted, inputs.wrong, inputs.answer)
    assert relative(other, right) > 1e-2
