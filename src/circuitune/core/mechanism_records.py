"""Schemas of what goes beyond counting changes: composition, causal checks, and what changed heads do.

As in `records`: frozen, closed, finite, one CSV per row model.
"""

from typing import Literal

from circuitune.core.records import Record

CircuitKind = Literal[
    "whole", "union", "plain union", "intersection", "plain intersection", "part", "unrelated", "random"
]
Direction = Literal["removal", "insertion"]
SwappedEdges = Literal[
    "changed", "strongest unchanged", "random unchanged", "all", "changed less strongest", "changed less random"
]


class CompositionRow(Record):
    """composition.csv: one circuit, run on the compositional task.

    ``kind``: the task's own circuit ("whole"); the parts' "union" and "intersection" of as many edges; those of their
    circuits at this share, of whatever size ("plain ..."); a "part" alone; the union of an "unrelated" pair of tasks;
    or "random" edges, numbered by ``draw`` (0 elsewhere). ``name`` joins the tasks it is made of by " + ". ``share``
    is the share of all edges asked for, ``edges`` what is left after pruning; ``overlap`` the share of these edges
    that the whole's circuit has too. The rest as in faithfulness.csv.
    """

    task: str
    kind: CircuitKind
    name: str
    draw: int
    share: float
    edges: int
    overlap: float | None
    jaccard: float
    metric: str
    value: float
    model: float
    corrupted: float
    normalized: float | None
    normalized_low: float | None
    normalized_high: float | None
    reason: str
    kl: float
    accuracy: float


class TopOverlapRow(Record):
    """composition_overlap.csv: edges that the ``size`` strongest of two score maps have in common."""

    first: str
    second: str
    size: int
    shared: int
    share: float


class CausalRow(Record):
    """causal.csv: the gain of fine-tuning that passes through a set of edges.

    ``direction`` "removal": the tuned model with the base model's activations on these edges; "insertion": the base
    model with the tuned one's. ``value`` is what that run reaches (for "all", every edge swapped); ``base`` and
    ``tuned`` are the models as they are; ``share`` is the part of the gain that is lost or won, with a bootstrap
    interval over pairs; ``reason`` says why it is missing (else empty). Rows "changed less ..." are differences of
    two shares (``value``: of two runs), with random edges as the mean of the draws. ``draw`` numbers these (else 0).
    """

    direction: Direction
    swapped: SwappedEdges
    draw: int
    edges: int
    measure: str
    base: float
    tuned: float
    value: float
    share: float | None
    low: float | None
    high: float | None
    reason: str


class HeadRoleRow(Record):
    """roles.csv: one of the heads whose scores changed most, before and after fine-tuning.

    ``change`` is the score mass that moved on the head's edges, of maps scaled to unit mass; ``mass_*`` what lies on
    them. ``position`` is where the mean attention of the prompt's last token changed most, counted from the end (-1
    is that token itself). ``answer_*`` and ``wrong_*`` are what the head adds to these logits above the mean of the
    vocabulary, ``direct_*`` their difference (without wrong answers: the answer's).
    """

    place: int
    head: str
    layer: int
    change: float
    mass_before: float
    mass_after: float
    position: int
    attention_before: float
    attention_after: float
    direct_before: float
    direct_after: float
    answer_before: float
    answer_after: float
    wrong_before: float | None
    wrong_after: float | None
    sentence: str
