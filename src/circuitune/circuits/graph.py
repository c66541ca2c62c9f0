"""The computational graph of a transformer: names of nodes and the index arithmetic of its edges.

A *source* writes to the residual stream (``input``, ``a3.h5``, ``m3``); a *destination* reads from it
(``a3.h5<q>``, ``m3``, ``logits``). An edge joins a source to a later destination. With grouped-query attention
the k and v destinations are those of a key/value head (``a3.kv1<k>``) and feed every query head of its group.

The collapsed form merges the q, k and v destinations of a head into one (``a3.h5``).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy


@dataclass(frozen=True)
class Graph:
    """All nodes and possible edges of one model shape.

    Attributes:
        layers: number of transformer blocks.
        heads: query heads per block.
        kv_heads: key/value heads per block; equal to ``heads`` without grouped-query attention.
        parallel: attention and MLP of a block read the same residual stream (GPT-NeoX, GPT-J), so no head feeds
            the MLP of its own block.
        collapsed: the q, k and v destinations of a head are one.
    """

    layers: int
    heads: int
    kv_heads: int
    parallel: bool
    collapsed: bool = False

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.kv_heads) < 1 or self.heads % self.kv_heads:
            raise InputError(
                f"A graph needs at least one layer and query heads that are a multiple of the key/value heads; "
                f"got {self.layers} layers, {self.heads} heads, {self.kv_heads} key/value heads."
            )

    @classmethod
    def of(cls, anatomy: Anatomy) -> "Graph":
        """Graph of a model's anatomy."""
        return cls(anatomy.layers, anatomy.heads, anatomy.kv_heads, anatomy.parallel)

    def to_record(self) -> dict[str, Any]:
        """Plain values for a file's metadata."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Graph":
        """Inverse of `to_record`; InputError where the record is none, from whichever hand.

        Its size is not looked at: hold `shape` against the file's tensors before any name or mask is made.
        """
        kinds = {name: bool if name in ("parallel", "collapsed") else int for name in cls.__annotations__}
        wrong = [name for name, kind in kinds.items() if type(record.get(name)) is not kind]
        if wrong or len(record) > len(kinds):
            raise InputError(
                f"A graph is described by {', '.join(kinds)}; {', '.join(wrong) or 'others'} do not fit."
            )
        return cls(**record)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of sources and of destinations, by arithmetic alone."""
        block = self.heads + 1 if self.collapsed else self.heads + 2 * self.kv_heads + 1
        return 1 + self.layers * (self.heads + 1), 1 + self.layers * block

    # Sources: input, then per layer its heads, then its MLP.

    def head_sources(self, layer: int) -> slice:
        """Rows of the heads of `layer`."""
        start = 1 + layer * (self.heads + 1)
        return slice(start, start + self.heads)

    def mlp_source(self, layer: int) -> int:
        """Row of the MLP of `layer`."""
        return 1 + layer * (self.heads + 1) + self.heads

    def sources_before_attention(self, layer: int) -> int:
        """How many sources, counted from the first, the attention of `layer` can read."""
        return 1 + layer * (self.heads + 1)

    def sources_before_mlp(self, layer: int) -> int:
        """How many sources, counted from the first, the MLP of `layer` can read."""
        return self.sources_before_attention(layer) + (0 if self.parallel else self.heads)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """Names of the rows."""
        blocks = ([*(f"a{layer}.h{h}" for h in range(self.heads)), f"m{layer}"] for layer in range(self.layers))
        return ("input", *chain.from_iterable(blocks))

    @cached_property
    def source_layer(self) -> tuple[int, ...]:
        """Layer of each source; ``input`` is -1."""
        return (-1, *(layer for layer in range(self.layers) for _ in range(self.heads + 1)))

    @cached_property
    def source_kind(self) -> tuple[str, ...]:
        """``input``, ``head`` or ``mlp`` for each source."""
        return ("input", *(["head"] * self.heads + ["mlp"]) * self.layers)

    # Destinations: per layer q of every head, k and v of every key/value head, MLP; last the logits.

    @cached_property
    def _block_kinds(self) -> tuple[str, ...]:
        if self.collapsed:
            return (*["head"] * self.heads, "mlp")
        return (*["q"] * self.heads, *["k"] * self.kv_heads, *["v"] * self.kv_heads, "mlp")

    def query_destinations(self, layer: int) -> slice:
        """Columns of the q inputs of `layer` (of its heads, if collapsed)."""
        start = layer * len(self._block_kinds)
        return slice(start, start + self.heads)

    def key_destinations(self, layer: int) -> slice:
        """Columns of the k inputs of `layer`."""
        start = self.query_destinations(layer).stop
        return slice(start, start + self.kv_heads)

    def value_destinations(self, layer: int) -> slice:
        """Columns of the v inputs of `layer`."""
        start = self.key_destinations(layer).stop
        return slice(start, start + self.kv_heads)

    def attention_destinations(self, layer: int) -> slice:
        """Columns of all attention inputs of `layer`: q, k and v."""
        return slice(self.query_destinations(layer).start, self.mlp_destination(layer))

    def mlp_destination(self, layer: int) -> int:
        """Column of the MLP input of `layer`."""
        return (layer + 1) * len(self._block_kinds) - 1

    @property
    def logits_destination(self) -> int:
        """Column of the logits input: the last."""
        return self.layers * len(self._block_kinds)

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """Names of the columns."""
        heads = [f"h{h}" for h in range(self.heads)]
        readers = heads if self.kv_heads == self.heads else [f"kv{h}" for h in range(self.kv_heads)]
        if self.collapsed:
            block = heads
        else:
            block = [f"{h}<q>" for h in heads] + [f"{r}<{letter}>" for letter in "kv" for r in readers]
        blocks = ([*(f"a{layer}.{name}" for name in block), f"m{layer}"] for layer in range(self.layers))
        return (*chain.from_iterable(blocks), "logits")

    @cached_property
    def destination_layer(self) -> tuple[int, ...]:
        """Layer of each destination; ``logits`` counts as layer `layers`."""
        return (*(layer for layer in range(self.layers) for _ in self._block_kinds), self.layers)

    @cached_property
    def destination_kind(self) -> tuple[str, ...]:
        """``q``, ``k``, ``v``, ``mlp`` or ``logits`` for each destination (``head`` if collapsed)."""
        return (*self._block_kinds * self.layers, "logits")

    @cached_property
    def edge_mask(self) -> Tensor:
        """Bool [sources, destinations]: which pairs are edges."""
        readable = torch.empty(len(self.destinations), dtype=torch.long)
        for layer in range(self.layers):
            readable[self.attention_destinations(layer)] = self.sources_before_attention(layer)
            readable[self.mlp_destination(layer)] = self.sources_before_mlp(layer)
        readable[self.logits_destination] = len(self.sources)
        return torch.arange(len(self.sources))[:, None] < readable[None, :]

    @cached_property
    def edges(self) -> int:
        """Number of possible edges."""
        return int(self.edge_mask.sum())

    @cached_property
    def feeds(self) -> Tensor:
        """Bool [destinations, sources]: a change of that input changes that node's output.

        A k or v input feeds every query head of its group.
        """
        feeds = torch.zeros(len(self.destinations), len(self.sources), dtype=torch.bool)
        own = torch.eye(self.heads, dtype=torch.bool)
        group = own.view(self.kv_heads, -1, self.heads).any(1)
        for layer in range(self.layers):
            heads = self.head_sources(layer)
            feeds[self.query_destinations(layer), heads] = own
            if not self.collapsed:
                feeds[self.key_destinations(layer), heads] = group
                feeds[self.value_destinations(layer), heads] = group
            feeds[self.mlp_destination(layer), self.mlp_source(layer)] = True
        return feeds

    def collapse(self) -> "Graph":
        """The same graph with one destination per head."""
        return Graph(self.layers, self.heads, self.kv_heads, self.parallel, collapsed=True)


def require_same_graph(first: Graph, second: Graph) -> None:
    """InputError where two things of different model shapes, or only one of them collapsed, are compared."""
    if first != second:
        raise InputError(
            f"The two belong to different graphs ({first} and {second}); "
            "collapse both, or compare models of one shape."
        )
