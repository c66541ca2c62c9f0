import itertools
import re

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.sequences import Sequence, recognise

GEOMETRIC_BELOW_1000 = 24


def terms(prompt: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", prompt)]


def is_geometric(numbers: list[int]) -> bool:
    return numbers[1] * numbers[1] == numbers[0] * numbers[2]


def test_the_wording_is_the_studys():
    rows = {pair.clean: pair for pair in Sequence(largest_start=10).generate()}
    assert rows["Derive the following sequence: 4, 8, 16, 32,"].answer == " 64"
    short = {pair.clean for pair in Sequence(largest_start=10, style="short").generate()}
    assert short == {prompt.removeprefix("Derive the following sequence: ") for prompt in rows}


def test_valid_corruptions_are_other_sequences_with_the_same_first_term():
    pairs = Sequence(style="short").generate()
    assert len({pair.clean for pair in pairs}) == len(pairs) == 10_000
    by_prompt = {pair.clean: pair for pair in pairs}
    for pair in pairs:
        assert terms(pair.clean)[0] == terms(pair.corrupted)[0]
        assert pair.wrong == by_prompt[pair.corrupted].answer != pair.answer


def test_answers_continue_their_sequence_and_stay_small():
    for pair in Sequence(style="short", largest_start=50).generate():
        shown = [*terms(pair.clean), int(pair.answer)]
        ratio = shown[1] // shown[0]
        steps = {after - before for before, after in itertools.pairwise(shown)}
        assert len(steps) == 1 or all(b * ratio == a for b, a in itertools.pairwise(shown))
        assert max(shown) <= 999


@pytest.mark.parametrize("corruption", ["valid", "term"])
def test_geometric_sequences_are_all_taken(corruption: str):
    pairs = Sequence(corruption=corruption, style="short", largest_start=20, size=100).generate()  # type: ignore[arg-type]
    geometric = sum(is_geometric(terms(pair.clean)) for pair in pairs)
    assert geometric == GEOMETRIC_BELOW_1000
    assert len(pairs) == 100


def test_ranges_of_the_study():
    rows = [terms(pair.clean) for pair in Sequence(style="short").generate()]
    arithmetic = [row for row in rows if not is_geometric(row)]
    assert (min(row[0] for row in rows), max(row[0] for row in rows)) == (1, 500)
    steps = {row[1] - row[0] for row in arithmetic}
    assert (min(steps), max(steps)) == (1, 100)


def test_narrower_ranges():
    pairs = Sequence(largest=60, largest_start=9, largest_step=7, style="short").generate()
    rows = [terms(pair.clean) for pair in pairs]
    assert max(int(pair.answer) for pair in pairs) <= 60
    assert max(row[0] for row in rows) <= 9
    assert max(row[1] - row[0] for row in rows if not is_geometric(row)) == 7


def test_term_corruptions_change_one_of_the_last_two_terms_and_have_no_answer():
    places = set()
    for pair in Sequence(corruption="term", style="short").generate():
        change = [after - before for before, after in zip(terms(pair.clean), terms(pair.corrupted), strict=True)]
        assert change[:2] == [0, 0]
        assert sorted(change)[2] == 0 < sorted(change)[3] <= 100
        assert max(terms(pair.corrupted)) <= 999
        assert pair.wrong is None
        assert recognise(pair.corrupted) is None
        places.add(change.index(max(change)))
    assert places == {2, 3}


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Derive the following sequence: 4, 8, 16, 32,", "64"),
        ("152, 157, 162, 167,", "172"),
        ("5, 5, 5, 5,", "5"),
        ("40, 30, 20, 10,", "0"),
        ("4, 8, 87, 32,", None),
        ("4, 8, 16, 33,", None),
        ("4, 6, 9, 13,", None),
        ("0, 0, 0, 1,", None),
        ("1, 2, 3,", None),
    ],
)
def test_known_wordings_are_solved(prompt: str, answer: str | None):
    known = recognise(prompt)
    assert (None if known is None else known.answer) == answer


def test_parameters_out_of_range_are_named():
    with pytest.raises(InputError, match="sequence: corruption must be one of valid, term"):
        Sequence(corruption="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="sequence: largest must be"):
        Sequence(largest=5)
