"""Rank plans: which module gets which LoRA rank, and the plain ``peft.LoraConfig`` that says so.

plan = ct.rank_plan(before, after, rank=8, critical_rank=32, critical_layers=5)     # by layer, from circuits
plan = ct.rank_plan(before, after, budget=2**20, modules=True, model=model)         # by module, within a budget
plan = ct.RankPlan.from_importance(model, importance, allocator="water-filling")    # from any importance
model = get_peft_model(model, plan.to_lora_config(model))                           # any PEFT trainer from here
rival = ct.RankPlan.uniform(model, parameters=plan.parameters(model))               # same number of parameters
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self
from warnings import warn

from peft import LoraConfig

from circuitune.adapters import allocators, showing
from circuitune.adapters.gate import Gate, Score, examine, of_random_weights
from circuitune.adapters.importance import Importance, ModuleImportance
from circuitune.adapters.modules import LinearModule, Model, linear_modules, parameter_count
from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import write_json
from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_bytes
from circuitune.core.notebook import frame, line
from circuitune.core.records import ImportanceRecord, RankPlanRecord, read_record

if TYPE_CHECKING:
    from pandas import DataFrame

    from circuitune.figures.style import Drawing

Provenance = Mapping[str, str | int | float]
GateMode = Literal["warn", "uniform", "off"]

OWNED = ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "fan_in_fan_out")
"""What of a ``LoraConfig`` the plan decides."""

TWO_LEVEL = "two-level"
"""The study's allocator: the top K get a high rank, all others a low one."""

ALLOCATORS = (TWO_LEVEL, *allocators.ALLOCATORS)
"""Names of all allocators."""

_ADVICE = {
    "warn": "Expect no more from this plan than from a uniform one of its size (gate: uniform), or use more pairs.",
    "uniform": "So the plan is uniform, at the same number of parameters.",
}


@dataclass(frozen=True)
class RankPlan:
    """A LoRA rank per module, or two ranks per layer until it has met a model (`resolve`).

    Attributes:
        rank: rank of the ordinary layers (of a uniform plan: its base rank); None where there are no such levels.
        critical_rank: rank of the critical layers; None where there are none by design.
        critical_layers: the layers of high rank, in order of importance.
        ranks: full module name -> rank, in the order of the blocks; rank 0 leaves a module out; empty until resolved.
        alpha_over_rank: ``lora_alpha / r``, the same for every module.
        importance: what the ranks were chosen by, per layer or per module; None where they were named.
        provenance: how the plan was made, for its file.
        count: trainable parameters, the sum of rank x (input + output features) over `ranks`; 0 until resolved.
        gate: what was found about the choice (`gate`); None where nobody looked, and in a plan read from a file.
    """

    rank: int | None
    critical_rank: int | None
    critical_layers: tuple[int, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    alpha_over_rank: float = 2.0
    importance: Importance | ModuleImportance | None = None
    provenance: Provenance = field(default_factory=dict)
    count: int = 0
    gate: Gate | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        levels = [level for level in (self.rank, self.critical_rank) if level is not None]
        if min([0, *levels, *self.ranks.values()]) < 0:
            raise InputError(f"LoRA ranks must not be negative; got {levels or dict(self.ranks)}.")
        if self.alpha_over_rank <= 0:
            raise InputError(f"alpha_over_rank must be positive; got {self.alpha_over_rank}.")
        if len(set(self.critical_layers)) < len(self.critical_layers):
            raise InputError(f"Critical layers must not repeat; got {list(self.critical_layers)}.")
        object.__setattr__(self, "ranks", MappingProxyType(dict(self.ranks)))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    # Ways to make one

    @classmethod
    def two_level(
        cls, model: Model, critical_layers: tuple[int, ...] | list[int], rank: int, critical_rank: int
    ) -> Self:
        """`critical_rank` on every linear module of the named layers, `rank` on all others."""
        provenance = {"allocation": "two levels"}
        plan = cls(rank, critical_rank, tuple(critical_layers), provenance=provenance)
        return plan.resolve(model)

    @classmethod
    def random_layers(cls, model: Model, count: int, rank: int, critical_rank: int, seed: int) -> Self:
        """Two levels with `count` critical layers drawn by `seed`, as the study's RandomLoRA."""
        modules = linear_modules(model)
        importance = Importance.random(1 + max(module.layer for module in modules.values()), seed)
        provenance = {"allocation": "two levels", "rule": "random", "count": count, "seed": seed}
        plan = cls(rank, critical_rank, importance.top(count), importance=importance, provenance=provenance)
        return plan.resolve(model)

    @classmethod
    def from_importance(
        cls,
        model: Model,
        importance: Importance | ModuleImportance,
        *,
        allocator: str = TWO_LEVEL,
        rank: int = 8,
        critical_rank: int = 32,
        critical_layers: int = 5,
        budget: int | None = None,
    ) -> Self:
        """Ranks from any importance, per layer (its modules share it) or per module.

        Args:
            model: the model to train.
            importance: of its layers or of its modules.
            allocator: ``two-level``: `critical_rank` for the most important, `rank` for the others; with a budget the
                critical rank is what the budget allows. ``proportional`` and ``water-filling``: see `allocators`.
            rank: rank of the ordinary layers or modules.
            critical_rank: rank of the critical ones.
            critical_layers: how many layers are critical; by module, the same share of all modules is.
            budget: most LoRA parameters; None: what the two-level plan takes, so that allocators compare equal.

        Raises:
            InputError: importance of another model, unknown allocator, a budget that cannot be spent.
        """
        if allocator not in ALLOCATORS:
            raise InputError(f"{allocator!r} is no allocator; choose one of {', '.join(ALLOCATORS)}.")
        modules = linear_modules(model)
        weights = importance.per_module(modules)
        costs, limits = zip(*((module.rank_cost, module.full_rank) for module in modules.values()), strict=True)
        made = _made(allocator, importance, critical_layers, budget)
        if allocator != TWO_LEVEL:
            if budget is None:
                levels = cls.from_importance(
                    model, importance, rank=rank, critical_rank=critical_rank, critical_layers=critical_layers
                )
                budget = levels.count
            ranks = allocators.ALLOCATORS[allocator](weights, costs, limits, budget)
            plan = cls(None, None, importance=importance, provenance=made)
        else:
            count = importance.critical(modules, critical_layers)
            if budget is None:
                ranks = allocators.levels(weights, rank=rank, critical_rank=critical_rank, count=count)
            else:
                ranks = allocators.two_level(weights, costs, limits, budget, rank=rank, count=count)
                critical_rank = min(ranks[index] for index in allocators.by_importance(weights)[:count])
            top = importance.top(critical_layers) if isinstance(importance, Importance) else ()
            plan = cls(rank, critical_rank, top, importance=importance, provenance=made)
        return replace(plan, ranks=dict(zip(modules, ranks, strict=True))).resolve(model)

    @classmethod
    def uniform(cls, model: Model, *, rank: int | None = None, parameters: int | None = None) -> Self:
        """One rank everywhere, or as even a plan as fills at most `parameters` LoRA parameters.

        With a budget: the largest rank that fits everywhere, then one extra rank module by module, in the order of
        the blocks, as long as any still fits. So the shortfall is less than one rank of the cheapest module.

        Neither is held to full rank, so that every number of parameters has a uniform rival: above full rank a module
        has more parameters and can change in no more ways.
        """
        modules = linear_modules(model)
        if (rank is None) == (parameters is None):
            raise InputError("A uniform plan takes either a rank or a number of parameters.")
        if rank is not None:
            plan = cls(rank, None, ranks=dict.fromkeys(modules, rank), provenance={"allocation": "uniform"})
            return plan.resolve(model)
        assert parameters is not None
        costs = [module.rank_cost for module in modules.values()]
        ranks = dict(zip(modules, allocators.even(costs, parameters), strict=True))
        provenance = {"allocation": "uniform", "budget": parameters}
        return cls(min(ranks.values()), None, ranks=ranks, provenance=provenance).resolve(model)

    # What it says about a model

    def resolve(self, model: Model) -> Self:
        """The same plan with a rank for every module of `model`, by full name.

        Raises:
            InputError: the plan names layers or modules that the model does not have.
        """
        modules = linear_modules(model)
        ranks = dict(self.ranks) or self._layer_ranks(modules)
        foreign = [name for name in ranks if name not in modules]
        if foreign:
            raise InputError(
                f"The rank plan names the module {foreign[0]}, which {type(model).__name__} does not have among its "
                "blocks' linear modules; make a plan for this model."
            )
        return replace(self, ranks=ranks, count=parameter_count(ranks, modules))

    def parameters(self, model: Model) -> int:
        """Number of trainable parameters on `model`: the sum of rank x (input + output features)."""
        return self.resolve(model).count

    def to_lora_config(self, model: Model, *, alphas_of: "RankPlan | None" = None, **options: Any) -> LoraConfig:
        """A plain ``peft.LoraConfig`` for `model`.

        ``target_modules`` holds full names. The most frequent rank is ``r``; every other module has one key,
        anchored and escaped, in ``rank_pattern`` and ``alpha_pattern``: no key can match another module, so their
        order (PEFT takes the first match and sorts keys on saving) does not matter.

        Args:
            model: what is to be trained.
            alphas_of: take ``lora_alpha`` of every module from the ranks of this plan, so that its modules of high
                rank count for more at the ranks of this one (their ``alpha / r`` is larger).
            **options: further fields of the config, such as ``lora_dropout``.

        Raises:
            InputError: a plan of another model, no module with a rank, an option that the plan sets itself, or a
                module with a rank that `alphas_of` does not name.
        """
        clash = [option for option in options if option in OWNED]
        if clash:
            raise InputError(f"The rank plan sets {clash[0]} itself; leave it out of the options.")
        modules = linear_modules(model)
        ranks = {name: rank for name, rank in self.resolve(model).ranks.items() if rank > 0}
        if not ranks:
            raise InputError("The rank plan gives rank 0 to every module: there is nothing to train; raise a rank.")
        counts = Counter(ranks.values())
        common = min(counts, key=lambda rank: (-counts[rank], rank))
        source = alphas_of or self
        alphas = {name: source._alpha(rank) for name, rank in source.resolve(model).ranks.items()}
        unnamed = [name for name in ranks if name not in alphas]
        if unnamed:
            raise InputError(
                f"alphas_of names no rank of {unnamed[0]}, which this plan trains ({len(unnamed)} of its "
                f"{len(ranks)} modules are missing); give a plan that names all of them."
            )
        return LoraConfig(
            r=common,
            lora_alpha=self._alpha(common),
            target_modules=list(ranks),
            rank_pattern={_key(name): rank for name, rank in ranks.items() if rank != common},
            alpha_pattern={_key(name): alphas[name] for name in ranks if alphas[name] != self._alpha(common)},
            fan_in_fan_out=any(modules[name].transposed for name in ranks),
            **{"task_type": "CAUSAL_LM", **options},
        )

    def _layer_ranks(self, modules: Mapping[str, LinearModule]) -> dict[str, int]:
        layers = 1 + max(module.layer for module in modules.values())
        if self.importance is not None:
            self.importance.per_module(modules)  # refuses a model of other layers
        outside = [layer for layer in self.critical_layers if not 0 <= layer < layers]
        if outside:
            raise InputError(f"There is no layer {outside[0]} in a model of {layers} layers (counted from 0).")
        if self.rank is None or self.critical_rank is None:
            raise InputError("A rank plan without ranks by module needs both rank and critical_rank.")
        critical = set(self.critical_layers)
        return {
            name: self.critical_rank if module.layer in critical else self.rank for name, module in modules.items()
        }

    def _alpha(self, rank: int) -> int:
        alpha = self.alpha_over_rank * rank
        return int(alpha) if alpha == int(alpha) else alpha  # type: ignore[return-value]

    # How it shows itself

    def __repr__(self) -> str:
        return line("RankPlan", showing.plan_facts(self))

    def _repr_html_(self) -> str:
        return showing.plan_html(self)

    def to_pandas(self) -> "DataFrame":
        """A frame of the modules: full name, layer, rank; InputError before the plan has met a model (`resolve`)."""
        return frame(showing.plan_columns(self))

    def plot(self) -> "Drawing":
        """Ranks by kind of module and layer, as a matplotlib figure; InputError before `resolve`."""
        return showing.draw_plan(self)

    # Files

    def save(self, path: str | Path) -> None:
        """Write ``circuit_plan.json``; InputError if the plan has not met a model yet (`resolve`)."""
        if not self.ranks:
            raise InputError(
                "A rank plan is saved by module: give it its model first, plan.resolve(model).save(path)."
            )
        importance = self.importance
        record = RankPlanRecord(
            ranks=dict(self.ranks),
            alpha_over_rank=self.alpha_over_rank,
            critical_layers=list(self.critical_layers),
            rank=self.rank,
            critical_rank=self.critical_rank,
            parameters=self.count,
            importance=_importance_record(importance) if importance else None,
            provenance=dict(self.provenance),
        )
        write_json(Path(path), record)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`; InputError where it is missing, damaged or foreign."""
        record = read_record(Path(path), RankPlanRecord)
        importance = record.importance
        return cls(
            record.rank,
            record.critical_rank,
            tuple(record.critical_layers),
            record.ranks,
            record.alpha_over_rank,
            _importance(importance, record.ranks) if importance else None,
            record.provenance,
            record.parameters,
        )


def rank_plan(
    before: EdgeScores,
    after: EdgeScores | None = None,
    *,
    rank: int = 8,
    critical_rank: int = 32,
    critical_layers: int = 5,
    rule: str | None = None,
    allocator: str = TWO_LEVEL,
    budget: int | None = None,
    modules: bool = False,
    gate: GateMode = "warn",
    model: Model | None = None,
    score: Score | None = None,
) -> RankPlan:
    """CircuitLoRA's plan: high rank for the layers whose edges change most in fine-tuning.

    Args:
        before: edge scores of the base model.
        after: edge scores of the same model after phase 1, on the same pairs; None: the base model's circuit decides
            alone, and there is no phase 1.
        rank, critical_rank, critical_layers, allocator, budget: as in `RankPlan.from_importance`.
        rule: how importance follows from the scores (``dynamics.layers.layer_importance``); by default ``released``,
            without `after` ``before``.
        modules: rank single modules, not whole layers (`ModuleImportance.from_scores`).
        gate: what to do where the choice of the critical layers (modules) is unstable or no more than chance:
            ``warn``; plan the same number of parameters ``uniform``ly, with a warning; or ``off``, do not look.
            It needs scores with their examples; where they have none, the plan's `gate` says so.
        model: resolve the plan to this model's modules. Without it a two-level plan by layer without a budget stays
            by layer until it meets one; all others need it.
        score: how a model of this shape was scored, such as ``lambda model: ct.attribute(model, inputs)``; a few of
            the pairs are enough. Where one map alone decides, the gate then has five models with random weights, of
            the shape of `model`, choose too; else it says that nobody tried.

    Raises:
        InputError: the scores belong to different graphs, an unknown rule or allocator, more critical layers than
            layers, a budget that cannot be spent, a missing model, ``gate="uniform"`` on scores without examples.
    """
    importance = (
        ModuleImportance.from_scores(_required(model), before, after, rule)
        if modules
        else Importance.from_scores(before, after, rule)
    )
    levels = {"rank": rank, "critical_rank": critical_rank, "critical_layers": critical_layers}
    if model is None and budget is None and allocator == TWO_LEVEL:
        assert isinstance(importance, Importance)
        made = _made(allocator, importance, critical_layers, None)
        top = importance.top(critical_layers)
        plan = RankPlan(rank, critical_rank, top, importance=importance, provenance=made)
    else:
        plan = RankPlan.from_importance(_required(model), importance, allocator=allocator, budget=budget, **levels)
    traces = _trace("before", before) | (_trace("after", after) if after is not None else {})
    plan = replace(plan, provenance={**plan.provenance, **traces})
    if gate == "off":
        return plan
    looked_at = model if modules else None
    drawn = of_random_weights(model, score)
    found = examine(before, after, critical_layers=critical_layers, rule=rule, model=looked_at, drawn=drawn)
    return _gated(plan, found, gate, model)


def _gated(plan: RankPlan, found: Gate, mode: GateMode, model: Model | None) -> RankPlan:
    """The plan with what the gate found; where that is chance, a warning, or the uniform plan of its size."""
    if found.passed is None and mode == "uniform":
        raise InputError(f"gate='uniform' cannot look at the choice: {found.reason}")
    if found.passed is False:
        warn(f"{found.sentence} {_ADVICE[mode]}", stacklevel=3)
        if mode == "uniform":
            uniform = RankPlan.uniform(_required(model), parameters=plan.parameters(_required(model)))
            said = {key: value for key, value in plan.provenance.items() if key not in ("rule", "count", "per")}
            plan = replace(uniform, provenance={**said, **uniform.provenance})
    return replace(plan, gate=found, provenance={**plan.provenance, **found.to_record()})


def _key(module: str) -> str:
    """A pattern of PEFT that matches this module alone."""
    return f"^{re.escape(module)}"


def _required(model: Model | None) -> Model:
    if model is None:
        raise InputError("A plan by module, within a budget or gated to uniform needs the model; give model=.")
    return model


def _made(
    allocator: str, importance: Importance | ModuleImportance, critical_layers: int, budget: int | None
) -> dict[str, str | int]:
    """How an allocator was called, for a plan's provenance."""
    return {
        "allocation": "two levels" if allocator == TWO_LEVEL else allocator,
        "rule": importance.rule,
        **({"count": critical_layers} if allocator == TWO_LEVEL else {}),
        **({"per": "module"} if isinstance(importance, ModuleImportance) else {}),
        **({} if budget is None else {"budget": budget}),
    }


def _importance_record(importance: Importance | ModuleImportance) -> ImportanceRecord:
    """By layer, or by module in the order of the names, which is that of ``ranks`` in the file."""
    values = importance.values
    numbers = [values[name] for name in sorted(values)] if isinstance(values, Mapping) else list(values)
    return ImportanceRecord(rule=importance.rule, values=numbers)


def _importance(record: ImportanceRecord, ranks: Mapping[str, int]) -> Importance | ModuleImportance:
    """Inverse of `_importance_record`; a model has fewer layers than modules."""
    if len(record.values) == len(ranks):
        return ModuleImportance(dict(zip(sorted(ranks), record.values, strict=True)), record.rule)
    return Importance(tuple(record.values), record.rule)


def _trace(side: str, scores: EdgeScores) -> dict[str, str | int | float]:
    """Which scores these were: a digest of the values, and every plain setting they were made with."""
    digest = sha256_bytes(scores.values.contiguous().numpy().tobytes())
    plain = {key: value for key, value in scores.settings.items() if isinstance(value, str | int | float)}
    return {f"{side}.scores_sha256": digest, **{f"{side}.{key}": value for key, value in sorted(plain.items())}}
