"""Does a circuit belong to its task? Found again with other pairs, and put together from other tasks' circuits."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import write_json
from circuitune.core.chance_records import (
    CompositionRecord,
    RobustnessRow,
    TunedCompositionRow,
    TunedTopOverlapRow,
)
from circuitune.core.csvio import write_rows
from circuitune.core.records import PairsRecord, Record, read_record
from circuitune.core.seeding import derived_seed
from circuitune.dynamics.composition import SHARES, compose
from circuitune.dynamics.measures import Overlap
from circuitune.dynamics.nulls import between, disjoint_splits
from circuitune.dynamics.robustness import under_noise
from circuitune.experiments.artefacts import (
    COMPOSITION,
    HALF_MEMORY,
    PAIRS,
    by_step,
    encoded,
    load,
    opened,
    row_label,
    scored,
    usable,
)
from circuitune.experiments.inputs import ELSEWHERE, Model
from circuitune.experiments.specs import ComposeSpec, RobustnessSpec, pairs_role
from circuitune.experiments.store import JobFolder
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.models.versions import untrained
from circuitune.tasks.pairs import PairSet

R = TypeVar("R", bound=Record)


def robustness(job: JobFolder, spec: RobustnessSpec) -> None:
    """robustness.csv: the circuit split with some pairs resampled, and in disjoint parts, for three models."""
    metric = read_record(job.input("pairs").folder / PAIRS, PairsRecord).metric
    pairs = usable(job.pairs("circuit"), metric)
    elsewhere = [job.pairs(part) for part in ELSEWHERE]
    rows: list[RobustnessRow] = []
    for name, model, tokenizer in _models(job, spec):
        rows += _robust(spec, name, model, tokenizer, pairs, elsewhere, metric)
    write_rows(job.folder / "robustness.csv", rows, RobustnessRow)


def _models(job: JobFolder, spec: RobustnessSpec) -> Iterator[tuple[str, Model, PreTrainedTokenizerBase]]:
    """The model before and after this fine-tuning, and one of its shape with random weights."""
    base, tokenizer = load(job, spec)
    yield "random", untrained(base, derived_seed(spec.seed, "random model")), tokenizer
    first, *_, last = by_step(job.input("training").folder / "checkpoints")
    for name, checkpoint in (("before", first), ("after", last)):
        with opened(base, checkpoint) as model:
            yield name, model, tokenizer


def _robust(
    spec: RobustnessSpec,
    name: str,
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairSet,
    elsewhere: Sequence[PairSet],
    metric: str,
) -> Iterator[RobustnessRow]:
    """Every level of noise, then the disjoint parts, of one model."""

    def score(chosen: PairSet) -> EdgeScores:
        return _scores(model, encode(chosen, tokenizer), spec, metric, examples=True)

    how, share = spec.robustness, spec.discovery.share
    if how.noise:
        sample = pairs.sample(spec.discovery.pairs)
        found = under_noise(
            score,
            sample,
            share,
            tokenizer=tokenizer,
            levels=how.noise,
            draws=how.draws,
            seed=spec.seed,
            avoid=elsewhere,
        )
        for level, overlaps in found.items():
            yield _robustness_row(spec, name, "noise", level, len(sample), overlaps)
    parts = disjoint_splits(score(pairs), how.parts, seed=spec.seed)
    least = min(len(part.examples) for part in parts if part.examples is not None)
    yield _robustness_row(spec, name, "parts", None, least, between(parts, share))


def _robustness_row(
    spec: RobustnessSpec, model: str, kind: str, level: float | None, pairs: int, overlaps: tuple[Overlap, ...]
) -> RobustnessRow:
    edges = [one.edges.jaccard for one in overlaps]
    return RobustnessRow.model_validate(
        {
            "label": row_label(spec),
            "seed": spec.seed,
            "model": model,
            "kind": kind,
            "level": level,
            "pairs": pairs,
            "comparisons": len(overlaps),
            "edge_jaccard": sum(edges) / len(edges),
            "edge_low": min(edges),
            "edge_high": max(edges),
            "node_jaccard": sum(one.nodes.jaccard for one in overlaps) / len(overlaps),
        }
    )


def _scores(
    model: Model, inputs: EncodedPairs, spec: RobustnessSpec | ComposeSpec, metric: str, *, examples: bool
) -> EdgeScores:
    """Scores as the run finds its circuits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of completeness: that concerns no map that is only compared
        return scored(model, inputs, spec.discovery, metric, per_example=examples, memory=HALF_MEMORY)


# ---- composition ----


def composition(job: JobFolder, spec: ComposeSpec) -> None:
    """The tuned model's circuits of the parts, united, on held-out pairs of the run's task.

    Writes composition.csv, composition_overlap.csv and composition.json.
    """
    base, tokenizer = load(job, spec)
    record = read_record(job.input("pairs").folder / PAIRS, PairsRecord)
    how, metric = spec.discovery, record.metric
    held_out = encoded(job, how.part, how.evaluation_pairs, metric, tokenizer)
    whole = EdgeScores.load(by_step(job.input("circuits").folder / "scores")[-1])
    with opened(base, by_step(job.input("training").folder / "checkpoints")[-1]) as model:
        found = compose(
            model,
            held_out,
            whole,
            _maps(job, spec, spec.parts, model, tokenizer, metric),
            task=record.name,
            unrelated=_maps(job, spec, spec.unrelated, model, tokenizer, metric),
            shares=sorted({*SHARES, how.share}),
            at=how.share,
            draws=spec.draws,
            metric=metric,
            seed=spec.seed,
            memory=HALF_MEMORY,
        )
    rows = [_tuned(TunedCompositionRow, row, spec) for row in found.rows]
    write_rows(job.folder / "composition.csv", rows, TunedCompositionRow)
    overlaps = [_tuned(TunedTopOverlapRow, row, spec) for row in found.overlaps]
    write_rows(job.folder / "composition_overlap.csv", overlaps, TunedTopOverlapRow)
    write_json(
        job.folder / COMPOSITION, CompositionRecord(label=row_label(spec), seed=spec.seed, sentence=found.sentence)
    )


def _maps(
    job: JobFolder,
    spec: ComposeSpec,
    names: tuple[str, ...],
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    metric: str,
) -> Mapping[str, EdgeScores]:
    """The tuned model's scores on the circuit split of other tasks."""
    count = spec.discovery.pairs
    return {
        name: _scores(
            model, encoded(job, "circuit", count, metric, tokenizer, pairs_role(name)), spec, metric, examples=False
        )
        for name in names
    }


def _tuned(schema: type[R], row: Record, spec: ComposeSpec) -> R:
    """A row of the library with the fine-tuning it belongs to."""
    return schema.model_validate({**row.model_dump(), "label": row_label(spec), "seed": spec.seed})
