"""How many rows and circuits go through at once: what a batch will take, predicted from the shapes.

`benchmarks/memory.py` prints predicted beside measured peaks.
"""

from dataclasses import dataclass

from torch import nn

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block
from circuitune.models.encoding import EncodedPairs

BUDGET = 1 << 30
"""Bytes that one call may take above the model unless its caller says otherwise."""


@dataclass(frozen=True)
class Need:
    """Bytes above the model at the peak.

    Attributes:
        fixed: whatever the batch: folded weights, sums of scores.
        per_position: for every position of every row that is run.
        per_row: for every row whatever its length: logits.
        per_shared: for every position of every row that clean and corrupted prompt share: keys and values.
    """

    fixed: int
    per_position: int
    per_row: int
    per_shared: int

    def peak(self, rows: int, positions: int, shared: int = 0) -> int:
        """Of a batch of so many rows of so many positions each, after so many shared ones."""
        return self.fixed + rows * (self.per_row + positions * self.per_position + shared * self.per_shared)


def attribution_memory(anatomy: Anatomy, graph: Graph, steps: int) -> Need:
    """What `attribute` takes: the larger of its last backward pass and of the contraction after it."""
    stored, wide = anatomy.dtype.itemsize, max(4, anatomy.dtype.itemsize)
    D, L, S, R = anatomy.width, graph.layers, len(graph.sources), len(graph.destinations)
    queries, keys = graph.heads * anatomy.head_width, graph.kv_heads * anatomy.head_width
    projected, readers = queries + 2 * keys, graph.heads + 2 * graph.kv_heads
    differences = S * D * wide
    # Per block: the summed gradients; per block and step: x^ of two norms, and c of every reader.
    pulled = L * (projected + D + steps * (2 * D + readers + 1)) * wide
    backward = L * (_activations(anatomy.blocks[0]) * stored + (projected + D) * (stored + wide))
    contraction = 3 * graph.heads * D * wide
    folded = L * projected * D * stored if anatomy.resident else 0
    logits = 5 * _vocabulary(anatomy) * wide
    return Need(
        fixed=folded + S * R * 12,
        per_position=differences + pulled + max(backward, contraction),
        per_row=logits,
        per_shared=_cached(anatomy, graph),
    )


def evaluation_memory(anatomy: Anatomy, graph: Graph) -> Need:
    """What `evaluate` takes per circuit: delta_u of all sources, and the streams of one block's readers."""
    stored = anatomy.dtype.itemsize
    readers = graph.heads + 2 * graph.kv_heads
    per_position = (len(graph.sources) + 3 * readers) * anatomy.width * stored
    return Need(0, per_position, 5 * _vocabulary(anatomy) * max(4, stored), _cached(anatomy, graph))


def positions_per_batch(need: Need, inputs: EncodedPairs, batch_size: int | None, memory: int) -> int:
    """Positions of `batch_size` rows, or as many as `memory` bytes hold; at least one.

    Raises:
        InputError: a batch size below 1; memory that holds not even one row.
    """
    if batch_size is not None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1; got {batch_size}.")
        return batch_size * inputs.clean.shape[1]
    lengths = inputs.lengths()
    shared = inputs.first_difference().clamp_max(lengths - 1)
    run, most = int((lengths - shared).max()), int(shared.max())
    least = need.peak(1, run, most)
    if memory < least and memory != BUDGET:
        raise InputError(
            f"One pair takes about {least / 2**30:.2f} GiB above the model and memory is {memory / 2**30:.2f} GiB; "
            "allow more, or shorten the prompts."
        )
    rows = max(1, (memory - need.fixed) // (least - need.fixed))
    return rows * run


def _activations(block: Block) -> int:
    """Values per position that a block's backward pass keeps: what its linear maps read and write, and two norms."""
    total = 0
    for module in block.module.modules():
        shape = getattr(getattr(module, "weight", None), "shape", ())
        if len(shape) == 2 and not isinstance(module, nn.Embedding):
            total += sum(shape)
    return total


def _cached(anatomy: Anatomy, graph: Graph) -> int:
    """Keys and values of a shared position: as stored, and twice as one run extends them with its own."""
    return 3 * 2 * graph.layers * graph.kv_heads * anatomy.head_width * anatomy.dtype.itemsize


def _vocabulary(anatomy: Anatomy) -> int:
    config = getattr(anatomy.model.config, "text_config", anatomy.model.config)
    return int(getattr(config, "vocab_size", 0))
