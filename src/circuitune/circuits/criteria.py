"""Is a circuit complete, and does it need every edge? (Wang et al. 2023, https://arxiv.org/abs/2211.00593, section 4)

Completeness: without the circuit the model should not do the task. Minimality: every edge should matter inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.ablation import Ablation
from circuitune.circuits.faithfulness import Faithfulness, evaluate
from circuitune.circuits.metrics import Loss
from circuitune.circuits.scores import Circuit
from circuitune.models.encoding import EncodedPairs


def without(circuit: Circuit) -> Circuit:
    """Every edge of the model but the circuit's (not pruned)."""
    return Circuit(circuit.graph.edge_mask & ~circuit.mask, circuit.graph, None, {"operation": "complement"})


def knockout(
    model: nn.Module,
    inputs: EncodedPairs,
    circuit: Circuit,
    *,
    metric: str | Loss = "logit_diff",
    ablation: Ablation = "interchange",
) -> Faithfulness:
    """The model with the circuit's edges ablated and all others left: `normalized` near 0 means it was complete."""
    return evaluate(model, inputs, without(circuit), metric=metric, ablation=ablation)


@dataclass(frozen=True, eq=False)
class Minimality:
    """What each edge of a circuit contributes inside it.

    Attributes:
        edges: names, in the circuit's order.
        rise: float64 [edges], mean rise of the loss when that edge alone is taken out of the circuit.
    """

    edges: tuple[str, ...]
    rise: Float[Tensor, " edges"]

    def idle(self, threshold: float) -> tuple[str, ...]:
        """Edges whose removal changes the loss by less than `threshold`, in either direction."""
        return tuple(edge for edge, rise in zip(self.edges, self.rise.tolist(), strict=True) if abs(rise) < threshold)


def minimality(
    model: nn.Module,
    inputs: EncodedPairs,
    circuit: Circuit,
    *,
    metric: str | Loss = "logit_diff",
    ablation: Ablation = "interchange",
) -> Minimality:
    """Take every edge out of the circuit in turn; all these circuits share the clean and the corrupted runs."""
    whole, *rest = evaluate(model, inputs, [circuit, *_each_removed(circuit)], metric=metric, ablation=ablation)
    sign = -1 if whole.higher_is_better else 1
    before = whole.circuit.metric.double().mean()
    rise = [sign * (one.circuit.metric.double().mean() - before) for one in rest]
    return Minimality(circuit.edges, torch.stack(rise) if rise else torch.zeros(0, dtype=torch.float64))


def _each_removed(circuit: Circuit) -> Sequence[Circuit]:
    smaller = []
    for source, destination in circuit.mask.nonzero().tolist():
        mask = circuit.mask.clone()
        mask[source, destination] = False
        smaller.append(Circuit(mask, circuit.graph))
    return smaller
