import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.training.methods import TrainingSettings, checkpoint_steps


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
