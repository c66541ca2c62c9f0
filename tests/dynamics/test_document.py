"""The code of docs/change.md runs, in order, and prints what its comments say."""

import re
from pathlib import Path
from typing import Any

import pytest

import circuitune as ct
from circuitune.testing import random_pairs, tiny_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "change.md"


def test_the_documents_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {
        "ct": ct,
        "base": tiny_model("gpt2", layers=6, seed=0),
        "tuned": tiny_model("gpt2", layers=6, seed=1),
        "inputs": random_pairs(30, positions=6, first_difference=3),
        "tokenizer": None,
    }
    known["base"].save_pretrained("my-gpt2")
    known["tuned"].save_pretrained("output/checkpoint-500")
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    for code in blocks:
        exec(compile(code, str(DOCUMENT), "exec"), known)
    said = capsys.readouterr().out.splitlines()
    assert "Interval" in said[0]
    assert 0 <= float(said[1]) <= 1
    raw, tested = map(int, said[2].split())
    assert tested <= raw
    assert "chance" in said[3] or "not enough" in said[3].lower()
    assert next(line for line in said if line.startswith("Do the sets of edges differ? "))
    assert [line.split()[0] for line in said[-2:]] == ["0", "500"]
    assert any(line.startswith("input ") and "its share of all scores was" in line for line in said)
    assert known["record"]["tests"]["tested"] == tested
