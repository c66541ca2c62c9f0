"""How rank plans show themselves: HTML, a frame, a drawing. `RankPlan`'s methods of the same names call this."""

import re
from typing import TYPE_CHECKING, Any

from circuitune.core.errors import InputError
from circuitune.core.notebook import card

if TYPE_CHECKING:
    from circuitune.adapters.allocation import RankPlan
    from circuitune.figures.style import Drawing

_PLACE = re.compile(r"^(.*?)\.(\d+)\.(.+)$")
"""Where the blocks are, which block, and which module of it."""

Ranks = dict[tuple[str, int], list[int]]
"""By (kind of module, layer); experts of a mixture are one kind."""


def plan_html(plan: "RankPlan") -> str:
    """How many parameters, which layers and why, and the rank of every kind of module by layer."""
    ranks = by_kind(plan)
    layers = sorted({layer for _, layer in ranks})
    kinds = list(dict.fromkeys(kind for kind, _ in ranks))
    rows = [[kind, *(_span(ranks.get((kind, layer), [])) for layer in layers)] for kind in kinds]
    return card("RankPlan", plan_facts(plan), ["rank by layer", *map(str, layers)] if rows else (), rows)


def plan_facts(plan: "RankPlan") -> list[str]:
    """How many parameters, which layers, and why."""
    critical = ", ".join(map(str, plan.critical_layers))
    return [
        f"{plan.count:,} trainable parameters in {sum(rank > 0 for rank in plan.ranks.values()):,} modules"
        if plan.ranks
        else "not resolved to a model yet",
        f"critical layers {critical}: rank {plan.critical_rank}, elsewhere {plan.rank}" if critical else "",
        f"by {plan.importance.rule}" if plan.importance else "",
        plan.gate.sentence if plan.gate else "",
    ]


def _span(ranks: list[int]) -> str:
    if not ranks:
        return ""
    return str(ranks[0]) if min(ranks) == max(ranks) else f"{min(ranks)}\N{EN DASH}{max(ranks)}"


def by_kind(plan: "RankPlan") -> Ranks:
    """The ranks of every kind of module in every layer; nothing for a plan that has not met a model."""
    found: Ranks = {}
    for name, rank in plan.ranks.items():
        kind = re.sub(r"\b\d+\b", "*", _part(name, 3))
        found.setdefault((kind, int(_part(name, 2))), []).append(rank)
    return found


def plan_columns(plan: "RankPlan") -> dict[str, list[Any]]:
    """One entry per module: its full name, its layer and its rank; InputError before the plan has met a model."""
    _require_resolved(plan)
    names = list(plan.ranks)
    return {"module": names, "layer": [int(_part(name, 2)) for name in names], "rank": list(plan.ranks.values())}


def draw_plan(plan: "RankPlan") -> "Drawing":
    """Ranks by kind of module and layer."""
    from circuitune.figures.heat import rank_map

    _require_resolved(plan)
    return rank_map(by_kind(plan))


def _part(name: str, group: int) -> str:
    found = _PLACE.match(name)
    assert found is not None, f"the module {name} is in no numbered block"
    return found[group]


def _require_resolved(plan: "RankPlan") -> None:
    if not plan.ranks:
        raise InputError("This rank plan has no modules yet: give it its model first, plan.resolve(model).")
