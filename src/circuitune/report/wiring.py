"""Names of a graph's nodes and which sources each destination reads, without any array library.

The same order as ``circuits.graph.Graph`` (a test compares them); written again here because the report must
not reach torch.
"""

from dataclasses import dataclass
from typing import cast

from circuitune.core.errors import InputError


@dataclass(frozen=True)
class Wiring:
    """A graph's shape and names.

    Attributes:
        sources: input, then per layer its heads, then its MLP.
        destinations: per layer q of every head, k and v of every key/value head (or one per head, if
            collapsed), MLP; last the logits.
        readable: for each destination, how many sources, counted from the first, have an edge into it.
    """

    layers: int
    heads: int
    kv_heads: int
    parallel: bool
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    readable: tuple[int, ...]

    @property
    def edges(self) -> int:
        """Number of possible edges."""
        return sum(self.readable)

    @property
    def merged(self) -> bool:
        """Whether a head has one input in place of a query, a key and a value."""
        return not any("<" in name for name in self.destinations)


def wiring(layers: int, heads: int, kv_heads: int, parallel: bool, collapsed: bool = False) -> Wiring:
    """Names and edges of a model of this shape."""
    sources, destinations, readable = ["input"], list[str](), list[int]()
    readers = "h" if kv_heads == heads else "kv"
    for layer in range(layers):
        if collapsed:
            block = [f"a{layer}.h{head}" for head in range(heads)]
        else:
            block = [f"a{layer}.h{head}<q>" for head in range(heads)]
            block += [f"a{layer}.{readers}{head}<{letter}>" for letter in "kv" for head in range(kv_heads)]
        before_attention = len(sources)
        sources += [f"a{layer}.h{head}" for head in range(heads)]
        before_mlp = before_attention if parallel else len(sources)
        sources.append(f"m{layer}")
        destinations += [*block, f"m{layer}"]
        readable += [before_attention] * len(block) + [before_mlp]
    destinations.append("logits")
    readable.append(len(sources))
    return Wiring(layers, heads, kv_heads, parallel, tuple(sources), tuple(destinations), tuple(readable))


def wiring_of_record(record: object, shape: tuple[int, ...]) -> Wiring:
    """Wiring from the "graph" entry of a scores or circuit file's metadata.

    Raises:
        InputError: it describes no graph, or not that of a tensor of this shape; nothing of its size is made before.
    """
    said = cast(dict[str, object], record if isinstance(record, dict) else {})
    sizes = [said.get(key) for key in ("layers", "heads", "kv_heads")]
    layers, heads, kv_heads = (size if type(size) is int and size > 0 else 0 for size in sizes)
    if not (layers and heads and kv_heads) or heads % kv_heads:
        raise InputError(f"a graph of {layers} layers, {heads} heads and {kv_heads} key/value heads is none.")
    block = heads + 1 if said.get("collapsed") is True else heads + 2 * kv_heads + 1
    expected = (1 + layers * (heads + 1), 1 + layers * block)
    if shape != expected:
        raise InputError(f"a tensor of shape {shape} is not its graph's, which is {expected}.")
    return wiring(layers, heads, kv_heads, said.get("parallel") is True, said.get("collapsed") is True)
