import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from circuitune.core import records
from circuitune.core.atomic import write_json
from circuitune.core.errors import InputError
from circuitune.report import build

HOSTILE = "</script><script>window.broken = 1</script><!-- <img src=x onerror=alert(1)> & \u2028"


def block(text: str, pattern: str) -> str:
    [found] = re.findall(pattern, text, re.DOTALL)
    return found


def test_the_page_is_written_into_the_run(run: Path) -> None:
    path = build(run)
    assert path == run / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not [file for file in run.iterdir() if "partial" in file.name]


def test_equal_runs_give_equal_bytes(run: Path, made: Path) -> None:
    assert build(run).read_bytes() == build(run).read_bytes()


def test_data_cannot_leave_its_block(run: Path) -> None:
    found = records.FindingsRecord(changes=[HOSTILE])
    summary = records.SummaryRecord(title=HOSTILE, sentences=[HOSTILE], notes=[HOSTILE], findings=found)
    write_json(run / "summary.json", summary)
    text = build(run).read_text(encoding="utf-8")

    payload = block(text, r'<script type="application/json" id="payload">(.*?)</script>')
    assert json.loads(payload)["title"] == HOSTILE
    assert "<" not in payload
    assert "<script>window.broken" not in text
    assert "<img" not in text
    assert text.count("<script>") == 1


def test_the_policy_admits_this_script_and_this_style_only(run: Path) -> None:
    text = build(run).read_text(encoding="utf-8")

    def digest(pattern: str) -> str:
        content = block(text, pattern).encode("utf-8")
        return "sha256-" + base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")

    policy = block(text, r'http-equiv="Content-Security-Policy" content="(.*?)"')
    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src '{digest(r'<script>(.*?)</script>')}'",
        f"style-src '{digest(r'<style>(.*?)</style>')}'",
        "img-src data:",
        "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_page_names_no_address_to_load_from(run: Path) -> None:
    text = build(run).read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:,")', text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_summary_stands_in_the_page_without_its_script(run: Path) -> None:
    text = build(run).read_text(encoding="utf-8")
    plain = block(text, r'<div id="page">(.*?)</div>')
    assert "These numbers are synthetic" in plain


def test_the_licence_of_the_bundled_code_travels_with_the_page(run: Path) -> None:
    text = build(run).read_text(encoding="utf-8")
    assert "Contains Preact" in text
    assert "Permission is hereby granted, free of charge" in text


def test_a_failed_build_leaves_the_old_page(run: Path) -> None:
    before = build(run).read_bytes()
    (run / "tables" / "change.csv").write_text("nonsense\n")
    with pytest.raises(InputError):
        build(run)
    assert (run / "report.html").read_bytes() == before
