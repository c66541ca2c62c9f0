"""The runs that gradient methods take (`circuits/attribution.py` lists them), and the gradients in them.

Each run is one forward and one backward pass, with one `autograd.grad` call by what the destinations read.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.circuits.ablation import Constant
from circuitune.circuits.batches import Batch
from circuitune.circuits.graph import Graph
from circuitune.circuits.metrics import Metric
from circuitune.circuits.pullback import PullBacks, contract, differences, normalisation
from circuitune.circuits.weights import Weights
from circuitune.models.anatomy import Anatomy, concatenated
from circuitune.models.running import (
    NodeKind,
    Prefix,
    Readers,
    Replaced,
    Writers,
    by_row,
    forward,
    recorded_readers,
    recorded_writers,
    replaced,
    shared_prefix,
)

Method = Literal["eap", "eap-ig", "eap-ig-activations", "clean-corrupted", "exact", "information-flow"]
Quadrature = Literal["midpoint", "left", "right", "gauss"]


@dataclass(frozen=True)
class Request:
    """What every batch needs to know of one call of `attribute`."""

    anatomy: Anatomy
    graph: Graph
    weights: Weights
    metric: Metric
    method: Method
    points: tuple[tuple[float, float], ...]
    constant: Constant | None
    per_example: bool
    memory: int


@dataclass(frozen=True)
class Ends:
    """The clean and the ablated end of the path of one batch, and what follows from them.

    Attributes:
        prefix: keys and values of the positions both share.
        inputs: the `input` node's output, clean and ablated, [B, P, D] each.
        written: what heads and MLPs write, clean and ablated; None once it is no longer needed.
        clean_logits: [B, T, V].
        raised: sum of loss(corrupted) - loss(clean), 0 without a corrupted run.
    """

    prefix: Prefix
    inputs: tuple[Tensor, Tensor]
    written: tuple[Writers, Writers] | None
    clean_logits: Float[Tensor, "B T V"]
    raised: float


@torch.no_grad()
def _ends(request: Request, batch: Batch) -> Ends:
    anatomy, metric = request.anatomy, request.metric
    prefix = shared_prefix(anatomy, batch.clean, batch.shared)
    clean = anatomy.embed(batch.clean[:, batch.shared :])
    with recorded_writers(anatomy, len(batch)) as written:
        clean_logits = forward(anatomy, clean, prefix, batch.tokens)
    if request.constant is not None:
        inputs = (clean, request.constant.inputs.expand_as(clean))
        return Ends(prefix, inputs, (written, request.constant.written), clean_logits, 0.0)
    corrupted = anatomy.embed(batch.corrupted[:, batch.shared :])
    with recorded_writers(anatomy, len(batch)) as other:
        logits = forward(anatomy, corrupted, prefix, batch.tokens)
    raised = batch.losses(metric, logits, clean_logits) - batch.losses(metric, clean_logits, clean_logits)
    return Ends(prefix, (clean, corrupted), (written, other), clean_logits, float(raised.sum()))


def attribute_batch(request: Request, batch: Batch) -> tuple[Float[Tensor, "N S R"], float]:
    """Scores of a batch (N = B rows, or their sum) and its sum of loss(corrupted) - loss(clean)."""
    ends = _ends(request, batch)
    assert ends.written is not None
    clean, other = ends.written
    written = Writers(
        heads=[b - a for a, b in zip(clean.heads, other.heads, strict=True)],
        mlps=[b - a for a, b in zip(clean.mlps, other.mlps, strict=True)],
    )
    with torch.no_grad():
        difference_SBPD = differences(request.graph, request.weights, ends.inputs[1] - ends.inputs[0], written)
    if request.method != "eap-ig-activations":  # nothing else reads what the ends wrote: free it before the passes
        ends = replace(ends, written=None)
    del clean, other, written
    scores = None
    for runs in _passes(request, ends):
        pulls = PullBacks.of(request.graph, request.weights)
        for embeddings, step, replacement in runs:
            _step(request, batch, ends, embeddings, step, replacement, pulls)
        part = contract(request.graph, difference_SBPD, pulls, request.per_example)
        scores = part if scores is None else scores.add_(part)
    assert scores is not None
    return scores, ends.raised


_Run = tuple[Tensor, float, Replaced | None]
"""Output of `input`, weight of the run, and a node's output to replace."""


def _passes(request: Request, ends: Ends) -> Iterator[list[_Run]]:
    """The runs to take gradients in, in groups that are summed before they are pulled back to the stream."""
    clean, other = ends.inputs

    def between(alpha: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda a, b: b + alpha * (a - b)

    on_input: list[_Run] = [(between(alpha)(clean, other), weight, None) for alpha, weight in request.points]
    if request.method != "eap-ig-activations":
        yield on_input
        return
    nodes = 1 + 2 * request.graph.layers
    yield [(embeddings, weight / nodes, None) for embeddings, weight, _ in on_input]
    assert ends.written is not None
    (heads, mlps), (heads_, mlps_) = ((w.heads, w.mlps) for w in ends.written)
    for layer in range(request.graph.layers):
        W = request.weights.output(layer).flatten(0, 1)
        nodes_of_block: tuple[tuple[NodeKind, Tensor, Tensor], ...] = (
            ("heads", heads[layer], heads_[layer]),
            ("mlp", mlps[layer], mlps_[layer]),
        )
        for kind, a, b in nodes_of_block:
            yield [
                (clean, weight / nodes, Replaced(layer, kind, between(alpha)(a, b), W))
                for alpha, weight in request.points
            ]


def _step(
    request: Request,
    batch: Batch,
    ends: Ends,
    embeddings: Float[Tensor, "B P D"],
    step: float,
    replacement: Replaced | None,
    pulls: PullBacks,
) -> None:
    """One forward and one backward pass; one `autograd.grad` call by the tensors that destinations read."""
    anatomy, rows = request.anatomy, len(batch)
    with torch.enable_grad(), recorded_readers(anatomy, rows) as seen, ExitStack() as stack:
        if replacement is not None:
            stack.enter_context(replaced(anatomy, replacement))
        logits = forward(anatomy, embeddings.detach().requires_grad_(), ends.prefix, batch.tokens)
        loss = batch.losses(request.metric, logits, ends.clean_logits).sum()
    read = [tensor for outputs in seen.projections for tensor in outputs]
    wanted = [*read, *seen.mlp_inputs, *seen.final]
    # The readers of a node whose output was replaced reach the loss no more.
    gradients = torch.autograd.grad(loss, wanted, materialize_grads=replacement is not None)
    _collect(anatomy, seen, gradients, step, pulls, rows, batch.tokens)


def _collect(
    anatomy: Anatomy,
    seen: Readers,
    gradients: tuple[Tensor, ...],
    step: float,
    pulls: PullBacks,
    rows: int,
    tokens: int,
) -> None:
    """Hand every group of readers its stream, its output and the gradient there."""
    read, gradient = (tensor[:, -tokens:, None] for tensor in (seen.final[0], gradients[-1]))
    pulls.final.add(step, normalisation(anatomy.final_norm, seen.final_stream[0][:, -tokens:]), read, gradient)
    per_block = len(anatomy.blocks[0].projections)
    for layer, block in enumerate(anatomy.blocks):
        *groups, mlp = pulls.blocks[layer]
        outputs = block.layout.split(concatenated(seen.projections[layer]))
        at = block.layout.split(concatenated(gradients[layer * per_block : (layer + 1) * per_block]))
        statistics = normalisation(block.attention_norm, seen.attention_stream[layer])
        for group, output, gradient in zip(groups, outputs, at, strict=True):
            group.add(step, statistics, output, gradient)
        read = by_row(seen.mlp_inputs[layer], rows)[:, :, None]
        gradient = by_row(gradients[per_block * anatomy.layers + layer], rows)[:, :, None]
        mlp.add(step, normalisation(block.mlp_norm, seen.mlp_stream[layer]), read, gradient)
