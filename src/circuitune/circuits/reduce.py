"""Pairs split over processes: each scores its share, the sums are added up at the end.

    torchrun --nproc-per-node 2 -m circuitune discover --task add_sub --out base

Every batch is shared out row by row, so that all processes call the model equally often: with FSDP2 each call is a
meeting of all of them. A process without a row of its own repeats the first one and leaves it out of the sums.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """This process's place and the number of processes; (0, 1) outside `torchrun`."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def summed(tensor: Tensor) -> Tensor:
    """Sum of the tensor over all processes."""
    if world()[1] > 1:
        device = "cpu" if dist.get_backend() == "gloo" else "cuda"
        shared = tensor.to(device)
        dist.all_reduce(shared)
        return shared.to(tensor.device)
    return tensor


@contextmanager
def joined() -> Iterator[bool]:
    """Join the processes that `torchrun` started, if it did. Gives whether this one is the first, which reports."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield world()[0] == 0
        return
    dist.init_process_group("cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank() == 0
        dist.barrier()
    finally:
        dist.destroy_process_group()
