"""How scores and circuits show themselves: HTML, a frame, a drawing. Their methods of the same names call this."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.core.notebook import card

if TYPE_CHECKING:
    from circuitune.circuits.scores import Circuit, EdgeScores
    from circuitune.figures.circuit import Edges
    from circuitune.figures.style import Drawing

SHOWN = 8
"""Edges in the HTML, the strongest ones."""

_MADE = ("model", "method", "steps", "quadrature", "metric", "ablation", "pairs", "selection", "size", "operation")
"""Settings that the HTML names, where they are known."""


def scores_html(scores: "EdgeScores") -> str:
    """What was scored and how, and the strongest edges."""
    return card("EdgeScores", scores_facts(scores), *_strongest(scores.values, scores.graph.edge_mask, scores.graph))


def scores_facts(scores: "EdgeScores") -> list[str]:
    """What was scored, and how."""
    completeness = scores.completeness
    return [
        f"{scores.graph.edges:,} edges of {_shape(scores.graph)}",
        _made(scores.settings),
        "" if completeness is None else f"completeness residual {completeness:.2g}",
        "" if scores.examples is None else f"with the scores of {len(scores.examples):,} examples",
    ]


def circuit_html(circuit: "Circuit") -> str:
    """How large it is and how it was cut, and its strongest edges where scores are known."""
    facts = circuit_facts(circuit)
    if circuit.scores is None:
        return card("Circuit", facts)
    return card("Circuit", facts, *_strongest(circuit.scores.values, circuit.mask, circuit.graph))


def circuit_facts(circuit: "Circuit") -> list[str]:
    """How large it is, and how it was cut."""
    possible = circuit.graph.edges
    return [
        f"{len(circuit):,} of {possible:,} edges ({len(circuit) / possible:.1%}), {len(circuit.nodes):,} nodes of "
        f"{_shape(circuit.graph)}",
        _made(circuit.settings),
    ]


def _shape(graph: Graph) -> str:
    groups = "" if graph.kv_heads == graph.heads else f" ({graph.kv_heads} key/value heads)"
    return f"{graph.layers} layers of {graph.heads} heads{groups}{', q/k/v merged' if graph.collapsed else ''}"


def _made(settings: Any) -> str:
    return ", ".join(f"{name} {settings[name]}" for name in _MADE if settings.get(name) is not None)


def _strongest(values: Tensor, mask: Tensor, graph: Graph) -> tuple[list[str], list[list[object]], int]:
    """Header and rows of the edges of largest magnitude, ties in the graph's order, and how many are left out."""
    places = mask.nonzero()
    scores = values[mask]
    first = scores.abs().argsort(descending=True, stable=True)[:SHOWN]
    rows: list[list[object]] = [
        [f"{graph.sources[source]} \N{RIGHTWARDS ARROW} {graph.destinations[destination]}", float(score)]
        for (source, destination), score in zip(places[first].tolist(), scores[first].tolist(), strict=True)
    ]
    return ["strongest edges", "score"], rows, len(places) - len(rows)


def edge_columns(graph: Graph, mask: Tensor, values: Tensor | None) -> dict[str, list[Any]]:
    """One entry per edge of `mask`, by (source, destination) index: names, layers, the kind of input, the score."""
    rows, columns = (places.tolist() for places in mask.nonzero(as_tuple=True))
    found: dict[str, list[Any]] = {
        "source": [graph.sources[row] for row in rows],
        "destination": [graph.destinations[column] for column in columns],
        "source_layer": [graph.source_layer[row] for row in rows],
        "destination_layer": [graph.destination_layer[column] for column in columns],
        "into": [graph.destination_kind[column] for column in columns],
    }
    return found if values is None else {**found, "score": values[mask].tolist()}


def draw_scores(scores: "EdgeScores") -> "Drawing":
    """All scores as a map."""
    from circuitune.figures.heat import score_map

    graph = scores.graph
    values = scores.values.double().numpy(force=True)
    return score_map(values, graph.edge_mask.numpy(), graph.source_layer, graph.destination_layer)


def draw_circuit(circuit: "Circuit", after: "Circuit | None") -> "Drawing":
    """The circuit, or it and another one as before and after; without scores every edge is drawn, and all alike."""
    from circuitune.figures.circuit import MOST_DRAWN, Shape, circuit_drawing

    sides = [circuit] if after is None else [circuit, after]
    for side in sides:
        require_same_graph(circuit.graph, side.graph)
    graph = circuit.graph
    scored = all(side.scores is not None for side in sides)
    edges = [_edges(side, scored) for side in sides]
    titles = [""] if after is None else ["Before", "After"]
    most = MOST_DRAWN if scored else graph.edges
    shape = Shape(graph.layers, graph.heads, graph.kv_heads, graph.parallel)
    return circuit_drawing(shape, dict(zip(titles, edges, strict=True)), most)


def _edges(circuit: "Circuit", scored: bool) -> "Edges":
    """The circuit's edges by name, each with its share of the map's total absolute score."""
    graph, strength = circuit.graph, torch.ones(circuit.mask.shape)
    if scored and circuit.scores is not None:
        size = circuit.scores.values.double().abs()
        strength = size / size.sum().clamp_min(torch.finfo(size.dtype).tiny)
    places = circuit.mask.nonzero().tolist()
    names = [(graph.sources[source], graph.destinations[destination]) for source, destination in places]
    return dict(zip(names, strength[circuit.mask].tolist(), strict=True))
