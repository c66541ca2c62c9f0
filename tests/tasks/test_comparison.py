from collections import Counter

import pytest

from circuitune.tasks.comparison import Comparison, recognise


def test_the_wording_is_the_studys():
    known = recognise("Is 121 > 112? Answer:")
    assert known is not None
    assert known.answer == "yes"
    for pair in Comparison(size=600).generate():
        assert pair.clean.startswith("Is ")
        assert pair.clean.endswith("? Answer:")
        assert {pair.answer, pair.wrong} == {" yes", " no"}


def test_answers_are_true_of_both_prompts():
    for pair in Comparison(size=600).generate():
        clean, corrupted = recognise(pair.clean), recognise(pair.corrupted)
        assert clean is not None
        assert corrupted is not None
        assert (f" {clean.answer}", f" {corrupted.answer}") == (pair.answer, pair.wrong)


def test_answers_are_balanced_within_every_operator():
    counts = Counter((pair.clean.split()[2], pair.answer) for pair in Comparison(size=2_400).generate())
    for operator in "<>=":
        assert counts[operator, " yes"] == counts[operator, " no"]
    assert counts["<", " yes"] == counts[">", " yes"]
    asked_equal = (counts["=", " yes"] + counts["=", " no"]) / counts.total()
    assert asked_equal == pytest.approx(1 / 6, abs=0.001)


def test_both_corruptions_occur():
    swapped = changed = 0
    for pair in Comparison(size=600).generate():
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        if clean[2] == corrupted[2]:
            swapped += 1
            assert (clean[1], clean[3][:-1]) == (corrupted[3][:-1], corrupted[1])
        else:
            changed += 1
            assert (clean[1], clean[3]) == (corrupted[1], corrupted[3])
    assert swapped >= 100
    assert changed >= 100


def test_prompts_are_unique_and_small_ranges_take_all_they_have():
    pairs = Comparison(largest=9).generate()
    assert len({pair.clean for pair in pairs}) == len(pairs)
    assert len(pairs) == 2 * (9 + 36)
