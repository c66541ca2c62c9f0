"""Edge attribution patching with integrated gradients (EAP-IG) on the Transformers model as it is.

    scores = attribute(model, inputs, method="eap-ig", steps=5)

The score of an edge u -> v (Hanna et al. 2024, https://arxiv.org/abs/2403.17806) is

    score(u -> v) = sum over positions of  (a_u - z_u(clean)) . sum_k w_k dL/dx_v (run k),

where z_u is what source u adds to the residual stream, a_u what an ablated edge carries (`ablation`; for interchange
z_u(corrupted)), x_v the stream as destination v reads it, L a loss, and run k lies between the clean and the ablated
one. Positive: ablating this edge raises the loss. The methods differ in their runs (`_passes`):

    eap                  the clean run
    eap-ig               e_k = e' + alpha_k (e(clean) - e'), the output of `input` on the way from the ablated to the
                         clean one, (alpha_k, w_k) a quadrature rule on [0, 1]
    clean-corrupted      the clean and the corrupted run, half each
    eap-ig-activations   as eap-ig, but every node's output in turn is replaced by a point between its two values, and
                         the gradients are averaged over nodes: (2 L + 1) m runs

`exact` and `information-flow` take no gradients (`circuits/exact.py`, `circuits/flow.py`). How the gradients reach
the stream without a tensor per head and per edge is in `circuits/pullback.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.ablation import Ablation, Constant, constant, require_ablation
from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.exact import exact_scores
from circuitune.circuits.flow import information_flow
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import positions_per_batch
from circuitune.circuits.metrics import Loss, Metric, parts_of, resolve
from circuitune.circuits.pullback import PullBacks, contract, differences
from circuitune.circuits.quadrature import completeness, path_points
from circuitune.circuits.reduce import summed
from circuitune.circuits.scores import EdgeScores
from circuitune.circuits.weights import Weights
from circuitune.core.errors import MachineError
from circuitune.models.anatomy import Anatomy, anatomy_of, concatenated
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import (
    NodeKind,
    Prefix,
    Readers,
    Replaced,
    Writers,
    by_row,
    forward,
    prepared,
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


def attribute(
    model: nn.Module,
    inputs: EncodedPairs,
    *,
    method: Method = "eap-ig",
    steps: int = 5,
    metric: str | Loss = "logit_diff",
    quadrature: Quadrature = "midpoint",
    ablation: Ablation = "interchange",
    mean_over: EncodedPairs | None = None,
    per_example: bool = False,
    batch_size: int | None = None,
    share_prefix: bool = True,
) -> EdgeScores:
    """Score every edge of a model on a set of pairs.

    Args:
        model: a Transformers causal language model or a `peft.PeftModel`; its weights, modes and hooks are left as
            they were.
        inputs: the encoded pairs.
        method: ``eap-ig``; ``eap`` (gradient at the clean input only); ``clean-corrupted``; ``eap-ig-activations``;
            ``exact`` (loss with the edge ablated, less the clean loss: one run per edge); ``information-flow``
            (Ferrando & Voita 2024: no loss, no corrupted run).
        steps: number of points of the quadrature rule (eap-ig, eap-ig-activations).
        metric: ``logit_diff``, ``kl``, ``nll``, ``prob_diff``, or a function `circuits.metrics.Loss`.
        quadrature: ``midpoint``; ``left`` and ``right`` are the field's two schedules; ``gauss`` (Legendre).
        ablation: what a removed edge carries; ``mean`` and ``mean-positional`` average over `mean_over`.
        mean_over: prompts for the mean ablations; by default `inputs` themselves.
        per_example: keep the scores of every example too (float32 [n, sources, destinations]).
        batch_size: rows per batch; by default what fits the memory budget. The scores do not depend on it.
        share_prefix: compute the positions shared by clean and corrupted prompts once; changes no score.

    Warns where the completeness residual is large, with the number of steps that would do.

    Raises:
        InputError: unknown method, quadrature, ablation or metric, too few steps, unsupported architecture.
        MachineError: a score is not finite.
    """
    require_ablation(ablation)
    anatomy = anatomy_of(model)
    graph, chosen = Graph.of(anatomy), resolve(metric, inputs)
    points = path_points(method, steps, quadrature)
    total = _Total.of(len(inputs) if per_example else 0, graph)
    with prepared(model):
        size = positions_per_batch(anatomy, graph, inputs, batch_size)
        for part in parts_of(inputs, chosen):
            part.inputs.require_context(anatomy.positions)
            means = constant(anatomy, ablation, mean_over or part.inputs, size)
            weights = Weights(anatomy)
            request = Request(anatomy, graph, weights, part.metric, method, points, means, per_example)
            share = share_prefix and means is None and method != "information-flow"
            total.add(part.sign, request, batches(part.inputs, anatomy.device, size, share_prefix=share))
    total = total.over_processes()
    values = (total.scores / len(inputs)).float()
    if not bool(torch.isfinite(values).all()):
        raise MachineError(
            "Some edge scores are not finite; the model's weights or activations overflow or hold NaN."
        )
    integrated = method == "eap-ig"
    residual = None
    if integrated and ablation == "interchange":
        residual = completeness(values, total.raised / len(inputs), len(points), quadrature)
    return EdgeScores(
        values=values,
        graph=graph,
        completeness=residual,
        examples=total.examples if per_example else None,
        settings={
            "method": method,
            "steps": len(points) if integrated or method == "eap-ig-activations" else None,
            "quadrature": quadrature if integrated or method == "eap-ig-activations" else None,
            "metric": chosen.name,
            "ablation": ablation,
            "pairs": len(inputs),
            "pairs_digest": inputs.digest,
            "family": anatomy.family,
        },
    )


@dataclass
class _Total:
    """Sums over all examples of the scores and of loss(corrupted) - loss(clean); single examples' scores, if kept."""

    scores: Float[Tensor, "S R"]
    examples: Float[Tensor, "kept S R"]
    raised: float = 0.0

    @classmethod
    def of(cls, kept: int, graph: Graph) -> "_Total":
        """Nothing yet."""
        shape = graph.edge_mask.shape
        return cls(torch.zeros(shape, dtype=torch.float64), torch.zeros(kept, *shape))

    def over_processes(self) -> "_Total":
        """The sums over all processes."""
        raised = summed(torch.tensor(self.raised, dtype=torch.float64))
        return _Total(summed(self.scores), summed(self.examples), float(raised))

    def add(self, sign: int, request: Request, parts: Iterable[Batch]) -> None:
        """Score all batches of one part of the loss."""
        score = {"exact": _exact, "information-flow": _flow}.get(request.method, _attribute_batch)
        for batch in parts:
            scores_NSR, raised = score(request, batch)
            if not batch.counted:
                continue
            self.scores += sign * scores_NSR.double().sum(0).cpu()
            self.raised += sign * raised
            if len(self.examples):
                self.examples[batch.rows] += sign * scores_NSR.float().cpu()


def _exact(request: Request, batch: Batch) -> tuple[Tensor, float]:
    return exact_scores(request.anatomy, request.graph, request.weights, batch, request.metric, request.constant), 0.0


def _flow(request: Request, batch: Batch) -> tuple[Tensor, float]:
    return information_flow(request.anatomy, request.graph, request.weights, batch), 0.0


@dataclass(frozen=True)
class Ends:
    """The clean and the ablated end of the path of one batch, and what follows from them.

    Attributes:
        prefix: keys and values of the positions both share.
        inputs: the `input` node's output, clean and ablated, [B, P, D] each.
        written: what heads and MLPs write, clean and ablated.
        clean_logits: [B, T, V].
        raised: sum of loss(corrupted) - loss(clean), 0 without a corrupted run.
    """

    prefix: Prefix
    inputs: tuple[Tensor, Tensor]
    written: tuple[Writers, Writers]
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


def _attribute_batch(request: Request, batch: Batch) -> tuple[Float[Tensor, "N S R"], float]:
    """Scores of a batch (N = B rows, or their sum) and its sum of loss(corrupted) - loss(clean)."""
    ends = _ends(request, batch)
    clean, other = ends.written
    written = Writers(
        heads=[b - a for a, b in zip(clean.heads, other.heads, strict=True)],
        mlps=[b - a for a, b in zip(clean.mlps, other.mlps, strict=True)],
    )
    with torch.no_grad():
        difference_SBPD = differences(request.graph, request.weights, ends.inputs[1] - ends.inputs[0], written)
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
    final = (seen.final_stream[0], seen.final[0][:, :, None], gradients[-1][:, :, None])
    pulls.final.add(step, *(tensor[:, -tokens:] for tensor in final))
    per_block = len(anatomy.blocks[0].projections)
    for layer, block in enumerate(anatomy.blocks):
        *groups, mlp = pulls.blocks[layer]
        outputs = block.layout.split(concatenated(seen.projections[layer]))
        at = block.layout.split(concatenated(gradients[layer * per_block : (layer + 1) * per_block]))
        for group, output, gradient in zip(groups, outputs, at, strict=True):
            group.add(step, seen.attention_stream[layer], output, gradient)
        read = by_row(seen.mlp_inputs[layer], rows)[:, :, None]
        gradient = by_row(gradients[per_block * anatomy.layers + layer], rows)[:, :, None]
        mlp.add(step, seen.mlp_stream[layer], read, gradient)
