from collections import Counter

from circuitune.tasks.complex_ioi import ComplexIoi, recognise


def test_the_wording_is_the_studys():
    known = recognise("Robert needed brush, Kelly wanted pan, Daniel handed brush to")
    assert known is not None
    assert known.answer == "Robert"
    assert recognise("Robert needed brush, Kelly wanted pan, Daniel handed cup to") is None
    assert recognise("Robert needed pan, Kelly wanted pan, Daniel handed pan to") is None
    assert all(recognise(pair.clean) for pair in ComplexIoi(size=200).generate())


def test_the_corruption_hands_over_the_other_object():
    for pair in ComplexIoi(size=500).generate():
        clean, corrupted = pair.clean.split(), pair.corrupted.split()
        assert [place for place in range(len(clean)) if clean[place] != corrupted[place]] == [len(clean) - 2]
        known = recognise(pair.corrupted)
        assert known is not None
        assert f" {known.answer}" == pair.wrong != pair.answer


def test_people_and_objects_of_a_story_differ_and_both_people_are_asked_for_equally():
    first = Counter[bool]()
    for pair in ComplexIoi().generate():
        words = pair.clean.replace(",", "").split()
        assert len({words[0], words[3], words[6]}) == 3
        assert words[2] != words[5]
        first[pair.answer.strip() == words[0]] += 1
    assert first[True] == first[False] == 5_000


def test_the_same_story_told_in_the_other_order_is_the_same_group():
    one = recognise("Robert needed brush, Kelly wanted pan, Daniel handed brush to")
    other = recognise("Kelly needed pan, Robert wanted brush, Daniel handed brush to")
    assert one is not None
    assert other is not None
    assert (one.group, one.answer) == (other.group, other.answer)
