from hypothesis import given
from hypothesis import strategies as st

from circuitune.tasks.couples import coupled, digits, mirrored, number_pair
from circuitune.tasks.splits import Draw


def test_mirrored_rows_are_each_others_corruption():
    one, other = mirrored("1 + 1 =", " 2", "1 - 1 =", " 0", "1 and 1")
    assert (one.clean, one.corrupted, one.answer, one.wrong) == ("1 + 1 =", "1 - 1 =", " 2", " 0")
    assert (other.clean, other.corrupted, other.answer, other.wrong) == ("1 - 1 =", "1 + 1 =", " 0", " 2")
    assert one.group == other.group == "1 and 1"


@given(st.sets(st.integers(1, 2000)), st.integers(0, 1000))
def test_everything_is_coupled_once_and_shapes_agree_where_they_can(numbers: set[int], seed: int):
    couples = coupled(sorted(numbers), digits, Draw(seed))
    members = [number for couple in couples for number in couple]
    assert len(members) == len(set(members)) == len(numbers) // 2 * 2
    mixed = sum(digits(one) != digits(other) for one, other in couples)
    assert mixed <= 3  # at most one couple across each border between counts of digits


def test_number_pairs_are_all_pairs_once():
    pairs = [number_pair(place) for place in range(5050)]
    assert set(pairs) == {(a, b) for a in range(1, 101) for b in range(1, a + 1)}


@given(st.integers(1, 10**9))
def test_number_pairs_are_exact_for_large_numbers(a: int):
    first = a * (a - 1) // 2
    assert number_pair(first) == (a, 1)
    assert number_pair(first + a - 1) == (a, a)
