"""Tables that hold a change against chance, made up from random numbers: SYNTHETIC, no model was run.

They go with `report.synthetic`: two fine-tunings, every outcome of a verdict, a ratio that a null does not define,
one unstable circuit. Edges and scores are those of the synthetic circuits; the numbers of their tests are drawn.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from circuitune.core import chance_records as chance
from circuitune.core.csvio import write_rows
from circuitune.report.wiring import Wiring

DRAWS: Final = 10
HEADS: Final = 10
OUTCOMES: Final = {
    "edge_rate": ("more than chance", "more than chance"),
    "node_rate": ("more than chance", "not enough to say"),
    "ratio": ("no more than chance", "no more than chance"),
}
"""Of both seeds."""

_CHANGE: Final = {
    "edge_rate": (1.05, 0.09),
    "node_rate": (0.37, 0.07),
    "edge_jaccard": (0.31, 0.03),
    "node_jaccard": (0.69, 0.05),
    "ratio": (2.9, 0.6),
    "weighted_jaccard": (0.08, 0.01),
}
_NULLS: Final = {
    "edge_rate": {"split": (0.34, 0.06), "random-init": (1.12, 0.1), "rewired": (1.2, 0.04), "random": (1.97, 0.05)},
    "node_rate": {"split": (0.1, 0.05), "random-init": (0.28, 0.09), "rewired": (0.37, 0.0), "random": (0.01, 0.01)},
    "edge_jaccard": {
        "split": (0.71, 0.04),
        "random-init": (0.28, 0.03),
        "rewired": (0.25, 0.01),
        "random": (0.03, 0.01),
    },
    "node_jaccard": {
        "split": (0.9, 0.05),
        "random-init": (0.75, 0.08),
        "rewired": (0.69, 0.0),
        "random": (0.99, 0.01),
    },
    "ratio": {"split": (4.8, 2.6), "random-init": (4.1, 1.2), "rewired": (3.1, 0.1)},
}
_SEEDS: Final = {"edge_rate": 0.79, "node_rate": 0.24, "edge_jaccard": 0.43, "node_jaccard": 0.78, "ratio": 3.28}


class Tuned(Protocol):
    """What the tables need of a fine-tuning: its score map and circuit at every checkpoint."""

    @property
    def label(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def scores(self) -> np.ndarray: ...
    @property
    def circuits(self) -> np.ndarray: ...


def write_chance(tables: Path, graph: Wiring, tunings: Sequence[Tuned]) -> None:
    """Write the tables of the analyses of these fine-tunings, and of what a recipe may ask beside them."""
    chained = chain.from_iterable
    ways = [(one, np.random.default_rng([23, one.seed])) for one in tunings]
    seeds = [_seed_null(measure, value) for measure, value in _SEEDS.items()]
    edges = {one.label: _edges(graph, one, draw) for one, draw in ways}
    write_rows(tables / "chance.csv", [*chained(_chance(one) for one in tunings), *seeds], chance.ChanceRow)
    write_rows(tables / "verdicts.csv", list(chained(_verdicts(one) for one in tunings)), chance.VerdictRow)
    write_rows(tables / "edges.csv", list(chained(edges.values())), chance.EdgeRow)
    write_rows(tables / "nodes.csv", list(chained(_nodes(graph, *way) for way in ways)), chance.NodeRow)
    write_rows(tables / "changed.csv", [_changed(one, edges[one.label]) for one in tunings], chance.ChangedRow)
    write_rows(tables / "stability.csv", list(chained(_stability(one) for one in tunings)), chance.StabilityRow)
    frequencies = list(chained(_frequencies(graph, *way) for way in ways))
    write_rows(tables / "layer_frequency.csv", frequencies, chance.LayerFrequencyRow)
    write_rows(tables / "rules.csv", [_rules(one) for one in tunings], chance.RuleRow)
    write_rows(tables / "robustness.csv", list(chained(_robustness(*way) for way in ways)), chance.RobustnessRow)
    write_rows(
        tables / "composition.csv", list(chained(_composition(*way) for way in ways)), chance.TunedCompositionRow
    )
    write_rows(tables / "causal.csv", list(chained(_causal(*way) for way in ways)), chance.TunedCausalRow)
    write_rows(tables / "roles.csv", list(chained(_roles(graph, *way) for way in ways)), chance.TunedRoleRow)


def _chance(tuned: Tuned) -> list[chance.ChanceRow]:
    own = {"label": tuned.label, "seed": tuned.seed, "undefined": 0, "reason": ""}
    shift = 1 + 0.04 * tuned.seed
    rows = [
        _row(own, measure, "change", 200, shift * middle, spread) for measure, (middle, spread) in _CHANGE.items()
    ]
    for measure, nulls in _NULLS.items():
        rows += [_row(own, measure, role, 40, shift * middle, spread) for role, (middle, spread) in nulls.items()]
    missing = {"comparisons": 40, "undefined": 35, "estimate": None, "low": None, "high": None}
    reason = {"reason": "35 comparisons do not define it", "measure": "ratio", "role": "random"}
    return [*rows, chance.ChanceRow.model_validate({**own, **missing, **reason})]


def _row(
    own: dict[str, object], measure: str, role: str, comparisons: int, middle: float, spread: float
) -> chance.ChanceRow:
    most = 1.0 if measure.endswith("jaccard") else float("inf")
    ends = {"estimate": min(middle, most), "low": middle - spread, "high": min(middle + spread, most)}
    return chance.ChanceRow.model_validate(
        {**own, **ends, "measure": measure, "role": role, "comparisons": comparisons}
    )


def _seed_null(measure: str, value: float) -> chance.ChanceRow:
    return _row({"label": "seeds 0 1", "seed": 0, "undefined": 0, "reason": ""}, measure, "seed", 1, value, 0.0)


def _verdicts(tuned: Tuned) -> list[chance.VerdictRow]:
    return [
        chance.VerdictRow.model_validate(
            {
                "label": tuned.label,
                "seed": tuned.seed,
                "measure": measure,
                "outcome": outcomes[tuned.seed],
                "sentence": f"{outcomes[tuned.seed].capitalize()}: a synthetic sentence.",
            }
        )
        for measure, outcomes in OUTCOMES.items()
    ]


def _edges(graph: Wiring, tuned: Tuned, draw: np.random.Generator) -> list[chance.EdgeRow]:
    before, after = tuned.circuits[0], tuned.circuits[-1]
    old, new = (values / np.abs(values).sum() for values in (tuned.scores[0], tuned.scores[-1]))
    rows: list[chance.EdgeRow] = []
    for s, d in zip(*np.nonzero(before | after), strict=True):
        p = float(draw.beta(0.3, 3))
        q = min(1.0, 1.6 * p)
        rows.append(
            chance.EdgeRow(
                label=tuned.label, seed=tuned.seed, source=graph.sources[s], destination=graph.destinations[d],
                in_before=bool(before[s, d]), in_after=bool(after[s, d]),
                score_before=float(old[s, d]), score_after=float(new[s, d]),
                t=None if len(rows) == 3 else float(draw.normal(0, 4)), p=p, q=q,
                changed=bool(before[s, d] != after[s, d]) and q < 0.05,
            )
        )  # fmt: skip
    return rows


def _nodes(graph: Wiring, tuned: Tuned, draw: np.random.Generator) -> list[chance.NodeRow]:
    """Every source that has edges in either circuit; the last of them changed by no more than halves."""
    before, after = tuned.circuits[0].any(1), tuned.circuits[-1].any(1)
    old, new = (np.abs(values).sum(1) / np.abs(values).sum() for values in (tuned.scores[0], tuned.scores[-1]))
    places = np.nonzero(before | after)[0]
    rows: list[chance.NodeRow] = []
    for s in places:
        change, spread = float(new[s] - old[s]), 0.002 + 0.003 * float(draw.random())
        halves = 2 * abs(change) if s == places[-1] else 0.5 * abs(change)
        changed = abs(change) > halves
        rows.append(
            chance.NodeRow(
                label=tuned.label, seed=tuned.seed, node=graph.sources[s],
                in_before=bool(before[s]), in_after=bool(after[s]),
                share_before=float(old[s]), share_after=float(new[s]),
                change=change, low=change - spread, high=change + spread, t=3.0, p=0.001, q=0.002,
                halves=halves, half_comparisons=40, seeds=0.8 * abs(change), seed_comparisons=1, changed=changed,
                sentence=f"{'Beyond' if changed else 'Not beyond'} chance: a synthetic share.",
            )
        )  # fmt: skip
    return rows


def _changed(tuned: Tuned, edges: list[chance.EdgeRow]) -> chance.ChangedRow:
    return chance.ChangedRow(
        label=tuned.label, seed=tuned.seed,
        before=sum(row.in_before for row in edges), after=sum(row.in_after for row in edges),
        raw=sum(row.in_before != row.in_after for row in edges), tested=sum(row.changed for row in edges),
        significant=sum(row.q < 0.05 for row in edges), changed_nodes=18, touching=121, estimate=117.8,
        sentence="121 changed edges touch a changed node (synthetic).",
    )  # fmt: skip


def _stability(tuned: Tuned) -> list[chance.StabilityRow]:
    own = {"label": tuned.label, "seed": tuned.seed, "reason": ""}
    found = {"consensus_edges": 196, "normalized": 0.47, "normalized_low": 0.39, "normalized_high": 0.58}
    undefined = {"normalized": None, "normalized_low": None, "normalized_high": None, "reason": "nothing was learnt"}
    none = dict.fromkeys(found)
    return [
        chance.StabilityRow.model_validate({**own, "what": what, "jaccard": alike, "unstable": alike < 0.8, **rest})
        for what, alike, rest in (
            ("circuit before", 0.75, found if tuned.seed else {**found, **undefined}),
            ("circuit after", 0.87, found),
            ("critical layers (released)", 1.0, none),
            ("critical layers (normalised)", 0.82 - 0.1 * tuned.seed, none),
        )
    ]


def _frequencies(graph: Wiring, tuned: Tuned, draw: np.random.Generator) -> list[chance.LayerFrequencyRow]:
    rows: list[chance.LayerFrequencyRow] = []
    for rule in ("released", "normalised"):
        often = np.sort(draw.beta(0.4, 0.9, graph.layers))[::-1]
        rows += [
            chance.LayerFrequencyRow(
                label=tuned.label, seed=tuned.seed, rule=rule, layer=layer, frequency=float(value), chosen=layer < 2
            )
            for layer, value in enumerate(often)
        ]
    return rows


def _rules(tuned: Tuned) -> chance.RuleRow:
    return chance.RuleRow(
        label=tuned.label, seed=tuned.seed, first="released", second="normalised", kendall=0.57, jaccard=1.0,
        expected=0.18,
    )  # fmt: skip


def _robustness(tuned: Tuned, draw: np.random.Generator) -> list[chance.RobustnessRow]:
    """Less alike the more pairs are resampled, least of all with random weights."""
    rows: list[chance.RobustnessRow] = []
    for model, top in (("random", 0.6), ("before", 0.8), ("after", 0.9)):
        for level in (0.1, 0.5, 0.9, None):
            value = top - 0.3 * (level or 1.0) + 0.02 * float(draw.random())
            rows.append(
                chance.RobustnessRow.model_validate(
                    {
                        "label": tuned.label,
                        "seed": tuned.seed,
                        "model": model,
                        "level": level,
                        "pairs": 200,
                        "kind": "parts" if level is None else "noise",
                        "comparisons": 3,
                        "edge_jaccard": value,
                        "edge_low": value - 0.03,
                        "edge_high": value + 0.03,
                        "node_jaccard": min(1.0, value + 0.1),
                    }
                )
            )
    return rows


def _composition(tuned: Tuned, draw: np.random.Generator) -> list[chance.TunedCompositionRow]:
    """The task's own circuit does most, then the union, its parts, an unrelated union, random edges."""
    kinds = {"whole": ("sum of two", 0.95), "union": ("first + second", 0.7), "part": ("first", 0.5)}
    kinds |= {"unrelated": ("third + fourth", 0.2), "random": ("", 0.01)}
    rows: list[chance.TunedCompositionRow] = []
    for share in (0.01, 0.05, 0.1):
        for kind, (name, top) in kinds.items():
            value = top * (1 - 0.005 / share) + 0.01 * float(draw.random())
            rows.append(
                chance.TunedCompositionRow.model_validate(
                    {
                        "label": tuned.label,
                        "seed": tuned.seed,
                        "task": "sum of two",
                        "kind": kind,
                        "name": name,
                        "draw": 0,
                        "share": share,
                        "edges": int(6573 * share),
                        "overlap": 0.5,
                        "jaccard": 0.4,
                        "metric": "logit_diff",
                        "value": 4 * value,
                        "model": 4.0,
                        "corrupted": -4.0,
                        "normalized": value,
                        "normalized_low": value - 0.05,
                        "normalized_high": value + 0.05,
                        "reason": "",
                        "kl": 1 - value,
                        "accuracy": value,
                    }
                )
            )
    return rows


def _causal(tuned: Tuned, draw: np.random.Generator) -> list[chance.TunedCausalRow]:
    rows: list[chance.TunedCausalRow] = []
    for direction, scale in (("removal", 0.8), ("insertion", 0.2)):
        for measure, base, gain in (("logit_diff", -0.2, 20.0), ("accuracy", 0.01, 0.92)):
            shares = [("changed", 0, scale), ("strongest unchanged", 0, 0.95)]
            shares += [("random unchanged", place, float(draw.beta(0.4, 1.5))) for place in range(DRAWS)]
            shares += [("all", 0, 1.0), ("changed less random", 0, 0.3), ("changed less strongest", 0, scale - 0.95)]
            ends = {"direction": direction, "measure": measure, "base": base, "tuned": base + gain, "edges": 338}
            own = {**ends, "label": tuned.label, "seed": tuned.seed, "reason": ""}
            rows += [
                chance.TunedCausalRow.model_validate(
                    {
                        **own,
                        "swapped": swapped,
                        "draw": place,
                        "value": base + gain * share,
                        "share": share,
                        "low": share - 0.04,
                        "high": share + 0.04,
                    }
                )
                for swapped, place, share in shares
            ]
    return rows


def _roles(graph: Wiring, tuned: Tuned, draw: np.random.Generator) -> list[chance.TunedRoleRow]:
    names = [name for name in graph.sources if name.startswith("a")]
    chosen = draw.choice(len(names), HEADS, replace=False)
    return [
        chance.TunedRoleRow(
            label=tuned.label, seed=tuned.seed, place=place, head=names[index], layer=int(index) // graph.heads,
            change=0.08 / place, mass_before=0.05, mass_after=0.03, position=-1 - int(draw.integers(6)),
            attention_before=0.13, attention_after=0.41, direct_before=-0.006, direct_after=0.08 / place,
            answer_before=0.04, answer_after=0.5, wrong_before=0.05, wrong_after=0.42,
            sentence=f"{names[index]} attends to the last token more than before (synthetic).",
        )
        for place, index in enumerate(chosen, start=1)
    ]  # fmt: skip
