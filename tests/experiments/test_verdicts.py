"""Verdicts on simulated studies whose truth is known."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from circuitune.core.chance_records import TunedCompositionRow
from circuitune.core.records import ChangeRow, FaithfulnessRow, MethodRow, TransitionRow
from circuitune.core.study_records import ClaimRow
from circuitune.experiments.registration import Registration
from circuitune.experiments.verdicts import Tables, bca, holm, judge, sign_flip

TASKS = ("one", "two", "three", "four")
SETTINGS = {"epochs": 1, "learning_rate": 0.1, "batch_size": 8}
SMALLEST = 0.5
COMPOSED = {"parts": {"a": {"task": "a"}, "b": {"task": "b"}}}
SIMULATED = 200


def registration(measure: str, role: str = "primary", seeds: int = 10, resamples: int = 2000) -> Registration:
    hypothesis = {
        "claim": 2,
        "role": role,
        "measure": measure,
        "hypothesis": "It is more.",
        "effect": "What is measured.",
        "against": "What it is held against.",
        "smallest": SMALLEST,
        **({"bar": 0.8} if measure == "faithfulness" else {}),
        **({"arm": "circuitlora", "rival": "base"} if measure == "accuracy" else {}),
    }
    contest = {"seeds": list(range(seeds)), "rank": 1, "critical_rank": 2, "random_draws": 1, "rivals": ["base"]}
    contested = {"contest": contest} if measure == "accuracy" else {}
    return Registration.model_validate(
        {
            "study": "simulated",
            "question": "Is it more?",
            "model": "none",
            "tuning": None if contested else {"rank": 2, "seeds": list(range(seeds))},
            "discovery": {},
            "tasks": {task: {"data": {"task": task}, "training": SETTINGS, **contested} for task in TASKS}
            | {"two": {"data": {"task": "two"}, "training": SETTINGS, "composition": COMPOSED, **contested}},
            "hypotheses": {"it": hypothesis},
            "rule": {"level": 0.95, "alpha": 0.05, "seeds": 8, "tasks": 3, "resamples": resamples},
        }
    )


def faithfulness(values: Sequence[float | None]) -> Tables:
    """A run whose circuits after the tuning are as faithful as this, by seed; before they reproduce nothing."""
    rows = [
        FaithfulnessRow(
            label=f"tune seed {seed}",
            arm="tune",
            seed=seed,
            step=step,
            share=share,
            edges=10,
            nodes=5,
            metric="logit_diff",
            model=1.0,
            circuit=1.0,
            corrupted=0.0,
            normalized=value if (step, share) == (9, 0.05) else 0.0,
            normalized_low=None,
            normalized_high=None,
            reason="no effect" if value is None else "",
            kl=0.0,
            accuracy=1.0,
            percent_released=None,
        )
        for seed, value in enumerate(values)
        for step in (0, 9)
        for share in (0.05, 0.5)
    ]
    return Tables(0.05, rows, (), ())


def change(effects: Sequence[float], between: Callable[[int, int], float], node: float = 0.1) -> Tables:
    """A run with these ratios of edge to node rate by seed, and between every two seeds."""
    seeds = range(len(effects))
    compared = {f"tune seed {seed}, before against after": effects[seed] for seed in seeds}
    nulls = {f"after tuning, seed {i} against seed {j}": between(i, j) for i, j in combinations(seeds, 2)}
    rows = [
        ChangeRow(
            comparison=name,
            role=role,
            kind=kind,
            before="before",
            after="after",
            before_count=1,
            after_count=1,
            added=0,
            removed=0,
            kept=1,
            jaccard=1.0,
            rate=node * ratio if kind == "edge" else node,
            cumulative=None,
        )
        for role, ratios in (("change", compared), ("null", nulls))
        for name, ratio in ratios.items()
        for kind in ("node", "edge")
    ]
    return Tables(0.05, (), rows, ())


def transitions(rates: Sequence[Sequence[float]]) -> Tables:
    """A run with these edge rates from checkpoint to checkpoint, by seed; nodes do the opposite."""
    rows = [
        TransitionRow(
            label=f"tune seed {seed}",
            seed=seed,
            step_from=10 * place,
            step_to=10 * place + 10,
            kind=kind,
            added=0,
            removed=0,
            rate=rate if kind == "edge" else 1 - rate,
        )
        for seed, own in enumerate(rates)
        for place, rate in enumerate(own)
        for kind in ("node", "edge")
    ]
    return Tables(0.05, (), (), rows)


def composition(unions: Sequence[float | None], parts: Sequence[float], random: Sequence[float]) -> Tables:
    """A run whose unions are this faithful, by seed; every seed has the same parts and random draws."""
    rows = [
        TunedCompositionRow(
            label=f"tune seed {seed}",
            seed=seed,
            task="composed",
            kind=kind,
            name=kind,
            draw=draw,
            share=share,
            edges=10,
            overlap=None,
            jaccard=0.5,
            metric="logit_diff",
            value=0.0,
            model=1.0,
            corrupted=0.0,
            normalized=value if share == 0.05 else 0.0,
            normalized_low=None,
            normalized_high=None,
            reason="no effect" if value is None else "",
            kl=0.0,
            accuracy=1.0,
        )
        for seed, union in enumerate(unions)
        for share in (0.05, 0.5)
        for kind, values in (("union", [union]), ("part", parts), ("random", random), ("plain union", [5.0]))
        for draw, value in enumerate(values)
    ]
    return Tables(0.05, (), (), (), rows)


def contest(ours: Sequence[float], rival: Sequence[float]) -> Tables:
    """A contest in which CircuitLoRA and the base circuit's layers are this good, by seed; uniform LoRA is not."""
    rows = [
        MethodRow(
            arm=arm,
            draw=0,
            seed=seed,
            layers="",
            rank=1,
            critical_rank=2,
            parameters=10,
            planned=10,
            peak=10,
            learning_rate=0.1,
            steps=1,
            allocation_flops=0,
            training_flops=1,
            before=0.0,
            examples=10,
            accuracy=value,
            low=value,
            high=value,
            loss=None,
        )
        for arm, values in (("circuitlora", ours), ("base", rival), ("uniform", [-9.0] * len(ours)))
        for seed, value in enumerate(values)
    ]
    return Tables(0.05, methods=rows)


def noisy(measure: str, effect: float, seed: int, seeds: int = 10, noise: float = 0.1) -> dict[str, Tables]:
    """A study in which every task exceeds its null by ``effect``, but for noise that each seed of it has."""
    rng = np.random.default_rng(seed)
    tables: dict[str, Tables] = {}
    for task in TASKS:
        if measure == "faithfulness":
            tables[task] = faithfulness([0.8 + effect + noise * float(e) for e in rng.standard_normal(seeds)])
        elif measure == "slowing":
            first, second = 0.5 + noise * rng.standard_normal((2, seeds))
            tables[task] = transitions([(a + effect, b) for a, b in zip(first, second, strict=True)])
        elif measure == "accuracy":  # a seed makes both better or worse: a test that does not pair them sees nothing
            shared, ours, rival = rng.standard_normal((3, seeds))
            common = 0.5 + 3 * noise * shared
            tables[task] = contest((common + effect + noise * ours).tolist(), (common + noise * rival).tolist())
        else:  # each comparison of two seeds has the noise of both
            own, other = noise * rng.standard_normal((2, seeds))
            values = [3 + effect + float(e) for e in other]
            tables[task] = change(values, lambda i, j, own=own: 3 + float(own[i] + own[j]))
    return tables


def claim(measure: str, tables: dict[str, Tables], **settings: int | str) -> ClaimRow:
    return judge(registration(measure, **settings), tables).claims[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", ["faithfulness", "ratio", "slowing", "accuracy"])
def test_a_known_effect_is_supported(measure: str):
    found = claim(measure, noisy(measure, 1.0, seed=1))
    assert (found.outcome, found.final, found.above) == ("supported", True, 4)
    assert "supported; the effect exceeds its null on 4 of 4 tasks." in found.sentence


@pytest.mark.parametrize("measure", ["faithfulness", "ratio", "slowing", "accuracy"])
def test_no_effect_is_not_supported_where_it_is_surely_small(measure: str):
    found = claim(measure, noisy(measure, 0.0, seed=1))
    assert found.outcome == "not supported"
    assert "any advantage is smaller than the 0.5 that was stated beforehand." in found.sentence


def test_no_effect_is_undecided_where_noise_hides_it():
    assert claim("slowing", noisy("slowing", 0.0, seed=2, noise=3.0)).outcome == "undecided"


def test_the_opposite_on_one_task_keeps_a_claim_from_being_supported():
    tables = noisy("ratio", 1.0, seed=1)
    found = claim("ratio", {**tables, "four": noisy("ratio", -1.0, seed=2)["four"]})
    assert (found.outcome, found.above, found.below) == ("undecided", 3, 1)
    assert claim("ratio", {**tables, "four": noisy("ratio", 0.0, seed=2)["four"]}).outcome == "supported"


def test_a_sure_effect_below_the_smallest_is_supported_and_said_to_be_small():
    found = claim("slowing", noisy("slowing", 0.2, seed=1, noise=0.02))
    assert found.outcome == "supported"
    assert "though smaller than 0.5 on 4 of them" in found.sentence


def test_a_union_is_held_against_its_best_control_of_equal_size():
    draw = 0.02 * np.random.default_rng(0).standard_normal(10)
    tables = {"two": composition([0.9 + float(e) for e in draw], parts=[0.2, 0.3], random=[0.0, 0.9])}
    study = judge(registration("composition"), tables)
    assert {row.null for row in study.effects} == {0.45}  # the mean of both draws, above each part
    assert [row.task for row in study.tasks] == ["two"]  # no other task is composed
    assert (study.claims[0].outcome, study.claims[0].final) == ("supported", True)
    assert "though smaller than 0.5 on 1 of them" in study.claims[0].sentence


def test_a_union_no_better_than_one_part_is_not_supported_and_an_undefined_one_is_left_out():
    draw = 0.02 * np.random.default_rng(1).standard_normal(10)
    tables = {"two": composition([0.3 + float(e) for e in draw], parts=[0.2, 0.3], random=[0.0, 0.1])}
    assert claim("composition", tables).outcome == "not supported"
    tables = {"two": composition([0.9, None, 0.8], parts=[0.2, 0.3], random=[0.0, 0.1])}
    rows = judge(registration("composition"), tables).effects
    assert [(row.difference is None, row.reason) for row in rows] == [(False, ""), (True, "no effect"), (False, "")]


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["ratio", "slowing", "accuracy"])
def test_pure_noise_is_hardly_ever_called_supported(measure: str):
    """For the ratio: nulls of seeds share comparisons; taken as independent single tasks would err far more often."""
    plan = registration(measure, resamples=1000)
    studies = [judge(plan, noisy(measure, 0.0, seed=n)) for n in range(SIMULATED)]
    wrong = sum(study.claims[0].outcome == "supported" for study in studies)
    assert wrong / SIMULATED <= 0.05, f"{wrong} of {SIMULATED} studies of pure noise were called supported"
    tasks = [row for study in studies for row in study.tasks]
    above = sum((row.low or 0) > 0 and (row.p or 1) < 0.05 for row in tasks)
    expected = stats.binomtest(above, len(tasks), 0.025, alternative="greater")
    assert expected.pvalue > 0.01, f"{above} of {len(tasks)} tasks of pure noise lie above their null, before Holm"


def test_few_seeds_have_points_and_student_s_interval_and_no_verdict():
    study = judge(registration("slowing"), noisy("slowing", 5.0, seed=1, seeds=3))
    assert {(row.interval, row.p, row.finding) for row in study.tasks} == {("t", None, "open")}
    assert (study.claims[0].outcome, study.claims[0].final) == ("undecided", False)
    assert "undecided; a verdict needs 8 seeds. This is provisional: 3 seeds of 10 are there." in (
        study.claims[0].sentence
    )


def test_missing_tasks_count_against_a_claim_and_make_it_provisional():
    tables = noisy("slowing", 1.0, seed=1)
    three = claim("slowing", {task: tables[task] for task in TASKS[:3]})
    assert (three.outcome, three.final, three.above) == ("supported", False, 3)
    assert "provisional: of 10 seeds there are one 10, two 10, three 10, four 0." in three.sentence
    assert claim("slowing", {task: tables[task] for task in TASKS[:2]}).outcome == "undecided"
    assert "0 seeds of 10" in claim("slowing", {}).sentence


def test_a_task_that_is_finished_and_below_has_decided_before_the_study_is():  # the others cannot undo it
    tables = {task: noisy("faithfulness", 0.3, seed)[task] for seed, task in enumerate(TASKS[:2])}
    tables[TASKS[0]] = noisy("faithfulness", -0.3, 0)[TASKS[0]]
    found = claim("faithfulness", tables)
    assert (found.outcome, found.final) == ("undecided", False)
    assert f"Supported it can be no more: {TASKS[0]} is finished, and below." in found.sentence
    tables[TASKS[0]] = noisy("faithfulness", 0.3, 0)[TASKS[0]]
    assert "no more" not in claim("faithfulness", tables).sentence


def test_undefined_numbers_are_left_out_and_counted():
    tables = noisy("faithfulness", 1.0, seed=1)
    tables["one"] = faithfulness([None, None, None, 1.7, 1.8, 1.9, 1.8, 1.7, 1.8, 1.9])
    study = judge(registration("faithfulness"), tables)
    assert (study.tasks[0].defined, study.tasks[0].seeds, study.tasks[0].finding) == (7, 10, "open")
    assert [row.reason for row in study.effects[:4]] == ["no effect"] * 3 + [""]
    assert "(7 of 10 seeds define it)" in study.claims[0].sentence


def test_exploratory_hypotheses_get_an_interval_alone():
    study = judge(registration("edge_rate", role="exploratory"), noisy("edge_rate", 1.0, seed=1))
    assert study.claims[0].outcome == "exploratory"
    assert {(row.interval, row.p) for row in study.tasks} == {("BCa", None)}
    few = judge(registration("edge_rate", role="exploratory"), noisy("edge_rate", 1.0, seed=1, seeds=3)).claims[0]
    assert few.outcome == "exploratory"
    assert "exploratory, intervals without a verdict" in few.sentence


def test_the_null_of_seeds_is_that_of_all_their_comparisons():
    ratios = {(0, 1): 1.0, (0, 2): 2.0, (1, 2): 6.0}
    study = judge(registration("ratio", seeds=3), {"one": change([5.0, 6.0, 7.0], lambda i, j: ratios[i, j])})
    assert [row.effect for row in study.effects] == pytest.approx([5, 6, 7])
    # n R - (n - 1) R(without the seed), R = 3: 9 - 2 x 6, 9 - 2 x 2, 9 - 2 x 1
    assert [row.null for row in study.effects] == pytest.approx([-3, 5, 7])
    assert study.tasks[0].null == pytest.approx(3)


@pytest.mark.parametrize(("seeds", "reason"), [(1, "one seed has no null"), (2, "")])
def test_one_seed_has_no_null_and_two_share_one(seeds: int, reason: str):
    study = judge(registration("ratio"), {"one": change([4.0] * seeds, lambda i, j: 3.0)})
    assert {row.reason for row in study.effects} == {reason}
    assert [row.null for row in study.effects] == ([None] if reason else [pytest.approx(3.0)] * 2)


def test_no_changed_node_leaves_the_ratio_undefined():
    study = judge(registration("ratio"), {"one": change([4.0] * 3, lambda i, j: 3.0, node=0.0)})
    assert all("no node changed" in row.reason and row.difference is None for row in study.effects)


def test_slowing_leaves_out_the_middle_and_looks_at_edges():
    study = judge(registration("slowing"), {"one": transitions([[0.5, 0.3, 9.0, 0.2, 0.0]])})
    assert [(row.effect, row.null) for row in study.effects] == [(pytest.approx(0.4), pytest.approx(0.1))]
    one = judge(registration("slowing"), {"one": transitions([[0.5]])})
    assert one.effects[0].reason.startswith("fewer than two transitions")


def test_holm_keeps_the_order_and_counts_what_is_missing():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, None, None, None]) == [pytest.approx(0.04), None, None, None]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_sign_flips_are_exact_for_few_seeds():
    assert sign_flip(np.arange(1.0, 11.0)) == pytest.approx(2 / 1024)
    assert sign_flip(np.array([1.0, -1.0] * 4)) == 1.0


def test_the_interval_is_seeded_and_equal_values_have_no_width():
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.3, 0.5, 0.2, 0.6])
    found = bca(values, 0.95, 2000)
    assert found == bca(values, 0.95, 2000)
    assert found.low < found.estimate < found.high
    assert bca(np.full(8, 0.3), 0.95, 2000).low == pytest.approx(0.3)
