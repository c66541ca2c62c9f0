"""How much each layer, or each linear module, matters to an allocator, and by which rule.

Whatever gives a number per layer or module can feed a rank plan, so every rival is one line:

    Importance.from_scores(before, after)                       # the study's rule; others by name
    Importance.from_scores(before)                              # the base model's circuit alone: no phase 1
    Importance.from_scores(before, after, "after")              # the fine-tuned circuit alone
    Importance.from_scores(other_before, other_after)           # the critical layers of another task
    Importance.from_scores(before, after).reversed()            # the least important layers first
    Importance.random(layers, seed=0), Importance.first(layers), Importance.last(layers)
    ModuleImportance.from_scores(model, before, after)          # by module; also random and mlp_only
    weight_change(adapted), gradient_probe(model, inputs), explained_variance(model, inputs)     # `probes`
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from types import MappingProxyType
from typing import Self

from jaxtyping import Float
from torch import Tensor

from circuitune.adapters.modules import LinearModule, Model, linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.seeding import numpy_generator
from circuitune.dynamics.layers import RULES, critical_layers, edge_weights, layer_importance
from circuitune.models.anatomy import anatomy_of


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

    def critical(self, modules: Mapping[str, LinearModule], layers: int) -> int:
        """How many modules the `layers` most important layers have."""
        chosen = self.top(layers)
        return sum(module.layer in chosen for module in modules.values())

    def per_module(self, modules: Mapping[str, LinearModule]) -> list[float]:
        """Importance of each module, in order: that of its layer.

        Raises:
            InputError: the modules have more or fewer layers.
        """
        layers = 1 + max(module.layer for module in modules.values())
        if len(self.values) != layers:
            raise InputError(
                f"The rank plan was made for {len(self.values)} layers and the model has {layers}; "
                "make a plan for this model."
            )
        return [self.values[module.layer] for module in modules.values()]

    def reversed(self) -> Self:
        """The same layers in the opposite order, least important first; only their order is kept."""
        order = self.top(len(self.values))
        return replace(
            self,
            values=tuple(float(order.index(layer) + 1) for layer in range(len(order))),
            rule=f"{self.rule}, reversed",
        )

    @classmethod
    def from_scores(cls, before: EdgeScores, after: EdgeScores | None = None, rule: str | None = None) -> Self:
        """Importance from edge scores, by a rule of ``dynamics.layers``.

        Args:
            before: scores of the base model.
            after: scores after fine-tuning; None: the base model's decide alone.
            rule: by default ``released``, the study's; ``before`` without `after`.

        Raises:
            InputError: the two belong to different graphs, or the rule is unknown or needs scores after fine-tuning.
        """
        rule = rule_of(after, rule)
        return cls(tuple(layer_importance(before, after or before, rule).tolist()), rule)

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


@dataclass(frozen=True)
class ModuleImportance:
    """One number per linear module, larger is more important.

    Attributes:
        values: full module name -> importance, in the order of the blocks; finite.
        rule: name of the rule or source they come from.
    """

    values: Mapping[str, float]
    rule: str

    def __post_init__(self) -> None:
        if not self.values or not all(isfinite(value) for value in self.values.values()):
            raise InputError(f"The importance by rule {self.rule!r} must be one finite number per module.")
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))

    def top(self, count: int) -> tuple[str, ...]:
        """The `count` >= 1 most important modules, most important first; ties go to the earlier one."""
        names = list(self.values)
        if not 1 <= count <= len(names):
            raise InputError(f"{count} critical modules of {len(names)}: choose a number from 1 to {len(names)}.")
        return tuple(sorted(names, key=lambda name: -self.values[name])[:count])

    def critical(self, modules: Mapping[str, LinearModule], layers: int) -> int:
        """How many modules are as large a share of all as `layers` layers are.

        Raises:
            InputError: there are not that many layers.
        """
        whole = 1 + max(module.layer for module in modules.values())
        if not 1 <= layers <= whole:
            raise InputError(f"{layers} critical layers of {whole}: choose a number from 1 to {whole}.")
        return round(len(modules) * layers / whole)

    def per_module(self, modules: Mapping[str, LinearModule]) -> list[float]:
        """Importance of each module, in order.

        Raises:
            InputError: the importance is of other modules.
        """
        if self.values.keys() != modules.keys():
            odd = sorted(self.values.keys() ^ modules.keys())[0]
            raise InputError(f"The importance is of other modules than the model's ({odd}); make it for this model.")
        return [self.values[name] for name in modules]

    def reversed(self) -> Self:
        """The same modules in the opposite order, least important first; only their order is kept."""
        places = {name: float(place + 1) for place, name in enumerate(self.top(len(self.values)))}
        return replace(self, values={name: places[name] for name in self.values}, rule=f"{self.rule}, reversed")

    def by_layer(self, model: Model) -> Importance:
        """The sum over the modules of each layer.

        Raises:
            InputError: the importance is of other modules than the model's.
        """
        modules = linear_modules(model)
        totals = [0.0] * (1 + max(module.layer for module in modules.values()))
        for module, value in zip(modules.values(), self.per_module(modules), strict=True):
            totals[module.layer] += value
        return Importance(tuple(totals), f"{self.rule}, by layer")

    @classmethod
    def from_scores(
        cls, model: Model, before: EdgeScores, after: EdgeScores | None = None, rule: str | None = None
    ) -> Self:
        """Importance of modules from edge scores: an edge counts for the modules at both of its ends.

        An edge u -> v counts for u's output projection (of the attention, or of the MLP) and for v's input
        projection: of q, k or v where they are modules of their own, the fused one otherwise; all the MLP's input
        projections (gate and up). The input and the logits have no module. The rules are those of
        `Importance.from_scores`, for what is counted of an edge; as both ends count, ``released``, ``destination``
        and ``both`` are one here. Edges of collapsed scores count for all of q, k and v.

        Raises:
            InputError: as `Importance.from_scores`; scores of a model of another shape.
        """
        return cls.booked(linear_modules(model), Graph.of(anatomy_of(model)), before, after, rule)

    @classmethod
    def booked(
        cls,
        modules: Mapping[str, LinearModule],
        graph: Graph,
        before: EdgeScores,
        after: EdgeScores | None,
        rule: str | None,
    ) -> Self:
        """As `from_scores`, for a model's modules and graph already looked up."""
        if replace(before.graph, collapsed=False) != graph:
            raise InputError(f"The scores are of another model shape ({before.graph}) than the model's ({graph}).")
        rule = rule_of(after, rule)
        return cls(_book(modules, before.graph, edge_weights(before, after or before, rule)), rule)

    @classmethod
    def random(cls, model: Model, seed: int) -> Self:
        """A seeded random order of the modules."""
        names = list(linear_modules(model))
        order = numpy_generator(seed, "random modules").permutation(len(names))
        return cls({name: float(place) for name, place in zip(names, order, strict=True)}, "random")

    @classmethod
    def mlp_only(cls, model: Model) -> Self:
        """1 for the MLPs' modules, 0 for the attention's.

        Raises:
            InputError: the MLPs have no linear modules (a mixture of fused experts).
        """
        modules = linear_modules(model).values()
        values = {module.name: float("mlp" in (*module.reads, module.writes)) for module in modules}
        if not any(values.values()):
            raise InputError("The MLPs of this model have no linear modules; LoRA can go to its attention only.")
        return cls(values, "MLP only")


def rule_of(after: EdgeScores | None, rule: str | None) -> str:
    """The rule that is meant; InputError where it compares two maps and there is one."""
    if rule is not None and rule not in RULES:
        raise InputError(f"{rule!r} is no rule of importance; choose one of {', '.join(RULES)}.")
    if after is None and rule not in (None, "before"):
        raise InputError(
            f"The rule {rule!r} needs the scores after fine-tuning too; give them, or leave the rule out to rank by "
            "the base model's scores alone."
        )
    return rule or ("before" if after is None else "released")


def _book(modules: Mapping[str, LinearModule], graph: Graph, weights: Float[Tensor, "S R"]) -> dict[str, float]:
    leaving = _totals(graph.source_layer, graph.source_kind, weights.sum(1).tolist())
    entering = _totals(graph.destination_layer, graph.destination_kind, weights.sum(0).tolist())

    def importance(module: LinearModule) -> float:
        merged = graph.collapsed and not set("qkv").isdisjoint(module.reads)
        reads = ("head",) if merged else module.reads
        return leaving[module.layer, module.writes] + sum(entering[module.layer, kind] for kind in reads)

    return {name: importance(module) for name, module in modules.items()}


def _totals(
    layers: Sequence[int], kinds: Sequence[str], weights: Sequence[float]
) -> Mapping[tuple[int, str | None], float]:
    totals: dict[tuple[int, str | None], float] = defaultdict(float)
    for layer, kind, weight in zip(layers, kinds, weights, strict=True):
        totals[layer, kind] += weight
    return totals
