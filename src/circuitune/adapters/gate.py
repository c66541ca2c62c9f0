"""The gate before a rank plan: is the choice of critical layers (or modules) stable, and is it more than chance?

Two things are asked of the chosen set of K:

- Stability: choose again from resamples of the pairs. Is the mean Jaccard similarity to the chosen set 0.8 or more?
- Chance: how often does a set that has nothing to do with fine-tuning agree with the chosen one as well as the
  resamples do on average? Once for a set of K drawn uniformly (exact, hypergeometric), and, where the rule looks at a
  change, for the set that the same rule gives between two random halves of the base model's pairs, where nothing
  was trained. Both must be at most 5 %.

The second null is the one that hurts: sets can be stable only because the same layers always have the largest scores.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scipy import stats

from circuitune.adapters.importance import Importance, ModuleImportance, rule_of
from circuitune.adapters.modules import Model, linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.seeding import derived_seed
from circuitune.dynamics.bootstrap import STABLE
from circuitune.dynamics.layers import RULES
from circuitune.dynamics.nulls import disjoint_splits
from circuitune.dynamics.resampling import RESAMPLES, require_examples, resampled
from circuitune.models.anatomy import anatomy_of

LEVEL = 0.05
"""Largest share of chance draws that may agree as well."""

HALVINGS = 20
"""How often the base model's pairs are halved."""

ONE_MAP = " Where one map alone decides, a model with random weights may choose the same; that was not tried."
"""Low layers have the most edges, so their sums of scores are the largest whatever was learned."""

ROUNDING = 1e-9
"""Of a mean of similarities, which equal ones may not exceed."""

Choice = frozenset[int | str]
Choose = Callable[[EdgeScores, EdgeScores | None], Choice]


@dataclass(frozen=True)
class Gate:
    """What was found about the choice of K layers or modules.

    Attributes:
        chosen: how many, K.
        candidates: of how many.
        unit: "layers" or "modules".
        stability: mean Jaccard similarity of resampled choices with the choice; None where nobody could look.
        chance: probability that a uniform draw of K agrees as well; None where nobody could look.
        halves: share of halvings of the base model's pairs whose choice agrees as well; None where nobody could look,
            and for rules that look at no change.
        reason: why nobody could look, one sentence; else empty.
    """

    chosen: int
    candidates: int
    unit: str
    stability: float | None = None
    chance: float | None = None
    halves: float | None = None
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the choice is stable and more than chance; None where nobody could look."""
        if self.stability is None or self.chance is None:
            return None
        return self.stability >= STABLE and self._beats_chance

    @property
    def _beats_chance(self) -> bool:
        return max(self.chance or 0, self.halves or 0) <= LEVEL

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        if self.stability is None or self.chance is None:
            return f"The gate could not look at the choice: {self.reason}"
        chance = "chance" if self.halves is not None else f"a random draw of {self.unit}"
        judged = {
            (True, True): f"stable and more than {chance}",
            (True, False): f"stable, but no more than {chance}",
            (False, True): f"not stable, but more than {chance}",
            (False, False): f"neither stable nor more than {chance}",
        }[self.stability >= STABLE, self._beats_chance]
        halves = "" if self.halves is None else f", two halves of the base model's pairs in {self.halves:.0%}"
        return (
            f"The choice of {self.chosen} of {self.candidates} {self.unit} is {judged}: choices from resampled pairs "
            f"agree with it by a mean Jaccard of {self.stability:.2f} ({STABLE} is asked for); a random draw agrees "
            f"as well in {self.chance:.2%} of cases{halves} (at most {LEVEL:.0%} is asked for)."
            f"{'' if self.halves is not None else ONE_MAP}"
        )

    def to_record(self) -> dict[str, str | float]:
        """For a plan's provenance; nothing where nobody could look."""
        numbers = {"stability": self.stability, "chance": self.chance, "halves": self.halves}
        if self.passed is None:
            return {}
        found = {f"gate.{name}": value for name, value in numbers.items() if value is not None}
        return {"gate": "passed" if self.passed else "failed", **found}


def examine(
    before: EdgeScores,
    after: EdgeScores | None = None,
    *,
    critical_layers: int,
    rule: str | None = None,
    model: Model | None = None,
) -> Gate:
    """Look at the choice that `rank_plan` makes from these scores.

    Args:
        before: scores of the base model, with their examples.
        after: scores after fine-tuning, the same; None: the base model's decide alone.
        critical_layers: how many layers are critical.
        rule: of importance.
        model: look at the choice of this model's modules, as many as `rank_plan(..., modules=True)` takes; None: at
            the choice of layers.

    Raises:
        InputError: scores of different graphs, unknown rule, impossible number of layers.
    """
    rule = rule_of(after, rule)
    choose = _layers(rule, critical_layers) if model is None else _modules(rule, critical_layers, model)
    chosen = choose(before, after)
    candidates = before.graph.layers if model is None else len(linear_modules(model))
    gate = Gate(len(chosen), candidates, "layers" if model is None else "modules")
    maps = [before] if after is None else [before, after]
    try:
        for scores in maps:
            require_examples(scores)
    except InputError as error:
        return replace(gate, reason=str(error))
    again = [choose(one, rest[0] if rest else None) for one, *rest in resampled(maps, RESAMPLES)]
    stability = math.fsum(_jaccard(found, chosen) for found in again) / RESAMPLES
    return replace(
        gate,
        stability=stability,
        chance=_uniform_draws(len(chosen), candidates, stability),
        halves=None if RULES[rule].alone else _halves(before, choose, chosen, stability),
    )


def _layers(rule: str, count: int) -> Choose:
    return lambda before, after: frozenset(Importance.from_scores(before, after, rule).top(count))


def _modules(rule: str, layers: int, model: Model) -> Choose:
    modules, graph = linear_modules(model), Graph.of(anatomy_of(model))

    def choose(before: EdgeScores, after: EdgeScores | None) -> Choice:
        importance = ModuleImportance.booked(modules, graph, before, after, rule)
        return frozenset(importance.top(importance.critical(modules, layers)))

    return choose


def _uniform_draws(k: int, candidates: int, least: float) -> float:
    """Probability that a uniform set of `k` has at least this Jaccard similarity with a given one."""
    law = stats.hypergeom(candidates, k, k)  # of the number they share
    return math.fsum(
        float(law.pmf(shared)) for shared in range(k + 1) if shared >= (least - ROUNDING) * (2 * k - shared)
    )


def _halves(before: EdgeScores, choose: Choose, chosen: Choice, least: float) -> float:
    """Share of the halvings of the base model's pairs whose choice has at least this similarity with the chosen."""
    halvings = (disjoint_splits(before, 2, seed=derived_seed(0, "gate", draw)) for draw in range(HALVINGS))
    return sum(_jaccard(choose(one, other), chosen) >= least - ROUNDING for one, other in halvings) / HALVINGS


def _jaccard(one: Choice, other: Choice) -> float:
    return len(one & other) / len(one | other)
