import random

import numpy as np
import pytest
import torch

from circuitune.core.seeding import derived_seed, forked, generator, numpy_generator


def draw(seed, *labels):
    return torch.rand(2000, generator=generator(seed, *labels), dtype=torch.float64)


def test_equal_seed_and_labels_give_the_same_stream():
    assert torch.equal(draw(1, "split", 3), draw(1, "split", 3))
    first, second = numpy_generator(1, "split", 3), numpy_generator(1, "split", 3)
    assert first.integers(1000, size=50).tolist() == second.integers(1000, size=50).tolist()


@pytest.mark.parametrize("other", [(2, "split", 3), (1, "split", 4), (1, "split"), (1, "spl", "it3"), (1, "split3")])
def test_another_seed_or_label_gives_an_unrelated_stream(other):
    assert abs(np.corrcoef(draw(1, "split", 3), draw(*other))[0, 1]) < 0.1
    pair = [numpy_generator(*key).random(2000) for key in ((1, "split", 3), other)]
    assert abs(np.corrcoef(pair)[0, 1]) < 0.1


def test_streams_do_not_change_between_versions():
    assert derived_seed(0, "pairs") == 2956458269
    assert numpy_generator(0, "pairs").bit_generator.random_raw() == 16330236575778571450


def test_derived_seeds_fit_every_library():
    seeds = [derived_seed(0, label) for label in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**32 for seed in seeds)
    np.random.seed(max(seeds))


def test_generators_leave_the_global_state_alone():
    before = torch.get_rng_state()
    draw(0, "anything")
    assert torch.equal(torch.get_rng_state(), before)


def global_draws():
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_forked_seeds_inside_and_restores_after():
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    expected = global_draws()
    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    with forked(1):
        first = global_draws()
    assert global_draws() == expected
    with forked(1):
        assert global_draws() == first
    with forked(2):
        assert all(a != b for a, b in zip(global_draws(), first, strict=True))


def test_forked_restores_after_an_error():
    torch.manual_seed(7)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    with pytest.raises(ZeroDivisionError), forked(1):
        _ = global_draws()[0] / 0
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
