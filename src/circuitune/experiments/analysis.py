"""The change of one fine-tuning held against chance: intervals, nulls, tests, stability, a causal check, roles.

Scores of single pairs are needed for most of it and are large, so the maps before and after are made here once more,
with the examples kept, instead of being written by every job that finds circuits.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import write_json
from circuitune.core.chance_records import (
    AnalysisRecord,
    ChanceRow,
    ChangedRow,
    EdgeRow,
    LayerFrequencyRow,
    NodeRow,
    StabilityRow,
    TunedCausalRow,
    TunedRoleRow,
    VerdictRow,
)
from circuitune.core.csvio import write_rows
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import CausalRow
from circuitune.core.records import PairsRecord, read_record
from circuitune.core.seeding import derived_seed
from circuitune.core.statistics import Interval, Undefined
from circuitune.dynamics.bootstrap import Measured, bootstrap_change, circuit_stability, layer_stability
from circuitune.dynamics.causal import causal_check
from circuitune.dynamics.change import compare
from circuitune.dynamics.comparison import QUESTIONS, judged, split_halves
from circuitune.dynamics.edge_tests import EdgeTests, edge_tests
from circuitune.dynamics.fairness import node_estimate
from circuitune.dynamics.layers import unit
from circuitune.dynamics.measures import MEASURES, Overlap, node_shares, overlap
from circuitune.dynamics.nodes import NodeChange, node_changes
from circuitune.dynamics.nulls import Null, NullKind, between, null
from circuitune.dynamics.resampling import cluster_count
from circuitune.dynamics.rewiring import random_overlaps, rewired_overlaps
from circuitune.dynamics.roles import roles
from circuitune.experiments.artefacts import (
    ANALYSIS,
    HALF_MEMORY,
    PAIRS,
    by_step,
    encoded,
    load,
    opened,
    row_label,
    scored,
    without,
)
from circuitune.experiments.inputs import Model, critical_count
from circuitune.experiments.specs import AnalyseSpec
from circuitune.experiments.store import JobFolder
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import untrained

FIXED = {("rewired", measure) for measure in ("node_rate", "node_jaccard", "ratio")}
"""What rewiring keeps or half keeps, so that it is no null of it: the degrees decide which nodes a circuit has."""

DEPENDENT = Undefined("there are no two independent pairs, so chance between pairs is not known")

STABLE_RULES = ("released", "normalised")


def analyse(job: JobFolder, spec: AnalyseSpec) -> None:
    """All tables of one fine-tuning; pairs of the circuit split, evaluated on the part that faithfulness uses."""
    base, tokenizer = load(job, spec)
    metric = read_record(job.input("pairs").folder / PAIRS, PairsRecord).metric
    how = spec.discovery
    inputs = encoded(job, "circuit", how.pairs, metric, tokenizer)
    held_out = encoded(job, how.part, how.evaluation_pairs, metric, tokenizer)
    first, *_, last = by_step(job.input("training").folder / "checkpoints")
    randoms = list(_random_models(base, inputs, spec, metric))
    with opened(base, first) as model:
        before = scored(model, inputs, spec.discovery, metric, per_example=True, memory=HALF_MEMORY)
        stable_before = _stability(model, held_out, before, "circuit before", spec, metric)
    with opened(base, last) as model:
        after = scored(model, inputs, spec.discovery, metric, per_example=True, memory=HALF_MEMORY)
        stable_after = _stability(model, held_out, after, "circuit after", spec, metric)
        _chance(job, spec, before, after, randoms)
        _edges(job, spec, before, after)
        _layers(job, spec, before, after, [*stable_before, *stable_after])
        _mechanism(job, spec, model, without(model, base), held_out, before, after, metric)


def _random_models(
    base: PreTrainedModel, inputs: EncodedPairs, spec: AnalyseSpec, metric: str
) -> Iterator[EdgeScores]:
    """Scores of models of the same shape with random weights, one after the other."""
    for place in range(spec.analysis.random_models):
        model = untrained(base, derived_seed(spec.seed, "random model", place))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # how exact their integral is concerns nobody
            yield scored(model, inputs, spec.discovery, metric, memory=HALF_MEMORY)


# ---- intervals and nulls ----


def _chance(
    job: JobFolder, spec: AnalyseSpec, before: EdgeScores, after: EdgeScores, random_models: Sequence[EdgeScores]
) -> None:
    """chance.csv, verdicts.csv and nodes.csv, all of the same resamples and halves of the pairs."""
    label, how = row_label(spec), spec.analysis
    size = spec.discovery.share
    intervals, halves, nodes = _over_pairs(spec, before, after)
    counts = overlap(before.top(size), after.top(size))
    nulls = _nulls(spec, before, after, random_models, halves)
    rows = [_interval_row(spec, label, measure, intervals[measure], how.resamples) for measure in intervals]
    verdicts: list[VerdictRow] = []
    for measure in MEASURES:
        own = [null(kind, overlaps, measure) for kind, overlaps in nulls.items() if (kind, measure) not in FIXED]
        rows += [null_row(label, spec.seed, one) for one in own]
        if measure in QUESTIONS:
            found = judged(measure, counts, intervals[measure], [one for one in own if one.kind == "split"])
            verdicts.append(
                VerdictRow(
                    label=label, seed=spec.seed, measure=measure, outcome=found.outcome, sentence=found.sentence
                )
            )
    write_rows(job.folder / "chance.csv", rows, ChanceRow)
    write_rows(job.folder / "verdicts.csv", verdicts, VerdictRow)
    write_rows(job.folder / "nodes.csv", [_node_row(spec, node) for node in nodes], NodeRow)


def _over_pairs(
    spec: AnalyseSpec, before: EdgeScores, after: EdgeScores
) -> tuple[Mapping[str, Measured], Sequence[Overlap], Sequence[NodeChange]]:
    """What chance between pairs makes: the interval of every measure, halves compared, and the change of nodes."""
    if _independent(before) < 2:
        return dict.fromkeys((*MEASURES, "weighted_jaccard"), DEPENDENT), (), ()
    how, size = spec.analysis, spec.discovery.share
    found = bootstrap_change(before, after, size=size, resamples=how.resamples, seed=spec.seed)
    halves: list[Overlap] = []
    moved: list[Tensor] = []
    for one, other in split_halves(before, after, halvings=how.halvings, seed=spec.seed):
        halves.append(overlap(one.top(size), other.top(size)))
        moved.append(node_shares(other) - node_shares(one))
    nodes = node_changes(before, after, size, intervals=found.nodes, halves=moved)
    return found.measures, halves, nodes


def _nulls(
    spec: AnalyseSpec,
    before: EdgeScores,
    after: EdgeScores,
    random_models: Sequence[EdgeScores],
    halves: Sequence[Overlap],
) -> dict[NullKind, tuple[Overlap, ...]]:
    """What two circuits differ in where nothing was learnt between them."""
    how, share = spec.analysis, spec.discovery.share
    old, new = before.top(share), after.top(share)
    nulls: dict[NullKind, tuple[Overlap, ...]] = {}
    if halves:
        nulls["split"] = tuple(halves)
    nulls["random-init"] = between(random_models, share)
    nulls["rewired"] = rewired_overlaps(old, new, how.rewirings, seed=spec.seed)
    nulls["random"] = random_overlaps(old, new, how.rewirings, seed=spec.seed)
    return nulls


def _independent(scores: EdgeScores) -> int:
    """How many independent pairs the scores are of."""
    try:
        return cluster_count(scores)
    except InputError:  # one pair, or all of them share prompts
        return 1


def _interval_row(
    spec: AnalyseSpec, label: str, measure: str, measured: Interval | Undefined, resamples: int
) -> ChanceRow:
    known = measured if isinstance(measured, Interval) else None
    return ChanceRow(
        label=label,
        seed=spec.seed,
        measure=measure,
        role="change",
        comparisons=resamples,
        undefined=0,
        estimate=known and known.estimate,
        low=known and known.low,
        high=known and known.high,
        reason=measured.reason if isinstance(measured, Undefined) else "",
    )


def null_row(label: str, seed: int, values: Null) -> ChanceRow:
    """A null as a row of chance.csv: the mean, and where 95 % of its comparisons lie."""
    low, high = (values.quantile(level) for level in (0.025, 0.975))
    missing = values.mean is None
    return ChanceRow(
        label=label,
        seed=seed,
        measure=values.measure,
        role=values.kind,
        comparisons=len(values.values) + values.undefined,
        undefined=values.undefined,
        estimate=values.mean,
        low=None if missing else low,
        high=None if missing or high is None or not math.isfinite(high) else high,
        reason=f"{values.undefined} comparisons do not define it" if missing else "",
    )


# ---- single nodes and edges ----


def _node_row(spec: AnalyseSpec, found: NodeChange) -> NodeRow:
    """A row of nodes.csv; what two seeds differ by is known once there are several (`tables`)."""
    interval = found.interval if isinstance(found.interval, Interval) else None
    return NodeRow(
        label=row_label(spec),
        seed=spec.seed,
        node=found.node,
        in_before=found.in_before,
        in_after=found.in_after,
        share_before=found.before,
        share_after=found.after,
        change=found.after - found.before,
        low=interval and interval.low,
        high=interval and interval.high,
        t=found.statistic if np.isfinite(found.statistic) else None,
        p=found.p,
        q=found.q,
        halves=found.halves,
        half_comparisons=found.comparisons,
        seeds=None,
        seed_comparisons=0,
        changed=found.changed,
        sentence=found.sentence,
    )


def _edges(job: JobFolder, spec: AnalyseSpec, before: EdgeScores, after: EdgeScores) -> None:
    """edges.csv and changed.csv."""
    if _independent(before) < 2 or not len(before.top(spec.discovery.share)):
        write_rows(job.folder / "edges.csv", [], EdgeRow)
        write_rows(job.folder / "changed.csv", [], ChangedRow)
        return
    tests = edge_tests(before, after, spec.discovery.share)
    write_rows(job.folder / "edges.csv", _edge_rows(spec, tests, before, after), EdgeRow)
    estimate = node_estimate(compare(tests.before, tests.after))
    row = ChangedRow(
        label=row_label(spec),
        seed=spec.seed,
        before=len(tests.before),
        after=len(tests.after),
        raw=tests.raw_count,
        tested=tests.tested_count,
        significant=tests.significant_count,
        changed_nodes=estimate.changed_nodes,
        touching=estimate.touching,
        estimate=estimate.estimate,
        sentence=estimate.sentence,
    )
    write_rows(job.folder / "changed.csv", [row], ChangedRow)


def _edge_rows(spec: AnalyseSpec, tests: EdgeTests, before: EdgeScores, after: EdgeScores) -> list[EdgeRow]:
    graph, old, new = before.graph, unit(before), unit(after)
    sources, destinations = tests.union.mask.numpy().nonzero()
    places = [(int(s), int(d)) for s, d in zip(sources, destinations, strict=True)]
    return [
        EdgeRow(
            label=row_label(spec),
            seed=spec.seed,
            source=graph.sources[s],
            destination=graph.destinations[d],
            in_before=bool(tests.before.mask[s, d]),
            in_after=bool(tests.after.mask[s, d]),
            score_before=float(old[s, d]),
            score_after=float(new[s, d]),
            t=float(t) if np.isfinite(t) else None,
            p=float(p),
            q=float(q),
            changed=bool(tests.changed.mask[s, d]),
        )
        for (s, d), t, p, q in zip(places, tests.statistic, tests.p, tests.q, strict=True)
    ]


# ---- stability ----


def _stability(
    model: Model, held_out: EncodedPairs, scores: EdgeScores, what: str, spec: AnalyseSpec, metric: str
) -> list[StabilityRow]:
    """A row of stability.csv, with the consensus circuit evaluated by the model it is of; none without chance."""
    if _independent(scores) < 2:
        return []
    how = spec.analysis
    stability = circuit_stability(scores, spec.discovery.share, resamples=how.resamples, seed=spec.seed)
    consensus = stability.consensus()
    found = evaluate(model, held_out, consensus, metric=metric, memory=HALF_MEMORY)
    interval = found.normalized
    row = StabilityRow(
        label=row_label(spec),
        seed=spec.seed,
        what=what,
        jaccard=stability.mean,
        unstable=stability.unstable,
        consensus_edges=len(consensus),
        normalized=interval.estimate if interval else None,
        normalized_low=interval.low if interval else None,
        normalized_high=interval.high if interval else None,
        reason=found.reason or "",
    )
    return [row]


def _layers(
    job: JobFolder, spec: AnalyseSpec, before: EdgeScores, after: EdgeScores, circuits: list[StabilityRow]
) -> None:
    """stability.csv and layer_frequency.csv."""
    label = row_label(spec)
    count = critical_count(spec.critical_layers, before.graph.layers)
    rows, frequencies = list(circuits), list[LayerFrequencyRow]()
    for rule in STABLE_RULES if circuits else ():
        found = layer_stability(before, after, count, rule, resamples=spec.analysis.resamples, seed=spec.seed)
        rows.append(
            StabilityRow(
                label=label,
                seed=spec.seed,
                what=f"critical layers ({rule})",
                jaccard=found.mean,
                unstable=found.unstable,
                consensus_edges=None,
                normalized=None,
                normalized_low=None,
                normalized_high=None,
                reason="",
            )
        )
        frequencies += [
            LayerFrequencyRow(
                label=label,
                seed=spec.seed,
                rule=rule,
                layer=layer,
                frequency=frequency,
                chosen=layer in found.layers,
            )
            for layer, frequency in enumerate(found.frequency)
        ]
    write_rows(job.folder / "stability.csv", rows, StabilityRow)
    write_rows(job.folder / "layer_frequency.csv", frequencies, LayerFrequencyRow)


# ---- what the change does ----


def _mechanism(
    job: JobFolder,
    spec: AnalyseSpec,
    model: Model,
    base: PreTrainedModel | None,
    held_out: EncodedPairs,
    before: EdgeScores,
    after: EdgeScores,
    metric: str,
) -> None:
    """causal.csv, roles.csv and the sentence of the causal check, on held-out pairs."""
    label, seed = row_label(spec), spec.seed
    measured = "nll" if metric == "kl" else metric  # the gain of fine-tuning is in the answer, not against itself
    changed = before.top(spec.discovery.share) ^ after.top(spec.discovery.share)
    rows, sentence = list[CausalRow](), "No edge changed between the two circuits, so no gain can pass through any."
    if len(changed):
        check = causal_check(
            model,
            held_out,
            before,
            after,
            base=base,
            changed=changed,
            draws=spec.analysis.draws,
            metric=measured,
            seed=seed,
            memory=HALF_MEMORY,
        )
        rows, sentence = check.rows, check.sentence
    write_rows(
        job.folder / "causal.csv",
        [TunedCausalRow.model_validate({**row.model_dump(), "label": label, "seed": seed}) for row in rows],
        TunedCausalRow,
    )
    found = roles(model, held_out, before, after, base=base, count=spec.analysis.heads, memory=HALF_MEMORY)
    write_rows(
        job.folder / "roles.csv",
        [TunedRoleRow.model_validate({**role.row().model_dump(), "label": label, "seed": seed}) for role in found],
        TunedRoleRow,
    )
    write_json(job.folder / ANALYSIS, AnalysisRecord(label=label, seed=seed, causal=sentence, metric=measured))
