"""Every answer of the summary by hand: rows in, one verdict out."""

import re
from collections.abc import Sequence

import pytest

from circuitune.core.chance_records import TunedCausalRow, VerdictRow
from circuitune.core.records import AccuracyRow, ChangeRow, MethodRow
from circuitune.experiments import meaning
from experiments.test_findings import ARMS, change, method

OURS = "CircuitLoRA (more rank in the layers whose edges changed most)"
MORE, NO_MORE, UNSAID = "more than chance", "no more than chance", "not enough to say"


def verdicts(*outcomes: str, measure: str = "edge_rate") -> list[VerdictRow]:
    return [
        VerdictRow.model_validate(
            {"label": f"tune seed {seed}", "seed": seed, "measure": measure, "outcome": outcome, "sentence": ""}
        )
        for seed, outcome in enumerate(outcomes)
    ]


def rates(changes: Sequence[float], nulls: Sequence[float]) -> list[ChangeRow]:
    return [
        *(change(rate=rate, jaccard=1 - rate) for rate in changes),
        *(change(role="null", rate=rate, jaccard=1 - rate) for rate in nulls),
    ]


@pytest.mark.parametrize(
    ("pairs", "changes", "nulls", "answer"),
    [
        ((MORE, MORE), [0.8, 0.9], [0.4], "Edges changed more than chance explains"),
        ((MORE, MORE), [0.5, 0.7], [0.4], "Edges are not shown to have changed more"),
        ((MORE, MORE), [0.4], [0.6], "Edges changed no more than chance explains"),
        ((MORE, UNSAID), [0.8], [0.4], "Edges are not shown to have changed more"),
        ((MORE, NO_MORE), [0.8], [0.4], "Edges changed no more than chance explains"),
        ((MORE, MORE), [0.8], [], "Edges are not shown to have changed more"),
        ((), [0.8], [0.4], "Edges are not shown to have changed more"),
    ],
)
def test_both_comparisons_must_be_passed(
    pairs: tuple[str, ...], changes: list[float], nulls: list[float], answer: str
) -> None:
    said = meaning.changed(rates(changes, nulls), [], verdicts(*pairs), "edge_rate")
    assert said is not None
    assert said.startswith(answer)
    assert ("another seed makes" in said) == bool(nulls)
    assert ("another choice of pairs makes" in said) == bool(pairs)


def test_comparisons_that_disagree_are_set_against_each_other() -> None:
    said = meaning.changed(rates([0.5, 0.7], [0.4]), [], verdicts(MORE, MORE), "edge_rate")
    assert said is not None
    assert "That is more than another choice of pairs makes, but not clearly more than another seed makes" in said


def test_an_empty_circuit_before_has_no_verdict() -> None:
    assert meaning.changed([change(rate=None)], [], [], "edge_rate") is None


def swap(direction: str, swapped: str, share: float | None, low: float = 0, high: float = 0) -> TunedCausalRow:
    return TunedCausalRow.model_validate(
        {
            "direction": direction,
            "swapped": swapped,
            "draw": 0,
            "edges": 9,
            "measure": "logit_diff",
            "base": 0.0,
            "tuned": 9.0,
            "value": 1.0,
            "share": share,
            "low": low,
            "high": high,
            "reason": "",
            "label": "tune seed 0",
            "seed": 0,
        }
    )


def swaps(removal: float, insertion: float, strongest: float = 0.1) -> list[TunedCausalRow]:
    """The changed edges carry so much more than random ones, and than the strongest ones, on average."""
    return [
        row
        for direction, more in (("removal", removal), ("insertion", insertion))
        for row in (
            swap(direction, "changed", 0.7),
            swap(direction, "random unchanged", 0.7 - more),
            swap(direction, "strongest unchanged", 0.7 - strongest),
            swap(direction, "changed less random", more, more - 0.05, more + 0.05),
            swap(direction, "changed less strongest", strongest, strongest - 0.05, strongest + 0.05),
        )
    ]


@pytest.mark.parametrize(
    ("removal", "insertion", "answer"),
    [(0.3, 0.3, "Yes."), (0.3, 0.01, "In part."), (0.01, 0.3, "In part."), (0.01, -0.3, "This is not shown.")],
)
def test_the_gain_passes_where_both_swaps_say_so(removal: float, insertion: float, answer: str) -> None:
    assert meaning.passes(swaps(removal, insertion)).startswith(f"{meaning.PASSES} {answer}")


def test_draws_that_carry_more_than_the_changed_edges_are_counted() -> None:
    rows = [*swaps(0.3, 0.3), swap("removal", "random unchanged", 0.9)]
    said = meaning.passes(rows)
    assert "they make 65.0% on average, and less than the changed ones in 1 of 2 draws. Put alone" in said
    assert "they make 40.0% on average, and less than the changed ones in 1 of 1 draws." in said


def test_the_answer_on_the_gain_is_read_in_short_sentences() -> None:
    said = meaning.passes(swaps(0.3, 0.01, -0.2))
    sentences = re.split(r"(?<=[.?]) ", said)
    assert len(sentences) == 7
    assert all(len(sentence.split()) <= 27 for sentence in sentences)
    assert ";" not in said
    assert "(" not in said


def test_stronger_unchanged_edges_are_told() -> None:
    assert "strongest" not in meaning.passes(swaps(0.3, 0.3))
    assert "the strongest unchanged edges do more: they cost 90.0%" in meaning.passes(swaps(0.3, 0.3, -0.2))


def test_a_gain_too_small_to_follow_is_no_answer() -> None:
    assert "That cannot be said" in meaning.passes(
        [swap("removal", "changed", None), swap("insertion", "changed", 1)]
    )
    assert "That cannot be said" in meaning.passes([])


def accuracy(seed: int, value: float) -> AccuracyRow:
    return AccuracyRow.model_validate(
        {
            "label": f"tune seed {seed}",
            "arm": "tune",
            "seed": seed,
            "step": 9,
            "steps": 9,
            "epoch": 1.0,
            "split": "test",
            "examples": 100,
            "correct": 1,
            "accuracy": value,
            "low": 0.0,
            "high": 1.0,
            "loss": None,
        }
    )


def contest(seeds: int, ours: float) -> list[MethodRow]:
    """So many seeds, CircuitLoRA so much above uniform LoRA, give or take."""
    rows = [
        method(arm=arm, seed=seed, accuracy=0.8 + (ours + 0.001 * (seed % 2) if arm == "circuitlora" else 0))
        for seed in range(seeds)
        for arm, _ in ARMS
    ]
    return [row.model_copy(update={"low": row.accuracy - 0.02, "high": row.accuracy + 0.02}) for row in rows]


@pytest.mark.parametrize(
    ("seeds", "ours", "answer"),
    [
        (1, -0.1, f"On this evidence keep uniform ranks: {OURS} is 10.0 points below"),
        (1, 0.01, f"On this evidence keep uniform ranks: {OURS} is 1.0 points above"),
        (1, 0.1, "CircuitLoRA is promising, not proven"),
        (3, 0.1, "CircuitLoRA is promising, not proven"),
        (8, 0.1, "Use CircuitLoRA on this task"),
        (8, -0.1, "Keep uniform ranks"),
    ],
)
def test_what_to_do(seeds: int, ours: float, answer: str) -> None:
    said = meaning.advice(contest(seeds, ours), [])
    assert said.startswith(answer)
    assert ("Run more seeds" in said) == (seeds < 8)
    assert ("a single seed" in said) == (seeds == 1)
    assert said.count(OURS) == 1


def test_the_noise_of_seeds_and_draws_stands_beside_a_difference() -> None:
    draws = [method(arm="random", draw=draw, accuracy=value) for draw, value in enumerate((0.8, 0.893))]
    said = meaning.advice([*contest(1, -0.1), *draws], [accuracy(0, 0.865), accuracy(1, 0.887)])
    assert "between two seeds of one fine-tuning by 2.2 points" in said
    assert "between two random draws of layers by 9.3 points" in said
