"""One model with another's activations on some edges: what must hold exactly, and a slow run of the definition."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from circuits.independent import Streams
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit
from circuitune.circuits.transplant import transplant
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import Version, before_and_after
from circuitune.testing import in_double, random_pairs, tiny_model

FAMILIES = ["gpt_neox", "gpt_neox_serial", "llama", "olmo2"]
INPUTS = random_pairs(3, positions=6)


def adapted(family="gpt_neox", targets="all-linear", std=0.2):
    model = tiny_model(family, layers=2, kv_heads=2 if family == "llama" else None, dtype=torch.float64)
    config = LoraConfig(r=2, target_modules=targets)
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = std * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.eval()


def some_edges(graph, share, seed=0):
    drawn = torch.rand(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed))
    return Circuit(graph.edge_mask & (drawn < share), graph)


def into_logits(graph):
    mask = torch.zeros_like(graph.edge_mask)
    mask[:, -1] = True
    return Circuit(mask, graph)


def difference(logits):
    rows = torch.arange(len(INPUTS))
    return (logits[rows, INPUTS.answer] - logits[rows, INPUTS.wrong]).float()


class Swapped(Streams):
    """Every destination's copy of the stream is the sum that the definition says, written out source by source."""

    def __init__(self, anatomy, clean, donor, swapped):
        super().__init__(anatomy)
        self.clean, self.donor, self.swapped = clean, donor, swapped

    def base(self, column):
        read = self.clean.copies[column]
        sources = self.graph.edge_mask[:, column].nonzero()[:, 0].tolist()
        return read - sum(self.clean.written[u][:, -read.shape[1] :] for u in sources), sources

    def copy(self, column, stream):
        x, sources = self.base(column)
        for u in sources:
            z = self.donor.written[u] if self.swapped.mask[u, column] else self.written[u]
            x = x + z.reshape(len(x), -1, x.shape[-1])[:, -x.shape[1] :]
        return x.view_as(stream)


def slow_difference(receiver, donor, swapped):
    with donor.active() as anatomy:
        given = Streams(anatomy)
        given.run(INPUTS.clean)
    with receiver.active() as anatomy:
        clean = Streams(anatomy)
        clean.run(INPUTS.clean)
        return difference(Swapped(anatomy, clean, given, swapped).run(INPUTS.clean))


@pytest.mark.parametrize(("family", "reverse"), [*((family, False) for family in FAMILIES), ("llama", True)])
def test_any_set_of_edges_gives_what_the_definition_says(family, reverse):
    with in_double():
        donor, receiver = before_and_after(adapted(family))
        if reverse:
            donor, receiver = receiver, donor
        graph = Graph.of(anatomy_of(receiver.model))
        sets = [some_edges(graph, share, seed) for seed, share in enumerate((0.1, 0.8))]
        result = transplant(receiver, donor, INPUTS, sets)
        for edges, run in zip(sets, result.swapped, strict=True):
            expected = slow_difference(receiver, donor, edges)
            torch.testing.assert_close(run.metric, expected, rtol=1e-6, atol=1e-6)
            assert float((run.metric - result.own.metric).abs().max()) > 1e-2


@pytest.mark.parametrize("family", ["gpt_neox", "olmo2"])
def test_no_edge_is_the_receiver_and_all_edges_into_the_logits_the_donor(family):
    with in_double():
        before, after = before_and_after(adapted(family))
        graph = Graph.of(anatomy_of(after.model))
        none, every = Circuit(torch.zeros_like(graph.edge_mask), graph), Circuit(graph.edge_mask, graph)
        result = transplant(after, before, INPUTS, [none, every, into_logits(graph)])
        with after.active():
            tuned = difference(after.model(input_ids=INPUTS.clean).logits[:, -1])
        with before.active():
            base = difference(before.model(input_ids=INPUTS.clean).logits[:, -1])
    for run, expected in zip(
        (result.own, result.all, *result.swapped), (tuned, base, tuned, base, base), strict=True
    ):
        torch.testing.assert_close(run.metric, expected, rtol=1e-6, atol=1e-6)
    assert float((tuned - base).abs().max()) > 0.1


def test_a_model_that_is_its_own_donor_does_not_change():
    with in_double():
        model = adapted("llama")
        graph = Graph.of(anatomy_of(model))
        sets = [some_edges(graph, share) for share in (0.1, 0.5, 1.0)]
        result = transplant(Version(model), Version(model), INPUTS, sets)
    for run in (result.all, *result.swapped):
        torch.testing.assert_close(run.metric, result.own.metric, rtol=1e-6, atol=1e-6)


def test_two_separate_models_are_as_one_with_its_adapter_off_and_on():
    model = adapted("llama")
    merged = copy.deepcopy(model).merge_and_unload()
    base = tiny_model("llama", layers=2, kv_heads=2, dtype=torch.float64)
    graph = Graph.of(anatomy_of(model))
    edges = [some_edges(graph, 0.3)]
    with in_double():
        one = transplant(*reversed(before_and_after(model)), INPUTS, edges)
        two = transplant(*reversed(before_and_after(merged, base)), INPUTS, edges, batch_size=2)
    torch.testing.assert_close(one.swapped[0].metric, two.swapped[0].metric)
    assert torch.equal(one.swapped[0].correct, two.swapped[0].correct)


def test_a_full_fine_tune_keeps_its_own_unembedding():
    """Norms, biases and unembedding differ too: the definition's slow run, and the donor is no longer reached."""
    base, tuned = (tiny_model("gpt2", layers=2, seed=seed, dtype=torch.float64) for seed in (0, 1))
    graph = Graph.of(anatomy_of(base))
    every, some = Circuit(graph.edge_mask, graph), some_edges(graph, 0.4)
    donor, receiver = before_and_after(tuned, base)
    result = transplant(receiver, donor, INPUTS, [every, some])
    for edges, run in zip((every, some), result.swapped, strict=True):
        torch.testing.assert_close(run.metric, slow_difference(receiver, donor, edges), rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        assert not torch.allclose(result.all.metric, difference(base(input_ids=INPUTS.clean).logits[:, -1]))


def test_a_change_of_one_heads_output_passes_through_the_edges_that_leave_it():
    base = tiny_model("llama", layers=2, kv_heads=2, dtype=torch.float64)
    tuned = copy.deepcopy(base)
    with torch.no_grad():  # head 1 of layer 0 writes otherwise, and nothing else is changed
        tuned.model.layers[0].self_attn.o_proj.weight[:, 8:16] *= -1
    graph = Graph.of(anatomy_of(base))
    leaving = torch.zeros_like(graph.edge_mask)
    leaving[graph.sources.index("a0.h1")] = graph.edge_mask[graph.sources.index("a0.h1")]
    before, after = before_and_after(tuned, base)
    edges = [Circuit(leaving, graph), Circuit(graph.edge_mask & ~leaving, graph)]
    with in_double():
        result = transplant(after, before, INPUTS, edges)
        original = evaluate(base, INPUTS, Circuit(graph.edge_mask, graph)).model
    torch.testing.assert_close(result.swapped[0].metric, original.metric, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(result.swapped[1].metric, original.metric, atol=1e-2)


def test_padding_and_answers_of_several_tokens():
    model = adapted()
    clean, corrupted = (nn.functional.pad(ids, (0, 2)) for ids in (INPUTS.clean, INPUTS.corrupted))
    mask = nn.functional.pad(torch.ones_like(INPUTS.clean, dtype=torch.bool), (0, 2))
    padded = EncodedPairs(clean, corrupted, INPUTS.answer, INPUTS.wrong, mask)
    longer = EncodedPairs(
        INPUTS.clean, INPUTS.corrupted, *(torch.stack([x, x.flip(0)], 1) for x in (INPUTS.answer, INPUTS.wrong))
    )
    edges = [some_edges(Graph.of(anatomy_of(model)), 0.3), into_logits(Graph.of(anatomy_of(model)))]
    before, after = before_and_after(model)
    plain, other = (transplant(after, before, pairs, edges) for pairs in (INPUTS, padded))
    torch.testing.assert_close(plain.swapped[0].metric, other.swapped[0].metric)
    several = transplant(after, before, longer, edges)
    donor = transplant(before, after, longer, edges)
    torch.testing.assert_close(several.swapped[1].metric, donor.own.metric, rtol=1e-6, atol=1e-6)


def test_other_shapes_and_a_metric_of_one_model_are_refused():
    model = adapted()
    before, after = before_and_after(model)
    other = Graph(3, 4, 4, parallel=True)
    with pytest.raises(InputError, match="different graphs"):
        transplant(after, before, INPUTS, [Circuit(other.edge_mask, other)])
    with pytest.raises(InputError, match="different graphs"):
        transplant(after, Version(tiny_model(layers=3)), INPUTS, [])
    with pytest.raises(InputError, match="widths are 32 and 64"):
        transplant(after, Version(tiny_model(layers=2, width=64)), INPUTS, [])
    with pytest.raises(InputError, match="'kl'"):
        transplant(after, before, INPUTS, [], metric="kl")
