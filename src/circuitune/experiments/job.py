"""Run one job in its folder: the same spec always gives the same bytes.

A job that is complete returns at once; one that is not is cleared and done again, so any scheduler may run
``circuitune job run DIR`` as often as it likes. Times, host and versions go to ``environment.json``, which no
hash covers.
"""

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from circuitune import __version__
from circuitune.circuits.faithfulness import Faithfulness, evaluate
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.atomic import write_json
from circuitune.core.csvio import write_rows
from circuitune.core.environment import describe
from circuitune.core.errors import MachineError
from circuitune.core.locking import locked
from circuitune.core.manifest import ENVIRONMENT, complete
from circuitune.core.records import (
    ComputeRecord,
    ExampleRecord,
    FaithfulnessRow,
    LeftOutRecord,
    PairsRecord,
    read_record,
)
from circuitune.experiments.analysis import analyse
from circuitune.experiments.artefacts import (
    COMPUTE,
    PAIRS,
    by_step,
    encoded,
    load,
    opened,
    row_label,
    scored,
    step_of,
)
from circuitune.experiments.generality import composition, robustness
from circuitune.experiments.inputs import Model, metric_for, prepare, size_of
from circuitune.experiments.specs import (
    AnalyseSpec,
    DiscoverSpec,
    JobSpec,
    PairsSpec,
    RobustnessSpec,
    TrainSpec,
    title,
)
from circuitune.experiments.store import JobFolder
from circuitune.experiments.tuned import train
from circuitune.models.encoding import EncodedPairs
from circuitune.tasks.pairs import PairSet

PARTS = ("train", "circuit", "validation", "test")


def run_job(folder: Path) -> None:
    """Do the job in ``folder`` unless it is complete; its inputs must be.

    Raises:
        InputError: no job is there, an input is missing or changed, or another process is at it.
        MachineError: the disk refused a file, memory ran out, or a number is not finite; it names the job.
    """
    job = JobFolder(folder.resolve())
    spec = job.spec
    if job.complete:
        return
    with locked(job.folder):
        if job.complete:  # by now, by whoever held the lock
            return
        job.clear()
        started = time.monotonic()
        torch.use_deterministic_algorithms(True, warn_only=spec.model.device != "cpu")  # a GPU lacks some of them
        try:
            _work(job, spec)
        except MachineError as error:
            raise MachineError(f"{title(spec)}: {error}") from error
        write_json(job.folder / ENVIRONMENT, describe(time.monotonic() - started))
        complete(job.folder)


def _work(job: JobFolder, spec: JobSpec) -> None:
    if isinstance(spec, PairsSpec):
        make_pairs(job, spec)
    elif isinstance(spec, TrainSpec):
        train(job, spec)
    elif isinstance(spec, DiscoverSpec):
        discover(job, spec)
    elif isinstance(spec, AnalyseSpec):
        analyse(job, spec)
    elif isinstance(spec, RobustnessSpec):
        robustness(job, spec)
    else:
        composition(job, spec)


def make_pairs(job: JobFolder, spec: PairsSpec) -> None:
    """Four splits as JSON lines, and ``pairs.json``, which says what was left out and which metric can be used."""
    model, tokenizer = load(job, spec)
    prepared = prepare(spec.data, job.run.folder, model, tokenizer)
    pairs = prepared.pairs
    limits = {"train": spec.rows, "test": spec.test_rows}
    parts: dict[str, PairSet] = {}
    for part in PARTS:
        rows = pairs.split(part)
        limit = limits.get(part)
        parts[part] = rows.sample(limit) if limit is not None else rows
        parts[part].to_jsonl(job.folder / f"{part}.jsonl")
    example = pairs[0]
    record = PairsRecord(
        name=pairs.name,
        settings=dict(pairs.settings),
        digest=pairs.digest,
        parts={part: len(rows) for part, rows in parts.items()},
        left_out=[LeftOutRecord(row=row.row, rule=row.rule, reason=row.reason) for row in prepared.checked.left_out],
        wrong=prepared.wrong,
        metric=metric_for(pairs, spec.metric),
        size=size_of(model, pairs, tokenizer),
        example=ExampleRecord(
            clean=example.clean, corrupted=example.corrupted, answer=example.answer, wrong=example.wrong
        ),
    )
    write_json(job.folder / PAIRS, record)


def discover(job: JobFolder, spec: DiscoverSpec) -> None:
    """Scores, circuit and faithfulness at every checkpoint of the training job, on pairs it was not trained on."""
    base, tokenizer = load(job, spec)
    metric = read_record(job.input("pairs").folder / PAIRS, PairsRecord).metric
    settings = spec.discovery
    inputs = encoded(job, "circuit", settings.pairs, metric, tokenizer)
    held_out = encoded(job, settings.part, settings.evaluation_pairs, metric, tokenizer)
    rows: list[FaithfulnessRow] = []
    counter = FlopCounterMode(display=False)
    checkpoints = by_step(job.input("training").folder / "checkpoints")
    for checkpoint in checkpoints:
        with opened(base, checkpoint) as model:
            first = spec.arm == "phase1" and checkpoint == checkpoints[0]  # a contest wants to know what it costs
            with counter if first else nullcontext():
                scores = _scores(spec, step_of(checkpoint), model, inputs, metric)
            cuts = [scores.top(share) for share in settings.sizes]
            results = evaluate(model, held_out, cuts, metric=metric)
        scores.save(job.folder / "scores" / f"{checkpoint.name}.safetensors")
        rows += [
            faithfulness_row(spec, step_of(checkpoint), share, cut, result)
            for share, cut, result in zip(settings.sizes, cuts, results, strict=True)
        ]
        scores.top(settings.share).save(job.folder / "circuits" / f"{checkpoint.name}.safetensors")
    write_rows(job.folder / "faithfulness.csv", rows, FaithfulnessRow)
    if spec.arm == "phase1":
        write_json(job.folder / COMPUTE, ComputeRecord(attribution_flops=counter.get_total_flops()))


def _scores(spec: DiscoverSpec, step: int, model: Model, inputs: EncodedPairs, metric: str) -> EdgeScores:
    """Scores of one checkpoint; their settings also say whose they are and which version made them."""
    scores = scored(model, inputs, spec.discovery, metric)
    whose = {
        "model": spec.model.name,
        "model_fingerprint": spec.model.fingerprint,
        "training": row_label(spec),
        "step": step,
        "version": __version__,
    }
    return replace(scores, settings={**scores.settings, **whose})


def faithfulness_row(
    spec: DiscoverSpec, step: int, share: float, circuit: Circuit, result: Faithfulness
) -> FaithfulnessRow:
    """One line of faithfulness.csv; metric values are means over the held-out pairs."""
    normalized = result.normalized
    return FaithfulnessRow(
        label=row_label(spec),
        arm=spec.arm,
        seed=spec.seed,
        step=step,
        share=share,
        edges=len(circuit.edges),
        nodes=len(circuit.nodes),
        metric=result.metric,
        model=float(result.model.metric.double().mean()),
        circuit=float(result.circuit.metric.double().mean()),
        corrupted=float(result.corrupted.metric.double().mean()),
        normalized=normalized.estimate if normalized else None,
        normalized_low=normalized.low if normalized else None,
        normalized_high=normalized.high if normalized else None,
        reason=result.reason or "",
        kl=result.kl,
        accuracy=result.accuracy,
        percent_released=result.percent_released,
    )
