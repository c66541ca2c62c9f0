import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from circuitune.core import chance_records, records
from circuitune.core.atomic import write_json, write_text
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.environment import describe
from circuitune.core.errors import InputError
from circuitune.report.payload import TABLES, collect
from report.synthetic import STEPS


def page(run: Path) -> dict[str, Any]:
    return json.loads(json.dumps(dict(collect(run).page)))


def test_every_table_arrives_with_all_its_rows_and_columns(made: Path) -> None:
    tables = page(made)["tables"]
    for name, model in TABLES.items():
        rows = read_rows(made / "tables" / f"{name}.csv", model)
        assert tables[name]["columns"] == list(model.model_fields)
        assert [tuple(row) for row in tables[name]["rows"]] == [tuple(row.model_dump().values()) for row in rows]


def test_of_many_edges_those_of_smallest_q_arrive_and_the_count_of_all(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("circuitune.report.payload.MOST_EDGES", 40)
    rows = read_rows(made / "tables" / "edges.csv", chance_records.EdgeRow)
    found = page(made)
    table = found["tables"]["edges"]
    kept = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]

    assert found["counts"]["edges"] == len(rows)
    for label in ("tune seed 0", "tune seed 1"):
        smallest = sorted(row.q for row in rows if row.label == label)[:40]
        assert sorted(row["q"] for row in kept if row["label"] == label) == smallest
    order = [(row.label, row.source, row.destination) for row in rows]
    places = [order.index((row["label"], row["source"], row["destination"])) for row in kept]
    assert places == sorted(places)


def test_circuits_come_tuning_first_by_step_each_with_its_block(made: Path) -> None:
    payload = collect(made)
    circuits = page(made)["circuits"]

    assert [entry["label"] for entry in circuits] == 11 * ["tune seed 0"] + 11 * ["tune seed 1"] + 2 * [
        "phase1 seed 0"
    ]
    assert [entry["step"] for entry in circuits[:11]] == list(STEPS)
    assert [entry["blob"] for entry in circuits] == list(payload.blobs)
    assert all(entry["scale"] > 0 for entry in circuits)


def test_settings_are_flat_and_in_the_files_order(made: Path) -> None:
    recipe = dict(page(made)["recipe"])
    assert recipe["task.limit"] == "100"
    assert recipe["seeds"] == "0, 1"
    assert list(recipe)[:3] == ["name", "model", "task.name"]


def test_neither_the_machine_nor_a_place_on_it_is_embedded(run: Path) -> None:
    (run / "recipe.yaml").write_text("model: /home/someone/secret/my-gpt2\ndata: {file: inputs/0123/mine.csv}\n")
    write_json(run / "environment.json", describe())
    found = page(run)
    assert dict(found["recipe"]) == {"model": "my-gpt2", "data.file": "inputs/0123/mine.csv"}
    environment = dict(found["environment"])
    assert "packages.torch" in environment
    assert "host" not in environment


def test_every_arm_of_the_contest_arrives_with_its_name(run: Path) -> None:
    path = run / "tables" / "methods.csv"
    rows = read_rows(path, records.MethodRow)
    rival = rows[0].model_copy(update={"arm": "modules"})
    write_rows(path, [*rows, rival], records.MethodRow)
    arms = page(run)["arms"]
    assert arms.keys() == {row.arm for row in rows} | {"modules"}
    assert arms["uniform"] == "Uniform LoRA"
    assert arms["modules"] == "By module, water-filling"


def test_the_findings_are_those_of_the_summary(made: Path) -> None:
    summary = records.read_record(made / "summary.json", records.SummaryRecord)
    assert page(made)["findings"] == summary.findings.model_dump()
    assert summary.findings.changes[0].startswith("Edges: ")


def test_a_summary_from_before_there_were_verdicts_has_none(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    for name in ("chance", "causal"):
        del summary["findings"][name]
    write_text(run / "summary.json", json.dumps(summary))
    found = page(run)["findings"]
    assert found["chance"] == found["causal"] == []
    assert found["changes"]


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_none_and_the_rest_is_there(run: Path, name: str) -> None:
    (run / "tables" / f"{name}.csv").unlink()
    tables = page(run)["tables"]
    assert tables[name] is None
    assert all(tables[other] is not None for other in TABLES if other != name)


def test_a_run_with_a_recipe_only_still_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("model: nano\n")
    found = page(tmp_path)
    assert found["title"] == f"Run {tmp_path.name}"
    assert "no summary yet" in found["sentences"][0]
    assert not any(found["findings"].values())
    assert found["graph"] is None
    assert found["circuits"] == []
    assert set(found["tables"].values()) == {None}


def test_circuits_that_cannot_be_read_are_counted_and_the_first_named(run: Path) -> None:
    rows = read_rows(run / "tables" / "circuits.csv", records.CircuitRow)
    (run / rows[0].scores).unlink()
    (run / rows[3].circuit).write_bytes(b"cut off")
    found = page(run)
    assert len(found["circuits"]) == len(rows) - 2
    [problem] = found["problems"]
    assert problem.startswith(
        "Circuits left out: 2; the first is tune seed 0, step 0: step-00000.safetensors is missing"
    )


def test_a_path_out_of_the_run_folder_is_not_followed(run: Path, made: Path) -> None:
    path = run / "tables" / "circuits.csv"
    rows = read_rows(path, records.CircuitRow)
    stolen = rows[0].model_copy(update={"scores": str(made / rows[0].scores)})
    write_rows(path, [stolen, *rows[1:]], records.CircuitRow)
    found = page(run)
    assert len(found["circuits"]) == len(rows) - 1
    assert "lies outside" in found["problems"][0]


def test_of_several_sizes_the_usual_one_is_drawn(run: Path) -> None:
    path = run / "tables" / "circuits.csv"
    rows = read_rows(path, records.CircuitRow)
    write_rows(path, [*rows, rows[0].model_copy(update={"share": 0.2})], records.CircuitRow)
    assert {entry["share"] for entry in page(run)["circuits"]} == {0.05}


def test_the_pairs_of_the_run_are_shown(run: Path) -> None:
    example = records.ExampleRecord(clean="24 + 46 =", corrupted="24 - 46 =", answer=" 70", wrong=None)
    described = {"name": "add_sub", "settings": {}, "digest": "0", "parts": {"train": 10}, "left_out": []}
    size = records.SizeRecord(parameters=10, layers=2, tokens=4)
    pairs = records.PairsRecord.model_validate(
        {**described, "wrong": "none", "metric": "kl", "size": size, "example": example}
    )
    write_json(run / "jobs" / "pairs-0123456789ab" / "pairs.json", pairs)
    assert page(run)["pairs"]["example"]["answer"] == " 70"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        collect(tmp_path / "nothing")
    with pytest.raises(InputError, match="is no run folder"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tables/change.csv", "a,b\n1,2\n", "change.csv is no table of ChangeRow"),
        ("summary.json", "{}", "summary.json is not a SummaryRecord"),
        ("recipe.yaml", "a: [1", "recipe.yaml cannot be read"),
    ],
)
def test_a_damaged_document_is_an_error_that_names_it(run: Path, name: str, text: str, message: str) -> None:
    (run / name).write_text(text)
    with pytest.raises(InputError, match=message):
        collect(run)


def test_the_report_never_reaches_torch() -> None:
    code = "import sys, circuitune.report; print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
