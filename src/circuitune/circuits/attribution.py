"""Edge attribution patching with integrated gradients (EAP-IG) on the Transformers model as it is.

    scores = attribute(model, inputs, method="eap-ig", steps=5)

The score of an edge u -> v (Hanna et al. 2024, https://arxiv.org/abs/2403.17806) is

    score(u -> v) = sum over positions of  (a_u - z_u(clean)) . sum_k w_k dL/dx_v (run k),

where z_u is what source u adds to the residual stream, a_u what an ablated edge carries (`ablation`; for interchange
z_u(corrupted)), x_v the stream as destination v reads it, L a loss, and run k lies between the clean and the ablated
one. Positive: ablating this edge raises the loss. The methods differ in their runs (`circuits/gradients.py`):

    eap                  the clean run
    eap-ig               e_k = e' + alpha_k (e(clean) - e'), the output of `input` on the way from the ablated to the
                         clean one, (alpha_k, w_k) a quadrature rule on [0, 1]
    clean-corrupted      the clean and the corrupted run, half each
    eap-ig-activations   as eap-ig, but every node's output in turn is replaced by a point between its two values, and
                         the gradients are averaged over nodes: (2 L + 1) m runs

How the gradients reach the stream without a tensor per head and per edge is in `circuits/pullback.py`. `exact` and
`information-flow` take no gradients (`circuits/exact.py`, `circuits/flow.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.ablation import Ablation, constant, require_ablation
from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.exact import exact_scores
from circuitune.circuits.flow import information_flow
from circuitune.circuits.gradients import Method, Quadrature, Request, attribute_batch
from circuitune.circuits.graph import Graph
from circuitune.circuits.halving import in_pieces
from circuitune.circuits.memory import BUDGET, attribution_memory, positions_per_batch
from circuitune.circuits.metrics import Loss, parts_of, resolve
from circuitune.circuits.quadrature import completeness, path_points
from circuitune.circuits.reduce import summed
from circuitune.circuits.scores import EdgeScores
from circuitune.circuits.weights import Weights
from circuitune.core.errors import MachineError
from circuitune.models.anatomy import Anatomy, anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.finite import origin
from circuitune.models.running import prepared


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
    memory: int = BUDGET,
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
        batch_size: rows per batch; by default what fits `memory`. The scores do not depend on it.
        memory: bytes that the engine may take above the model (see `circuits.memory`); where even they are not there,
            batches are halved, with a warning.
        share_prefix: compute the positions shared by clean and corrupted prompts once; changes no score.

    Warns where the completeness residual is large, with the number of steps that would do.

    Raises:
        InputError: unknown method, quadrature, ablation or metric, too few steps, unsupported architecture.
        MachineError: a score is not finite (it is said where that begins), or memory does not hold a single pair.
    """
    require_ablation(ablation)
    anatomy = anatomy_of(model)
    graph, chosen = Graph.of(anatomy), resolve(metric, inputs)
    points = path_points(method, steps, quadrature)
    total = _Total.of(len(inputs) if per_example else 0, graph)
    with prepared(model):
        size = positions_per_batch(attribution_memory(anatomy, graph, len(points)), inputs, batch_size, memory)
        for part in parts_of(inputs, chosen):
            part.inputs.require_context(anatomy.positions)
            means = constant(anatomy, ablation, mean_over or part.inputs, size)
            weights = Weights(anatomy)
            request = Request(anatomy, graph, weights, part.metric, method, points, means, per_example, memory)
            share = share_prefix and means is None and method != "information-flow"
            total.add(part.sign, request, batches(part.inputs, anatomy.device, size, share_prefix=share))
    total = total.over_processes()
    values = (total.scores / len(inputs)).float()
    if not bool(torch.isfinite(values).all()):
        raise MachineError(f"Some edge scores are not finite: {_origin(anatomy, inputs, values, graph)}.")
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
            "width": anatomy.width,
        },
        groups=inputs.groups.cpu() if per_example and inputs.groups is not None else None,
    )


def _origin(anatomy: Anatomy, inputs: EncodedPairs, values: Tensor, graph: Graph) -> str:
    """Where the numbers stop being finite, in words: a weight, an activation, or the gradient of a destination."""

    def run() -> None:
        for batch in batches(inputs, anatomy.device, 1, share_prefix=False):
            for prompts in (batch.clean, batch.corrupted):
                anatomy.model(input_ids=prompts, use_cache=False)

    broken = (~torch.isfinite(values)).any(0).nonzero()[:, 0].tolist()
    where = origin(anatomy.model, run, "the gradients overflow")
    return f"{where} (up to {graph.destinations[broken[-1]]}, {len(broken)} destinations)"


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
        score = {"exact": _exact, "information-flow": _flow}.get(request.method, attribute_batch)
        for batch, (scores_NSR, raised) in in_pieces(lambda batch: score(request, batch), parts):
            if not batch.counted:
                continue
            self.scores += sign * scores_NSR.double().sum(0).cpu()
            self.raised += sign * raised
            if len(self.examples):
                self.examples[batch.rows] += sign * scores_NSR.float().cpu()


def _exact(request: Request, batch: Batch) -> tuple[Tensor, float]:
    model = request.anatomy, request.graph, request.weights
    return exact_scores(*model, batch, request.metric, request.constant, memory=request.memory), 0.0


def _flow(request: Request, batch: Batch) -> tuple[Tensor, float]:
    return information_flow(request.anatomy, request.graph, request.weights, batch), 0.0
