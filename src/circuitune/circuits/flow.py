"""Information flow routes (Ferrando & Voita 2024, https://arxiv.org/abs/2403.00824): no loss, gradient or corruption.

    proximity(u -> v) = max(|x_v|_1 - |x_v - z_u|_1, 0),    importance(u -> v) = proximity / sum over u of proximity,

averaged over the prompt's positions: which share of what v reads comes from u. All inputs of one block's heads read
the same stream, so their columns are equal.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.circuits.batches import Batch
from circuitune.circuits.graph import Graph
from circuitune.circuits.pullback import differences
from circuitune.circuits.weights import Weights
from circuitune.models.anatomy import Anatomy, at_least_float32
from circuitune.models.running import Prefix, forward, recorded_readers, recorded_writers


@torch.no_grad()
def information_flow(anatomy: Anatomy, graph: Graph, weights: Weights, batch: Batch) -> Float[Tensor, "B S R"]:
    """Importance of every edge on the clean prompts of a batch, per example."""
    clean, rows = anatomy.embed(batch.clean), len(batch)
    with recorded_readers(anatomy, rows) as read, recorded_writers(anatomy, rows) as written:
        forward(anatomy, clean, Prefix(0, None))
    output_SBPD = differences(graph, weights, clean, written)
    scores = output_SBPD.new_zeros(rows, len(graph.sources), len(graph.destinations))
    for layer in range(graph.layers):
        attention = _importance(read.attention_stream[layer], output_SBPD[: graph.sources_before_attention(layer)])
        columns = graph.attention_destinations(layer)
        scores[:, : attention.shape[1], columns] = attention[..., None]
        mlp = _importance(read.mlp_stream[layer], output_SBPD[: graph.sources_before_mlp(layer)])
        scores[:, : mlp.shape[1], graph.mlp_destination(layer)] = mlp
    scores[:, :, graph.logits_destination] = _importance(read.final_stream[0], output_SBPD)
    return scores


def _importance(stream_BPD: Tensor, output_SBPD: Tensor) -> Float[Tensor, "B S"]:
    stream = at_least_float32(stream_BPD).to(output_SBPD.device)
    whole = stream.abs().sum(-1)
    # One source at a time: the difference of all of them at once would double the memory of this method.
    proximity = torch.stack([(whole - (stream - output).abs().sum(-1)).clamp_min(0) for output in output_SBPD], 1)
    share = proximity / proximity.sum(1, keepdim=True).clamp_min(torch.finfo(proximity.dtype).tiny)
    return share.mean(-1)
