"""The arms of a contest: who takes part, by which method, and what its ranks come from.

Every arm has the parameters of CircuitLoRA's two levels, or fewer by less than one rank step; EVA has as much rank,
which may be more parameters, and full fine-tuning has all of the model's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from circuitune.experiments.recipe import ContestRecipe, Entrant
from circuitune.experiments.specs import Arm, RankSpec, Source, Twist
from circuitune.training.methods import MethodName


@dataclass(frozen=True)
class Way:
    """How one arm is fine-tuned.

    Attributes:
        source: what its ranks come from.
        method: how it is trained.
        twist: what is unusual in it.
        against: the arm whose compute it may spend, where the twist is ``longer``.
    """

    source: Source
    method: MethodName = "lora"
    twist: Twist = "none"
    against: Entrant = "circuitlora"


WAYS: Mapping[Arm, Way] = {
    "circuitlora": Way("circuit"),
    "uniform": Way("matched"),
    "random": Way("random"),
    "compute": Way("matched", twist="longer"),
    "base": Way("base"),
    "after": Way("after"),
    "bottom": Way("bottom"),
    "first": Way("first"),
    "gradient": Way("gradient"),
    "weights": Way("weights"),
    "mlp": Way("mlp"),
    "modules": Way("modules"),
    "warm": Way("circuit", twist="warm"),
    "faster": Way("circuit", twist="faster"),
    "adalora": Way("matched", "adalora"),
    "eva": Way("matched", "eva"),
    "truncated": Way("matched", "truncated"),
    "full": Way("none", "full"),
    "union": Way("union"),
    "transfer": Way("transfer"),
    "alphas": Way("alphas"),
    "base_modules": Way("base_modules"),
    "data": Way("data"),
    "eva_compute": Way("matched", twist="longer", against="eva"),
    "eva_even": Way("matched", "eva", twist="even"),
    "data_compute": Way("matched", twist="longer", against="data"),
}

CIRCUITS: Mapping[Source, int] = {
    "circuit": 2,
    "bottom": 2,
    "modules": 2,
    "alphas": 2,
    "transfer": 2,
    "union": 2,
    "base": 1,
    "base_modules": 1,
    "after": 1,
}
"""Attributions that a source of ranks costs (the union: of every part)."""
COUNTED: frozenset[Source] = frozenset(
    {"circuit", "bottom", "modules", "base_modules", "base", "after", "matched", "alphas", "mlp", "data"}
)
"""Sources that read CircuitLoRA's circuits: for the ranks, or for how many parameters its plan has."""
TUNED: frozenset[Source] = frozenset(
    {"circuit", "bottom", "modules", "alphas", "transfer", "after", "weights", "union"}
)
"""Sources that cost a phase 1 (the union: one on every part; transfer: on another task)."""


@dataclass(frozen=True)
class Entry:
    """One arm, or one random draw, of a contest."""

    arm: Arm
    way: Way
    ranks: RankSpec

    @property
    def name(self) -> str:
        """The arm, with the number of a random draw."""
        return f"random{self.ranks.draw}" if self.arm == "random" else self.arm


def entries(contest: ContestRecipe) -> Iterator[Entry]:
    """CircuitLoRA, its uniform rival of equal size, the random draws, then the rivals that the recipe adds."""
    levels = RankSpec(
        kind="circuit",
        rank=contest.rank,
        critical_rank=contest.critical_rank,
        critical_layers=contest.critical_layers,
        rule=contest.rule,
    )
    for place, arm in enumerate(contest.entrants):
        way = WAYS[arm]
        draw = place - contest.entrants.index(arm)
        yield Entry(arm, way, levels.model_copy(update={"kind": way.source, "draw": draw}))
