"""How long jobs take and how much memory: measured on the embedded model, scaled by size, good to a factor of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circuitune.dynamics.composition import SHARES
from circuitune.experiments.recipe import DiscoveryRecipe
from circuitune.experiments.specs import (
    AnalyseSpec,
    ComposeSpec,
    DiscoverSpec,
    JobSpec,
    PairsSpec,
    RobustnessSpec,
    TrainSpec,
    by_folder,
)

START = 2.0
"""Seconds until a worker has loaded a small model and its pairs; what it imports, it imports once."""
FORWARD = 4e-11
"""Seconds per parameter and token of one forward pass on one thread."""
PROCESS = 2 << 30
"""Bytes of a worker with everything imported, its pairs, and the batches it chooses by their size."""
TRAINED = 16
"""Bytes per parameter of full fine-tuning in float32: weights, gradients and two moments."""
RESAMPLED = 0.04
"""Seconds for everything that is cut again from one resample of the pairs."""
ROW = 6e-4
"""Seconds of overhead per trained row: batches, optimizer, callbacks."""


@dataclass(frozen=True)
class Size:
    """What the time depends on: the model's parameters, tokens per prompt (their mean), training rows."""

    parameters: int
    tokens: float
    rows: int


def weight(spec: JobSpec, specs: Mapping[str, JobSpec], size: Size) -> float:
    """Seconds that a job takes on one thread; ``specs`` are the jobs of the run by folder (`by_folder`)."""
    seconds = START + FORWARD * size.parameters * size.tokens * passes(spec, specs, size.rows)
    if isinstance(spec, TrainSpec):
        seconds += spec.training.epochs * size.rows * ROW
    if isinstance(spec, AnalyseSpec):
        seconds += RESAMPLED * spec.analysis.resamples
    return seconds


def passes(spec: JobSpec, specs: Mapping[str, JobSpec], rows: int) -> int:
    """Forward passes over one prompt that a job costs, a backward pass counted as two; ``rows`` to train on."""
    if isinstance(spec, PairsSpec):
        return 0
    if isinstance(spec, TrainSpec):
        return 3 * spec.training.epochs * rows + _longer(spec, specs, rows)
    if isinstance(spec, AnalyseSpec):
        return _analysis_passes(spec)
    if isinstance(spec, RobustnessSpec):
        return _robustness_passes(spec)
    if isinstance(spec, ComposeSpec):
        return _composition_passes(spec)
    training = specs[spec.inputs["training"]]
    assert isinstance(training, TrainSpec)
    return (training.training.checkpoints + 1) * _passes(spec.discovery)


def _longer(spec: TrainSpec, specs: Mapping[str, JobSpec], rows: int) -> int:
    """Passes of the steps that a rival gets for what choosing the ranks cost: a phase 1, and circuits around it.

    What EVA and a plan from data cost, below a tenth of the training, is not counted.
    """
    rival = specs[spec.inputs["rival"]] if spec.twist == "longer" else None
    if not isinstance(rival, TrainSpec) or rival.ranks.kind != "circuit":
        return 0
    circuits = specs[spec.inputs["circuits"]]
    assert isinstance(circuits, DiscoverSpec)
    return passes(specs[circuits.inputs["training"]], specs, rows) + 2 * _scoring(circuits.discovery)


def _scoring(discovery: DiscoveryRecipe) -> int:
    """Forward passes over one prompt that the scores of one checkpoint cost."""
    steps = 1 if discovery.method == "eap" else discovery.steps
    return discovery.pairs * (2 + 3 * steps)


def _passes(discovery: DiscoveryRecipe) -> int:
    """The same with the faithfulness curve."""
    return _scoring(discovery) + discovery.evaluation_pairs * (2 + 4 * len(discovery.shares))


def _analysis_passes(spec: AnalyseSpec) -> int:
    """Forward passes over one prompt of all maps, and of both directions of the causal check."""
    how = spec.discovery
    maps = (2 + spec.analysis.random_models) * _scoring(how)
    return maps + 2 * how.evaluation_pairs * (2 + 4 * (spec.analysis.draws + 2))


def _robustness_passes(spec: RobustnessSpec) -> int:
    """Forward passes of three models over one prompt of the pairs, their replacements and the disjoint parts."""
    how = spec.robustness
    noisy = 1 + how.draws * max(how.noise) if how.noise else 0
    return round(3 * (noisy + how.parts) * _scoring(spec.discovery))


def _composition_passes(spec: ComposeSpec) -> int:
    """Forward passes over one prompt of the other tasks' maps, and of every united circuit and control."""
    how = spec.discovery
    others = len(spec.parts) + len(spec.unrelated)
    circuits = len(SHARES) * (5 + others + spec.draws)
    return others * _scoring(how) + how.evaluation_pairs * (2 + 4 * circuits)


def estimate(missing: Sequence[JobSpec], specs: Sequence[JobSpec], workers: int, size: Size) -> float:
    """Seconds that the missing jobs among ``specs`` take on so many workers."""
    named = by_folder(specs)
    return sum(weight(spec, named, size) for spec in missing) / workers


def memory(size: Size) -> int:
    """Bytes that any job of a run may take at its peak: what engines reserve for each."""
    return PROCESS + TRAINED * size.parameters


def duration(seconds: float) -> str:
    """Seconds in words, rounded as one would say it."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
