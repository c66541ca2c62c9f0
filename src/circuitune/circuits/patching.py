"""The model run as a circuit: every edge outside it carries an ablated activation.

Destination v receives

    x_v = base_v + sum over circuit edges u -> v of z_u(this run) + sum over other edges of a_u,

where z_u is what source u adds to the stream, a_u what an ablated edge carries (`ablation`), and base_v, what no
source writes (positions, attention output biases), is x_v(clean) - sum_u z_u(clean). An MLP's z includes its output
bias, a head's does not.

With the *reference run* in which every destination receives base_v + sum_u a_u (for interchange simply the corrupted
run), this is x_v = x_v(reference) + sum over circuit edges of delta_u, delta_u = z_u(this run) - a_u. A destination
without circuit edges reads what it read in the reference run, so only blocks with circuit edges are computed; and
circuits that share a reference run go through as one batch (C circuits x B examples).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from circuitune.circuits.ablation import Constant
from circuitune.circuits.batches import Batch
from circuitune.circuits.graph import Graph
from circuitune.circuits.weights import Reader, Weights
from circuitune.models.anatomy import Anatomy, at_least_float32, concatenated, materialised
from circuitune.models.running import (
    Call,
    Prefix,
    Writers,
    attend,
    forward,
    recorded_calls,
    recorded_readers,
    recorded_writers,
    shared_prefix,
)


@dataclass(frozen=True)
class Reference:
    """What the nodes of one batch read, write and are replaced by where no circuit edge says otherwise.

    Attributes:
        streams: per block the residual stream that attention and MLP read, [B, P, D] each.
        final: the stream the logits read at the last T positions, [B, T, D].
        projections: per block the outputs of the q, k, v projections, [B, P, O].
        written: what heads (before W_O) and MLPs write in the reference run.
        inputs: the `input` node's clean output and what replaces it, [B, P, D] each.
        carried: what an edge outside the circuit carries, as `written`.
        outputs: W_O of every block through which the heads of `carried` write; None for the model's own.
        clean_logits, logits: of the clean and of the reference run, [B, T, V].
    """

    streams: tuple[tuple[Tensor, Tensor], ...]
    final: Float[Tensor, "B T D"]
    projections: tuple[Tensor, ...]
    written: Writers
    inputs: tuple[Tensor, Tensor]
    carried: Writers
    clean_logits: Float[Tensor, "B T V"]
    logits: Float[Tensor, "B T V"]
    calls: tuple[Call, ...]
    prefix: Prefix
    outputs: tuple[Float[Tensor, "H E D"], ...] | None = None


@torch.no_grad()
def reference_run(anatomy: Anatomy, weights: Weights, batch: Batch, constant: Constant | None) -> Reference:
    """The clean run and the reference run of one batch; `constant` is None for interchange."""
    return _interchange(anatomy, batch) if constant is None else _constant(anatomy, weights, batch, constant)


def _interchange(anatomy: Anatomy, batch: Batch) -> Reference:
    rows, prefix = len(batch), shared_prefix(anatomy, batch.clean, batch.shared)
    clean, corrupted = (anatomy.embed(tokens[:, batch.shared :]) for tokens in (batch.clean, batch.corrupted))
    clean_logits = forward(anatomy, clean, prefix, batch.tokens)
    with (
        recorded_readers(anatomy, rows) as read,
        recorded_writers(anatomy, rows) as written,
        recorded_calls(anatomy) as calls,
    ):
        logits = forward(anatomy, corrupted, prefix, batch.tokens)
    return Reference(
        streams=tuple(zip(read.attention_stream, read.mlp_stream, strict=True)),
        final=read.final_stream[0][:, -batch.tokens :],
        projections=tuple(concatenated(outputs) for outputs in read.projections),
        written=written,
        inputs=(clean, corrupted),
        carried=written,
        clean_logits=clean_logits,
        logits=logits,
        calls=tuple(calls),
        prefix=prefix,
    )


def _constant(anatomy: Anatomy, weights: Weights, batch: Batch, constant: Constant) -> Reference:
    """Every destination of the reference run receives base_v + sum_u a_u.

    Added up, not taken as x_v(clean) + sum_u (a_u - z_u(clean)): where nothing is left of a stream (zero ablation),
    what is left of the rounding of terms that cancel would be blown up to any size by the norm that reads it.
    """
    rows, prefix = len(batch), Prefix(0, None)
    clean = anatomy.embed(batch.clean)
    with recorded_readers(anatomy, rows) as read, recorded_calls(anatomy) as calls:
        clean_logits = forward(anatomy, clean, prefix, batch.tokens)
    stream = constant.inputs + (read.attention_stream[0] - clean)
    streams, projections, written = [], [], Writers()
    for layer, block in enumerate(anatomy.blocks):
        weight_HED = weights.output(layer) if constant.outputs is None else constant.outputs[layer]
        heads = constant.written.heads[layer] @ weight_HED.flatten(0, 1) + weights.output_bias(layer)
        attention, mlp = stream, stream if anatomy.parallel else stream + heads
        stream = stream + heads + constant.written.mlps[layer]
        streams.append((attention, mlp))
        with materialised(anatomy.model, block.module):
            normalised = block.attention_norm(attention)
            projections.append(concatenated([projection(normalised) for projection in block.projections]))
        written.heads.append(attend(anatomy, layer, calls[layer], projections[-1], prefix))
        written.mlps.append(block.run_mlp(mlp))
    final = stream[:, -batch.tokens :]
    return Reference(
        streams=tuple(streams),
        final=final,
        projections=tuple(projections),
        written=written,
        inputs=(clean, constant.inputs.expand_as(clean)),
        carried=constant.written,
        clean_logits=clean_logits,
        logits=at_least_float32(anatomy.logits(final)),
        calls=tuple(calls),
        prefix=prefix,
        outputs=constant.outputs,
    )


@torch.no_grad()
def run_circuits(
    anatomy: Anatomy, graph: Graph, weights: Weights, reference: Reference, masks_CSR: Shaped[Tensor, "C S R"]
) -> Float[Tensor, "C B T V"]:
    """Logits at the last T positions of the model run as each of C circuits.

    `masks_CSR` is bool; a float mask lets an edge carry z_u(this run) in part, which finite differences use.
    """
    run = _Run(anatomy, graph, weights, reference, masks_CSR)
    run.write(0, (reference.inputs[0] - reference.inputs[1]).expand(run.C, -1, -1, -1))
    for layer in range(graph.layers):
        run.attention(layer)
        run.mlp(layer)
    return run.logits()


class _Run:
    """State of one run: delta_u of every source computed so far that some circuit edge leaves."""

    def __init__(
        self,
        anatomy: Anatomy,
        graph: Graph,
        weights: Weights,
        reference: Reference,
        masks_CSR: Shaped[Tensor, "C S R"],
    ) -> None:
        self.anatomy, self.graph, self.weights, self.reference = anatomy, graph, weights, reference
        stream = reference.inputs[0]
        self.C, (self.B, self.P, self.D) = len(masks_CSR), stream.shape
        self.masks = masks_CSR.to(stream.device)
        self.used = self.masks.any(0).any(1).tolist()
        self.slot = {source: slot for slot, source in enumerate(s for s, used in enumerate(self.used) if used)}
        self.delta_CUBPD = stream.new_zeros(self.C, len(self.slot), self.B, self.P, self.D)

    def write(self, source: int, delta_CBPD: Float[Tensor, "C B P D"]) -> None:
        """Store delta_u, if any circuit edge leaves that source."""
        if self.used[source]:
            self.delta_CUBPD[:, self.slot[source]] = delta_CBPD

    def attention(self, layer: int) -> None:
        """Compute the heads of a block and what they add."""
        heads = [h for h in range(self.graph.heads) if self.used[self.graph.head_sources(layer).start + h]]
        if not heads:
            return
        after_CBPHE, weight_HED = self._heads(layer), self.weights.output(layer)
        carried = self.reference.carried.heads[layer].unflatten(-1, weight_HED.shape[:2])
        outputs = self.reference.outputs
        for head in heads:
            weight = weight_HED[head]
            other = weight if outputs is None else outputs[layer][head]
            delta = _change(after_CBPHE[..., head, :], weight, carried[..., head, :], other)
            self.write(self.graph.head_sources(layer).start + head, delta)

    def _heads(self, layer: int) -> Float[Tensor, "C B P H E"]:
        """Head activations of this run."""
        reference, anatomy = self.reference, self.anatomy
        after = reference.written.heads[layer].expand(self.C, -1, -1, -1)
        columns = self.graph.attention_destinations(layer)
        if bool(self.masks[:, :, columns].any()):
            fused = self._projections(layer)
            call = reference.calls[layer]
            after = attend(anatomy, layer, call, fused.flatten(0, 1), reference.prefix).view_as(after)
        return after.unflatten(-1, (anatomy.heads, anatomy.head_width))

    def _projections(self, layer: int) -> Float[Tensor, "C B P O"]:
        """Outputs of q, k, v projections: the reference run's, but for the heads that circuit edges enter."""
        graph, layout = self.graph, self.anatomy.blocks[layer].layout
        parts = [part.expand(self.C, *part.shape).clone() for part in layout.split(self.reference.projections[layer])]
        groups = (graph.query_destinations(layer), graph.key_destinations(layer), graph.value_destinations(layer))
        for part_CBPRE, columns, reader in zip(parts, groups, self.weights.readers(layer), strict=False):
            entered = self.masks[:, :, columns].any(0).any(0).nonzero()[:, 0]
            if len(entered):
                stream_CNBPD = self.received(self.reference.streams[layer][0], columns.start + entered)
                part_CBPRE[:, :, :, entered] = _project(reader, entered, stream_CNBPD)
        return layout.merge(*parts)

    def received(self, base_BPD: Tensor, columns: Tensor) -> Float[Tensor, "C N B P D"]:
        """x_v of the destinations `columns`: the reference stream (or its end) plus delta_u over the edges."""
        sources = [source for source in self.slot if bool(self.masks[:, source, columns].any())]
        if not sources:
            return base_BPD.expand(self.C, len(columns), *base_BPD.shape)
        # All slots up to the last needed one: a view, where picking the needed ones would copy them.
        slots = self.slot[sources[-1]] + 1
        mask_CNU = self.masks[:, list(self.slot)[:slots]][:, :, columns].transpose(1, 2).to(base_BPD.dtype)
        delta = self.delta_CUBPD[:, :slots, :, -base_BPD.shape[1] :]
        base = base_BPD.flatten().expand(self.C, len(columns), -1)
        return torch.baddbmm(base, mask_CNU, delta.flatten(2)).unflatten(-1, base_BPD.shape)

    def mlp(self, layer: int) -> None:
        """Compute the MLP of a block and what it adds."""
        source, column = self.graph.mlp_source(layer), self.graph.mlp_destination(layer)
        if not self.used[source]:
            return
        after = self.reference.written.mlps[layer].expand(self.C, -1, -1, -1)
        if bool(self.masks[:, :, column].any()):
            block = self.anatomy.blocks[layer]
            stream = self.received(self.reference.streams[layer][1], torch.tensor([column]))
            after = block.run_mlp(stream.flatten(0, 2)).view_as(after)
        self.write(source, after - self.reference.carried.mlps[layer])

    def logits(self) -> Float[Tensor, "C B T V"]:
        """Logits at the last T positions."""
        column = torch.tensor([self.graph.logits_destination])
        stream = self.received(self.reference.final, column)[:, 0]
        return at_least_float32(self.anatomy.logits(stream.flatten(0, 1))).unflatten(0, (self.C, -1))


def _change(after: Tensor, weight_XD: Tensor, before: Tensor, other_XD: Tensor) -> Float[Tensor, "... D"]:
    """after W - before W': one product where the weights are the same."""
    return (after - before) @ weight_XD if other_XD is weight_XD else after @ weight_XD - before @ other_XD


def _project(reader: Reader, heads: Tensor, stream_CNBPD: Tensor) -> Float[Tensor, "C B P N E"]:
    """Projection outputs of some heads, each from the stream it receives: (W o gamma) x^ + q(beta)."""
    assert reader.weight is not None
    normalised, _ = reader.norm.statistics(stream_CNBPD)
    outputs = torch.einsum("cnbpd,ned->cbpne", normalised, reader.weight[heads])
    return outputs + reader.at_zero[heads]
