"""Change by layer, and which layers matter most by rules one can exchange (paper, section 5)."""

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.core.records import ComparisonRole, CriticalRow, Kind, LayerRow, Side

STUDY_SHARE = 0.05
"""Share of all edges that scores are cut to where no circuit is given: the study's."""


@dataclass(frozen=True)
class LayerChange:
    """Nodes or edges of one layer, before and after.

    Attributes: kind: what is counted. Edges by the layer of their source or destination; nodes as sources
    (``input``, heads, MLPs) or as destinations (the q, k, v, MLP and logits inputs that an edge enters).
    side: "source" or "destination". layer: -1 is the input, the number of layers is the logits. possible:
    how many the graph has there. before: how many the circuit before has. after: how many the circuit after
    has. added: how many only the circuit after has. removed: how many only the circuit before has.
    """

    kind: Kind
    side: Side
    layer: int
    possible: int
    before: int
    after: int
    added: int
    removed: int

    @property
    def kept(self) -> int:
        """How many both circuits have."""
        return self.before - self.removed

    @property
    def share_absent_added(self) -> float | None:
        """Of those absent before, the share added; None where none was absent (a full layer cannot gain)."""
        absent = self.possible - self.before
        return self.added / absent if absent else None

    @property
    def share_present_removed(self) -> float | None:
        """Of those present before, the share removed; None where none was present (an empty one cannot lose)."""
        return self.removed / self.before if self.before else None


def layer_changes(before: Circuit, after: Circuit) -> tuple[LayerChange, ...]:
    """Nodes and edges per layer, by source (-1 to L - 1) and by destination (0 to L).

    Raises:
        InputError: the circuits belong to different graphs.
    """
    graph = before.graph
    require_same_graph(graph, after.graph)
    sources, destinations = torch.tensor(graph.source_layer), torch.tensor(graph.destination_layer)
    possible = graph.edge_mask
    old, new = before.mask, after.mask
    by_source = list(range(-1, graph.layers))
    by_destination = list(range(graph.layers + 1))
    every = torch.ones(len(graph.sources), dtype=torch.bool)
    old_sources, new_sources = (sources_among(frozenset(circuit.nodes), graph) for circuit in (before, after))
    return (
        *(_count("node", "source", n, every, old_sources, new_sources, sources == n) for n in by_source),
        *(
            _count("node", "destination", n, possible.any(0), old.any(0), new.any(0), destinations == n)
            for n in by_destination
        ),
        *(_count("edge", "source", n, possible, old, new, (sources == n)[:, None]) for n in by_source),
        *(_count("edge", "destination", n, possible, old, new, destinations == n) for n in by_destination),
    )


def layer_rows(changes: Sequence[LayerChange], *, comparison: str, role: ComparisonRole) -> list[LayerRow]:
    """Rows of layers.csv."""
    return [
        LayerRow(
            comparison=comparison,
            role=role,
            kind=change.kind,
            side=change.side,
            layer=change.layer,
            possible=change.possible,
            before=change.before,
            after=change.after,
            added=change.added,
            removed=change.removed,
            share_absent_added=change.share_absent_added,
            share_present_removed=change.share_present_removed,
        )
        for change in changes
    ]


def layer_importance(before: EdgeScores, after: EdgeScores, rule: str = "released") -> Float[Tensor, "L"]:
    """Importance of each layer, float64 [layers], from the scores before and after fine-tuning.

    The input is booked to layer 0, the logits to the last layer. Rules:

    - ``released``: sum over edges of |after - before|, booked to the edge's source layer (the authors' rule);
    - ``normalised``: the same with each map first scaled to unit L1, because raw scores grow in fine-tuning;
    - ``destination``: as ``released``, booked to the destination layer;
    - ``both``: ``released`` plus ``destination``: an edge counts at both ends;
    - ``count``: how many edges enter or leave the circuit of the top 5 %, by source layer;
    - ``before``, ``after``: sum of |score| of that map alone, by source layer.

    Raises:
        InputError: unknown rule, or scores of different graphs.
    """
    weights = edge_weights(before, after, rule)
    return torch.stack([_booked(weights, before.graph, end) for end in RULES[rule].ends]).sum(0)


def edge_weights(before: EdgeScores, after: EdgeScores, rule: str) -> Float[Tensor, "S R"]:
    """What a rule of `layer_importance` counts of every edge, float64, before it is booked anywhere.

    Raises:
        InputError: unknown rule, or scores of different graphs.
    """
    require_same_graph(before.graph, after.graph)
    if rule not in RULES:
        raise InputError(f"{rule!r} is no rule of layer importance; choose one of {', '.join(RULES)}.")
    return RULES[rule].weight(before, after).double()


@dataclass(frozen=True)
class HeavyEdge:
    """An edge that weighs much in the importance of a layer.

    Attributes:
        layer: the layer it counts for.
        edge: its name, ``source->destination``.
        weight: what the rule counts of it.
        share: of the layer's importance.
    """

    layer: int
    edge: str
    weight: float
    share: float


def heaviest_edges(
    before: EdgeScores, after: EdgeScores, rule: str, layers: Sequence[int], count: int
) -> list[HeavyEdge]:
    """The `count` edges that weigh most in the importance of each of these layers, in the order of the layers.

    Of a layer with fewer edges that weigh anything all are named.

    Raises:
        InputError: unknown rule, or scores of different graphs.
    """
    weights, importance = edge_weights(before, after, rule), layer_importance(before, after, rule)
    graph = before.graph
    homes = {"source": _homes(graph, "source")[:, None], "destination": _homes(graph, "destination")[None]}
    found: list[HeavyEdge] = []
    for layer in layers:
        weight_SR, whole = torch.zeros_like(weights), float(importance[layer])
        for end in RULES[rule].ends:
            weight_SR += weights * (homes[end] == layer)
        for place in torch.sort(weight_SR.flatten(), descending=True, stable=True).indices[:count]:
            source, destination = divmod(int(place), len(graph.destinations))
            if weight := float(weight_SR[source, destination]):
                edge = f"{graph.sources[source]}->{graph.destinations[destination]}"
                found.append(HeavyEdge(layer, edge, weight, weight / whole))
    return found


def critical_layers(importance: Float[Tensor, "L"] | Sequence[float], k: int) -> tuple[int, ...]:
    """The ``k`` most important layers, most important first; ties go to the lower layer.

    Raises:
        InputError: ``k`` is not between 1 and the number of layers.
        MachineError: an importance is NaN or infinite.
    """
    values = _floats(importance)
    if not all(map(math.isfinite, values)):
        raise MachineError("A layer's importance is not finite; the scores it comes from overflowed.")
    if not 1 <= k <= len(values):
        raise InputError(f"{k} critical layers of {len(values)}: choose a number from 1 to {len(values)}.")
    return tuple(sorted(range(len(values)), key=lambda layer: (-values[layer], layer))[:k])


def critical_rows(
    rule: str, importance: Float[Tensor, "L"] | Sequence[float], k: int, *, seed: int
) -> list[CriticalRow]:
    """Rows of critical_layers.csv for the fine-tuning of one seed, by layer, with the top ``k`` chosen."""
    values = _floats(importance)
    order = critical_layers(values, len(values))
    chosen = critical_layers(values, k)
    return [
        CriticalRow(
            seed=seed,
            rule=rule,
            layer=layer,
            importance=value,
            place=order.index(layer) + 1,
            chosen=layer in chosen,
        )
        for layer, value in enumerate(values)
    ]


def sources_among(names: AbstractSet[str], graph: Graph) -> Bool[Tensor, "S"]:
    """Which sources of the graph are among the names."""
    return torch.tensor([name in names for name in graph.sources])


def unit(scores: EdgeScores) -> Float[Tensor, "S R"]:
    """The scores in float64 divided by the sum of their magnitudes; scores of 0 stay as they are."""
    values = scores.values.double()
    whole = values.abs().sum()
    return values / whole if whole > 0 else values


def _floats(values: Float[Tensor, "L"] | Sequence[float]) -> list[float]:
    return [float(value) for value in values]


def _count(
    kind: Kind, side: Side, layer: int, possible: Tensor, before: Tensor, after: Tensor, here: Tensor
) -> LayerChange:
    """Count in the part of equally shaped bool masks that ``here`` selects (it broadcasts)."""
    return LayerChange(
        kind,
        side,
        layer,
        possible=int((possible & here).sum()),
        before=int((before & here).sum()),
        after=int((after & here).sum()),
        added=int((after & ~before & here).sum()),
        removed=int((before & ~after & here).sum()),
    )


def _booked(weight: Float[Tensor, "S R"], graph: Graph, end: Side) -> Float[Tensor, "L"]:
    """What every layer gets of weights that are booked to one end of their edges."""
    per_node = weight.double().sum(1 if end == "source" else 0)
    return torch.zeros(graph.layers, dtype=torch.float64).index_add(0, _homes(graph, end), per_node)


def _homes(graph: Graph, end: Side) -> Int[Tensor, "N"]:
    """The layer that each source or destination is booked to: the input to layer 0, the logits to the last."""
    if end == "source":
        return torch.tensor(graph.source_layer).clamp(min=0)
    return torch.tensor(graph.destination_layer).clamp(max=graph.layers - 1)


def _difference(before: EdgeScores, after: EdgeScores) -> Float[Tensor, "S R"]:
    return (after.values.double() - before.values.double()).abs()


def _changed(before: EdgeScores, after: EdgeScores) -> Float[Tensor, "S R"]:
    return (before.top(STUDY_SHARE).mask ^ after.top(STUDY_SHARE).mask).double()


@dataclass(frozen=True)
class Rule:
    """How a layer's importance follows from two score maps.

    Attributes:
        weight: what is counted of every edge.
        said: the same in words, with the ends.
        ends: the ends of an edge whose layers get it.
        alone: whether it looks at one of the two maps only, so at no change.
    """

    weight: Callable[[EdgeScores, EdgeScores], Float[Tensor, "S R"]]
    said: str
    ends: tuple[Side, ...] = ("source",)
    alone: bool = False


RULES: Mapping[str, Rule] = {
    "released": Rule(_difference, "change of score of all edges that leave the layer"),
    "normalised": Rule(
        lambda before, after: (unit(after) - unit(before)).abs(),
        "change of all edges that leave the layer, each map scaled to unit mass",
    ),
    "destination": Rule(_difference, "change of score of all edges that enter the layer", ("destination",)),
    "both": Rule(_difference, "change of score of all edges at the layer", ("source", "destination")),
    "count": Rule(_changed, "edges that leave the layer and enter or leave the circuit"),
    "before": Rule(lambda before, after: before.values.abs(), "scores of all edges that leave the layer", alone=True),
    "after": Rule(
        lambda before, after: after.values.abs(), "scores, after, of all edges that leave the layer", alone=True
    ),
}
"""The rules of `layer_importance` by name."""
