"""What the engine relies on, one function per statement: each tries it on a model and returns the largest error.

`checking.py` says which of them make up a check and what their errors mean.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.circuits.attribution import attribute
from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.exact import exact_scores
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.graph import Graph
from circuitune.circuits.metrics import Loss, Metric, parts_of, resolve
from circuitune.circuits.patching import reference_run, run_circuits
from circuitune.circuits.quadrature import LARGE_RESIDUAL
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.weights import Weights
from circuitune.models.anatomy import Anatomy, Norm, at_least_float32, concatenated, first
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import (
    Prefix,
    Readers,
    Writers,
    attend,
    forward,
    recorded_calls,
    recorded_readers,
    recorded_writers,
)

STEPS = (5, 15, 45)
"""Steps of the path integral that are tried one after the other, until the completeness residual is small."""

POSITIONS = 64
"""Positions per batch: large models should fit, and a few rows are enough."""


@dataclass(frozen=True)
class Found:
    """The largest error, the first place beyond the bound (if any), and what else there is to say."""

    value: float
    where: str = ""
    note: str = ""


@dataclass
class _Errors:
    """Largest error and largest effect of corrupting the prompt, place by place."""

    places: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, place: str, error: Tensor, effect: Tensor) -> None:
        """Two tensors of any shapes at one place."""
        before = self.places.get(place, (0.0, 0.0))
        now = (float(error.abs().max()), float(effect.abs().max()))
        self.places[place] = (max(before[0], now[0]), max(before[1], now[1]))

    def found(self, bound: float) -> Found:
        """The largest error as a share of the effect at its place."""
        shares = {place: error / effect if error else 0.0 for place, (error, effect) in self.places.items()}
        return Found(max(shares.values()), next((place for place, share in shares.items() if not share <= bound), ""))


@dataclass(frozen=True)
class Trial:
    """The model under trial, and what several checks need.

    Attributes:
        bound: largest error that rounding may explain.
        edges: how many edges are scored exactly.
        seed: of the choice of edges.
    """

    model: nn.Module
    anatomy: Anatomy
    inputs: EncodedPairs
    metric: str | Loss
    bound: float
    edges: int
    seed: int

    @cached_property
    def graph(self) -> Graph:
        """Graph of the anatomy."""
        return Graph.of(self.anatomy)

    @cached_property
    def weights(self) -> Weights:
        """Effective weights of the anatomy."""
        return Weights(self.anatomy)

    @cached_property
    def scores(self) -> EdgeScores:
        """EAP-IG with the first number of steps."""
        return self.attribute(steps=STEPS[0])

    def attribute(self, **options: Any) -> EdgeScores:
        """EAP-IG scores; a large completeness residual is a check's to judge and warns of nothing."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "completeness residual")
            return attribute(self.model, self.inputs, metric=self.metric, **options)

    def batches(self, inputs: EncodedPairs | None = None, *, share_prefix: bool = True) -> Iterator[Batch]:
        """Batches of a run's inputs, by default of the first run that the metric needs."""
        inputs = parts_of(self.inputs, resolve(self.metric, self.inputs))[0].inputs if inputs is None else inputs
        inputs.require_context(self.anatomy.positions)
        return batches(inputs, self.anatomy.device, POSITIONS, share_prefix=share_prefix)

    @cached_property
    def circuits(self) -> tuple[Found, Found]:
        """Errors of the logits of the full and of the empty circuit."""
        full, empty = _Errors(), _Errors()
        masks = torch.stack([self.graph.edge_mask, torch.zeros_like(self.graph.edge_mask)])
        for batch in self.batches():
            reference = reference_run(self.anatomy, self.weights, batch, None)
            logits = run_circuits(self.anatomy, self.graph, self.weights, reference, masks)
            effect = reference.clean_logits - reference.logits
            full.add("logits", logits[0] - reference.clean_logits, effect)
            empty.add("logits", logits[1] - reference.logits, effect)
        return full.found(self.bound), empty.found(self.bound)

    @cached_property
    def sample(self) -> tuple[Float[Tensor, " E"], Float[Tensor, " E"]]:
        """EAP-IG and exact scores of the strongest edges (a quarter of the sample) and of random others."""
        chosen = self.chosen_edges
        return self.scores.values[chosen.unbind(1)], _exact(self, chosen)

    @cached_property
    def chosen_edges(self) -> Tensor:
        """Sources and destinations of the sample, int64 [E, 2]."""
        edges = self.graph.edge_mask.nonzero()
        order = self.scores.values[self.graph.edge_mask].abs().argsort(descending=True, stable=True)
        strongest, rest = order.split([min(self.edges // 4, len(order)), max(0, len(order) - self.edges // 4)])
        shuffled = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(self.seed))]
        return edges[torch.cat([strongest, shuffled])[: self.edges]]


def input_node(trial: Trial) -> Found:
    """Logits of the model given token ids, and given the `input` node's output."""
    errors, anatomy = _Errors(), trial.anatomy
    for batch in trial.batches(share_prefix=False):
        direct = [
            at_least_float32(anatomy.model(input_ids=tokens, logits_to_keep=batch.tokens).logits)
            for tokens in (batch.clean, batch.corrupted)
        ]
        embedded = forward(anatomy, anatomy.embed(batch.clean), Prefix(0, None), batch.tokens)
        errors.add("logits", embedded - direct[0], direct[1] - direct[0])
    return errors.found(trial.bound)


def norms(trial: Trial) -> Found:
    """What every norm computes, and gamma o x^ + beta of the streams it reads."""
    errors, anatomy = _Errors(), trial.anatomy

    def compare(place: str, norm: Norm, stream: Tensor) -> None:
        if norm.module is None:
            return
        output = at_least_float32(norm(stream))
        normalised, _ = norm.statistics(at_least_float32(stream))
        gamma, beta = norm.affine(normalised[0, 0])
        errors.add(place, gamma * normalised + beta - output, output)

    for _, _, read, _ in _both_runs(trial):
        for layer, block in enumerate(anatomy.blocks):
            compare(f"a{layer}", block.attention_norm, read.attention_stream[layer])
            compare(f"m{layer}", block.mlp_norm, read.mlp_stream[layer])
        compare("logits", anatomy.final_norm, read.final_stream[0])
    return errors.found(trial.bound)


def streams(trial: Trial) -> Found:
    """What every node reads, less the sum of the sources before it: the same whatever the prompt."""
    errors, anatomy = _Errors(), trial.anatomy

    def compare(place: str, stream: Tensor, summed: Tensor) -> None:
        rest = at_least_float32(stream).to(summed.device) - summed
        errors.add(place, rest - rest[:1], _effect(stream))

    for embedded, rows, read, written in _both_runs(trial):
        summed = at_least_float32(embedded)
        for layer in range(anatomy.layers):
            weight = at_least_float32(trial.weights.output(layer)).flatten(0, 1)
            heads = (at_least_float32(written.heads[layer]) @ weight).to(summed.device)
            compare(f"a{layer}", read.attention_stream[layer], summed)
            compare(f"m{layer}", read.mlp_stream[layer], summed if anatomy.parallel else summed + heads)
            summed = summed + heads + written.mlps[layer].to(summed.device)
        compare("logits", read.final_stream[0], summed)
        assert len(summed) == rows
    return errors.found(trial.bound)


def _both_runs(trial: Trial) -> Iterator[tuple[Tensor, int, Readers, Writers]]:
    """Per batch the input node's output, the rows (clean ones, then corrupted ones), what nodes read and write."""
    anatomy = trial.anatomy
    for batch in trial.batches(share_prefix=False):
        tokens = torch.cat([batch.clean, batch.corrupted])
        embedded = anatomy.embed(tokens)
        with recorded_readers(anatomy, len(tokens)) as read, recorded_writers(anatomy, len(tokens)) as written:
            forward(anatomy, embedded, Prefix(0, None))
        yield embedded, len(tokens), read, written


def _effect(both: Tensor) -> Tensor:
    """What corrupting the prompt changes: the second half of the rows less the first."""
    clean, corrupted = both.chunk(2)
    return corrupted - clean


def heads(trial: Trial) -> Found:
    """Inputs of one head at a time are rearranged, so that norms over all heads do not notice, and others compared.

    The query at one position changes its own head there alone; a key changes the heads of its group; values
    rearranged at every position give the same outputs of their heads, rearranged.
    """
    # 1/rms of the norm after the heads is part of what a head writes; here it would tie them together.
    anatomy = replace(trial.anatomy, blocks=tuple(replace(block, heads_norm=None) for block in trial.anatomy.blocks))
    errors, tokens = _Errors(), next(trial.batches(share_prefix=False)).clean[:1]
    with recorded_readers(anatomy, 1) as read, recorded_calls(anatomy) as calls:
        forward(anatomy, anatomy.embed(tokens), Prefix(0, None))
    for layer, block in enumerate(anatomy.blocks):
        fused = concatenated(read.projections[layer])
        at = fused.shape[1] // 2
        copies, expected_heads = _rearranged(block.layout.split(fused), at)
        merged = torch.cat([block.layout.merge(*parts) for parts in [block.layout.split(fused), *copies]])
        outputs = attend(anatomy, layer, calls[layer], merged, Prefix(0, None))
        before, *after = at_least_float32(outputs.unflatten(-1, (anatomy.heads, -1)))
        for (letter, own), output in zip(expected_heads, after, strict=True):
            expected = before.clone()
            if letter == "q":
                expected[at, own] = output[at, own]
            elif letter == "k":
                expected[:, own] = output[:, own]
            else:
                expected[:, own] = before[:, own].roll(1, -1)
            errors.add(f"a{layer}<{letter}>", output - expected, before.roll(1, -1) - before)
    return errors.found(trial.bound)


def _rearranged(
    parts: tuple[Tensor, Tensor, Tensor], at: int
) -> tuple[list[tuple[Tensor, ...]], list[tuple[str, slice]]]:
    """Copies of q, k, v with the entries of one head shifted by one place, and which heads read them."""
    copies: list[tuple[Tensor, ...]] = []
    owners: list[tuple[str, slice]] = []
    heads = parts[0].shape[2]
    for kind, letter in enumerate("qkv"):
        count = parts[kind].shape[2]
        places = slice(None) if letter == "v" else slice(at, at + 1)
        for head in range(count):
            changed = [part.clone() for part in parts]
            changed[kind][:, places, head] = changed[kind][:, places, head].roll(1, -1)
            copies.append(tuple(changed))
            owners.append((letter, slice(head * heads // count, (head + 1) * heads // count)))
    return copies, owners


def full_circuit(trial: Trial) -> Found:
    """Logits of the model run as the circuit of all edges, and of the clean run."""
    return trial.circuits[0]


def empty_circuit(trial: Trial) -> Found:
    """Logits of the model run as the circuit without edges, and of the corrupted run."""
    return trial.circuits[1]


def node_gradients(trial: Trial) -> Found:
    """Sums of a source's edge scores, and (corrupted - clean) . dL/dz of that source by one plain backward pass.

    What every later node reads changes by what the source writes, so the two are the same: it holds at any one
    input (here half way between clean and corrupted), also where experts are chosen.
    """
    expected = torch.zeros(len(trial.graph.sources), dtype=torch.float64)
    for part in parts_of(trial.inputs, resolve(trial.metric, trial.inputs)):
        for batch in trial.batches(part.inputs, share_prefix=False):
            expected += part.sign * _node_effects(trial, batch, part.metric)
    nodes = trial.attribute(steps=1, share_prefix=False).values.double().sum(1) * len(trial.inputs)
    worst = int((nodes - expected).abs().argmax())
    found = _largest(nodes - expected, expected)
    return replace(found, where=trial.graph.sources[worst]) if found.value > trial.bound else found


def _node_effects(trial: Trial, batch: Batch, metric: Metric) -> Float[Tensor, " S"]:
    anatomy, written = trial.anatomy, []
    embedded = [anatomy.embed(tokens) for tokens in (batch.clean, batch.corrupted)]
    for vectors in embedded:
        with recorded_writers(anatomy, len(batch)) as seen:
            logits = forward(anatomy, vectors, Prefix(0, None), batch.tokens)
        written.append((seen, logits))
    (clean, clean_logits), (corrupted, _) = written
    middle = (0.5 * (embedded[0] + embedded[1])).detach().requires_grad_()
    with torch.enable_grad(), _recorded_outputs(anatomy) as outputs:
        loss = batch.losses(metric, forward(anatomy, middle, Prefix(0, None), batch.tokens), clean_logits).sum()
    at_input, *at_blocks = torch.autograd.grad(loss, [middle, *outputs])
    effects = [_product(embedded[1] - embedded[0], at_input)]
    for layer, (at_heads, at_mlp) in enumerate(zip(at_blocks[::2], at_blocks[1::2], strict=True)):
        weight_HED = at_least_float32(trial.weights.output(layer))
        change = at_least_float32(corrupted.heads[layer] - clean.heads[layer]).unflatten(-1, weight_HED.shape[:2])
        effects += [_product(change[..., h, :] @ weight_HED[h], at_heads) for h in range(anatomy.heads)]
        effects.append(_product(corrupted.mlps[layer] - clean.mlps[layer], at_mlp))
    return torch.tensor(effects, dtype=torch.float64)


def _product(change: Tensor, gradient: Tensor) -> float:
    return float((change.double() * gradient.double().view_as(change)).sum())


@contextmanager
def _recorded_outputs(anatomy: Anatomy) -> Iterator[list[Tensor]]:
    """What the heads together and the MLP of each block add to the stream, in order of the blocks."""
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        seen.append(first(output))

    def keep_own(_: nn.Module, __: tuple[Any, ...], output: Any) -> Tensor:
        seen.append(first(output))
        return seen[-1].clone()

    with ExitStack() as hooks:
        for block in anatomy.blocks:
            norm = block.heads_norm
            module = block.output if norm is None or norm.module is None else norm.module
            for writer in (module, block.mlp.writes):
                hooks.callback(writer.register_forward_hook(keep_own if block.in_place else keep).remove)
        yield seen


def completeness(trial: Trial) -> Found:
    """Completeness residual with growing numbers of steps, until it is small."""
    residuals: dict[int, float] = {}
    for steps in STEPS:
        scores = trial.scores if steps == STEPS[0] else trial.attribute(steps=steps)
        assert scores.completeness is not None
        residuals[steps] = scores.completeness
        if scores.completeness <= LARGE_RESIDUAL:
            break
    note = ", ".join(f"{residual:.1e} with {steps} steps" for steps, residual in residuals.items())
    return Found(min(residuals.values()), note=note)


def exact_edges(trial: Trial) -> Found:
    """Exact scores of a sample of edges, and the rise of the loss where the model runs without that edge."""
    _, scores = trial.sample
    without: list[Circuit] = []
    for source, destination in trial.chosen_edges.tolist():
        mask = trial.graph.edge_mask.clone()
        mask[source, destination] = False
        without.append(Circuit(mask, trial.graph))
    results = evaluate(trial.model, trial.inputs, without, metric=trial.metric)
    sign = resolve(trial.metric, trial.inputs).sign
    rises = torch.stack([sign * (r.circuit.metric.double() - r.model.metric.double()).mean() for r in results])
    return _largest((scores - rises).abs(), scores)


def _exact(trial: Trial, edges: Tensor) -> Float[Tensor, " E"]:
    """Exact scores of some edges, mean over examples."""
    wanted = torch.zeros_like(trial.graph.edge_mask)
    wanted[edges.unbind(1)] = True
    total = torch.zeros(len(edges), dtype=torch.float64)
    for part in parts_of(trial.inputs, resolve(trial.metric, trial.inputs)):
        for batch in trial.batches(part.inputs):
            scores = exact_scores(trial.anatomy, trial.graph, trial.weights, batch, part.metric, None, wanted)
            total += part.sign * scores.double().sum(0).cpu()[edges.unbind(1)]
    return total / len(trial.inputs)


def gradient_beside_exact(trial: Trial) -> Found:
    """Correlation of EAP-IG with exact scores on the sample, and their largest difference."""
    gradient, exact = trial.sample
    correlation = float(torch.corrcoef(torch.stack([gradient.double(), exact]))[0, 1])
    largest = _largest(gradient - exact, exact).value
    return Found(correlation, note=f"the largest difference is {largest:.1e} of the largest exact score")


def prefix_sharing(trial: Trial) -> Found:
    """Scores with the shared start of the prompts computed once, and with every position computed anew."""
    anew = trial.attribute(steps=STEPS[0], share_prefix=False)
    return _largest(anew.values - trial.scores.values, trial.scores.values)


def batch_size(trial: Trial) -> Found:
    """Scores from batches of one row, and from as many as fit."""
    single = trial.attribute(steps=STEPS[0], batch_size=1)
    return _largest(single.values - trial.scores.values, trial.scores.values)


def _largest(error: Tensor, scores: Tensor) -> Found:
    """Largest error as a share of the largest score."""
    worst = float(error.abs().max())
    return Found(worst / float(scores.abs().max()) if worst else 0.0)
