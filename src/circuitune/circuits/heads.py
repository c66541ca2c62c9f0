"""What single heads look at and what they add to the logits, on the clean prompts.

*Attention* is asked of the model's own attention. What a head computes is linear in its values,
a_h(last) = sum over p of A_h(last, p) v_p, so with v_p = e_p, a unit vector per position, the head's output is its
row of attention. That works for every family and implementation (eager or fused kernels, sliding windows, sinks, soft
caps, position biases), and nothing about the model is switched: `output_attentions` is for eager attention only.

*Direct contribution* of a head to a logit: z_h(last) through the final norm, its mean and scale frozen at those of
this run, times the unembedding vector of that token less the mean one, which a softmax does not see:

    ((z_h - mean z_h) r gamma) . (U[token] - mean U),   r = 1 / sigma of the final stream (RMSNorm: no mean)

in logits, before a soft cap. What a head does through later nodes is not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import BUDGET, evaluation_memory, positions_per_batch
from circuitune.circuits.reduce import summed
from circuitune.circuits.weights import Weights
from circuitune.models.anatomy import Anatomy, concatenated, materialised, weight_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import (
    Call,
    Prefix,
    Readers,
    attend,
    forward,
    recorded_calls,
    recorded_readers,
    recorded_writers,
)
from circuitune.models.versions import Version

HEIGHT = 2.0**-6
"""Of the unit vectors in place of values: exact to divide by, and low enough for models that clip them (OLMo)."""


@dataclass(frozen=True, eq=False)
class Observed:
    """n pairs, k heads.

    Attributes:
        attention: float64 [k, positions], from the prompt's last token, mean over the pairs that have the position;
            the last column is that token itself.
        answer: float64 [n, k], direct contribution to the answer's (first) token.
        wrong: the same to the wrong answer's; None without wrong answers.
    """

    attention: Float[Tensor, "k positions"]
    answer: Float[Tensor, "n k"]
    wrong: Float[Tensor, "n k"] | None


def observe(
    version: Version,
    inputs: EncodedPairs,
    heads: Sequence[tuple[int, int]],
    *,
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> Observed:
    """Attention and direct contribution of some heads, given as (layer, head).

    Args:
        version: the model, left as it was.
        inputs: the encoded pairs.
        heads: which ones.
        batch_size, memory: as in `evaluate`.
    """
    pairs = _first_tokens(inputs)
    longest = int(pairs.lengths().max())
    attention = torch.zeros(len(heads), longest, dtype=torch.float64)
    rows = torch.zeros(longest, dtype=torch.float64)
    direct = torch.zeros(len(pairs), len(heads), 2, dtype=torch.float64)
    with version.active() as anatomy:
        pairs.require_context(anatomy.positions)
        size = positions_per_batch(evaluation_memory(anatomy, Graph.of(anatomy)), pairs, batch_size, memory)
        weights, unembedding = Weights(anatomy), _unembedding(anatomy)
        for batch in batches(pairs, anatomy.device, size, share_prefix=False):
            attended, added = _observe(anatomy, weights, unembedding, batch, heads)
            if batch.counted:
                attention[:, -batch.positions :] += attended.double().sum(0).cpu()
                rows[-batch.positions :] += len(batch)
                direct[batch.rows] = added.double().cpu()
    direct = summed(direct)
    wrong = None if pairs.wrong is None else direct[..., 1]
    return Observed(summed(attention) / summed(rows), direct[..., 0], wrong)


def _first_tokens(inputs: EncodedPairs) -> EncodedPairs:
    """The same pairs with the first token of every answer."""
    answer, wrong = (ids if ids is None or ids.ndim == 1 else ids[:, 0] for ids in (inputs.answer, inputs.wrong))
    assert answer is not None
    return EncodedPairs(inputs.clean, inputs.corrupted, answer, wrong, inputs.mask)


def _observe(
    anatomy: Anatomy, weights: Weights, unembedding_DV: Tensor, batch: Batch, heads: Sequence[tuple[int, int]]
) -> tuple[Float[Tensor, "B k P"], Float[Tensor, "B k two"]]:
    rows = len(batch)
    with (
        recorded_readers(anatomy, rows) as read,
        recorded_writers(anatomy, rows) as written,
        recorded_calls(anatomy) as calls,
    ):
        forward(anatomy, anatomy.embed(batch.clean), Prefix(0, None))
    rows_BHP = {layer: _attention(anatomy, layer, read, calls[layer]) for layer in {layer for layer, _ in heads}}
    z_BkD = torch.stack(
        [
            written.heads[layer][:, -1].unflatten(-1, (anatomy.heads, -1))[:, head] @ weights.output(layer)[head]
            for layer, head in heads
        ],
        1,
    )
    tokens = [batch.answer[:, 0], batch.answer[:, 0] if batch.wrong is None else batch.wrong[:, 0]]
    toward_B2D = torch.stack([unembedding_DV[:, ids].t() for ids in tokens], 1) - unembedding_DV.mean(1)
    normalised_BkD = _frozen_norm(anatomy, read.final_stream[0][:, -1], z_BkD)
    attention = torch.stack([rows_BHP[layer][:, head] for layer, head in heads], 1)
    return attention, normalised_BkD @ toward_B2D.to(z_BkD.dtype).transpose(1, 2)


def _attention(anatomy: Anatomy, layer: int, read: Readers, call: Call) -> Float[Tensor, "B H P"]:
    """Attention of the last position, as many positions at a time as a head has dimensions."""
    block = anatomy.blocks[layer]
    # A norm after the heads would divide by the size of what they write.
    plain = replace(block, heads_norm=None)
    anatomy = replace(anatomy, blocks=(*anatomy.blocks[:layer], plain, *anatomy.blocks[layer + 1 :]))
    q, k, v_BPHE = block.layout.split(concatenated(read.projections[layer]))
    positions, found = v_BPHE.shape[1], []
    for start in range(0, positions, anatomy.head_width):
        seen = range(start, min(start + anatomy.head_width, positions))
        probe = torch.zeros_like(v_BPHE)
        for place, position in enumerate(seen):
            probe[:, position, :, place] = HEIGHT
        a_BPX = attend(anatomy, layer, call, block.layout.merge(q, k, probe), Prefix(0, None))
        found.append(a_BPX[:, -1].unflatten(-1, (anatomy.heads, -1))[..., : len(seen)] / HEIGHT)
    return torch.cat(found, -1)


def _frozen_norm(
    anatomy: Anatomy, stream_BD: Float[Tensor, "B D"], z_BkD: Float[Tensor, "B k D"]
) -> Float[Tensor, "B k D"]:
    """What the final norm makes of a part of the stream it reads, with the mean and scale of the whole."""
    norm = anatomy.final_norm
    _, r_B1 = norm.statistics(stream_BD)
    with materialised(anatomy.model):
        gamma, _ = norm.affine(stream_BD[0])
    centred = z_BkD - z_BkD.mean(-1, keepdim=True) if norm.centred else z_BkD
    return centred * r_B1[:, None] * gamma


def _unembedding(anatomy: Anatomy) -> Float[Tensor, "D V"]:
    with materialised(anatomy.model):
        return weight_of(anatomy.unembedding, anatomy.width)
