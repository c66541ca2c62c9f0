"""Generated prompts are the study's, character by character."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.tasks.checks import check
from circuitune.tasks.files import read_pairs
from circuitune.tasks.registry import names, recognise, task

INSTRUCTION = "Calculate the result of the following arithmetic expression and provide only the final answer: "

LITERALS = {
    "add_sub": (f"{INSTRUCTION}46 + 24 =", " 70"),
    "mul_div": (f"{INSTRUCTION}324 / 36 =", " 9"),
    "sequence": ("Derive the following sequence: 4, 8, 16, 32,", " 64"),
    "lcm": (
        "Calculate the least common multiple (LCM) of two numbers. LCM(20, 15) = 60, LCM(25, 30) =",
        " 150",
    ),
    "function": ("There is a function y=5x+75. Given x=1,2,3,4, y=80,85,90,", "95"),
    "two_step": (f"{INSTRUCTION}(39 + 65) * 7 =", " 728"),
    "two_step_inner": (f"{INSTRUCTION}65 + 39 =", " 104"),
    "two_step_outer": (f"{INSTRUCTION}104 * 7 =", " 728"),
    "comparison": ("Is 121 > 112? Answer:", " yes"),
    "complex_ioi": ("Robert needed brush, Kelly wanted pan, Daniel handed brush to", " Robert"),
    "capital_country": ("If Abkhazia corresponds to Sukhumi, then Moldova corresponds to", " Chisinau"),
    "ioi": ("When Mary and John went to the store, John gave a drink to", " Mary"),
    "greater_than": ("The war lasted from the year 1732 to the year 17", "33"),
}

FILES = {
    "add_sub_100": "add_sub",
    "mul_div": "mul_div",
    "sequence": "sequence",
    "lcm": "lcm",
    "function": "function",
    "two_step": "two_step",
}

WORDS = {
    "comparison": r"[<>=]|yes|no",
    "complex_ioi": r"(?<=needed )\w+|(?<=wanted )\w+|(?<=handed )\w+|[A-Z]\w+",
    "capital_country": r"(?<=If ).+(?= corresponds to .+,)|(?<=corresponds to ).+(?=, then)|(?<=then ).+(?= corr)",
    "ioi": r"(?<=the )\w+(?=[,.])|(?<=gave a )\w+|(?<!^)(?<!\A)\b(?!When|After|While|Then)[A-Z]\w+",
    "greater_than": r"(?<=The )\w+",
}
"""What differs from prompt to prompt, besides numbers and operators."""


def skeleton(name: str, prompt: str) -> str:
    """The prompt with # in place of everything that differs from row to row."""
    return re.sub(r"(?<=[#)] )[-+*/](?= #)", "#", re.sub(r"\d+", "#", re.sub(WORDS.get(name, r"\d+"), "#", prompt)))


def test_every_task_is_tried_here():
    assert set(LITERALS) == set(names())


@pytest.mark.parametrize("name", names())
def test_generated_prompts_have_the_studys_wording(name: str):
    prompt, answer = LITERALS[name]
    known = recognise(prompt)
    assert known is not None
    assert known.answer == answer.strip()
    found = {skeleton(name, text) for pair in task(name, size=400) for text in (pair.clean, pair.corrupted)}
    assert skeleton(name, prompt) in found
    assert len(found) == (4 if name == "ioi" else 1), found


@pytest.mark.parametrize("name", FILES)
def test_generated_and_released_rows_agree_character_by_character(name: str, released: Path):
    def columns(rows: list[tuple[str, str]]) -> set[tuple[str, str]]:
        return {(skeleton("", clean), skeleton("", corrupted)) for clean, corrupted in rows}

    with (released / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        theirs = columns([(row["clean"], row["corrupted"]) for row in csv.DictReader(file)])
    ours = columns([(pair.clean, pair.corrupted) for pair in task(FILES[name], size=1_000)])
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("add_sub_100", {}),
        ("function", {}),
        ("lcm", {"single-token answers": 49}),
        ("mul_div", {"single-token answers": 38}),
        ("two_step", {"single-token answers": 69}),
        ("sequence", {"single-token answers": 21, "equal token length": 12}),
    ],
)
def test_released_rows_load_and_check_and_their_labels_are_what_we_compute(
    name: str, rules: dict[str, int], released: Path, pythia_tokenizer: PreTrainedTokenizerBase
):
    pairs = read_pairs(released / f"{name}.csv")
    assert len(pairs) == 300
    for pair in pairs:
        known = recognise(pair.clean)
        assert known is not None
        assert known.task == FILES[name]
        assert known.answer == pair.answer.strip()
    checked = check(pairs, pythia_tokenizer)
    assert Counter(entry.rule for entry in checked.left_out) == rules
    assert len(checked.pairs.split("test")) >= 40
