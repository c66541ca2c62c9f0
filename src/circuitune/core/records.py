"""Every schema that touches the disk: the rows of the CSV tables, and the JSON documents.

All are frozen, refuse fields they do not know and refuse NaN and infinities. A table's columns are its row
model's fields, in order. In a row an empty cell stands for ``None``; no row model has an optional string.
"""

from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from circuitune.core.errors import InputError
from circuitune.core.parsing import parse_json

Kind = Literal["node", "edge"]
Side = Literal["source", "destination"]
ComparisonRole = Literal["change", "null"]
MOST_RANK = 65536
"""Above the width of any model: a plan of one line must not ask for any amount of memory."""


class Record(BaseModel):
    """Base of all schemas: frozen, closed, finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# ---- rows: one CSV each, in <run>/tables/ ----


class AccuracyRow(Record):
    """accuracy.csv: accuracy of one checkpoint on one split; ``low`` to ``high`` is its Wilson interval.

    ``step`` of ``steps`` optimizer steps; ``loss`` is the mean negative log-likelihood of the answer, in
    nats.
    """

    label: str
    arm: str
    seed: int
    step: int
    steps: int
    epoch: float
    split: str
    examples: int
    correct: int
    accuracy: float
    low: float
    high: float
    loss: float | None


class FaithfulnessRow(Record):
    """faithfulness.csv: one circuit against its model, on one metric.

    ``model``, ``circuit`` and ``corrupted`` are mean metric values of the three runs; ``normalized`` is
    (circuit - corrupted) / (model - corrupted), and ``reason`` says why it is missing (else it is empty).
    ``share`` is the share of all edges the circuit was cut to.
    """

    label: str
    arm: str
    seed: int
    step: int
    share: float
    edges: int
    nodes: int
    metric: str
    model: float
    circuit: float
    corrupted: float
    normalized: float | None
    normalized_low: float | None
    normalized_high: float | None
    reason: str
    kl: float
    accuracy: float
    percent_released: float | None


class CircuitRow(Record):
    """circuits.csv: one circuit of the run and where it lies.

    ``scores`` and ``circuit`` are paths inside the run; ``role`` is the stage it belongs to ("tune", "phase1").
    """

    label: str
    role: str
    seed: int
    step: int
    share: float
    nodes: int
    edges: int
    scores: str
    circuit: str


class ChangeRow(Record):
    """change.csv: nodes or edges of one circuit against another, end to end.

    ``role`` says whether it is a change (before and after tuning) or its null (two circuits that differ by
    seed only). ``rate`` is |A symmetric-difference B| / |A|, ``cumulative`` the paper's Delta_S over
    checkpoints; both are None when the circuit before is empty, ``cumulative`` also where there are no
    checkpoints to sum over.
    """

    comparison: str
    role: ComparisonRole
    kind: Kind
    before: str
    after: str
    before_count: int
    after_count: int
    added: int
    removed: int
    kept: int
    jaccard: float
    rate: float | None
    cumulative: float | None


class TransitionRow(Record):
    """transitions.csv: change from one checkpoint to the next.

    ``rate`` is relative to the *first* checkpoint: its sum over a label's transitions is the cumulative rate.
    """

    label: str
    seed: int
    step_from: int
    step_to: int
    kind: Kind
    added: int
    removed: int
    rate: float | None


class LayerRow(Record):
    """layers.csv: nodes or edges of one layer, before and after.

    ``layer`` is that of the edge's source or destination (``side``): -1 is the input, the number of layers
    is the logits. ``possible`` counts what the graph has there. Shares are None where nothing was absent
    (or present).
    """

    comparison: str
    role: ComparisonRole
    kind: Kind
    side: Side
    layer: int
    possible: int
    before: int
    after: int
    added: int
    removed: int
    share_absent_added: float | None
    share_present_removed: float | None


class CriticalRow(Record):
    """critical_layers.csv: a layer's importance by one rule, from the circuits around one seed's phase 1.

    ``place`` 1 is highest, ``chosen`` the top K.
    """

    seed: int
    rule: str
    layer: int
    importance: float
    place: int
    chosen: bool


class MethodRow(Record):
    """methods.csv: one way to allocate rank, trained once and measured on the test split.

    ``draw`` numbers the random draws (0 elsewhere); ``layers`` holds the high-rank layers joined by spaces
    ("" for uniform); ``planned`` and ``parameters`` are the planned and the actual count of trainable
    parameters, ``peak`` the most that were trained at once. ``allocation_flops`` are spent on choosing the ranks
    (phase 1, circuits, a gradient), ``training_flops`` on the training itself; without evaluation. ``before`` is the
    accuracy before the first step, the rest of the row is about the last.
    """

    arm: str
    draw: int
    seed: int
    layers: str
    rank: int
    critical_rank: int
    parameters: int
    planned: int
    peak: int
    learning_rate: float
    steps: int
    allocation_flops: int
    training_flops: int
    before: float
    examples: int
    accuracy: float
    low: float
    high: float
    loss: float | None


class RateRow(Record):
    """rates.csv: validation accuracy of one arm at one learning rate; ``chosen`` is the best on average."""

    arm: str
    learning_rate: float
    seed: int
    examples: int
    accuracy: float
    chosen: bool


class KeptRow(Record):
    """kept.csv: accuracy on another task, of the base model and after a fine-tuning of the contest."""

    arm: str
    draw: int
    seed: int
    task: str
    examples: int
    before: float
    after: float


class TextRow(Record):
    """text.csv: nats per token of held-out text, of the base model and after a fine-tuning of the contest."""

    arm: str
    draw: int
    seed: int
    passages: int
    tokens: int
    before: float
    after: float


# ---- documents: one JSON file each ----


class FindingsRecord(Record):
    """What the tables show, in sentences, by the section of the report that shows them.

    ``cautions`` say how far those on changes carry; ``chance`` holds changes against intervals and nulls; ``causal``
    says whether the gain passes through the changed edges; ``robust`` and ``composition`` are empty where the recipe
    does not ask.
    """

    training: list[str] = Field(default_factory=list[str])
    changes: list[str] = Field(default_factory=list[str])
    cautions: list[str] = Field(default_factory=list[str])
    chance: list[str] = Field(default_factory=list[str])
    causal: list[str] = Field(default_factory=list[str])
    robust: list[str] = Field(default_factory=list[str])
    composition: list[str] = Field(default_factory=list[str])
    where: list[str] = Field(default_factory=list[str])
    contest: list[str] = Field(default_factory=list[str])


class SummaryRecord(Record):
    """summary.json: what a run found, in plain words; ``sentences`` are the findings on one page."""

    title: str
    sentences: list[str]
    notes: list[str]
    findings: FindingsRecord


class LeftOutRecord(Record):
    """A row of the input that broke a rule; ``row`` is None where the pair has no row number."""

    row: int | None
    rule: str
    reason: str


class ExampleRecord(Record):
    """One pair, to show what a task looks like."""

    clean: str
    corrupted: str
    answer: str
    wrong: str | None


class SizeRecord(Record):
    """What the time of a run depends on: the model's parameters and layers, and the tokens of a prompt (the mean)."""

    parameters: int
    layers: int
    tokens: float


class PairsRecord(Record):
    """pairs.json: which pairs a run used, and for which size of model.

    ``settings`` are the pair set's (task and parameters, or file and its sha256); ``digest`` is the sha256
    of its content; ``parts`` counts the pairs kept per split. ``wrong`` says where the wrong answers come
    from: the task or file itself ("given"), a known task's rule ("computed"), the model's answer on the
    corrupted prompt ("model"), or nowhere ("none", then ``metric`` is not a logit difference).
    """

    format: Literal[1] = 1
    name: str
    settings: dict[str, JsonValue]
    digest: str
    parts: dict[str, int]
    left_out: list[LeftOutRecord]
    wrong: Literal["given", "computed", "model", "none"]
    metric: str
    size: SizeRecord
    example: ExampleRecord | None = None


class ImportanceRecord(Record):
    """Importance per layer, and the rule or source it comes from."""

    rule: str
    values: list[float]


class RankPlanRecord(Record):
    """circuit_plan.json: a LoRA rank per module (full module name), and where it comes from.

    ``rank`` and ``critical_rank`` are the two levels (None where a plan does not have them); ``parameters``
    is the actual count of trainable parameters.
    """

    format: Literal[1] = 1
    ranks: dict[str, Annotated[int, Field(le=MOST_RANK)]]
    alpha_over_rank: float
    critical_layers: list[int]
    rank: Annotated[int, Field(le=MOST_RANK)] | None
    critical_rank: Annotated[int, Field(le=MOST_RANK)] | None
    parameters: int
    importance: ImportanceRecord | None
    provenance: dict[str, str | int | float]


class TrainedRecord(Record):
    """trained.json: how a fine-tuning was done, and what it cost.

    ``parameters`` were trained at the most, ``saved`` of them are in the last checkpoint. Floating-point operations
    by torch's counter: ``training_flops`` of all steps, ``step_flops`` of one, ``allocation_flops`` of all that was
    needed to know the ranks.
    """

    format: Literal[1] = 1
    learning_rate: float
    steps: int
    parameters: int
    saved: int
    step_flops: int
    training_flops: int
    allocation_flops: int


class ComputeRecord(Record):
    """compute.json: floating-point operations of finding the scores of one checkpoint."""

    format: Literal[1] = 1
    attribution_flops: int


class EnvironmentRecord(Record):
    """environment.json: what is not part of a result: when, where and with what it was made.

    ``created`` is UTC in ISO 8601; ``seconds`` the wall time of the work, None where nothing was timed;
    memory in bytes.
    """

    format: Literal[1] = 1
    created: str
    seconds: float | None
    host: str
    platform: str
    python: str
    packages: dict[str, str]
    cpus: int
    memory: int | None
    peak_memory: int | None
    threads: dict[str, str]


class FileRecord(Record):
    """Size and SHA-256 (hexadecimal) of one file."""

    bytes: int
    sha256: str


class CompleteRecord(Record):
    """COMPLETE.json: every file of a finished folder, by its path inside it."""

    files: dict[str, FileRecord]


R = TypeVar("R", bound=BaseModel)


def read_record(path: Path, model: type[R]) -> R:
    """Read one JSON document of the given schema; InputError where it is missing, damaged or foreign."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({_reason(error)}); check the path.") from error
    try:
        value = parse_json(text)
        _require_known_format(path, value, model)
        return model.model_validate(value)
    except ValueError as error:  # pydantic's too
        raise InputError(
            f"{path} is not a {model.__name__} ({_reason(error)}); make it again with circuitune."
        ) from error


def _require_known_format(path: Path, value: object, model: type[BaseModel]) -> None:
    """InputError where a newer version wrote the document: then another field may be the first that does not fit."""
    field = model.model_fields.get("format")
    if field is None or not isinstance(field.default, int) or not isinstance(value, dict):
        return
    written = cast(dict[str, object], value).get("format")
    if isinstance(written, int) and written > field.default:
        raise InputError(
            f"{path} has format {written}, which a newer circuitune wrote; this version reads format "
            f"{field.default}: update circuitune."
        )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else first["msg"]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
