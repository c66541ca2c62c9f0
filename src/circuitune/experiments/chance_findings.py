"""What the tables say of change and chance, in sentences; the verdict on every measure is the library's."""

from collections.abc import Sequence

from circuitune.core.chance_records import (
    AnalysisRecord,
    ChanceRow,
    ChangedRow,
    RobustnessRow,
    StabilityRow,
    VerdictRow,
)
from circuitune.experiments.findings import span, times

_MEASURES = {"edge_rate": "Edges", "node_rate": "Nodes", "ratio": "Change of edges over change of nodes"}
_SCALE = {"edge_rate": "of the circuit before", "node_rate": "of the circuit before", "ratio": "times"}


def change(rows: Sequence[ChanceRow], verdicts: Sequence[VerdictRow], measure: str) -> str:
    """One measure of change with its interval, beside every null, and how it stands to another choice of pairs."""
    own = [row for row in rows if row.measure == measure]
    changes = [row for row in own if row.role == "change"]
    said = "; ".join(f"seed {row.seed}: {_estimate(row)}" for row in changes)
    nulls = "; ".join(f"{name} {means(found)}" for role, name in _NULLS.items() if (found := _of(own, role)))
    degrees = _of(own, "rewired")
    return (
        f"{_MEASURES[measure]}, before against after ({_SCALE[measure]}, 95 % interval over pairs): {said}. Where "
        f"nothing was learnt in between: {nulls or 'nothing to compare with'}."
        f"{f' Both circuits rewired with their degrees kept: {means(degrees)}.' if degrees else ''} "
        f"Held against another choice of pairs alone: {_outcomes(verdicts, measure)}."
    )


_NULLS: dict[str, str] = {
    "seed": "two seeds of the tuning",
    "split": "two halves of the pairs (another choice of pairs)",
    "random-init": "two models of random weights",
    "random": "random circuits of their size",
}


_OUTCOMES = {
    "more than chance": "more",
    "no more than chance": "no more",
    "not enough to say": "not enough to say",
}


def _outcomes(verdicts: Sequence[VerdictRow], measure: str) -> str:
    """The verdict of all fine-tunings, or each one's where they differ."""
    own = [row for row in verdicts if row.measure == measure]
    if len({row.outcome for row in own}) == 1:
        return _OUTCOMES[own[0].outcome]
    return ", ".join(f"seed {row.seed} {_OUTCOMES[row.outcome]}" for row in own)


def _of(rows: Sequence[ChanceRow], role: str) -> list[ChanceRow]:
    return [row for row in rows if row.role == role]


def _estimate(row: ChanceRow) -> str:
    if row.estimate is None or row.low is None or row.high is None:
        return f"undefined ({row.reason})"
    if row.measure == "ratio":
        return f"{row.estimate:.1f} ({row.low:.1f} to {row.high:.1f})"
    return f"{row.estimate:.1%} ({row.low:.1%} to {row.high:.1%})"


def means(rows: Sequence[ChanceRow]) -> str:
    """Means of a null over the fine-tunings; comparisons that do not define it are the largest there are."""
    known = [row.estimate for row in rows if row.estimate is not None]
    missing, whole = sum(row.undefined for row in rows), sum(row.comparisons for row in rows)
    undefined = [f"undefined in {missing} of {whole} comparisons"] if missing else []
    said = [times(known) if rows[0].measure == "ratio" else span(known)] if known else []
    return " and ".join([*said, *undefined])


def edges(rows: Sequence[ChangedRow]) -> str:
    """How many edges changed by membership, how many by test, and how many touch a changed node."""
    if not rows:
        return "Single edges could not be tested: no independent pairs, or an empty circuit before."
    said = "; ".join(
        f"seed {row.seed}: {row.raw} edges are in one circuit only, {row.tested} of them differ by more than the "
        f"pairs explain (q < 0.05), {row.touching} touch one of {row.changed_nodes} changed nodes"
        for row in rows
    )
    return f"Single edges, {said}."


def stable(rows: Sequence[StabilityRow]) -> str:
    """Which circuits and sets of layers depend on the pairs they were found on."""
    if not rows:
        return "Stability could not be measured: there are no independent pairs to draw again."
    whats = list(dict.fromkeys(row.what for row in rows))
    said = [f"{what} {_similar([row.jaccard for row in rows if row.what == what])}" for what in whats]
    shaky = list(dict.fromkeys(row.what for row in rows if row.unstable))
    judged = f"unstable (below 0.8): {', '.join(shaky)}" if shaky else "all stable (0.8 or more)"
    return f"Drawn again from the pairs, the mean Jaccard similarity with the whole is: {'; '.join(said)}; {judged}."


def _similar(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low}\N{EN DASH}{high}"


def causal(records: Sequence[AnalysisRecord]) -> list[str]:
    """The causal check of every fine-tuning."""
    return [f"{record.label}: {record.causal}" for record in records]


_MODELS = {"before": "before", "after": "after", "random": "with random weights"}


def robust(rows: Sequence[RobustnessRow]) -> str:
    """How alike the circuits are that other pairs of the task give: least and most noise, and disjoint parts."""
    levels = sorted({row.level for row in rows if row.level is not None})
    said = [
        _noise([row for row in rows if row.level == level]) for level in dict.fromkeys((*levels[:1], *levels[-1:]))
    ]
    parts = [row for row in rows if row.kind == "parts"]
    said.append(f"between disjoint parts of {parts[0].pairs} pairs {_by_model(parts)}")
    return f"Jaccard similarity of the circuits that other pairs of the task give: {'; '.join(said)}."


def _noise(rows: Sequence[RobustnessRow]) -> str:
    return f"with {rows[0].level:.0%} of {rows[0].pairs} pairs resampled {_by_model(rows)}"


def _by_model(rows: Sequence[RobustnessRow]) -> str:
    return ", ".join(
        f"{_similar([row.edge_jaccard for row in rows if row.model == model])} {said}"
        for model, said in _MODELS.items()
    )
