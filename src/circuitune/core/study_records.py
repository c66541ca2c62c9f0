"""Schemas of a study's tables: one effect per seed, what each task says, and the verdict on each claim.

As in `records`: frozen, closed, finite, one CSV per row model. ``hypothesis`` is the registered hypothesis' name.
"""

from typing import Literal

from circuitune.core.records import Record

Finding = Literal["above", "below", "too small", "open"]
Outcome = Literal["supported", "not supported", "undecided", "exploratory"]


class EffectRow(Record):
    """effects.csv: one effect of one seed beside its null; ``reason`` says why a number is missing (else empty)."""

    hypothesis: str
    claim: int
    task: str
    seed: int
    effect: float | None
    null: float | None
    difference: float | None
    reason: str


class TaskEffectRow(Record):
    """tasks.csv: effect less null on one task, over seeds.

    ``seeds`` are there, ``defined`` of them have a difference; ``effect``, ``null`` and ``difference`` are their
    means. ``low`` to ``high``: BCa bootstrap from the rule's number of seeds on, else Student's t. ``p``: two-sided
    sign-flip test; ``p_holm``: the same after Holm over the registered tasks. ``finding``: the interval lies above 0
    (and p_holm is small), below 0, below the smallest effect, or neither.
    """

    hypothesis: str
    claim: int
    task: str
    seeds: int
    defined: int
    effect: float | None
    null: float | None
    difference: float | None
    interval: Literal["BCa", "t", "none"]
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    finding: Finding


class ClaimRow(Record):
    """verdicts.csv of a study: the registered rule applied to one hypothesis.

    ``final``: all registered seeds of all tasks are there. ``above``, ``below`` and ``small`` count the tasks whose
    interval lies above 0, below 0, and below the smallest effect.
    """

    hypothesis: str
    claim: int
    outcome: Outcome
    final: bool
    above: int
    below: int
    small: int
    sentence: str
