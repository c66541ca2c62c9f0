"""The gate before a rank plan: is the choice of critical layers (or modules) stable, and is it more than chance?

Two things are asked of the chosen set of K:

- Stability: choose again from resamples of the pairs. Is the mean Jaccard similarity to the chosen set 0.8 or more?
- Chance: how often does a set that has nothing to do with fine-tuning agree with the chosen one as well as the
  resamples do on average? Once for a set of K drawn uniformly (exact, hypergeometric), and, where the rule looks at a
  change, for the set that the same rule gives between two random halves of the base model's pairs, where nothing
  was trained. Both must be at most 5 %. Where one map alone decides, for the sets that the rule gives for models of
  the same shape with random weights, scored on the same pairs: there are five, and none of them may.

The second null is the one that hurts: sets can be stable only because the same layers always have the largest scores.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from scipy import stats
from transformers import PreTrainedModel

from circuitune.adapters.importance import Importance, ModuleImportance, rule_of
from circuitune.adapters.modules import Model, linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.core.seeding import derived_seed
from circuitune.dynamics.bootstrap import STABLE
from circuitune.dynamics.layers import RULES
from circuitune.dynamics.nulls import disjoint_splits
from circuitune.dynamics.resampling import RESAMPLES, require_examples, resampled
from circuitune.models.anatomy import anatomy_of
from circuitune.models.versions import can_be_drawn, untrained

LEVEL = 0.05
"""Largest share of chance draws that may agree as well."""

HALVINGS = 20
"""How often the base model's pairs are halved."""

RANDOM_MODELS = 5
"""How many models with random weights choose too: each costs a scoring."""

RANDOM_ROWS = 20
"""Pairs (rows) that a model with random weights is scored on: few, so that all five cost no more than half of 200."""

ONE_MAP = " Where one map alone decides, a model with random weights may choose the same; that was not tried."
"""Low layers have the most edges, so their sums of scores may be the largest whatever was learned."""

ROUNDING = 1e-9
"""Of a mean of similarities, which equal ones may not exceed."""

Choice = frozenset[int | str]
Choose = Callable[[EdgeScores, EdgeScores | None], Choice]
Score = Callable[[Model], EdgeScores]
"""Scores a model of the same shape, on the pairs (some of them) and with the settings of the scores looked at."""


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
        random_weights: Jaccard similarity with the choice, for each model with random weights; empty where none was
            tried, and for rules that look at a change.
        reason: why nobody could look, one sentence; else empty.
    """

    chosen: int
    candidates: int
    unit: str
    stability: float | None = None
    chance: float | None = None
    halves: float | None = None
    random_weights: tuple[float, ...] = ()
    reason: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the choice is stable and more than chance; None where nobody could look."""
        if self.stability is None or self.chance is None:
            return None
        return self.stability >= STABLE and self._beats_chance

    @property
    def _beats_chance(self) -> bool:
        return max(self.chance or 0, self.halves or 0) <= LEVEL and not self._agreeing

    @property
    def _agreeing(self) -> int:
        """How many models with random weights agree with the choice as well as resamples do."""
        return sum(similarity >= (self.stability or 0) - ROUNDING for similarity in self.random_weights)

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        if self.stability is None or self.chance is None:
            return f"The gate could not look at the choice: {self.reason}"
        judged = {
            (True, True): "stable and more than",
            (True, False): "stable, but no more than",
            (False, True): "not stable, but more than",
            (False, False): "neither stable nor more than",
        }[self.stability >= STABLE, self._beats_chance]
        halves = "" if self.halves is None else f", two halves of the base model's pairs in {self.halves:.0%}"
        return (
            f"The choice of {self.chosen} of {self.candidates} {self.unit} is {judged} {self._rival}: choices from "
            f"resampled pairs agree with it by a mean Jaccard of {self.stability:.2f} ({STABLE} is asked for); a "
            f"random draw agrees as well in {self.chance:.2%} of cases{halves} (at most {LEVEL:.0%} is asked for)."
            f"{'' if self.halves is not None else self._random_words}"
        )

    @property
    def _rival(self) -> str:
        """What the choice is held against; where it does not win, what it does not win against."""
        if self.halves is not None:
            return "chance"
        draw = f"a random draw of {self.unit}"
        if not self.random_weights:
            return draw
        if self._agreeing:
            return "random weights"
        return draw if (self.chance or 0) > LEVEL else f"{draw} and random weights"

    @property
    def _random_words(self) -> str:
        """How models with random weights chose, and what so few of them can tell."""
        if not self.random_weights:
            return ONE_MAP
        draws = len(self.random_weights)
        alike, unseen = math.fsum(self.random_weights) / draws, 1 - LEVEL ** (1 / draws)
        return (
            f" {draws} models with random weights agree with it by {alike:.2f}, {self._agreeing} of them as well as "
            f"the resamples do (none is asked for: so few cannot show {LEVEL:.0%}, and even none leaves up to "
            f"{unseen:.0%} possible)."
        )

    def to_record(self) -> dict[str, str | float]:
        """For a plan's provenance; nothing where nobody could look."""
        if self.passed is None:
            return {}
        random = len(self.random_weights) or None
        numbers = {
            "stability": self.stability,
            "chance": self.chance,
            "halves": self.halves,
            "random_models": random,
            "random_models_agreeing": random and self._agreeing,
        }
        found = {f"gate.{name}": value for name, value in numbers.items() if value is not None}
        return {"gate": "passed" if self.passed else "failed", **found}


def examine(
    before: EdgeScores,
    after: EdgeScores | None = None,
    *,
    critical_layers: int,
    rule: str | None = None,
    model: Model | None = None,
    drawn: Iterator[EdgeScores] | None = None,
) -> Gate:
    """Look at the choice that `rank_plan` makes from these scores.

    Args:
        before: scores of the base model, with their examples.
        after: scores after fine-tuning, the same; None: the base model's decide alone.
        critical_layers: how many layers are critical.
        rule: of importance.
        model: look at the choice of this model's modules, as many as `rank_plan(..., modules=True)` takes; None: at
            the choice of layers.
        drawn: scores of models of the same shape with random weights, on the same pairs (`of_random_weights`); asked
            for where one map alone decides, and no earlier. None: nobody tries.

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
    alone = RULES[rule].alone
    return replace(
        gate,
        stability=stability,
        chance=_uniform_draws(len(chosen), candidates, stability),
        halves=None if alone else _halves(before, choose, chosen, stability),
        random_weights=tuple(_jaccard(choose(one, one), chosen) for one in drawn) if alone and drawn else (),
    )


def of_random_weights(model: Model | None, score: Score | None) -> Iterator[EdgeScores] | None:
    """Scores of models of this one's shape with random weights, one after the other, none before it is asked for.

    None where there is no model or no way to score, and where the machine does not hold the model twice. Where a
    model with random weights cannot be scored (numbers too large for half precision, memory), they end.
    """
    if model is None or score is None or not can_be_drawn(model):
        return None
    return _drawn(model, score)


def _drawn(model: PreTrainedModel, score: Score) -> Iterator[EdgeScores]:
    for place in range(RANDOM_MODELS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # how exact their integral is concerns nobody
            try:
                scores = score(untrained(model, derived_seed(0, "gate, random weights", place)))
            except MachineError:
                return
        yield scores


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
