"""Where numbers stop being finite, for the sentence of an error: which weight, or else which module's output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def broken_weight(model: nn.Module) -> str | None:
    """The name of the first weight that holds NaN or infinity; of an offloaded model, among those that are here."""
    return next((name for name, weight in model.named_parameters() if not _is_finite(weight)), None)


def origin(
    model: nn.Module, run: Callable[[], object] | None, rest: str = "what is computed from them overflows"
) -> str:
    """Where NaN or infinity comes from, in words, as the end of a sentence.

    Args:
        model: whose weights are looked at first.
        run: runs the model as it was run; None where that cannot be repeated, and activations are not known.
        rest: what must be to blame where nothing that was looked at is.
    """
    if weight := broken_weight(model):
        return f"the weight {weight} holds NaN or infinity"
    if run is None:
        return f"all weights are finite, so {rest}"
    with _watched(model) as broken, torch.no_grad():
        run()
    if broken:
        return f"the output of {broken[0]} is the first that overflows or is NaN"
    return f"all weights and activations are finite, so {rest}"


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """The modules whose output is not finite, in the order in which they finish: what lies inside comes first."""
    broken: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def see(module: nn.Module, given: object, output: object) -> None:
            if not all(map(_is_finite, _tensors(output))):
                broken.append(name)

        return see

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield broken
    finally:
        for hook in hooks:
            hook.remove()


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor are; one on the meta device holds none."""
    if tensor.is_meta:
        return True
    asked = tensor.float() if tensor.element_size() == 1 else tensor  # torch answers for few types of 8 bits
    return bool(asked.isfinite().all())


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
