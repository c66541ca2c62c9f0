import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks.checks import check
from circuitune.tasks.registry import names, parameters, recognise, solve, task

SMALL: list[tuple[str, dict[str, object]]] = [
    ("add_sub", {"limit": 40, "size": 300}),
    ("add_sub", {"limit": 500, "size": 300, "style": "short"}),
    ("sequence", {"largest_start": 30, "size": 300}),
    ("sequence", {"largest_start": 30, "size": 300, "corruption": "term", "style": "short"}),
    ("function", {"size": 300}),
    ("comparison", {"size": 300}),
    ("complex_ioi", {"size": 300}),
    ("mul_div", {"size": 300}),
    ("lcm", {"size": 300}),
    ("two_step", {"size": 300}),
    ("two_step", {"size": 300, "corruption": "operator", "style": "short"}),
    ("two_step_inner", {"size": 300}),
    ("two_step_outer", {"size": 300}),
    ("capital_country", {"size": 300}),
    ("ioi", {"size": 300}),
    ("greater_than", {"size": 300}),
]
PARTS = ("train", "circuit", "validation", "test")
small_tasks = pytest.mark.parametrize(("name", "options"), SMALL)


def test_every_task_is_tried_here():
    assert {name for name, _ in SMALL} == set(names())


@small_tasks
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**63))
def test_rules_hold_by_construction(name: str, options: dict[str, object], seed: int):
    pairs = task(name, seed=seed, **options)
    assert len({pair.clean for pair in pairs}) == len(pairs)
    assert 120 <= len(pairs) <= 300
    for pair in pairs:
        assert pair.clean != pair.corrupted
        if pair.answer_set is None:
            assert solve(pair.clean) == pair.answer.strip()
            assert solve(pair.corrupted) == (None if pair.wrong is None else pair.wrong.strip())
        else:
            assert pair.answer in pair.answer_set
            assert pair.wrong in (pair.wrong_set or ())
            assert solve(pair.clean) in pair.answer_set
        assert pair.answer != pair.wrong


@small_tasks
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**63))
def test_parts_are_disjoint(name: str, options: dict[str, object], seed: int):
    pairs = task(name, seed=seed, **options)
    parts = [pairs.split(part, seed=seed) for part in PARTS]
    prompts = [{text for pair in part for text in (pair.clean, pair.corrupted)} for part in parts]
    assert sum(map(len, prompts)) == len(set().union(*prompts))
    for part, share in zip(parts, (0.6, 0.1, 0.1, 0.2), strict=True):
        assert abs(len(part) / len(pairs) - share) < 0.05


@small_tasks
def test_the_embedded_tokenizer_takes_every_row_but_of_two_tasks(
    name: str, options: dict[str, object], nano_tokenizer: PreTrainedTokenizerBase
):
    """mul_div divides numbers of four digits too; outer steps are as many of each kind only before the cut."""
    left_out = check(task(name, **options), nano_tokenizer).left_out
    assert {entry.rule for entry in left_out} <= {"equal token length", "balanced kinds"}
    assert not left_out or name in ("mul_div", "two_step_outer")


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in names()), ("add_sub", {"limit": 500}), ("sequence", {"corruption": "term"})],
)
def test_the_pythia_tokenizer_leaves_at_least_1000_rows(
    name: str, options: dict[str, object], pythia_tokenizer: PreTrainedTokenizerBase
):
    pairs = task(name, **options)
    checked = check(pairs, pythia_tokenizer, minimum=1_000)
    assert len(checked.pairs) + len(checked.left_out) == len(pairs)


DIGESTS = {
    "add_sub": "4f3c050ed917a690",
    "sequence": "858a3d1501204040",
    "function": "024a5975650fbba0",
    "comparison": "aa24bda7c539d06c",
    "complex_ioi": "eb60968772db4fcd",
    "mul_div": "a28aff27aa3a0332",
    "lcm": "1049feb1d31a2241",
    "two_step": "e200ec8eff362a83",
    "two_step_inner": "908ff0dae5a1f0df",
    "two_step_outer": "8929dcdf9c7e2a29",
    "capital_country": "58ab62d433881d16",
    "ioi": "ca47575e3e4141f1",
    "greater_than": "4ff15dfe75e373af",
}


@pytest.mark.parametrize("name", names())
def test_the_same_seed_gives_the_same_bytes_for_ever(name: str):
    assert task(name).digest[:16] == DIGESTS[name]


@small_tasks
def test_seeds_differ(name: str, options: dict[str, object]):
    assert task(name, seed=0, **options).digest != task(name, seed=1, **options).digest


@pytest.mark.parametrize("name", names())
def test_answers_are_not_dominated_by_one(name: str):
    answers = Counter(pair.answer for pair in task(name))
    most = answers.most_common(1)[0][1] / answers.total()
    assert most <= {"comparison": 0.5, "capital_country": 1 / 26, "greater_than": 0.06}.get(name, 0.03)


def test_settings_say_how_a_set_was_made():
    assert task("add_sub", limit=5, seed=3).settings == {
        "task": "add_sub",
        "limit": 5,
        "style": "full",
        "size": 10_100,
        "seed": 3,
        "wrong": "given",
    }
    assert task("sequence", corruption="term", largest_start=5).settings["wrong"] == "none"


def test_parameters_and_defaults_are_listed():
    assert parameters("add_sub") == {"limit": 100, "style": "full", "size": 10_100}


def test_an_unknown_task_lists_the_tasks():
    with pytest.raises(InputError, match="no task 'addition'; choose one of add_sub, mul_div, sequence"):
        task("addition")


def test_an_unknown_parameter_lists_the_parameters():
    with pytest.raises(InputError, match="add_sub has no parameter 'max'; it has limit, style, size"):
        task("add_sub", max=5)


def test_free_text_is_not_recognised():
    assert recognise("Once upon a time, Tom and Lily went to the park. Lily gave a ball to") is None
    assert solve("") is None


def test_the_room_needs_neither_torch_nor_transformers():
    code = (
        "import sys, circuitune.tasks.registry, circuitune.tasks.files, circuitune.tasks.checks; "
        "print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "set()\n"
