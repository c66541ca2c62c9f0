import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task

PARTS = ("train", "circuit", "validation", "test")


def pair_set(count: int) -> PairSet:
    return PairSet("mine", tuple(Pair(f"{n} +", f"{n} -", " 1", " 2", str(n)) for n in range(count)))


def test_parts_share_no_group_and_no_prompt_from_either_side():
    whole = task("add_sub", limit=30)
    parts = [whole.split(part, seed=5) for part in PARTS]
    assert sum(len(part) for part in parts) == len(whole)
    for texts in (
        [{pair.group for pair in part} for part in parts],
        [{text for pair in part for text in (pair.clean, pair.corrupted)} for part in parts],
    ):
        assert sum(len(own) for own in texts) == len(set().union(*texts))


def test_rows_that_share_only_a_corrupted_prompt_stay_together():
    rows = tuple(Pair(f"prompt {n}", f"corrupted {n // 2}", " 1", None, str(n)) for n in range(200))
    whole = PairSet("mine", rows)
    corrupted = [{pair.corrupted for pair in whole.split(part)} for part in PARTS]
    assert sum(len(own) for own in corrupted) == 100


def test_default_shares():
    assert [len(pair_set(1000).split(part)) for part in PARTS] == [600, 100, 100, 200]


def test_a_file_of_300_rows_gives_usable_parts():
    assert [len(pair_set(300).split(part)) for part in PARTS] == [180, 30, 30, 60]


def test_a_part_knows_which_it_is_and_is_not_split_again():
    part = pair_set(100).split("train", seed=2)
    assert part.part == "train"
    assert part.settings["split_seed"] == 2
    with pytest.raises(InputError, match="already the train part"):
        part.split("test")


def test_unknown_part_is_named():
    with pytest.raises(InputError, match="'dev' is no part"):
        pair_set(100).split("dev")  # type: ignore[arg-type]


def test_a_sample_of_a_whole_set_comes_from_its_circuit_part():
    whole = pair_set(1000)
    sample = whole.sample(30, seed=1)
    assert sample.part == "circuit"
    assert set(sample) <= set(whole.split("circuit"))
    assert len(set(sample)) == 30


def test_a_sample_of_a_part_stays_in_it_and_depends_on_the_seed():
    part = pair_set(1000).split("test")
    one, other = part.sample(20, seed=0), part.sample(20, seed=1)
    assert one == part.sample(20, seed=0)
    assert one.pairs != other.pairs
    assert set(one) | set(other) <= set(part)


def test_a_sample_larger_than_the_part_is_the_part():
    part = pair_set(1000).split("circuit")
    assert part.sample(5000).pairs == part.pairs


def test_a_sample_of_nothing_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        pair_set(100).sample(0)


def test_the_digest_sees_every_text_and_nothing_else():
    pairs = pair_set(10)
    digests = {pairs.digest}
    for change in ({"clean": "x"}, {"corrupted": "x"}, {"answer": "x"}, {"wrong": None}, {"group": "x"}):
        first = Pair(**{**vars(pairs[0]), **change})
        digests.add(PairSet("mine", (first, *pairs.pairs[1:])).digest)
    assert len(digests) == 6
    numbered = Pair(**{**vars(pairs[0]), "row": 7})
    assert PairSet("other", (numbered, *pairs.pairs[1:]), "train", {"a": 1}).digest == pairs.digest
