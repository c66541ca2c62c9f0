import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.training.methods import TrainingSettings, checkpoint_steps, require_ranks


@given(total=st.integers(1, 5000), count=st.integers(1, 40), spacing=st.sampled_from(["even", "log"]))
def test_checkpoints_start_at_zero_rise_and_end_at_the_last_step(total, count, spacing):
    steps = checkpoint_steps(total, count, spacing)
    assert len(steps) == min(count, total) + 1
    assert steps[0] == 0
    assert steps[-1] == total
    assert list(steps) == sorted(set(steps))


def test_even_spacing():
    assert checkpoint_steps(100, 4) == (0, 25, 50, 75, 100)
    assert checkpoint_steps(10, 3) == (0, 3, 7, 10)
    assert checkpoint_steps(3, 10) == (0, 1, 2, 3)


def test_log_spacing_has_a_constant_factor_once_steps_are_far_apart():
    assert checkpoint_steps(1000, 4, "log") == (0, 1, 10, 100, 1000)
    assert checkpoint_steps(20, 10, "log")[:5] == (0, 1, 2, 3, 4)


def test_steps_count_the_last_ragged_batches():
    settings = TrainingSettings(batch_size=8, accumulation=4, epochs=2)
    assert settings.steps_per_epoch(64) == 2
    assert settings.steps_per_epoch(65) == 3
    assert settings.steps(65) == 6
    assert TrainingSettings(batch_size=8, accumulation=4, epochs=0.5).steps(65) == 2
    assert TrainingSettings(max_steps=7).steps(65) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": -1.0},
        {"batch_size": 0},
        {"accumulation": 0},
        {"checkpoints": 0},
        {"weight_decay": -0.1},
        {"warmup_steps": -1},
        {"max_steps": 0},
        {"spacing": "random"},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong):
    name = "spaced" if "spacing" in wrong else next(iter(wrong))
    with pytest.raises(InputError, match=name):
        TrainingSettings(**wrong)


@pytest.mark.parametrize(
    ("method", "rank", "plan", "message"),
    [
        ("qlora", 8, None, "no method 'qlora'; choose one of full, lora"),
        ("dora", None, None, "either one rank or a rank plan"),
        ("lora+", 8, "plan", "either one rank or a rank plan"),
        ("adalora", None, None, "Name the rank of method adalora"),
        ("adalora", 8, "plan", "adalora takes no rank plan; give one rank"),
        ("full", None, "plan", "full takes no rank plan; leave it out"),
        ("ia3", 8, None, "ia3 has no rank"),
        ("eva", 0, None, "at least 1; got 0"),
    ],
)
def test_ranks_that_a_method_does_not_take_are_refused(method, rank, plan, message):
    with pytest.raises(InputError, match=message):
        require_ranks(method, rank, plan)


def test_ranks_that_a_method_takes_are_not():
    for method, rank, plan in (("full", None, None), ("lora", None, "plan"), ("dora", 1, None), ("eva", 2, None)):
        require_ranks(method, rank, plan)
