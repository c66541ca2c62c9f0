"""Every architecture: scores against an independent autograd path, and what must hold of any model."""

import pytest
import torch

from circuits.independent import Streams, autograd_scores
from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of, concatenated
from circuitune.models.running import Prefix, attend, forward, prepared, recorded_calls, recorded_readers
from circuitune.testing import SHAPES, in_double, random_pairs, tiny_model
from marks import slow_but


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def tiny(family: str, layers: int = 2):
    return tiny_model(family, layers=layers, kv_heads=2, dtype=torch.float64)


USUAL = ("gpt2", "gpt_neo", "gpt_neox", "opt", "llama", "gemma2", "qwen3")
"""Families of which every check is part of ``make test``; of the others the scores alone are."""


@pytest.mark.parametrize("family", SHAPES)
def test_scores_equal_an_independent_autograd_path(family):
    """A copy of the stream per destination, and no mathematics of ours, in float64."""
    model, inputs = tiny(family), random_pairs(3, positions=7, first_difference=3, common=2)
    with in_double(), prepared(model):
        expected = autograd_scores(anatomy_of(model), inputs.clean, inputs.corrupted, inputs.answer, inputs.wrong)
        for share_prefix in (True, False):
            scores = attribute(model, inputs, method="eap", share_prefix=share_prefix)
            assert relative(scores.values.double(), expected) < 1e-8


@pytest.mark.parametrize("family", slow_but(SHAPES, *USUAL))
def test_the_stream_is_the_sum_of_its_sources(family):
    """What the logits read is the embedding, the heads, the MLPs, and a rest that no prompt changes."""
    model, inputs = tiny(family), random_pairs(4)
    anatomy = anatomy_of(model)
    rests = []
    with torch.no_grad(), in_double():
        for tokens in (inputs.clean, inputs.corrupted):
            run = Streams(anatomy)
            run.run(tokens)
            with recorded_readers(anatomy, len(tokens)) as read:
                forward(anatomy, anatomy.embed(tokens), Prefix(0, None))
            written = torch.stack([x.reshape(*tokens.shape, -1) for x in run.written.values()])
            assert len(written) == len(run.graph.sources)
            rests.append(read.final_stream[0] - written.sum(0))
    torch.testing.assert_close(rests[0], rests[1])
    torch.testing.assert_close(rests[0], rests[0][:1].expand_as(rests[0]))


@pytest.mark.parametrize("family", slow_but(SHAPES, *USUAL))
def test_an_input_of_a_head_reaches_that_head_alone(family):
    """The layout of the projections: a q input changes its own head, a k or v input the heads of its group.

    OLMo's norms over all queries and over all keys couple the heads: there only the values are tried.
    """
    anatomy = anatomy_of(tiny(family))
    tokens = random_pairs(1).clean
    with torch.no_grad(), recorded_readers(anatomy, 1) as read, recorded_calls(anatomy) as calls:
        forward(anatomy, anatomy.embed(tokens), Prefix(0, None))
    layout = anatomy.blocks[1].layout
    fused = concatenated(read.projections[1])
    group = anatomy.heads // anatomy.kv_heads
    kinds = (2,) if family in ("olmo2", "olmo3") else (0, 1, 2)
    with torch.no_grad():
        before = attend(anatomy, 1, calls[1], fused, Prefix(0, None)).unflatten(-1, (anatomy.heads, -1))
        for kind in kinds:
            for index in range(anatomy.kv_heads if kind else anatomy.heads):
                parts = [part.clone() for part in layout.split(fused)]
                parts[kind][..., index, :] += torch.randn_like(parts[kind][..., index, :])
                after = attend(anatomy, 1, calls[1], layout.merge(*parts), Prefix(0, None))
                changed = (after.unflatten(-1, (anatomy.heads, -1)) - before).abs().sum((0, 1, 3)) > 1e-9
                own = range(index * group, (index + 1) * group) if kind else [index]
                expected = [head in own for head in range(anatomy.heads)]
                if anatomy.blocks[1].heads_norm is None:  # its 1/rms is part of what a head writes
                    assert changed.tolist() == expected


REST = [
    pytest.param(family, ablation, marks=pytest.mark.slow)
    for family in SHAPES
    for ablation in ("zero", "mean", "mean-positional")
    if family not in ("gemma2", "gptj", "olmo2")
]
SOME = [
    (family, ablation) for family in ("gemma2", "gptj", "olmo2") for ablation in ("zero", "mean", "mean-positional")
]


@pytest.mark.parametrize(
    ("family", "ablation"),
    [
        *slow_but([(family, "interchange") for family in SHAPES], *((family, "interchange") for family in USUAL)),
        *SOME,
        *REST,
    ],
)
def test_the_full_circuit_is_the_model_the_empty_one_the_ablated_model_and_one_edge_its_exact_score(family, ablation):
    model, inputs = tiny(family), random_pairs(3, positions=7, first_difference=3, common=2)
    with in_double():
        exact = attribute(model, inputs, method="exact", ablation=ablation)
        graph = exact.graph
        full, empty = Circuit(graph.edge_mask, graph), Circuit(torch.zeros_like(graph.edge_mask), graph)
        edges = graph.edge_mask.nonzero()[::9].tolist()
        without = []
        for source, destination in edges:
            mask = graph.edge_mask.clone()
            mask[source, destination] = False
            without.append(Circuit(mask, graph))
        whole, nothing, *rest = evaluate(model, inputs, [full, empty, *without], ablation=ablation)
    torch.testing.assert_close(whole.circuit.metric, whole.model.metric)
    torch.testing.assert_close(nothing.circuit.metric, nothing.corrupted.metric)
    rises = torch.stack([(one.model.metric - one.circuit.metric).mean() for one in rest])
    scores = torch.stack([exact.values[source, destination] for source, destination in edges])
    assert relative(scores, rises) < 1e-9


@pytest.mark.parametrize("family", ["gptj", "falcon_7b", "olmo2", "gemma3", "bloom"])
def test_the_edges_out_of_the_input_add_up_to_the_rise_of_the_loss(family):
    """A norm that attention and MLP share, none before them, one after them, one that belongs to the input."""
    with in_double():
        scores = attribute(tiny(family), random_pairs(2), quadrature="gauss", steps=32)
    assert scores.completeness is not None
    assert scores.completeness < 2e-3


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("opt", {"do_layer_norm_before": False}, "OPT-350m"),
        ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "normalised stream"),
        ("gemma2", {"attention_bias": True}, "attention_bias"),
        ("gpt2", {"add_cross_attention": True}, "cross-attention"),
    ],
)
def test_a_variant_whose_stream_is_no_sum_of_nodes_is_refused_by_name(family, change, words):
    config = tiny(family).config
    config.update(change)
    model = type(tiny(family))(config)
    with pytest.raises(InputError, match=words):
        Graph.of(anatomy_of(model))
