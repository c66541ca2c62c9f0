"""How well a circuit does what the model does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from circuitune.circuits.ablation import Ablation, Constant, constant, require_ablation
from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.graph import Graph
from circuitune.circuits.halving import in_pieces
from circuitune.circuits.memory import BUDGET, evaluation_memory, positions_per_batch
from circuitune.circuits.metrics import METRICS, Loss, Metric, parts_of, resolve
from circuitune.circuits.patching import reference_run, run_circuits
from circuitune.circuits.reduce import summed
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.weights import Weights
from circuitune.core.errors import InputError, MachineError
from circuitune.core.notebook import line
from circuitune.core.statistics import Interval, Undefined, bootstrap_ratio
from circuitune.models.anatomy import Anatomy, anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.finite import origin
from circuitune.models.running import prepared

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Circuit sizes of the Mechanistic Interpretability Benchmark, as shares of all edges."""

Carried = Callable[[Batch], Constant | None]
"""What ablated edges carry in a batch; None for what the corrupted run writes (interchange)."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run of the model on n examples.

    Attributes:
        metric: float32 [n], the metric's own value (a logit difference, not its loss).
        correct: bool [n], the answer has the highest logit.
        kl_from_model: float32 [n], KL(model || run).
        kl_from_corrupted: float32 [n], KL(corrupted || run).
        groups: int64 [n], equal for examples that are not independent of each other (`EncodedPairs.groups`); None
            where all are.
    """

    metric: Float[Tensor, " n"]
    correct: Bool[Tensor, " n"]
    kl_from_model: Float[Tensor, " n"]
    kl_from_corrupted: Float[Tensor, " n"]
    groups: Int[Tensor, " n"] | None = None

    @property
    def accuracy(self) -> float:
        """Share of examples answered correctly."""
        return float(self.correct.float().mean())

    def weighted(self, sign: int) -> "Run":
        """The same with `sign` times the metric."""
        return replace(self, metric=sign * self.metric)


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """A circuit beside the whole model and the ablated model, on the same examples.

    Attributes:
        model, circuit, corrupted: the clean run, the model run as the circuit, and the model with every edge ablated
            (for interchange: the corrupted run).
        metric: name of the metric.
        edges: number of edges of the circuit.
        higher_is_better: whether the metric is minus a loss, as the logit difference.
    """

    model: Run
    circuit: Run
    corrupted: Run
    metric: str
    edges: int
    higher_is_better: bool = False

    def __repr__(self) -> str:
        values = (
            f"{name} {float(getattr(self, name).metric.mean()):.4g}" for name in ("model", "circuit", "corrupted")
        )
        found = self.normalized
        ratio = f"normalized {found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]" if found else ""
        size = f"{self.edges:,} edges on {len(self.model.metric):,} examples"
        return line("Faithfulness", [size, f"{self.metric}: {', '.join(values)}", ratio, f"KL {self.kl:.3g}"])

    @cached_property
    def _ratio(self) -> Interval | Undefined:
        numerator = (self.circuit.metric - self.corrupted.metric).double().numpy()
        denominator = (self.model.metric - self.corrupted.metric).double().numpy()
        return bootstrap_ratio(numerator, denominator, groups=self.model.groups)

    @property
    def normalized(self) -> Interval | None:
        """(F(circuit) - F(corrupted)) / (F(model) - F(corrupted)), means over examples, with a bootstrap interval.

        None where the interval of the denominator contains 0: see `reason`, and lead with `kl`.
        """
        return None if isinstance(self._ratio, Undefined) else self._ratio

    @property
    def reason(self) -> str | None:
        """Why `normalized` is None."""
        return self._ratio.reason if isinstance(self._ratio, Undefined) else None

    @property
    def kl(self) -> float:
        """Mean KL(model || circuit): 0 for a circuit that reproduces the model's output distribution."""
        return float(self.circuit.kl_from_model.mean())

    @property
    def percent_released(self) -> float | None:
        """The study's released formula, (1 - |F(model) - F(circuit)| / F(model)) x 100 with F = KL from the corrupted
        output: how far the circuit moves, not whether it reproduces the model. None if the model does not move."""
        moved = float(self.model.kl_from_corrupted.mean())
        if moved == 0:
            return None
        return (1 - abs(moved - float(self.circuit.kl_from_corrupted.mean())) / moved) * 100

    @property
    def accuracy(self) -> float:
        """Share of examples the circuit answers correctly."""
        return self.circuit.accuracy


@overload
def evaluate(
    model: nn.Module,
    inputs: EncodedPairs,
    circuit: Circuit,
    *,
    metric: str | Loss = ...,
    ablation: Ablation = ...,
    mean_over: EncodedPairs | None = ...,
    batch_size: int | None = ...,
    memory: int = ...,
) -> Faithfulness: ...
@overload
def evaluate(
    model: nn.Module,
    inputs: EncodedPairs,
    circuit: Sequence[Circuit],
    *,
    metric: str | Loss = ...,
    ablation: Ablation = ...,
    mean_over: EncodedPairs | None = ...,
    batch_size: int | None = ...,
    memory: int = ...,
) -> list[Faithfulness]: ...
def evaluate(
    model: nn.Module,
    inputs: EncodedPairs,
    circuit: Circuit | Sequence[Circuit],
    *,
    metric: str | Loss = "logit_diff",
    ablation: Ablation = "interchange",
    mean_over: EncodedPairs | None = None,
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> Faithfulness | list[Faithfulness]:
    """Run the model as one circuit, or as several that share the clean and corrupted runs.

    Args:
        model: a Transformers causal language model or a `peft.PeftModel`; left as it was.
        inputs: the encoded pairs (not those the circuit was found on, if the result is to mean anything).
        circuit: a circuit, or a sequence of circuits of the same graph: then a list is returned.
        metric: as in `attribute`.
        ablation: what edges outside the circuit carry, see `circuits.ablation`.
        mean_over: prompts for the mean ablations, such as those the circuit was found on; by default `inputs`.
        batch_size: rows per batch; by default what fits `memory`.
        memory: bytes that the engine may take above the model.

    Raises:
        InputError: a circuit of another model shape, an unknown metric or ablation.
        MachineError: a logit is not finite.
    """
    circuits = [circuit] if isinstance(circuit, Circuit) else list(circuit)
    chosen = resolve(metric, inputs)
    require_ablation(ablation)

    def carried(part: EncodedPairs, positions: int) -> Carried:
        means = constant(anatomy_of(model), ablation, mean_over or part, positions)
        return lambda batch: means

    with prepared(model), torch.no_grad():
        whole = measured(
            model,
            inputs,
            circuits,
            metric=chosen,
            carried=carried,
            share_prefix=ablation == "interchange",
            batch_size=batch_size,
            memory=memory,
        )
    model_run, corrupted, *runs = whole
    results = [
        Faithfulness(model_run, run, corrupted, chosen.name, len(cut), chosen.sign < 0)
        for run, cut in zip(runs, circuits, strict=True)
    ]
    return results[0] if isinstance(circuit, Circuit) else results


def measured(
    model: nn.Module,
    inputs: EncodedPairs,
    circuits: Sequence[Circuit],
    *,
    metric: Metric,
    carried: Callable[[EncodedPairs, int], Carried],
    share_prefix: bool,
    batch_size: int | None,
    memory: int,
) -> list[Run]:
    """The clean run, the one with every edge ablated, then one per circuit, of a model that is `prepared`.

    Args:
        model, inputs, circuits, batch_size, memory: as in `evaluate`.
        metric: as `resolve` gives it.
        carried: (prompts of one part of the metric, positions per batch) -> what ablated edges carry in a batch.
        share_prefix: whether clean and ablated run agree on the positions that a batch's prompts share.
    """
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    _check(circuits, graph)
    positions = positions_per_batch(evaluation_memory(anatomy, graph), inputs, batch_size, memory // 4)
    runs: list[list[Run]] = []
    for part in parts_of(inputs, metric):
        part.inputs.require_context(anatomy.positions)
        request = _Request(
            anatomy, graph, Weights(anatomy), part.metric, carried(part.inputs, positions), circuits, memory
        )
        parts = batches(part.inputs, anatomy.device, positions, share_prefix=share_prefix)
        runs.append([run.weighted(part.sign * metric.sign) for run in request.measure(parts, len(inputs))])
    groups = None if inputs.groups is None else inputs.groups.cpu()
    return [replace(_summed(of_one), groups=groups) for of_one in zip(*runs, strict=True)]


def _check(circuits: Sequence[Circuit], graph: Graph) -> None:
    for circuit in circuits:
        if circuit.graph != graph:
            raise InputError(
                f"The circuit's graph is {circuit.graph}, the model's is {graph}; use the model it is of."
            )


@dataclass(frozen=True)
class _Request:
    """What every batch needs to know of one call of `evaluate`."""

    anatomy: Anatomy
    graph: Graph
    weights: Weights
    metric: Metric
    carried: Carried
    circuits: Sequence[Circuit]
    memory: int

    def measure(self, parts: Iterable[Batch], count: int) -> list[Run]:
        """The clean run, the ablated one, then one per circuit, over all examples; `Run.metric` holds the loss."""
        rows: list[Tensor] = []
        measured: list[list[Run]] = []
        for batch, runs in in_pieces(self._measure_batch, parts):
            if batch.counted:
                measured.append(runs)
                rows.append(batch.rows)
        return [_joined([runs[i] for runs in measured], rows, count) for i in range(2 + len(self.circuits))]

    def _measure_batch(self, batch: Batch) -> list[Run]:
        reference = reference_run(self.anatomy, self.weights, batch, self.carried(batch))

        def measured(logits: Float[Tensor, "B T V"]) -> Run:
            if not bool(torch.isfinite(logits).all()):
                where = origin(self.anatomy.model, lambda: self.anatomy.model(input_ids=batch.clean, use_cache=False))
                raise MachineError(f"A logit is not finite: {where}.")
            loss = batch.losses(self.metric, logits, reference.clean_logits)
            away = [batch.losses(METRICS["kl"], logits, base) for base in (reference.clean_logits, reference.logits)]
            return Run(loss.float().cpu(), batch.correct(logits).cpu(), away[0].float().cpu(), away[1].float().cpu())

        runs = [measured(reference.clean_logits), measured(reference.logits)]
        for chunk in self._chunks(batch):
            masks = torch.stack([circuit.mask for circuit in chunk])
            all_logits = run_circuits(self.anatomy, self.graph, self.weights, reference, masks)
            runs.extend(measured(logits) for logits in all_logits)
        return runs

    def _chunks(self, batch: Batch) -> Iterator[Sequence[Circuit]]:
        """As many circuits at a time as fit the memory beside each other."""
        size = max(1, self.memory // evaluation_memory(self.anatomy, self.graph).peak(len(batch), batch.positions))
        return (self.circuits[start : start + size] for start in range(0, len(self.circuits), size))


def _joined(parts: Sequence[Run], rows: Sequence[Tensor], count: int) -> Run:
    """One run over all `count` examples, in the user's order; those of other processes included."""

    def whole(name: str) -> Tensor:
        values = torch.zeros(count, dtype=torch.float64)
        for part, places in zip(parts, rows, strict=True):
            values[places] = getattr(part, name).double()
        return summed(values)

    return Run(
        whole("metric").float(),
        whole("correct").bool(),
        whole("kl_from_model").float(),
        whole("kl_from_corrupted").float(),
    )


def _summed(parts: Sequence[Run]) -> Run:
    """One run whose metric is the sum of the parts'; the rest is that of the first part, the right answer's."""
    return replace(parts[0], metric=torch.stack([part.metric for part in parts]).sum(0))


@dataclass(frozen=True, eq=False)
class FaithfulnessCurve:
    """Faithfulness of the strongest edges at several sizes.

    Attributes:
        shares: sizes as shares of all edges, ascending.
        results: one per size.
    """

    shares: tuple[float, ...]
    results: tuple[Faithfulness, ...]

    def __repr__(self) -> str:
        found = [
            f"{share:.1%} of edges {f'{result.normalized.estimate:.3g}' if result.normalized else 'undefined'}"
            for share, result in zip(self.shares, self.results, strict=True)
        ]
        return line("FaithfulnessCurve", [", ".join(found)])

    @property
    def cpr(self) -> float | None:
        """Area under faithfulness over the share of edges (trapezoid); None where faithfulness is undefined."""
        return self._area([r.normalized.estimate for r in self.results if r.normalized])

    @property
    def cmd(self) -> float | None:
        """Area of |1 - faithfulness| over the share of edges (trapezoid): 0 is perfect."""
        return self._area([abs(1 - r.normalized.estimate) for r in self.results if r.normalized])

    def _area(self, heights: Sequence[float]) -> float | None:
        if len(heights) < len(self.shares):
            return None
        return float(torch.trapezoid(torch.tensor(heights), torch.tensor(self.shares)))


def faithfulness_curve(
    model: nn.Module,
    inputs: EncodedPairs,
    scores: EdgeScores,
    *,
    shares: Sequence[float] = SHARES,
    metric: str | Loss = "logit_diff",
    ablation: Ablation = "interchange",
) -> FaithfulnessCurve:
    """Evaluate the circuits of the strongest `shares` of edges, all in one go (arguments as in `evaluate`)."""
    sizes = tuple(sorted(float(share) for share in shares))
    circuits = [scores.top(share) for share in sizes]
    return FaithfulnessCurve(sizes, tuple(evaluate(model, inputs, circuits, metric=metric, ablation=ablation)))
