"""Effective weights between the residual stream and the heads, adapters included."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block, Norm, concatenated, materialised, weight_of


@dataclass(frozen=True)
class Reader:
    """Linear map between a norm and a group of destinations: `count` readers of `width` outputs each.

    Attributes:
        norm: what it reads through.
        gamma: the norm's scale, [D].
        weight: [count, width, D] with gamma folded in; None for the identity (MLPs and logits: count 1, width D).
        at_zero: q(beta), the outputs for x^ = 0, [count, width].
    """

    norm: Norm
    gamma: Float[Tensor, " D"]
    weight: Float[Tensor, "R E D"] | None
    at_zero: Float[Tensor, "R E"]


@dataclass
class Weights:
    """Effective weights of all blocks, adapters included, each read when first asked for.

    They are kept for the length of one call, unless the model's own do not stay in memory (`Anatomy.resident`).
    """

    anatomy: Anatomy
    _readers: dict[int, tuple[Reader, ...]] = field(default_factory=dict)
    _outputs: dict[int, Tensor] = field(default_factory=dict)

    def readers(self, layer: int) -> tuple[Reader, ...]:
        """The q heads, the k heads, the v heads and the MLP of a block."""
        if layer in self._readers:
            return self._readers[layer]
        block = self.anatomy.blocks[layer]
        with torch.no_grad(), materialised(self.anatomy.model, block.module):
            readers = _block_readers(self.anatomy, block)
        if self.anatomy.resident:
            self._readers[layer] = readers
        return readers

    def output(self, layer: int) -> Float[Tensor, "H E D"]:
        """W_O of a block (gamma o W_O where a norm follows the heads): z_h = a_h W_O[h].

        Raises:
            InputError: a norm follows the heads, and an adapter adds a bias below it.
        """
        if layer in self._outputs:
            return self._outputs[layer]
        block = self.anatomy.blocks[layer]
        with torch.no_grad(), materialised(self.anatomy.model, block.module):
            weight = _output_weight(self.anatomy, block)
            if not self.anatomy.resident:
                return weight.clone()  # it may be a view of what is about to be freed
        self._outputs[layer] = weight
        return weight

    def output_bias(self, layer: int) -> Float[Tensor, "1 1 D"]:
        """What a block's attention adds to the stream that no head writes."""
        block = self.anatomy.blocks[layer]
        with torch.no_grad(), materialised(self.anatomy.model, block.module):
            return _output_bias(self.anatomy, block)

    def final(self) -> Reader:
        """The logits."""
        with torch.no_grad(), materialised(self.anatomy.model):
            return _identity_reader(self.anatomy, self.anatomy.final_norm)


def _block_readers(anatomy: Anatomy, block: Block) -> tuple[Reader, ...]:
    norm = block.attention_norm
    weight_DO = concatenated([weight_of(projection, anatomy.width) for projection in block.projections])
    gamma, beta = norm.affine(weight_DO[:, 0])
    at_zero = concatenated([projection(beta[None, None])[0, 0] for projection in block.projections])
    folded = block.layout.split(weight_DO * gamma[:, None])
    heads = (
        Reader(norm, gamma, weight.permute(1, 2, 0).contiguous(), offset)
        for weight, offset in zip(folded, block.layout.split(at_zero), strict=True)
    )
    return (*heads, _identity_reader(anatomy, block.mlp_norm, like=gamma))


def _identity_reader(anatomy: Anatomy, norm: Norm, like: Tensor | None = None) -> Reader:
    like = torch.empty(anatomy.width, device=anatomy.device, dtype=anatomy.dtype) if like is None else like
    gamma, beta = norm.affine(like)
    return Reader(norm, gamma, None, beta[None])


def _output_weight(anatomy: Anatomy, block: Block) -> Float[Tensor, "H E D"]:
    weight = weight_of(block.output, anatomy.heads * anatomy.head_width)
    if block.heads_norm is not None:
        if bool(_output_bias(anatomy, block).any()):
            raise InputError(
                f"An adapter gives the attention output of {block.name} a bias below a norm (lora_bias): it reaches "
                "the residual stream at a scale that changes from run to run and belongs to no node; train without."
            )
        weight = weight * block.heads_norm.affine(weight[0])[0]
    return weight.unflatten(0, (anatomy.heads, anatomy.head_width))


def _output_bias(anatomy: Anatomy, block: Block) -> Float[Tensor, "1 1 D"]:
    nothing = torch.zeros(1, 1, anatomy.heads * anatomy.head_width, device=anatomy.device, dtype=anatomy.dtype)
    return block.output(nothing)
