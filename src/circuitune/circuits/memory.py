"""How many rows and circuits go through at once."""

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy
from circuitune.models.encoding import EncodedPairs

BUDGET = 1 << 30
"""Bytes the buffers of one batch may take."""


def bytes_per_position(anatomy: Anatomy, graph: Graph) -> int:
    """Differences of all sources and gradients (or streams) of one block's readers, for one position of one row."""
    per_block = (len(graph.destinations) - 1) // graph.layers
    return (len(graph.sources) + per_block) * anatomy.width * anatomy.dtype.itemsize


def positions_per_batch(
    anatomy: Anatomy, graph: Graph, inputs: EncodedPairs, batch_size: int | None, budget: int = BUDGET
) -> int:
    """Positions of `batch_size` rows, or as many as fit the budget; at least one.

    Raises:
        InputError: a batch size below 1.
    """
    if batch_size is None:
        return max(1, budget // bytes_per_position(anatomy, graph))
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1; got {batch_size}.")
    return batch_size * inputs.clean.shape[1]
