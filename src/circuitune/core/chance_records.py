"""Schemas of changes held against chance: intervals, nulls, tests of single edges, stability, and finer measures.

As in `records`: frozen, closed, finite, one CSV per row model. ``label`` names the fine-tuning.
"""

from typing import Literal

from circuitune.core.mechanism_records import CausalRow, CompositionRow, HeadRoleRow, TopOverlapRow
from circuitune.core.records import Kind, Record

ChanceRole = Literal["change", "seed", "split", "random-init", "rewired", "random"]
Form = Literal["split", "collapsed"]
Spacing = Literal["even", "log"]


class ChanceRow(Record):
    """chance.csv: a measure of change from before to after, or the same where nothing but chance differs.

    ``role`` "change": the estimate with its bootstrap interval over pairs. Otherwise a null: the mean over
    ``comparisons``, and between ``low`` and ``high`` 95 % of them lie; ``undefined`` of them have no value (a ratio
    where no node changed). ``reason`` says why a number is missing, and is empty otherwise.
    """

    label: str
    seed: int
    measure: str
    role: ChanceRole
    comparisons: int
    undefined: int
    estimate: float | None
    low: float | None
    high: float | None
    reason: str


class VerdictRow(Record):
    """verdicts.csv: what the rule of `dynamics.fairness.verdict` says of one measure of one fine-tuning."""

    label: str
    seed: int
    measure: str
    outcome: Literal["more than chance", "no more than chance", "not enough to say"]
    sentence: str


class EdgeRow(Record):
    """edges.csv: an edge in the circuit before, after or both, tested over pairs.

    Scores are means over pairs of maps scaled to unit L1; ``t`` is None where nothing varies and something differs;
    ``q`` is adjusted for all edges of either circuit (Benjamini and Hochberg). ``changed``: q below 0.05, and in one
    circuit only.
    """

    label: str
    seed: int
    source: str
    destination: str
    in_before: bool
    in_after: bool
    score_before: float
    score_after: float
    t: float | None
    p: float
    q: float
    changed: bool


class NodeRow(Record):
    """nodes.csv: a node in the circuit before, after or both; shares are of all scores of a map, and leave the node.

    ``low`` and ``high`` are a bootstrap interval over pairs of ``change``, after - before; ``t`` is None where
    nothing varies and something differs; ``q`` is adjusted for all nodes of either circuit. ``halves`` and ``seeds``:
    what 97.5 % of the comparisons do not exceed between two halves of the pairs of one model, and between two seeds
    after fine-tuning; None without any. ``changed``: q below 0.05, and by more than the halves.
    """

    label: str
    seed: int
    node: str
    in_before: bool
    in_after: bool
    share_before: float
    share_after: float
    change: float
    low: float | None
    high: float | None
    t: float | None
    p: float
    q: float
    halves: float | None
    half_comparisons: int
    seeds: float | None
    seed_comparisons: int
    changed: bool
    sentence: str


class ChangedRow(Record):
    """changed.csv: how many edges changed, as sets and as tests tell, and how many of them touch a changed node.

    ``raw``: in one circuit only; ``tested``: of these, those whose scores differ too (q below 0.05);
    ``significant``: all whose scores differ. ``estimate`` is the study's changed nodes x edges per node.
    """

    label: str
    seed: int
    before: int
    after: int
    raw: int
    tested: int
    significant: int
    changed_nodes: int
    touching: int
    estimate: float
    sentence: str


class StabilityRow(Record):
    """stability.csv: how much a circuit, or a set of critical layers, depends on which pairs it was found on.

    ``what``: "circuit before", "circuit after", or "critical layers (RULE)". ``jaccard`` is the mean bootstrap
    Jaccard with the one of all pairs, ``unstable`` says that it is below 0.8. For circuits the rest describes the
    consensus (edges in at least 80 % of the resamples), evaluated on held-out pairs as in faithfulness.csv.
    """

    label: str
    seed: int
    what: str
    jaccard: float
    unstable: bool
    consensus_edges: int | None
    normalized: float | None
    normalized_low: float | None
    normalized_high: float | None
    reason: str


class LayerFrequencyRow(Record):
    """layer_frequency.csv: how often a layer is critical when the pairs are drawn again."""

    label: str
    seed: int
    rule: str
    layer: int
    frequency: float
    chosen: bool


class RuleRow(Record):
    """rules.csv: how far two rules of layer importance agree.

    ``kendall`` is None where one of them is the same for all layers; ``expected`` is the Jaccard similarity of two
    random sets of as many layers.
    """

    label: str
    seed: int
    first: str
    second: str
    kendall: float | None
    jaccard: float
    expected: float


class FoundRow(Record):
    """found.csv: the critical layers at a checkpoint against those of the last one.

    ``found``: from this checkpoint on they stay the same.
    """

    label: str
    seed: int
    rule: str
    step: int
    layers: str
    jaccard: float
    found: bool


class SimilarityRow(Record):
    """similarity.csv: how alike two maps are in one measure, before against after or two seeds after.

    ``measure``: weighted_jaccard, rank_union, rank_all, mass_lost, mass_gained, mass_moved, top_overlap (with ``k``);
    edge_jaccard and node_jaccard in both forms. ``k`` is None elsewhere.
    """

    comparison: str
    role: Literal["change", "null"]
    form: Form
    measure: str
    k: int | None
    value: float | None


class KindRow(Record):
    """kinds.csv: edges by the kind of both ends, before and after."""

    comparison: str
    role: Literal["change", "null"]
    source: str
    destination: str
    possible: int
    before: int
    after: int
    added: int
    removed: int
    kept: int


class SpeedRow(Record):
    """speed.csv: change from one checkpoint of a schedule to the next, relative to the first circuit."""

    label: str
    seed: int
    spacing: Spacing
    kind: Kind
    step_from: int
    step_to: int
    rate: float | None
    rate_per_step: float | None


class TunedCausalRow(CausalRow):
    """causal.csv of a run: with the fine-tuning it belongs to."""

    label: str
    seed: int


class TunedRoleRow(HeadRoleRow):
    """roles.csv of a run: with the fine-tuning it belongs to."""

    label: str
    seed: int


class RobustnessRow(Record):
    """robustness.csv: how alike the circuits of one model are that other pairs of the task give.

    ``kind`` "noise": the circuit of ``pairs`` pairs against that with a share ``level`` of them resampled, one
    comparison per draw; "parts": every two of several disjoint parts of ``pairs`` pairs each. ``edge_low`` and
    ``edge_high`` are the least and the most alike.
    """

    label: str
    seed: int
    model: Literal["before", "after", "random"]
    kind: Literal["noise", "parts"]
    level: float | None
    pairs: int
    comparisons: int
    edge_jaccard: float
    edge_low: float
    edge_high: float
    node_jaccard: float


class TunedCompositionRow(CompositionRow):
    """composition.csv of a run: with the fine-tuning it belongs to."""

    label: str
    seed: int


class TunedTopOverlapRow(TopOverlapRow):
    """composition_overlap.csv of a run: with the fine-tuning it belongs to."""

    label: str
    seed: int


class CompositionRecord(Record):
    """composition.json: what the united circuits do, in words."""

    format: Literal[1] = 1
    label: str
    seed: int
    sentence: str


class AnalysisRecord(Record):
    """analysis.json: what the analysis of one fine-tuning says in words."""

    format: Literal[1] = 1
    label: str
    seed: int
    causal: str
    metric: str
