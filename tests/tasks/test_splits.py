from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.tasks.splits import SHARES, Draw, assign, connected

few_keys = st.tuples(st.integers(0, 40).map(str), st.integers(0, 40).map(str))


@settings(deadline=None)
@given(st.lists(few_keys, max_size=60))
def test_connected_rows_are_those_that_a_chain_of_shared_keys_joins(rows: list[tuple[str, str]]):
    components = connected(rows)
    assert sorted(row for component in components for row in component) == list(range(len(rows)))
    keys = [{key for row in component for key in rows[row]} for component in components]
    for one in range(len(keys)):
        assert all(keys[one].isdisjoint(other) for other in keys[one + 1 :])
    for component, own in zip(components, keys, strict=True):
        assert reached(rows, component[0]) == own


def reached(rows: list[tuple[str, str]], start: int) -> set[str]:
    """Keys reached from a row by walking over shared keys, the slow and obvious way."""
    found = set(rows[start])
    while True:
        more = found.union(*(row for row in rows if found & set(row)))
        if more == found:
            return found
        found = more


@settings(deadline=None)
@given(st.lists(few_keys, min_size=4, max_size=80), st.integers(0, 2**32))
def test_no_key_is_in_two_parts_and_no_part_is_empty(rows: list[tuple[str, str]], seed: int):
    if len(connected(rows)) < 4:
        with pytest.raises(InputError, match="independent sets"):
            assign(rows, seed)
        return
    parts = assign(rows, seed)
    owners: dict[str, set[str]] = defaultdict(set)
    for row, part in zip(rows, parts, strict=True):
        for key in row:
            owners[key].add(part)
    assert all(len(owner) == 1 for owner in owners.values())
    assert set(parts) == set(SHARES)


def test_shares_are_met_by_unconnected_rows():
    parts = Counter(assign([(str(row),) for row in range(1000)], 0))
    assert parts == {"train": 600, "circuit": 100, "validation": 100, "test": 200}


def test_one_large_component_goes_to_train_and_leaves_something_for_every_part():
    rows = [("hub", str(row)) for row in range(290)] + [(f"own {row}",) for row in range(10)]
    parts = assign(rows, 3)
    assert set(parts[:290]) == {"train"}
    assert set(parts[290:]) == {"circuit", "validation", "test"}


def test_the_order_of_rows_does_not_move_them():
    rows = [(f"a{row // 2}", f"b{row}") for row in range(100)]
    there = dict(zip(rows, assign(rows, 7), strict=True))
    back = dict(zip(rows[::-1], assign(rows[::-1], 7), strict=True))
    assert there == back


def test_seeds_move_rows():
    rows = [(str(row),) for row in range(100)]
    assert assign(rows, 0) != assign(rows, 1)


@given(st.integers(0, 2**40), st.integers(1, 300), st.data())
def test_some_takes_different_members(seed: int, length: int, data: st.DataObject):
    count = data.draw(st.integers(0, length))
    chosen = Draw(seed, "test").some(range(length), count)
    assert len(chosen) == count == len(set(chosen))
    assert set(chosen) <= set(range(length))


@given(st.integers(), st.lists(st.integers()))
def test_shuffled_keeps_every_item(seed: int, items: list[int]):
    assert Counter(Draw(seed).shuffled(items)) == Counter(items)


def test_draws_are_the_same_for_ever():
    draw = Draw(0, "add_sub")
    assert draw.shuffled(range(6)) == [4, 1, 5, 2, 3, 0]
    assert [draw.between(1, 100) for _ in range(5)] == [52, 26, 36, 94, 63]
    assert draw.some(range(10**12), 2) == [775490688394, 239376968083]


def test_labels_and_seeds_give_different_streams():
    streams = {tuple(Draw(seed, label).some(range(10**9), 3)) for seed in (0, 1) for label in "ab"}
    assert len(streams) == 4
