"""Names and index arithmetic, against the reference's own lists and the counts of parity.md 4.1."""

import pytest
import torch

from circuits.golden import golden
from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2"])
def test_names_and_edges_equal_the_reference(name):
    facts = golden(name)
    graph = Graph.of(anatomy_of(facts.model))
    assert list(graph.sources) == facts.facts["sources"]
    assert list(graph.destinations) == facts.facts["destinations"]
    assert torch.equal(graph.edge_mask, facts.arrays["edge_mask"].bool())


@pytest.mark.parametrize(
    ("layers", "heads", "parallel", "edges"),
    [
        (12, 12, False, 32_491),
        (12, 12, True, 32_347),
        (24, 16, True, 231_493),
        (48, 25, False, 2_235_025),
        (8, 8, True, 6_573),
    ],
)
def test_number_of_edges(layers, heads, parallel, edges):
    assert Graph(layers, heads, heads, parallel).edges == edges


def test_grouped_query_attention_names_key_value_heads():
    graph = Graph(2, 4, 2, parallel=False)
    block = ["a1.h0<q>", "a1.h1<q>", "a1.h2<q>", "a1.h3<q>", "a1.kv0<k>", "a1.kv1<k>", "a1.kv0<v>", "a1.kv1<v>", "m1"]
    assert list(graph.destinations[9:18]) == block
    column = graph.destinations.index("a1.kv1<k>")
    fed = [name for name, feeds in zip(graph.sources, graph.feeds[column].tolist(), strict=True) if feeds]
    assert fed == ["a1.h2", "a1.h3"]


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_layers_and_kinds_agree_with_names(kv_heads, collapsed):
    graph = Graph(3, 4, kv_heads, parallel=True, collapsed=collapsed)
    for name, layer, kind in zip(graph.sources, graph.source_layer, graph.source_kind, strict=True):
        assert (name == "input") == (layer == -1) == (kind == "input")
        assert name == "input" or name.startswith(f"{'m' if kind == 'mlp' else 'a'}{layer}")
    for name, layer, kind in zip(graph.destinations, graph.destination_layer, graph.destination_kind, strict=True):
        assert (name == "logits") == (layer == 3) == (kind == "logits")
        assert kind not in "qkv" or name.endswith(f"<{kind}>")
    assert len(graph.destinations) == len(set(graph.destinations)) == graph.edge_mask.shape[1]


def test_edges_run_forward_only():
    for parallel in (False, True):
        graph = Graph(3, 2, 2, parallel)
        for source, destination in graph.edge_mask.nonzero().tolist():
            before, after = graph.source_layer[source], graph.destination_layer[destination]
            same_block = (
                before == after
                and graph.source_kind[source] == "head"
                and graph.destination_kind[destination] == "mlp"
            )
            assert before < after or (same_block and not parallel)


def test_a_record_is_a_graph_again():
    graph = Graph(2, 4, 2, parallel=False, collapsed=True)
    assert Graph.from_record(graph.to_record()) == graph


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 4, 3), (2, 0, 0)])
def test_an_impossible_shape_is_refused(shape):
    with pytest.raises(InputError, match="multiple of the key/value heads"):
        Graph(*shape, parallel=False)
