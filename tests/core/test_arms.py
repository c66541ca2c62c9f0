from typing import get_args

from circuitune.core.arms import TITLES, arm_name
from circuitune.experiments.specs import Arm


def names(form: object) -> set[str]:
    """The strings of a Literal, or of a union of several."""
    return {form} if isinstance(form, str) else {name for part in get_args(form) for name in names(part)}


def test_every_arm_that_a_recipe_can_name_has_a_name_for_people_and_no_other():
    assert TITLES.keys() == names(Arm)
    assert len(set(TITLES.values())) == len(TITLES)


def test_at_the_start_of_a_line_only_the_first_letter_changes():
    assert [arm_name(arm) for arm in ("uniform", "circuitlora", "mlp", "union")] == [
        "Uniform LoRA",
        "CircuitLoRA",
        "MLPs only",
        "Union of the parts' circuits",
    ]


def test_the_arm_of_a_newer_release_keeps_the_name_in_its_file():
    assert arm_name("someday") == "Someday"
