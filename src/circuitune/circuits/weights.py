"""Effective weights between the residual stream and the heads, adapters included."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.models.anatomy import Anatomy, Block, Norm, concatenated, weight_of


@dataclass(frozen=True)
class Reader:
    """Linear map between a norm and a group of destinations: `count` readers of `width` outputs each.

    Attributes:
        norm: what it reads through.
        weight: [count, width, D] with gamma folded in; None for the identity (MLPs and logits: count 1, width D).
        at_zero: q(beta), the outputs for x^ = 0, [count, width].
    """

    norm: Norm
    weight: Float[Tensor, "R E D"] | None
    at_zero: Float[Tensor, "R E"]


@dataclass(frozen=True)
class Weights:
    """Effective weights of all blocks, adapters included, read once per call.

    Attributes:
        readers: per block the q heads, the k heads, the v heads and the MLP.
        final: the logits.
        outputs: per block W_O [heads, head_width, D].
    """

    readers: tuple[tuple[Reader, ...], ...]
    final: Reader
    outputs: tuple[Float[Tensor, "H E D"], ...]

    @classmethod
    def of(cls, anatomy: Anatomy) -> "Weights":
        """Read them from the model."""
        readers = tuple(_block_readers(anatomy, block) for block in anatomy.blocks)
        outputs = tuple(_output_weight(anatomy, block) for block in anatomy.blocks)
        return cls(readers, _identity_reader(anatomy.final_norm), outputs)


def _block_readers(anatomy: Anatomy, block: Block) -> tuple[Reader, ...]:
    norm = block.attention_norm
    with torch.no_grad():
        at_zero = concatenated([projection(norm.beta[None, None])[0, 0] for projection in block.projections])
    weight_DO = concatenated([weight_of(projection, anatomy.width, norm.gamma) for projection in block.projections])
    folded = block.layout.split(weight_DO * norm.gamma[:, None])
    heads = (
        Reader(norm, weight.permute(1, 2, 0).contiguous(), offset)
        for weight, offset in zip(folded, block.layout.split(at_zero), strict=True)
    )
    return (*heads, _identity_reader(block.mlp_norm))


def _identity_reader(norm: Norm) -> Reader:
    return Reader(norm, None, norm.beta[None])


def _output_weight(anatomy: Anatomy, block: Block) -> Float[Tensor, "H E D"]:
    weight = weight_of(block.output, anatomy.heads * anatomy.head_width, block.attention_norm.gamma)
    return weight.unflatten(0, (anatomy.heads, anatomy.head_width))
