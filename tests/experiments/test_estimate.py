from dataclasses import replace

import pytest

from circuitune.experiments.estimate import Size, duration, estimate, weight
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import ModelRef, TrainSpec, by_folder

MODEL = ModelRef(name="m", fingerprint="0" * 64)
NANO = Size(parameters=1_200_000, tokens=4, rows=9600)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "5 seconds"), (42, "40 seconds"), (100, "2 minutes"), (1800, "30 minutes"), (9000, "2.5 hours")],
)
def test_durations_in_words(seconds: float, words: str):
    assert duration(seconds) == words


def test_more_of_anything_takes_longer():
    specs = plan(load_recipe("default"), MODEL).jobs
    small = estimate(specs, specs, 2, NANO)
    assert estimate(specs, specs, 1, NANO) == pytest.approx(2 * small)
    for larger in (replace(NANO, parameters=10**9), replace(NANO, tokens=60), replace(NANO, rows=60_000)):
        assert estimate(specs, specs, 2, larger) > small
    full = plan(load_recipe("full"), MODEL).jobs
    assert estimate(full, full, 2, replace(NANO, tokens=20)) > small
    assert estimate([], specs, 2, NANO) == 0


def test_a_rival_of_equal_compute_takes_as_much_longer():
    recipe = load_recipe("default", {"contest": {"rivals": ["compute"]}})
    specs = plan(recipe, MODEL).jobs
    even, longer = (
        next(spec for spec in specs if isinstance(spec, TrainSpec) and spec.arm == arm)
        for arm in ("uniform", "compute")
    )
    phase1 = next(spec for spec in specs if isinstance(spec, TrainSpec) and spec.arm == "phase1")
    named = by_folder(specs)
    seconds = [weight(spec, named, NANO) for spec in (even, longer, phase1)]
    assert seconds[1] > seconds[0] + 0.5 * seconds[2]


def test_every_job_weighs_something():
    specs = plan(load_recipe("quick"), MODEL).jobs
    assert all(weight(spec, by_folder(specs), NANO) > 0 for spec in specs)
