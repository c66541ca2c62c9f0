"""Tensors that say they are on a GPU and are computed on the CPU: what forgets to move one is found without a GPU."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("meta")  # of another device than the CPU the only one that every build of PyTorch has
ACROSS = {"copy_", "_to_copy", "lift_fresh"}
"""What a GPU does with tensors of the CPU among its arguments."""
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""The same, where the CPU's are the indices."""


class Elsewhere(Tensor):
    """A CPU tensor behind a wrapper that says it is on `GPU`."""

    held: Tensor

    @staticmethod
    def __new__(cls: type["Elsewhere"], held: Tensor) -> "Elsewhere":
        self = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=GPU,
            requires_grad=held.requires_grad,
        )
        self.held = held
        return self

    __torch_function__: Any = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Makes tensors asked for on the GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Moves(TorchFunctionMode):
    """Moves tensors below the place where PyTorch would look for a driver."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            made = func(*args, **{**kwargs, "device": "cpu"})
            return torch.ops.aten._to_copy(made, device=torch.device(kwargs["device"]))
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], tuple):
            listed = tuple(torch.tensor(one) if isinstance(one, list) else one for one in args[1])
            return func(args[0], listed, *args[2:])
        if func is Tensor.tolist:
            return _plain(args[0].detach()).tolist()
        if func is not Tensor.to:
            return func(*args, **kwargs)
        tensor, *rest = args
        like = next((one for one in rest if isinstance(one, Tensor)), kwargs.get("other"))
        given = [*rest, *kwargs.values()] if like is None else [like.device, like.dtype]
        dtype = next((one for one in given if isinstance(one, torch.dtype)), tensor.dtype)
        device = next((torch.device(one) for one in given if isinstance(one, (str, torch.device))), tensor.device)
        if device.type == tensor.device.type and dtype == tensor.dtype and not kwargs.get("copy"):
            return tensor
        return torch.ops.aten._to_copy(tensor, dtype=dtype, device=device)


@contextmanager
def pretended() -> Generator[None]:
    """Inside, tensors can be moved to `GPU` and back."""
    with _Moves(), _Factories():
        yield


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    here = [one for one in tensors if not isinstance(one, Elsewhere) and one.dim() > 0]
    name = func.__name__.split(".")[0]
    if name in INDEXED and isinstance(args[0], Elsewhere):
        here = [one for one in here if not any(one is index for index in args[1])]
    if there and here and name not in ACROSS:
        raise RuntimeError(f"{name}: tensors on {GPU} and on the CPU at once")
    asked = kwargs.get("device")
    wraps = bool(there) if asked is None else torch.device(asked).type == "meta"
    if asked is not None and wraps:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if name == "copy_":
        wraps = isinstance(args[0], Elsewhere)
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    if not wraps:
        return args[0] if name == "copy_" else result
    wrapped = tree_map(lambda one: Elsewhere(one) if isinstance(one, Tensor) else one, result)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if there else wrapped


def _plain(value: Any) -> Any:
    return value.held if isinstance(value, Elsewhere) else value
