"""Every verdict by hand: rows in, one sentence out."""

import pytest

from circuitune.core.chance_records import LayerFrequencyRow
from circuitune.core.records import ChangeRow, CriticalRow, FaithfulnessRow, MethodRow
from circuitune.experiments import findings
from circuitune.experiments.findings import verdict


def change(**part: object) -> ChangeRow:
    row = {
        "comparison": "tune seed 0",
        "role": "change",
        "kind": "edge",
        "before": "step 0",
        "after": "step 100",
        **dict.fromkeys(("before_count", "after_count", "added", "removed", "kept"), 100),
        "jaccard": 0.5,
        "rate": 0.4,
        "cumulative": None,
    }
    return ChangeRow.model_validate({**row, **part})


def method(**part: object) -> MethodRow:
    row = {
        "arm": "circuitlora",
        "draw": 0,
        "seed": 0,
        "layers": "0 4",
        "rank": 1,
        "critical_rank": 5,
        "parameters": 1000,
        "planned": 1000,
        "peak": 1000,
        "learning_rate": 0.01,
        "steps": 10,
        "allocation_flops": 0,
        "training_flops": 10**9,
        "before": 0.1,
        "examples": 100,
        "loss": None,
        "accuracy": 0.9,
        "low": 0.85,
        "high": 0.93,
    }
    return MethodRow.model_validate({**row, **part})


def faithfulness(**part: object) -> FaithfulnessRow:
    row = {
        "label": "tune seed 0",
        "arm": "tune",
        "seed": 0,
        "step": 0,
        "share": 0.05,
        "edges": 10,
        "nodes": 5,
        "metric": "logit_diff",
        "model": 1.0,
        "circuit": 1.0,
        "corrupted": 0.0,
        "normalized": 0.5,
        "normalized_low": None,
        "normalized_high": None,
        "reason": "",
        "kl": 0.0,
        "accuracy": 0.0,
        "percent_released": None,
    }
    return FaithfulnessRow.model_validate({**row, **part})


def critical(rule: str, *layers: int, seed: int = 0) -> list[CriticalRow]:
    """Rows of one rule that places these layers in this order and chooses the first two."""
    return [
        CriticalRow(seed=seed, rule=rule, layer=layer, importance=1 / place, place=place, chosen=place < 3)
        for place, layer in enumerate(layers, start=1)
    ]


@pytest.mark.parametrize(
    ("changes", "nulls", "expected"),
    [
        ([0.8], [0.4], "larger"),
        ([0.8, 0.9], [0.4], "larger"),
        ([0.5, 0.7], [0.4], "barely larger"),
        ([0.8], [0.2, 0.6], "barely larger"),
        ([0.3, 0.4], [0.4], "not larger"),
        ([0.3, 0.6], [0.4], "overlapping"),
        ([0.3, 0.6], [0.2, 0.4], "overlapping"),
    ],
)
def test_verdict(changes: list[float], nulls: list[float], expected: str):
    assert verdict(changes, nulls) == expected


class TestChange:
    def test_beyond_its_null_with_the_ratio(self):
        rows = [change(rate=0.9, jaccard=0.3), change(role="null", rate=0.3, jaccard=0.7)]
        said = findings.change(rows, "edge")
        assert said.endswith(
            "larger than the null (the smallest change is 3.00 times the largest difference of two seeds)."
        )

    def test_barely_beyond_its_null_there_is_no_factor_of_one(self):
        said = findings.change([change(rate=0.4012), change(role="null", rate=0.4)], "edge")
        assert "1.00" not in said
        assert "larger than the null (by less than 1 %: " in said

    def test_beyond_its_null_by_less_than_the_fine_tunings_differ(self):
        rows = [change(rate=0.5, jaccard=0.3), change(rate=0.9, jaccard=0.3), change(role="null", rate=0.4)]
        said = findings.change(rows, "edge")
        assert "(the smallest change is 1.25 times the largest difference of two seeds), but by no more than" in said

    def test_within_its_null(self):
        rows = [change(rate=0.4, jaccard=0.6), change(role="null", rate=0.5, jaccard=0.5)]
        said = findings.change(rows, "edge")
        assert "40.0% of the circuit before, those in which two seeds of the same tuning differ 50.0%" in said
        assert said.endswith("no larger than the null, another seed alone changes as much.")

    def test_where_jaccard_orders_them_otherwise_both_are_told(self):
        rows = [change(rate=0.9, jaccard=0.6), change(role="null", rate=0.3, jaccard=0.5)]
        said = findings.change(rows, "edge")
        assert said.endswith("By Jaccard distance it is not larger: the two measures disagree.")

    def test_a_null_of_zero_has_no_ratio(self):
        rows = [change(rate=0.9, jaccard=0.3), change(role="null", rate=0.0, jaccard=1.0)]
        assert findings.change(rows, "edge").endswith("larger than the null.")

    def test_rows_of_the_other_kind_do_not_count(self):
        rows = [change(kind="node", rate=0.1), change(rate=0.9), change(role="null", rate=0.2)]
        assert findings.change(rows, "node").endswith("with one seed there is no null to hold that against.")

    def test_an_undefined_rate_is_not_a_change_of_zero(self):
        assert "no change can be computed" in findings.change([change(rate=None)], "edge")


class TestRatio:
    def rows(self, role: str, edge: float, node: float) -> list[ChangeRow]:
        return [
            change(role=role, comparison=role, rate=edge),
            change(role=role, comparison=role, kind="node", rate=node),
        ]

    def test_edges_per_node_are_held_against_the_same_ratio_between_seeds(self):
        said = findings.ratio([*self.rows("change", 0.9, 0.3), *self.rows("null", 1.0, 0.2)])
        assert said.startswith("Edges changed 3.0 times as much as nodes; between seeds")
        assert said.endswith("the ratio is 5.0: no larger than the null, so it is no mark of learning.")

    def test_a_larger_ratio_is_called_larger(self):
        said = findings.ratio([*self.rows("change", 0.9, 0.1), *self.rows("null", 1.0, 0.5)])
        assert said.endswith("the ratio is 2.0: larger than the null.")

    def test_without_a_changed_node_there_is_none(self):
        assert findings.ratio(self.rows("change", 0.9, 0.0)).startswith("No node changed")


class TestCautions:
    def test_few_comparisons_of_seeds_are_a_yardstick(self):
        assert findings.null_caution([change(role="null")]).endswith(
            "one comparison of seeds: a yardstick, not a test."
        )
        many = [change(role="null", comparison=str(n)) for n in range(8)]
        assert findings.null_caution(many) == "What another seed makes is known from eight comparisons of seeds."
        assert findings.null_caution([change()]).startswith("Without a second seed")

    def test_a_start_without_an_effect_of_its_own_is_told(self):
        later = faithfulness(step=100, normalized=None)
        other = faithfulness(share=0.2, normalized=None)
        assert findings.start_caution([faithfulness(), later, other], 0.05) is None
        said = findings.start_caution([faithfulness(normalized=None), later, other], 0.05)
        assert said is not None
        assert "logit_diff cannot be told from" in said


class TestCritical:
    def test_layers_by_place_and_the_rules_disagreement(self):
        said = findings.critical([*critical("released", 5, 3, 1), *critical("normalised", 5, 2)])
        assert "phase 1 of seed 0" in said
        assert "by the released rule 5, 3; by the normalised rule 5, 2" in said
        assert said.endswith("the rules disagree and share only 5.")

    def test_agreement_and_nothing_shared(self):
        assert findings.critical([*critical("a", 5, 3), *critical("b", 3, 5)]).endswith("the rules agree.")
        assert findings.critical([*critical("a", 5, 3), *critical("b", 1, 2)]).endswith("share none.")

    def test_a_near_tie_is_told(self):
        rows = [row.model_copy(update={"importance": 10.0 - row.layer}) for row in critical("a", 0, 1, 2)]
        said = findings.critical(rows)
        assert said.endswith("the rules agree.")
        near = [row.model_copy(update={"importance": 100.0 - row.layer}) for row in rows]
        assert "by the a rule layer 2, left out, has 99% of the importance of layer 1" in findings.critical(near)

    def test_rules_that_agree_in_phase_1_alone_do_not_agree(self):
        rows = [*critical("a", 5, 3, 1), *critical("b", 3, 5, 1)]
        same, other = (
            [
                LayerFrequencyRow(
                    label="tune seed 1", seed=1, rule=rule, layer=layer, frequency=1, chosen=layer in top
                )
                for rule, top in {"a": (3, 5), "b": chosen}.items()
                for layer in (1, 3, 5)
            ]
            for chosen in ((3, 5), (1, 5))
        )
        assert findings.critical(rows, same).endswith("the rules agree.")
        said = findings.critical(rows, other)
        assert "there the rules agree." in said
        assert "Other fine-tunings choose otherwise: in tune seed 1 the b rule chooses 1, 5." in said

    def test_other_seeds_are_told(self):
        same = [*critical("a", 5, 3), *critical("a", 3, 5, seed=1)]
        assert findings.critical(same).endswith("By the a rule all 2 seeds choose the same.")
        other = [*critical("a", 5, 3), *critical("a", 5, 3, seed=1), *critical("a", 0, 3, seed=2)]
        assert findings.critical(other).endswith("other seeds choose otherwise: seed 1 5, 3; seed 2 0, 3.")


class TestContest:
    def test_the_interval_of_a_difference_is_newcombes(self):
        # Newcombe 1998, table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
        ours = method(accuracy=56 / 70, low=0.6916, high=0.8769)
        rival = method(accuracy=48 / 80, low=0.4902, high=0.7002)
        assert findings.difference(ours, rival) == pytest.approx((0.0524, 0.3339), abs=1e-3)

    def test_unequal_sizes_are_not_called_equal(self):
        rows = [method(), method(arm="uniform", parameters=999)]
        assert "with different numbers of parameters (999 to 1,000)" in findings.against_uniform(rows)

    def test_a_few_seeds_have_an_interval_and_no_verdict(self):
        few = [method(arm=arm, seed=seed, accuracy=a + 0.01 * seed) for seed in range(3) for arm, a in ARMS]
        said = findings.against_uniform(few)
        assert "interval over three seeds" in said
        assert "uniform" not in said.split("points")[1]

    def test_eight_seeds_have_a_verdict(self):
        many = [method(arm=arm, seed=seed, accuracy=a + 0.001 * seed) for seed in range(8) for arm, a in ARMS]
        assert findings.against_uniform(many).endswith("better than uniform.")
        assert findings.seed_caution(many) == "The comparison of methods rests on 8 seeds."
        assert findings.seed_caution(many[:1]).endswith("one seed: it is an illustration, not a test.")

    def test_draws_are_counted(self):
        draws = [method(arm="random", draw=n, accuracy=accuracy) for n, accuracy in enumerate((0.8, 0.95))]
        said = findings.against_random([method(), *draws])
        assert said.endswith("87.5% on average (80.0–95.0%): CircuitLoRA is above 1 of the 2.")


ARMS = (("circuitlora", 0.9), ("uniform", 0.8))
