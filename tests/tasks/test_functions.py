from circuitune.tasks.functions import Function, recognise


def test_the_wording_is_the_studys_and_the_answer_has_no_space():
    rows = {pair.clean: pair for pair in Function().generate()}
    pair = rows["There is a function y=5x+75. Given x=1,2,3,4, y=80,85,90,"]
    assert pair.answer == "95"
    assert len(rows) == 10_000


def test_corruptions_keep_the_slope_and_change_everything_else():
    for pair in Function(size=1_000).generate():
        clean, corrupted = recognise(pair.clean), recognise(pair.corrupted)
        assert clean is not None
        assert corrupted is not None
        assert clean.group.split("x")[0] == corrupted.group.split("x")[0]
        assert (clean.answer, corrupted.answer) == (pair.answer, pair.wrong)
        assert pair.answer != pair.wrong


def test_ranges():
    slopes, intercepts = set[int](), set[int]()
    for pair in Function(largest_slope=3, largest_intercept=9).generate():
        known = recognise(pair.clean)
        assert known is not None
        slope, intercept = known.group.split("x+")
        slopes.add(int(slope))
        intercepts.add(int(intercept))
    assert slopes == {1, 2, 3}
    assert intercepts <= set(range(1, 10))
    assert len(intercepts) >= 8


def test_values_that_do_not_follow_the_formula_have_no_answer():
    assert recognise("There is a function y=5x+75. Given x=1,2,3,4, y=80,85,91,") is None
    assert recognise("There is a function y=5x+75. Given x=1,2,3,4, y=80,85,90") is None
