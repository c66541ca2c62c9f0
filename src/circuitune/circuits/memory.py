"""How many rows and circuits go through at once."""

from circuitune.circuits.graph import Graph
from circuitune.models.anatomy import Anatomy

BUDGET = 1 << 30
"""Bytes the buffers of one batch may take."""


def bytes_per_position(anatomy: Anatomy, graph: Graph) -> int:
    """Differences of all sources and gradients (or streams) of one block's readers, for one position of one row."""
    per_block = (len(graph.destinations) - 1) // graph.layers
    return (len(graph.sources) + per_block) * anatomy.width * anatomy.dtype.itemsize


def positions_per_batch(anatomy: Anatomy, graph: Graph, budget: int = BUDGET) -> int:
    """Positions that fit the budget; at least one."""
    return max(1, budget // bytes_per_position(anatomy, graph))
