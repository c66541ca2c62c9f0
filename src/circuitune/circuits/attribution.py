"""Edge attribution patching with integrated gradients (EAP-IG) on the Transformers model as it is.

    scores = attribute(model, inputs, method="eap-ig", steps=5)

The score of an edge u -> v (Hanna et al. 2024, https://arxiv.org/abs/2403.17806) is

    score(u -> v) = sum over positions of  (z_u(corrupted) - z_u(clean)) . sum_k w_k dL/dx_v (e_k),
    e_k           = e(corrupted) + alpha_k (e(clean) - e(corrupted)),

where z_u is what source u adds to the residual stream, x_v the stream as destination v reads it, L a loss, e the
output of the `input` node, and (alpha_k, w_k) a quadrature rule on [0, 1]. `eap` is the one point alpha = 1.
Positive: corrupting this edge raises the loss.

Three facts make this cost little more than the forward and backward passes themselves.

1. A head's share of the stream is linear in what enters the output projection, z_h = W_O[h] a_h, so the differences
   of all heads of a block are one small batched product (`differences`).
2. dL/dx_v follows by linear maps from g_k, the gradient at the projection's output. With y = gamma o x^ + beta,
   x^ = r (x - mean x), r = 1/sigma, the transposed Jacobian of the norm gives

       dL/dx = r [ u - mean(u) - x^ (u . x^)/d ],    u = gamma o W^T g,    u . x^ = g . (q - q(beta)),

   because W (gamma o x^) is the projection's output q less q(beta) = W beta + b. (RMSNorm: without mean(u).)
3. The differences do not depend on k. So sum r_k g_k and c_k = r_k g_k . (q_k - q(beta)) / d over the steps, and pull
   back once (`PullBack`):

       G = (W o gamma)^T sum_k w_k r_k g_k  -  mean over d  -  sum_k w_k c_k x^_k.

   One matrix product [sources, B P D] x [destinations, B P D]^T then gives all scores of a block.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import positions_per_batch
from circuitune.circuits.metrics import Loss, Metric, resolve
from circuitune.circuits.quadrature import completeness, path_points
from circuitune.circuits.scores import EdgeScores
from circuitune.circuits.weights import Reader, Weights
from circuitune.core.errors import MachineError
from circuitune.models.anatomy import Anatomy, anatomy_of, at_least_float32, concatenated
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import (
    Prefix,
    Writers,
    forward,
    prepared,
    recorded_readers,
    recorded_writers,
    shared_prefix,
)

Method = Literal["eap", "eap-ig"]
Quadrature = Literal["midpoint", "left", "right", "gauss"]


def attribute(
    model: nn.Module,
    inputs: EncodedPairs,
    *,
    method: Method = "eap-ig",
    steps: int = 5,
    metric: str | Loss = "logit_diff",
    quadrature: Quadrature = "midpoint",
    per_example: bool = False,
    batch_size: int | None = None,
    share_prefix: bool = True,
) -> EdgeScores:
    """Score every edge of a model on a set of pairs.

    Args:
        model: a Transformers causal language model or a `peft.PeftModel`; its weights, modes and hooks are left as
            they were.
        inputs: the encoded pairs.
        method: ``eap-ig``, or ``eap`` (gradient at the clean input only).
        steps: number of points of the quadrature rule (eap-ig).
        metric: ``logit_diff``, ``kl``, ``nll``, or a function `circuits.metrics.Loss`.
        quadrature: ``midpoint``; ``left`` and ``right`` are the field's two schedules; ``gauss`` (Legendre).
        per_example: keep the scores of every example too (float32 [n, sources, destinations]).
        batch_size: rows per batch; by default what fits the memory budget. The scores do not depend on it.
        share_prefix: compute the positions shared by clean and corrupted prompts once; changes no score.

    Warns where the completeness residual is large, with the number of steps that would do.

    Raises:
        InputError: unknown method, quadrature or metric, too few steps, unsupported architecture.
        MachineError: a score is not finite.
    """
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    inputs.require_context(anatomy.positions)
    chosen = resolve(metric, inputs)
    points = path_points(method, steps, quadrature)
    with prepared(model):
        size = positions_per_batch(anatomy, graph, inputs, batch_size)
        parts = batches(inputs, anatomy.device, size, share_prefix=share_prefix)
        total, raised, examples = _sums(anatomy, graph, parts, chosen, points, len(inputs) if per_example else 0)
    values = (total / len(inputs)).float()
    if not bool(torch.isfinite(values).all()):
        raise MachineError(
            "Some edge scores are not finite; the model's weights or activations overflow or hold NaN."
        )
    integrated = method == "eap-ig"
    return EdgeScores(
        values=values,
        graph=graph,
        completeness=completeness(values, raised / len(inputs), len(points), quadrature) if integrated else None,
        examples=examples if per_example else None,
        settings={
            "method": method,
            "steps": len(points),
            "quadrature": quadrature if integrated else None,
            "metric": chosen.name,
            "ablation": "interchange",
            "pairs": len(inputs),
            "pairs_digest": inputs.digest,
            "family": anatomy.family,
        },
    )


def _sums(
    anatomy: Anatomy,
    graph: Graph,
    parts: Iterable[Batch],
    metric: Metric,
    points: Sequence[tuple[float, float]],
    kept: int,
) -> tuple[Float[Tensor, "S R"], float, Float[Tensor, "kept S R"]]:
    """Sums over all examples of the scores and of loss(corrupted) - loss(clean); scores of `kept` single examples."""
    weights = Weights.of(anatomy)
    total, raised = torch.zeros(graph.edge_mask.shape, dtype=torch.float64), 0.0
    examples = torch.zeros(kept, *graph.edge_mask.shape)
    for batch in parts:
        scores_NSR, loss_change = _attribute_batch(anatomy, graph, weights, batch, metric, points, kept > 0)
        total += scores_NSR.double().sum(0).cpu()
        raised += loss_change
        if kept:
            examples[batch.rows] = scores_NSR.float().cpu()
    return total, raised, examples


def differences(
    anatomy: Anatomy,
    graph: Graph,
    outputs: Sequence[Float[Tensor, "H E D"]],
    inputs_BPD: Float[Tensor, "B P D"],
    seen: Writers,
) -> Float[Tensor, "S B P D"]:
    """What every source adds to the stream, given the differences (corrupted - clean) of what it writes."""
    B, P, D = inputs_BPD.shape
    wide = at_least_float32(inputs_BPD)
    difference_SBPD = wide.new_empty(len(graph.sources), B, P, D)
    difference_SBPD[0] = wide
    for layer, (weight_HED, a, mlp) in enumerate(zip(outputs, seen.heads, seen.mlps, strict=True)):
        a_HNE = at_least_float32(a).reshape(B * P, anatomy.heads, anatomy.head_width).transpose(0, 1)
        heads = difference_SBPD[graph.head_sources(layer)].view(anatomy.heads, B * P, D)
        torch.bmm(a_HNE, at_least_float32(weight_HED), out=heads)
        difference_SBPD[graph.mlp_source(layer)] = mlp
    return difference_SBPD


@dataclass
class PullBack:
    """Sums one group of readers over the steps, then pulls back to the residual stream once (module docstring)."""

    reader: Reader
    gradient: Float[Tensor, "B P R E"] | None = None
    normalised: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    along: list[Float[Tensor, "B P R"]] = field(default_factory=list)

    def add(self, step: float, stream_BPD: Tensor, output_BPRE: Tensor, gradient_BPRE: Tensor) -> None:
        """One step of weight `step`: w_k r_k g_k is summed, x^_k and w_k c_k are kept."""
        normalised, r = self.reader.norm.statistics(at_least_float32(stream_BPD))
        scaled = gradient_BPRE * (step * r)[..., None]
        output = at_least_float32(output_BPRE.detach()) - self.reader.at_zero
        self.normalised.append(normalised)
        self.along.append((scaled * output).sum(-1) / stream_BPD.shape[-1])
        self.gradient = scaled if self.gradient is None else self.gradient.add_(scaled)

    def result(self) -> Float[Tensor, "R B P D"]:
        """Sum over the steps of w_k dL/dx for each reader of the group."""
        assert self.gradient is not None
        B, P, R, E = self.gradient.shape
        if self.reader.weight is None:
            pulled = (self.gradient * self.reader.norm.gamma).permute(2, 0, 1, 3)
        else:
            g_RNE = self.gradient.view(B * P, R, E).transpose(0, 1)
            pulled = torch.bmm(g_RNE, at_least_float32(self.reader.weight)).view(R, B, P, -1)
        if self.reader.norm.centred:
            pulled = pulled - pulled.mean(-1, keepdim=True)
        for x, c in zip(self.normalised, self.along, strict=True):
            pulled = pulled.addcmul(c.permute(2, 0, 1)[..., None], x[None], value=-1)
        return pulled


def _attribute_batch(
    anatomy: Anatomy,
    graph: Graph,
    weights: Weights,
    batch: Batch,
    metric: Metric,
    points: Sequence[tuple[float, float]],
    per_example: bool,
) -> tuple[Float[Tensor, "N S R"], float]:
    """Scores of a batch (N = B rows, or their sum) and its sum of loss(corrupted) - loss(clean)."""
    with torch.no_grad():
        prefix = shared_prefix(anatomy, batch.clean, batch.shared)
        clean_e, corrupted_e = (anatomy.embedding(t[:, batch.shared :]) for t in (batch.clean, batch.corrupted))
        with recorded_writers(anatomy) as clean:
            clean_logits = forward(anatomy, clean_e, prefix)
        with recorded_writers(anatomy) as corrupted:
            corrupted_logits = forward(anatomy, corrupted_e, prefix)
        written = Writers(
            heads=[b - a for a, b in zip(clean.heads, corrupted.heads, strict=True)],
            mlps=[b - a for a, b in zip(clean.mlps, corrupted.mlps, strict=True)],
        )
        difference_SBPD = differences(anatomy, graph, weights.outputs, corrupted_e - clean_e, written)
        losses = [metric.loss(x, clean_logits, batch.answer, batch.wrong) for x in (corrupted_logits, clean_logits)]
    groups = [[PullBack(reader) for reader in block] for block in weights.readers]
    final = PullBack(weights.final)
    for alpha, step in points:
        _step(
            anatomy,
            batch,
            metric,
            prefix,
            corrupted_e + alpha * (clean_e - corrupted_e),
            clean_logits,
            step,
            groups,
            final,
        )
    scores = contract(graph, difference_SBPD, groups, final, per_example)
    return scores, float((losses[0] - losses[1]).sum())


def _step(
    anatomy: Anatomy,
    batch: Batch,
    metric: Metric,
    prefix: Prefix,
    embeddings: Float[Tensor, "B P D"],
    clean_logits: Float[Tensor, "B V"],
    step: float,
    groups: Sequence[Sequence[PullBack]],
    final: PullBack,
) -> None:
    """One forward and one backward pass; one `autograd.grad` call by the tensors that destinations read."""
    with torch.enable_grad(), recorded_readers(anatomy) as seen:
        logits = forward(anatomy, embeddings.detach().requires_grad_(), prefix)
        loss = metric.loss(logits, clean_logits, batch.answer, batch.wrong).sum()
        read = [tensor for outputs in seen.projections for tensor in outputs]
        gradients = list(torch.autograd.grad(loss, [*read, *seen.mlp_inputs, *seen.final]))
    final.add(step, seen.final_stream[0][:, -1:], seen.final[0][:, -1:, None], gradients.pop()[:, -1:, None])
    mlps = gradients[len(read) :]
    per_block = len(anatomy.blocks[0].projections)
    for layer, block in enumerate(anatomy.blocks):
        outputs = block.layout.split(concatenated(seen.projections[layer]))
        pulls = block.layout.split(concatenated(gradients[layer * per_block : (layer + 1) * per_block]))
        for group, output, gradient in zip(groups[layer], outputs, pulls, strict=False):
            group.add(step, seen.attention_stream[layer], output, gradient)
        groups[layer][-1].add(
            step, seen.mlp_stream[layer], seen.mlp_inputs[layer][:, :, None], mlps[layer][:, :, None]
        )


def contract(
    graph: Graph,
    difference_SBPD: Float[Tensor, "S B P D"],
    groups: Sequence[Sequence[PullBack]],
    final: PullBack,
    per_example: bool,
) -> Float[Tensor, "N S R"]:
    """score[s, r] = sum over positions and width of difference_s . G_r; N is B, or 1 if summed over the batch."""
    S, B, _, _ = difference_SBPD.shape
    scores = difference_SBPD.new_zeros(B if per_example else 1, S, len(graph.destinations))

    def fill(gradient_RBPD: Tensor, sources: int, columns: slice, last: bool = False) -> None:
        difference = difference_SBPD[:sources, :, -1:] if last else difference_SBPD[:sources]
        if per_example:
            rows = difference.transpose(0, 1).flatten(2) @ gradient_RBPD.permute(1, 2, 3, 0).flatten(1, 2)
        else:
            rows = (difference.flatten(1) @ gradient_RBPD.flatten(1).t())[None]
        scores[:, :sources, columns] = rows

    for layer, (q, k, v, mlp) in enumerate(groups):
        attention = graph.sources_before_attention(layer)
        fill(q.result(), attention, graph.query_destinations(layer))
        fill(k.result(), attention, graph.key_destinations(layer))
        fill(v.result(), attention, graph.value_destinations(layer))
        column = graph.mlp_destination(layer)
        fill(mlp.result(), graph.sources_before_mlp(layer), slice(column, column + 1))
    fill(final.result(), S, slice(graph.logits_destination, graph.logits_destination + 1), last=True)
    return scores
