"""How much each layer matters to an allocator, and by which rule.

Whatever gives a number per layer can feed a rank plan: circuits before and after fine-tuning (the rules of
reference paper section 5, in ``dynamics.layers``), chance, or depth. So every rival of the study is one line.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Self

from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.seeding import numpy_generator
from circuitune.dynamics.layers import critical_layers, layer_importance


@dataclass(frozen=True)
class Importance:
    """One number per layer, larger is more important.

    Attributes:
        values: importance of layer 0, 1, ...; finite. Only the order matters to a two-level plan.
        rule: name of the rule or source they come from.
    """

    values: tuple[float, ...]
    rule: str

    def __post_init__(self) -> None:
        if not self.values or not all(isfinite(value) for value in self.values):
            raise InputError(
                f"The importance by rule {self.rule!r} must be one finite number per layer; got {self.values}."
            )

    def top(self, count: int) -> tuple[int, ...]:
        """The `count` >= 1 most important layers, most important first; ties go to the lower layer."""
        return critical_layers(self.values, count)

    @classmethod
    def from_scores(cls, before: EdgeScores, after: EdgeScores, rule: str = "released") -> Self:
        """Importance from the edge scores before and after fine-tuning, by a rule of ``dynamics.layers``.

        Raises:
            InputError: the two belong to different graphs, or the rule is unknown.
        """
        return cls(tuple(layer_importance(before, after, rule).double().tolist()), rule)

    @classmethod
    def random(cls, layers: int, seed: int) -> Self:
        """A seeded random order of the layers: its top K is a uniform draw, for every K."""
        order = numpy_generator(seed, "random layers").permutation(layers)
        return cls(tuple(float(place) for place in order), "random")

    @classmethod
    def first(cls, layers: int) -> Self:
        """Lower layers matter more."""
        return cls(tuple(float(layers - layer) for layer in range(layers)), "first")

    @classmethod
    def last(cls, layers: int) -> Self:
        """Higher layers matter more."""
        return cls(tuple(float(layer + 1) for layer in range(layers)), "last")
