"""From the model's own activations to the residual stream, by linear maps alone.

Three facts make edge attribution cost little more than the forward and backward passes themselves.

1. A head's share of the stream is linear in what enters the output projection, z_h = W_O[h] a_h, so the differences
   of all heads of a block are one small batched product (`differences`).
2. dL/dx_v follows by linear maps from g_k, the gradient at the projection's output. With y = gamma o x^ + beta,
   x^ = r (x - mean x), r = 1/sigma, the transposed Jacobian of the norm gives

       dL/dx = r [ u - mean(u) - x^ (u . x^)/d ],    u = gamma o W^T g,    u . x^ = g . (q - q(beta)),

   because W (gamma o x^) is the projection's output q less q(beta) = W beta + b. (RMSNorm: without mean(u). No norm:
   dL/dx = W^T g.)
3. The differences do not depend on the step k. So sum r_k g_k and c_k = r_k g_k . (q_k - q(beta)) / d over the steps,
   and pull back once (`PullBack`):

       G = (W o gamma)^T sum_k w_k r_k g_k  -  mean over d  -  sum_k w_k c_k x^_k.

   One matrix product [sources, B P D] x [destinations, B P D]^T then gives all scores of a block (`contract`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.circuits.weights import Reader, Weights
from circuitune.models.anatomy import Norm, at_least_float32
from circuitune.models.running import Writers


def differences(
    graph: Graph, weights: Weights, inputs_BPD: Float[Tensor, "B P D"], written: Writers
) -> Float[Tensor, "S B P D"]:
    """What every source adds to the stream, given what it writes (or the difference of two runs of it)."""
    B, P, D = inputs_BPD.shape
    wide = at_least_float32(inputs_BPD)
    difference_SBPD = wide.new_empty(len(graph.sources), B, P, D)
    difference_SBPD[0] = wide
    for layer, (a, mlp) in enumerate(zip(written.heads, written.mlps, strict=True)):
        weight_HED = at_least_float32(weights.output(layer))
        a_HNE = at_least_float32(a).reshape(B * P, graph.heads, -1).transpose(0, 1)
        heads = difference_SBPD[graph.head_sources(layer)].view(graph.heads, B * P, D)
        if heads.device == weight_HED.device:
            torch.bmm(a_HNE, weight_HED, out=heads)
        else:  # this block lives on another device
            heads.copy_(torch.bmm(a_HNE, weight_HED))
        difference_SBPD[graph.mlp_source(layer)] = mlp
    return difference_SBPD


@dataclass
class PullBack:
    """Sums one group of readers over the steps, then pulls back to the residual stream once (module docstring)."""

    reader: Reader
    gradient: Float[Tensor, "B P R E"] | None = None
    normalised: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    along: list[Float[Tensor, "B P R"]] = field(default_factory=list)

    def add(self, step: float, statistics: tuple[Tensor, Tensor], output_BPRE: Tensor, gradient_BPRE: Tensor) -> None:
        """One step of weight `step`: w_k r_k g_k is summed, x^_k and w_k c_k are kept.

        `statistics` are x^_k and r_k of the norm (`normalisation`), shared by the q, k and v readers of a block.
        """
        normalised, r = statistics
        scaled = gradient_BPRE * (step * r)[..., None]
        if self.reader.norm.kind != "none":
            output = at_least_float32(output_BPRE.detach()) - self.reader.at_zero
            self.normalised.append(normalised)
            self.along.append((scaled * output).sum(-1) / normalised.shape[-1])
        self.gradient = scaled if self.gradient is None else self.gradient.add_(scaled)

    def result(self) -> Float[Tensor, "R B P D"]:
        """Sum over the steps of w_k dL/dx for each reader of the group."""
        assert self.gradient is not None
        B, P, R, E = self.gradient.shape
        if self.reader.weight is None:
            pulled = (self.gradient * self.reader.gamma).permute(2, 0, 1, 3)
        else:
            g_RNE = self.gradient.view(B * P, R, E).transpose(0, 1)
            pulled = torch.bmm(g_RNE, at_least_float32(self.reader.weight)).view(R, B, P, -1)
        if self.reader.norm.centred:
            pulled = pulled - pulled.mean(-1, keepdim=True)
        for x, c in zip(self.normalised, self.along, strict=True):
            pulled = pulled.addcmul(c.permute(2, 0, 1)[..., None], x[None], value=-1)
        return pulled


def normalisation(norm: Norm, stream_BPD: Float[Tensor, "B P D"]) -> tuple[Tensor, Tensor]:
    """x^ and r of a norm on this stream, in at least float32."""
    return norm.statistics(at_least_float32(stream_BPD))


@dataclass(frozen=True)
class PullBacks:
    """One `PullBack` per group of readers: per block q, k, v and MLP; last the logits."""

    blocks: Sequence[Sequence[PullBack]]
    final: PullBack

    @classmethod
    def of(cls, graph: Graph, weights: Weights) -> "PullBacks":
        """Empty ones."""
        blocks = [[PullBack(reader) for reader in weights.readers(layer)] for layer in range(graph.layers)]
        return cls(blocks, PullBack(weights.final()))


def contract(
    graph: Graph, difference_SBPD: Float[Tensor, "S B P D"], pulls: PullBacks, per_example: bool
) -> Float[Tensor, "N S R"]:
    """score[s, r] = sum over positions and width of difference_s . G_r; N is B, or 1 if summed over the batch."""
    S, B, _, _ = difference_SBPD.shape
    scores = difference_SBPD.new_zeros(B if per_example else 1, S, len(graph.destinations))

    def fill(gradient_RBPD: Tensor, sources: int, columns: slice) -> None:
        gradient_RBPD = gradient_RBPD.to(difference_SBPD.device)
        difference = difference_SBPD[:sources, :, -gradient_RBPD.shape[2] :]
        if per_example:
            rows = difference.transpose(0, 1).flatten(2) @ gradient_RBPD.permute(1, 2, 3, 0).flatten(1, 2)
        else:
            rows = (difference.flatten(1) @ gradient_RBPD.flatten(1).t())[None]
        scores[:, :sources, columns] = rows

    for layer, (q, k, v, mlp) in enumerate(pulls.blocks):
        attention = graph.sources_before_attention(layer)
        fill(q.result(), attention, graph.query_destinations(layer))
        fill(k.result(), attention, graph.key_destinations(layer))
        fill(v.result(), attention, graph.value_destinations(layer))
        column = graph.mlp_destination(layer)
        fill(mlp.result(), graph.sources_before_mlp(layer), slice(column, column + 1))
    fill(pulls.final.result(), S, slice(graph.logits_destination, graph.logits_destination + 1))
    return scores
