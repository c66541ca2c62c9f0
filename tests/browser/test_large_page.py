"""Circuits of 24 layers of 16 heads at ten checkpoints: made up with 231,877 possible edges each, and released."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.watched import Watched
from circuitune.report import build
from report.released import CHECKPOINTS, RELEASED, build_released_run
from report.serving import serving
from report.synthetic import build_large_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_large_circuit_is_small_enough_and_can_be_used(watched: Watched, tmp_path: Path) -> None:
    report = build(build_large_run(tmp_path / "run"))
    assert report.stat().st_size < 15e6
    begun = time.perf_counter()
    page = watched.open(report)
    assert time.perf_counter() - begun < 20  # two seconds on a machine of one's own: benchmarks/page.py
    edges = page.get_by_role("slider", name=re.compile("Edges drawn"))
    edges.fill(edges.get_attribute("max") or "")
    expect(page.locator("#circuit .drawing")).to_have_attribute("data-edges", "10000")
    page.get_by_role("slider", name=re.compile("Checkpoint")).fill("4")
    expect(page.locator(".slider").first).to_contain_text("step 400")
    page.locator('[data-node="m11"]').hover()
    expect(page.locator(".notes").get_by_role("heading")).to_have_text("m11")
    page.get_by_role("radio", name="heat map of all edges").check()
    expect(page.locator(".heat canvas").first).to_be_visible()
    assert watched.complaints == []


def test_the_studys_own_circuits_open_at_ten_checkpoints(watched: Watched, tmp_path: Path) -> None:
    if not RELEASED.is_dir():
        pytest.skip(f"no {RELEASED}")
    run = build_released_run(tmp_path / "run")
    report = build(run)
    assert report.stat().st_size < 15e6
    begun = time.perf_counter()
    page = watched.open(report)
    assert time.perf_counter() - begun < 20
    expect(page.locator("#circuit .node")).to_have_count(410)
    expect(page.locator(".legend")).to_contain_text(re.compile(r"added [\d,]+( of [\d,]+)?\s*removed [\d,]+"))
    for step in range(CHECKPOINTS):
        page.get_by_role("slider", name=re.compile("Checkpoint")).fill(str(step))
        expect(page.locator(".slider").first).to_contain_text(f"step {step}")
    page.locator('[data-node="m0"]').click()
    expect(page.locator(".notes")).to_contain_text("input")  # the largest edge of both files is input to m0
    with serving(run) as server:
        assert len(server.served.page()) < 1e6  # the page without its circuits
        watched.open(server.address)
    assert watched.complaints == []
