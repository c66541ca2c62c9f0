"""The Python of the tutorial and the how-to pages runs, in order; so do the notebooks, cell by cell."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import circuitune as ct
from circuitune.tasks.storage import write_jsonl

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(blocks: Iterable[str], where: Path) -> dict[str, Any]:
    known: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(blocks):
        exec(compile(code, f"{where.name}, block {number}", "exec"), known)
    return known


def python_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_tutorials_plan_is_a_lora_config(capsys: pytest.CaptureFixture[str]):
    model, _ = ct.load("nano")
    ct.RankPlan.two_level(model, critical_layers=[0, 1], rank=1, critical_rank=5).save("circuit_plan.json")
    page = DOCS / "tutorial.md"
    run(python_of(page), page)
    printed = capsys.readouterr().out.strip()
    assert printed.startswith("trainable params: 24,576")
    assert printed in page.read_text(encoding="utf-8")


def test_ones_own_pairs_become_a_circuit(capsys: pytest.CaptureFixture[str]):
    write_jsonl(ct.task("add_sub", style="short").split("circuit").sample(40), Path("good.jsonl"))
    page = DOCS / "how-to" / "own-model.md"
    circuit = run(python_of(page), page)["circuit"]
    assert f"{len(circuit)} edges:" in capsys.readouterr().out


# PEFT looks on the hub for the configuration of a base model that ships in the package.
@pytest.mark.filterwarnings("ignore:Could not find a config file in nano")
def test_a_plan_trains_in_the_trainer_and_leaves_circuits(folder: Path):
    page = DOCS / "how-to" / "lora-ranks.md"
    known = run(python_of(page), page)
    assert known["trainer"].state.global_step == 4
    steps = sorted(path.name for path in (folder / "output" / "circuits").glob("*.safetensors"))
    assert steps == ["step-00000.safetensors", "step-00002.safetensors", "step-00004.safetensors"]
    model, plan = ct.load("nano")[0], known["plan"]
    assert ct.RankPlan.uniform(model, parameters=plan.parameters(model)).parameters(model) == plan.parameters(model)


@pytest.mark.slow
def test_a_family_is_judged_by_the_model(capsys: pytest.CaptureFixture[str]):
    page = DOCS / "how-to" / "extend.md"
    assert run(python_of(page), page)["report"].verdict in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_where_its_outputs_say_so(notebook: Path, capsys: pytest.CaptureFixture[str]):
    everything = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in everything if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] == number for number, cell in enumerate(cells, 1)), "not executed in order"
    known: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells, 1):
        exec(compile("".join(cell["source"]), f"{notebook.name}, cell {number}", "exec"), known)
        committed = "".join(text for output in cell["outputs"] for text in output["text"])
        assert words(capsys.readouterr().out)[:2] == words(committed)[:2]


def words(printed: str) -> list[str]:
    """The words of a text; numbers may differ from machine to machine in their last digits, and so may verdicts."""
    return re.findall(r"[a-z]{3,}", printed)
