"""What an edge outside a circuit carries instead of its source's output.

``interchange``: what the source writes on the corrupted prompt. ``zero``: nothing. ``mean``: what it writes on
average over prompts and positions; ``mean-positional``: on average over prompts at that position.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from circuitune.circuits.batches import batches
from circuitune.circuits.reduce import summed
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import Prefix, Writers, forward, recorded_writers

Ablation = Literal["interchange", "zero", "mean", "mean-positional"]


@dataclass(frozen=True)
class Constant:
    """What edges outside the circuit carry whatever the run: broadcastable to [B, P, ...].

    Attributes:
        inputs: what replaces the output of `input`.
        written: what replaces head activations and MLP outputs.
        outputs: W_O of every block, [H, E, D] each, through which the heads of `written` write; None for the model's
            own (see `circuits.transplant` for another model's).
    """

    inputs: Tensor
    written: Writers
    outputs: tuple[Tensor, ...] | None = None


def require_ablation(ablation: str) -> None:
    """InputError for an unknown name."""
    if ablation not in get_args(Ablation):
        raise InputError(f"Unknown ablation {ablation!r}; use one of {', '.join(get_args(Ablation))}.")


def constant(anatomy: Anatomy, ablation: Ablation, over: EncodedPairs, positions_per_batch: int) -> Constant | None:
    """What `ablation` puts in place of every source; None for interchange, where it depends on the example.

    Args:
        anatomy: the model.
        ablation: see the module.
        over: prompts (the clean ones) to average over; choose others than those evaluated.
        positions_per_batch: size of the batches of these runs.

    Raises:
        InputError: ``mean-positional`` over prompts of several lengths.
    """
    if ablation == "interchange":
        return None
    if ablation == "mean-positional" and int(over.lengths().min()) != int(over.lengths().max()):
        lengths = over.lengths()
        raise InputError(
            f"mean-positional needs prompts of one length and these have {int(lengths.min())} to "
            f"{int(lengths.max())} tokens; use ablation 'mean', or prompts of equal length."
        )
    layers, rows, positions = anatomy.layers, len(over), int(over.lengths().sum())
    if ablation == "zero":
        like = torch.zeros(1, 1, anatomy.heads * anatomy.head_width, device=anatomy.device, dtype=anatomy.dtype)
        nothing = like.new_zeros(1, 1, anatomy.width)
        return Constant(nothing, Writers(heads=[like] * layers, mlps=[nothing] * layers))
    means: list[Tensor] = []
    for total_PX in _totals(anatomy, over, positions_per_batch):
        mean = total_PX / rows if ablation == "mean-positional" else total_PX.sum(0, keepdim=True) / positions
        means.append(mean[None].to(anatomy.dtype))
    return Constant(means[0], Writers(heads=means[1 : 1 + layers], mlps=means[1 + layers :]))


def _totals(anatomy: Anatomy, over: EncodedPairs, positions_per_batch: int) -> list[Tensor]:
    """Sums over prompts of what `input`, all heads and all MLPs write on the clean prompts: [positions, ...] each."""
    total: list[Tensor] = []
    most = over.clean.shape[1]
    for batch in batches(over, anatomy.device, positions_per_batch, share_prefix=False):
        with torch.no_grad(), recorded_writers(anatomy, len(batch)) as seen:
            embedded = anatomy.embed(batch.clean)
            forward(anatomy, embedded, Prefix(0, None))
        outputs = [embedded, *seen.heads, *seen.mlps]
        if not batch.counted:
            outputs = [torch.zeros_like(x) for x in outputs]
        total = total or [x.new_zeros(most, x.shape[-1], dtype=torch.float64) for x in outputs]
        for sum_PX, x in zip(total, outputs, strict=True):
            sum_PX[: x.shape[1]] += x.double().sum(0)
    return [summed(one) for one in total]
