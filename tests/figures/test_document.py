"""The code of docs/figures.md runs, in order, and its table names every figure."""

import re
from pathlib import Path
from typing import Any

import pytest

import circuitune as ct
from circuitune.circuits.attribution import attribute
from circuitune.report.figures import collect
from circuitune.testing import random_pairs, tiny_model

DOCUMENT = (Path(__file__).parents[2] / "docs" / "figures.md").read_text(encoding="utf-8")


def test_the_documents_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    inputs = random_pairs(8, positions=6, first_difference=3)
    after = attribute(tiny_model("gpt2", seed=1), inputs).top(0.05)
    known: dict[str, Any] = {"ct": ct, "model": tiny_model("gpt2", seed=0), "inputs": inputs, "after": after}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        exec(compile(code, "docs/figures.md", "exec"), known)
    assert Path("circuit.pdf").read_bytes().startswith(b"%PDF")
    assert len(known["strongest"]) == 10
    assert list(known["names"].columns) == ["kind", "name", "status"]


def test_the_table_names_every_figure(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("name: new\n", encoding="utf-8")
    table = DOCUMENT[DOCUMENT.index("| file |") : DOCUMENT.index("They read")].strip()
    named = [name for line in table.splitlines()[2:] for name in re.findall(r"`([a-z-]+)`", line.split("|")[1])]
    assert set(named) == set(collect(tmp_path))
