import pytest

import scale
import scheduler

pytestmark = pytest.mark.slow


def test_a_job_costs_little_beside_its_work():
    found = scheduler.child(100, 2)
    assert found["jobs"] == 100
    assert found["processor"] < scheduler.LIMIT


def test_memory_is_what_the_formulas_say():
    for name, row in scale.child("--one", "--case", "8 8 256 12 64").items():
        assert scale.fits(name, row), (name, row)


def test_a_formula_that_is_off_is_told(capsys):
    right, wrong = (
        {"predicted": size * 2.0**20, "peak": 50 * 2**20, "seconds": 1.0, "work": 1.0} for size in (60, 400)
    )
    assert scale.show("attribute", {"8 8 256 12 64": right})
    assert not scale.show("attribute", {"8 8 256 12 64": right, "2 4 64 12 8": wrong})
    assert "OFF" in capsys.readouterr().out


def test_tables_take_no_more_memory_for_more_checkpoints():
    few, many = (scale.child("--grown", f"2 {checkpoints}") for checkpoints in (2, 12))
    assert many["peak"] <= few["peak"] * scale.GROWTH + 2**20
