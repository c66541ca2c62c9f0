"""Exact edge scores: the loss with one edge ablated, less the clean loss.

Ablating u -> v changes what v alone reads, by a_u - z_u(clean). So v is computed anew on that stream, what its output
changes is added to the clean stream after its block, and the model's own remaining blocks run from there. Everything
before v is the clean run, shared by all edges; many edges of one block go through as one batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitune.circuits.ablation import Constant
from circuitune.circuits.batches import Batch
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.metrics import Metric
from circuitune.circuits.pullback import differences
from circuitune.circuits.weights import Weights
from circuitune.models.anatomy import Anatomy, at_least_float32, concatenated
from circuitune.models.running import (
    Call,
    Prefix,
    Readers,
    Writers,
    attend,
    forward,
    recorded_calls,
    recorded_readers,
    recorded_writers,
    shared_prefix,
)


@dataclass(frozen=True)
class _Clean:
    """The clean run of a batch, and what ablating each source changes in the streams that read it."""

    read: Readers
    written: Writers
    attention: list[Call]
    blocks: list[Call]
    prefix: Prefix
    logits: Float[Tensor, "B T V"]
    difference: Float[Tensor, "S B P D"]


@torch.no_grad()
def exact_scores(
    anatomy: Anatomy,
    graph: Graph,
    weights: Weights,
    batch: Batch,
    metric: Metric,
    constant: Constant | None,
    wanted: Bool[Tensor, "S R"] | None = None,
    memory: int = BUDGET,
) -> Float[Tensor, "B S R"]:
    """Exact scores of every edge, or of the `wanted` ones (0 elsewhere), per example."""
    clean = _clean_run(anatomy, graph, weights, batch, constant)
    run = _Exact(anatomy, graph, weights, batch, clean, graph.edge_mask if wanted is None else wanted, memory)
    baseline = batch.losses(metric, run.clean.logits, run.clean.logits)
    scores = baseline.new_zeros(len(batch), len(graph.sources), len(graph.destinations))
    for sources, destinations, logits_CBTV in run.all():
        for source, destination, logits in zip(sources, destinations, logits_CBTV, strict=True):
            loss = batch.losses(metric, logits, run.clean.logits)
            scores[:, source, destination] = loss - baseline
    return scores


def _clean_run(anatomy: Anatomy, graph: Graph, weights: Weights, batch: Batch, constant: Constant | None) -> _Clean:
    rows = len(batch)
    prefix = shared_prefix(anatomy, batch.clean, batch.shared)
    clean = anatomy.embed(batch.clean[:, batch.shared :])
    with (
        recorded_readers(anatomy, rows) as read,
        recorded_writers(anatomy, rows) as written,
        recorded_calls(anatomy) as attention,
        recorded_calls(anatomy, lambda block: block.module) as blocks,
    ):
        logits = forward(anatomy, clean, prefix, batch.tokens)
    if constant is None:
        inputs = anatomy.embed(batch.corrupted[:, batch.shared :])
        with recorded_writers(anatomy, rows) as other:
            forward(anatomy, inputs, prefix)
    else:
        inputs, other = constant.inputs, constant.written
    change = Writers(
        heads=[b - a for a, b in zip(written.heads, other.heads, strict=True)],
        mlps=[b - a for a, b in zip(written.mlps, other.mlps, strict=True)],
    )
    difference = differences(graph, weights, inputs - clean, change).to(anatomy.dtype)
    return _Clean(read, written, attention, blocks, prefix, logits, difference)


@dataclass(frozen=True)
class _Exact:
    anatomy: Anatomy
    graph: Graph
    weights: Weights
    batch: Batch
    clean: _Clean
    wanted: Bool[Tensor, "S R"]
    memory: int

    def all(self) -> Iterator[tuple[Sequence[int], Sequence[int], Float[Tensor, "C B T V"]]]:
        """Sources, destinations and logits of all edges, some at a time."""
        graph = self.graph
        for layer in range(graph.layers):
            groups = (graph.query_destinations(layer), graph.key_destinations(layer), graph.value_destinations(layer))
            for group, columns in enumerate(groups):

                def heads(u: Tensor, v: Tensor, layer: int = layer, group: int = group) -> Tensor:
                    return self._after_attention(layer, group, u, v)

                yield from self._chunked(columns, layer, heads)
            column = graph.mlp_destination(layer)

            def mlp(u: Tensor, v: Tensor, layer: int = layer) -> Tensor:
                stream = self.clean.read.mlp_stream[layer] + self.clean.difference[u]
                return self._stream_after(layer) + self._mlp_change(layer, stream)

            yield from self._chunked(slice(column, column + 1), layer, mlp)
        final = self.clean.read.final_stream[0]
        last = slice(graph.logits_destination, graph.logits_destination + 1)
        yield from self._chunked(last, graph.layers - 1, lambda u, v: final + self.clean.difference[u])

    def _chunked(
        self, columns: slice, layer: int, stream_after: Callable[[Tensor, Tensor], Tensor]
    ) -> Iterator[tuple[Sequence[int], Sequence[int], Tensor]]:
        """Logits of the wanted edges into these destinations, given the stream [C, B, P, D] after that block."""
        _, B, P, D = self.clean.difference.shape
        # About 16 float32 tensors of the stream's shape and 5 of the logits' at a time.
        size = max(1, self.memory // (64 * B * P * D + 20 * self.clean.logits.numel()))
        chosen = self.wanted[:, columns].T.nonzero() + torch.tensor([columns.start, 0])
        for start in range(0, len(chosen), size):
            v, u = chosen[start : start + size].unbind(1)
            sources, destinations = u.tolist(), v.tolist()
            hidden = stream_after(u, v).flatten(0, 1)
            for later in range(layer + 1, self.graph.layers):
                call = self.clean.blocks[later]
                hidden = call.repeat(self.anatomy.blocks[later].module, hidden, self.clean.prefix, later)
            logits = at_least_float32(self.anatomy.logits(hidden[:, -self.batch.tokens :]))
            yield sources, destinations, logits.unflatten(0, (len(sources), -1))

    def _stream_after(self, layer: int) -> Float[Tensor, "B P D"]:
        read = self.clean.read
        return read.attention_stream[layer + 1] if layer + 1 < self.graph.layers else read.final_stream[0]

    def _after_attention(
        self, layer: int, group: int, u: Int[Tensor, " C"], v: Int[Tensor, " C"]
    ) -> Float[Tensor, "C B P D"]:
        """The stream after a block in which one q, k or v input per copy lacks one source."""
        clean, block = self.clean, self.anatomy.blocks[layer]
        columns = (
            self.graph.query_destinations(layer),
            self.graph.key_destinations(layer),
            self.graph.value_destinations(layer),
        )[group]
        reader = self.weights.readers(layer)[group]
        assert reader.weight is not None
        head = v - columns.start
        normalised, _ = reader.norm.statistics(clean.read.attention_stream[layer] + clean.difference[u])
        output = torch.einsum("cbpd,ced->cbpe", normalised, reader.weight[head]) + reader.at_zero[head][:, None, None]
        C = len(u)
        fused = concatenated(clean.read.projections[layer])
        parts = [part.expand(C, *part.shape).clone() for part in block.layout.split(fused)]
        parts[group][torch.arange(C), :, :, head] = output
        merged = block.layout.merge(*parts).flatten(0, 1)
        a = attend(self.anatomy, layer, clean.attention[layer], merged, clean.prefix)
        change = a.unflatten(0, (C, -1)) - clean.written.heads[layer]
        added = change @ self.weights.output(layer).flatten(0, 1)
        after = self._stream_after(layer) + added
        return after if self.graph.parallel else after + self._mlp_change(layer, clean.read.mlp_stream[layer] + added)

    def _mlp_change(self, layer: int, stream_CBPD: Float[Tensor, "C B P D"]) -> Float[Tensor, "C B P D"]:
        """What the MLP writes on these streams, less what it writes in the clean run."""
        block = self.anatomy.blocks[layer]
        after = block.run_mlp(stream_CBPD.flatten(0, 1))
        return after.view_as(stream_CBPD) - self.clean.written.mlps[layer]
