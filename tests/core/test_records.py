import inspect
import typing

import pytest
from pydantic import ValidationError

from circuitune.core import records
from circuitune.core.atomic import write_json
from circuitune.core.errors import InputError

SCHEMAS = [
    value
    for value in vars(records).values()
    if inspect.isclass(value) and issubclass(value, records.Record) and value is not records.Record
]
ROWS = [schema for schema in SCHEMAS if schema.__name__.endswith("Row")]
PLAN = records.RankPlanRecord(
    ranks={"h.0.attn": 8, "h.1.attn": 32},
    alpha_over_rank=2.0,
    critical_layers=[1],
    rank=8,
    critical_rank=32,
    parameters=640,
    importance=records.ImportanceRecord(rule="released", values=[0.5, 1.5]),
    provenance={"model": "nano", "seed": 0, "share": 0.05},
)


def test_all_row_models_are_here():
    assert {row.__name__ for row in ROWS} == {
        "AccuracyRow",
        "FaithfulnessRow",
        "CircuitRow",
        "ChangeRow",
        "TransitionRow",
        "LayerRow",
        "CriticalRow",
        "MethodRow",
        "RateRow",
        "KeptRow",
        "TextRow",
    }


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_is_frozen_closed_and_finite(schema):
    assert schema.model_config.get("frozen")
    assert schema.model_config.get("extra") == "forbid"
    assert schema.model_config.get("allow_inf_nan") is False


@pytest.mark.parametrize("row", ROWS)
def test_rows_hold_only_what_a_cell_can_hold(row):
    scalars = (str, int, float, bool)
    for name, field in row.model_fields.items():
        annotation = field.annotation
        optional = set(typing.get_args(annotation)) == {float, type(None)}
        literal = typing.get_origin(annotation) is typing.Literal
        assert annotation in scalars or optional or literal, f"{row.__name__}.{name}: an empty cell is ambiguous"


@pytest.mark.parametrize(
    "wrong", [{"loss": float("nan")}, {"accuracy": float("inf")}, {"unknown": 1}, {"seed": "first"}]
)
def test_a_row_refuses_what_does_not_belong(wrong):
    good = {
        "label": "tune",
        "arm": "tune",
        "seed": 0,
        "step": 1,
        "steps": 2,
        "epoch": 0.5,
        "split": "test",
        "examples": 4,
        "correct": 1,
        "accuracy": 0.25,
        "low": 0.0,
        "high": 1.0,
        "loss": None,
    }
    assert records.AccuracyRow.model_validate(good).loss is None
    with pytest.raises(ValidationError):
        records.AccuracyRow.model_validate(good | wrong)


def test_a_record_reads_back(tmp_path):
    write_json(tmp_path / "plan.json", PLAN)
    assert records.read_record(tmp_path / "plan.json", records.RankPlanRecord) == PLAN


def test_provenance_keeps_whole_numbers_whole(tmp_path):
    write_json(tmp_path / "plan.json", PLAN)
    provenance = records.read_record(tmp_path / "plan.json", records.RankPlanRecord).provenance
    assert {key: type(value) for key, value in provenance.items()} == {"model": str, "seed": int, "share": float}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "Expecting value"),
        (b"\xff\xfe", "decode"),
        (b"[1]", "valid dictionary"),
        (b'{"title": "t", "sentences": [], "notes": [], "findings": {}, "extra": 1}', "extra: Extra inputs"),
        (b'{"title": "t", "sentences": "one"}', "sentences: "),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"title": 1' + b"0" * 5000 + b"}", "a number of 5,001 characters"),
        (b'{"title": "a", "title": "b"}', "'title' comes twice"),
    ],
)
def test_an_unreadable_record_is_one_sentence_that_names_file_and_reason(tmp_path, content, reason):
    path = tmp_path / "summary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        records.read_record(path, records.SummaryRecord)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_later_format_is_refused(tmp_path):
    write_json(tmp_path / "plan.json", PLAN.model_dump() | {"format": 2})
    with pytest.raises(InputError, match="format"):
        records.read_record(tmp_path / "plan.json", records.RankPlanRecord)
