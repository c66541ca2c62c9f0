"""A model run with another model's activations on some of its edges.

    before, after = before_and_after(tuned)               # one PeftModel with its adapter off and on
    result = transplant(after, before, inputs, [changed])

Receiver M and donor N are of one shape and read the same clean prompt. Destination v of the receiver gets

    x_v = base_v(M) + sum over own edges of z_u(M, this run) + sum over swapped edges of z_u(N, clean),

position by position. base_v (positions, attention output biases) and everything behind x_v (norms, projections, MLPs,
unembedding) are the receiver's. z_u is what source u adds to the stream with the weights of the model it comes from:
for a head z_u(N) = a_u(N) W_O(N), so that an adapter on the output projection counts as the writer's.

This is the model run as a circuit (`circuits.patching`): the circuit are the own edges, an ablated edge carries
a_u = z_u(N, clean) of the same example, and the reference run, in which every edge is swapped, reads
x_v(M, clean) + sum_u (z_u(N, clean) - z_u(M, clean)).

What follows: without swapped edges the logits are the receiver's; if the models are the same, every set leaves them
as they are; if all edges into `logits` are swapped, so that of the receiver only base_v, the final norm and the
unembedding is left, they are the donor's, as far as the donor's own of these three are the same (as with LoRA on the
blocks). A change of how a destination *reads* travels on the edges that leave it, not on those that enter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from circuitune.circuits.ablation import Constant
from circuitune.circuits.batches import Batch
from circuitune.circuits.faithfulness import Run, measured
from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.metrics import Loss, resolve
from circuitune.circuits.scores import Circuit
from circuitune.circuits.weights import Weights
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import Prefix, Writers, forward, recorded_writers
from circuitune.models.versions import Version


@dataclass(frozen=True, eq=False)
class Transplanted:
    """Runs of the receiver on the same examples.

    Attributes:
        own: no edge swapped: the receiver as it is.
        all: every edge swapped.
        swapped: one per set of edges.
    """

    own: Run
    all: Run
    swapped: tuple[Run, ...]


def transplant(
    receiver: Version,
    donor: Version,
    inputs: EncodedPairs,
    swapped: Sequence[Circuit],
    *,
    metric: str | Loss = "logit_diff",
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> Transplanted:
    """Run the receiver with the donor's activations on each of several sets of edges.

    Args:
        receiver, donor: models of one shape, or one model with and without its adapter; left as they were.
        inputs: the encoded pairs; both models read the clean prompts.
        swapped: the sets of edges, as circuits (which need not be pruned).
        metric, batch_size, memory: as in `evaluate`.

    Raises:
        InputError: models or circuits of different shapes; the metric ``kl`` (receiver against itself).
        MachineError: a logit is not finite.
    """
    chosen = resolve(metric, inputs)
    if chosen.name == "kl":
        raise InputError("metric 'kl' measures a model against itself, not two models; use 'logit_diff' or 'nll'.")
    with donor.active() as other:
        weights = Weights(other)
        outputs = tuple(weights.output(layer) for layer in range(other.layers))
    with receiver.active() as anatomy:
        graph = Graph.of(anatomy)
        require_same_graph(graph, Graph.of(other))
        if anatomy.width != other.width:
            raise InputError(f"The models' widths are {anatomy.width} and {other.width}; use two of one shape.")
        for circuit in swapped:
            require_same_graph(graph, circuit.graph)
        donated = partial(_donated, donor, anatomy, outputs)
        own, whole, *runs = measured(
            receiver.model,
            inputs,
            [Circuit(graph.edge_mask & ~circuit.mask, graph) for circuit in swapped],
            metric=chosen,
            carried=lambda part, positions: donated,
            share_prefix=False,  # the models differ from the first position on
            batch_size=batch_size,
            memory=memory,
        )
    return Transplanted(own, whole, tuple(runs))


def _donated(donor: Version, receiver: Anatomy, outputs: tuple[Tensor, ...], batch: Batch) -> Constant:
    """What every source of the donor writes on the batch's clean prompts, where and as the receiver computes."""
    with donor.active() as anatomy, recorded_writers(anatomy, len(batch)) as seen:
        embedded = anatomy.embed(batch.clean.to(anatomy.device))
        forward(anatomy, embedded, Prefix(0, None), batch.tokens)

    def moved(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [tensor.to(receiver.device, receiver.dtype) for tensor in tensors]

    return Constant(moved([embedded])[0], Writers(moved(seen.heads), moved(seen.mlps)), tuple(moved(outputs)))
