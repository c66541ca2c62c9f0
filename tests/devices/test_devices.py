"""The engine on another device than its inputs: nothing is forgotten on the CPU, and the numbers are the same.

What only a GPU can show (its own rounding, its memory) is not tested here.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import circuitune as ct
from circuitune.circuits.transplant import transplant
from circuitune.dynamics.roles import roles
from circuitune.models.answering import answer
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import Version
from circuitune.testing.models import SHAPES, tiny_model
from devices.pretended import GPU, Elsewhere, pretended
from marks import slow_but

FAMILIES = slow_but(SHAPES, "gpt2", "llama")


def inputs() -> EncodedPairs:
    draw = torch.Generator().manual_seed(0)

    def ids(*shape: int) -> torch.Tensor:
        return torch.randint(3, 90, shape, generator=draw)

    clean = ids(5, 7)
    corrupted = torch.cat([clean[:, :3], ids(5, 1), clean[:, 4:]], 1)
    mask = torch.arange(7) < torch.tensor([7, 7, 5, 7, 6])[:, None]
    return EncodedPairs(clean, corrupted, ids(5), ids(5), mask)


def both(family: str, measure: Callable[[Any], torch.Tensor], **shape: Any) -> None:
    """The same measure of a model here and there."""
    here = measure(tiny_model(family, **shape))
    with pretended():
        moved: Any = tiny_model(family, **shape)
        there = measure(moved.to(GPU))
    assert not isinstance(there, Elsewhere)  # results are the caller's: on the CPU
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_every_family_are_the_same(family: str) -> None:
    both(family, lambda model: ct.attribute(model, inputs()).values)


@pytest.mark.parametrize("family", FAMILIES)
def test_circuits_of_every_family_are_the_same(family: str) -> None:
    cut = ct.attribute(tiny_model(family), inputs()).top(0.2)
    both(family, lambda model: torch.stack([one.metric.cpu() for one in _runs(ct.evaluate(model, inputs(), cut))]))


def _runs(result: Any) -> tuple[Any, ...]:
    return result.model, result.circuit, result.corrupted


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"method": "eap", "per_example": True},
        {"method": "clean-corrupted", "metric": "kl"},
        {"method": "information-flow"},
        {"ablation": "mean"},
        {"ablation": "zero", "metric": "nll"},
    ],
    ids=str,
)
def test_every_method_gives_the_same(options: dict[str, Any]) -> None:
    both("llama", lambda model: ct.attribute(model, inputs(), **options).values)


def test_exact_scores_are_the_same() -> None:
    both("llama", lambda model: ct.attribute(model, inputs(), method="exact").values, layers=1, heads=2)


def test_answers_are_the_same() -> None:
    both("gpt2", lambda model: answer(model, inputs()).loss)


def test_activations_of_another_model_are_the_same() -> None:
    cut = ct.attribute(tiny_model("llama"), inputs()).top(0.2)

    def swapped(model: Any) -> torch.Tensor:
        other = tiny_model("llama", seed=1).to(model.device)
        runs = transplant(Version(model), Version(other), inputs(), [cut]).swapped
        return torch.stack([run.metric.cpu() for run in runs])

    both("llama", swapped)


def test_what_heads_do_is_the_same() -> None:
    before, after = (ct.attribute(tiny_model("gpt_neox", seed=seed), inputs()) for seed in (1, 0))

    def written(model: Any) -> torch.Tensor:
        other = tiny_model("gpt_neox", seed=1).to(model.device)
        found = roles(model, inputs(), before, after, base=other, count=3)
        return torch.tensor([role.after.answer for role in found])

    both("gpt_neox", written)
