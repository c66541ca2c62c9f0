"""Edge scores by another way than the engine's: every destination recomputes what it reads from a copy of its own.

Each q, k and v input of each head, each MLP and the logits are handed an alias of the residual stream, which passes
the model's own norm and projection modules once per destination; autograd does the rest. No closed form, no folded
weight, no shared backward pass.
"""

from contextlib import ExitStack

import torch
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.models.anatomy import Anatomy, Block, first
from circuitune.models.running import substituted


class Streams:
    """One run with a copy of the stream per destination."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy, self.graph = anatomy, Graph.of(anatomy)
        self.copies: dict[int, Tensor] = {}
        self.written: dict[int, Tensor] = {}

    def copy(self, column: int, stream: Tensor) -> Tensor:
        self.copies[column] = stream.view_as(stream)
        return self.copies[column]

    def run(self, tokens: Tensor) -> Tensor:
        anatomy = self.anatomy
        with ExitStack() as hooks:
            for layer, block in enumerate(anatomy.blocks):
                self._watch_attention(hooks, layer, block)
                self._watch_mlp(hooks, layer, block)
            self._watch_logits(hooks)
            embedded = anatomy.embed(tokens).requires_grad_()
            self.written[0] = embedded.detach()
            if anatomy.embedding_norm is not None:
                hooks.enter_context(substituted(anatomy.embedding_norm, lambda x: x))
            return anatomy.model(inputs_embeds=embedded).logits[:, -1]

    def _watch_attention(self, hooks: ExitStack, layer: int, block: Block) -> None:
        graph, stream = self.graph, {}
        entry = block.attention if block.attention_norm.module is None else block.attention_norm.module

        def arrive(_, arguments, keywords):  # once: recomputing calls the norm again
            stream.setdefault("x", arguments[0] if arguments else keywords["hidden_states"])

        hooks.callback(entry.register_forward_pre_hook(arrive, with_kwargs=True).remove)
        nothing = torch.zeros(1, 1, self.anatomy.width, dtype=torch.float64)
        widths = [projection(nothing).shape[-1] for projection in block.projections]
        q, k, v = (part.long() for part in block.layout.split(torch.arange(float(sum(widths)))))
        slots = [
            (columns.start + index, part[index])
            for columns, part in (
                (graph.query_destinations(layer), q),
                (graph.key_destinations(layer), k),
                (graph.value_destinations(layer), v),
            )
            for index in range(len(part))
        ]
        offset = 0
        for projection, width in zip(block.projections, widths, strict=True):

            def recompute(module, _, output, offset=offset, width=width):
                result = torch.zeros_like(output)
                for column, places in slots:
                    own = places[(places >= offset) & (places < offset + width)] - offset
                    if len(own):
                        copy = self.copy(column, stream["x"])
                        result = result.index_copy(-1, own, module.forward(block.attention_norm(copy))[..., own])
                return result

            hooks.callback(projection.register_forward_hook(recompute).remove)
            offset += width
        hooks.callback(block.output.register_forward_hook(self._heads(layer, block)).remove)
        if block.heads_norm is not None:

            def normed(_, arguments, output):
                summed = arguments[0]
                for head in range(graph.heads):
                    self.written[graph.head_sources(layer).start + head] *= (output / summed).detach()

            hooks.callback(block.heads_norm.module.register_forward_hook(normed).remove)

    def _heads(self, layer: int, block: Block):
        def write(module, arguments, _):
            a = arguments[0].detach()
            for head in range(self.graph.heads):
                alone = torch.zeros_like(a)
                part = slice(head * self.anatomy.head_width, (head + 1) * self.anatomy.head_width)
                alone[..., part] = a[..., part]
                nothing = module.forward(torch.zeros_like(a))
                self.written[self.graph.head_sources(layer).start + head] = (module.forward(alone) - nothing).detach()

        return write

    def _watch_mlp(self, hooks: ExitStack, layer: int, block: Block) -> None:
        stream = {}

        def arrive(_, arguments):
            stream.setdefault("x", arguments[0])

        def read(_, arguments):
            x = stream["x"] if block.mlp_norm.module is not None else arguments[0]
            return (block.mlp_norm(self.copy(self.graph.mlp_destination(layer), x)), *arguments[1:])

        def write(_, __, output):
            self.written[self.graph.mlp_source(layer)] = first(output).detach().clone()

        if block.mlp_norm.module is not None:
            hooks.callback(block.mlp_norm.module.register_forward_pre_hook(arrive).remove)
        hooks.callback(block.mlp.reads.register_forward_pre_hook(read).remove)
        hooks.callback(block.mlp.writes.register_forward_hook(write).remove)

    def _watch_logits(self, hooks: ExitStack) -> None:
        stream, norm = {}, self.anatomy.final_norm

        def arrive(_, arguments):
            stream.setdefault("x", arguments[0])

        def read(_, arguments):
            kept = arguments[0].shape[1]
            return (norm(self.copy(self.graph.logits_destination, stream["x"][:, -kept:])),)

        hooks.callback(norm.module.register_forward_pre_hook(arrive).remove)
        hooks.callback(self.anatomy.unembedding.register_forward_pre_hook(read).remove)


def autograd_scores(anatomy: Anatomy, clean: Tensor, corrupted: Tensor, answer: Tensor, wrong: Tensor) -> Tensor:
    """EAP scores [sources, destinations] of the logit difference's loss, mean over rows."""
    graph = Graph.of(anatomy)
    other = Streams(anatomy)
    with torch.no_grad():
        other.run(corrupted)
    run = Streams(anatomy)
    logits = run.run(clean)
    rows = torch.arange(len(clean))
    loss = (logits[rows, wrong] - logits[rows, answer]).sum()
    columns = sorted(run.copies)
    gradients = torch.autograd.grad(loss, [run.copies[column] for column in columns])
    scores = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    B, P = clean.shape
    for column, gradient in zip(columns, gradients, strict=True):
        gradient = gradient.reshape(B, -1, anatomy.width)
        for source in graph.edge_mask[:, column].nonzero()[:, 0].tolist():
            change = (other.written[source] - run.written[source]).reshape(B, P, -1)
            scores[source, column] = (change[:, -gradient.shape[1] :] * gradient).sum() / B
    return scores
