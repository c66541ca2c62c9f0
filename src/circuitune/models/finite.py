"""Where numbers stop being finite, for the sentence of an error: which weight, or else which module's output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def broken_weight(model: nn.Module) -> str | None:
    """The name of the first weight that holds NaN or infinity."""
    return next((name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())), None)


def origin(model: nn.Module, run: Callable[[], object]) -> str:
    """In words, as the end of a sentence, where NaN or infinity comes from when `run` runs the model."""
    if weight := broken_weight(model):
        return f"the weight {weight} holds NaN or infinity"
    with _watched(model) as broken, torch.no_grad():
        run()
    if broken:
        return f"the output of {broken[0]} is the first that overflows or is NaN"
    return "all weights and activations are finite, so the gradients overflow"


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """The modules whose output is not finite, in the order in which they finish: what lies inside comes first."""
    broken: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def see(module: nn.Module, given: object, output: object) -> None:
            if not all(bool(tensor.isfinite().all()) for tensor in _tensors(output)):
                broken.append(name)

        return see

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield broken
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
