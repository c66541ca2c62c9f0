"""The served page in Chromium: circuits fetched one by one, and a run at work that grows under the reader's eyes."""

import re
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.watched import Watched, eventually, unfold
from circuitune.core.manifest import complete
from circuitune.report.server import ReportServer
from report.serving import serving
from report.synthetic import build_run, take_back

pytestmark = pytest.mark.browser

PATIENCE_MS = 15_000
"""The page asks for news every two seconds."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to."""
    return build_run(tmp_path_factory.mktemp("served") / "run")


@pytest.fixture
def server(run: Path) -> Generator[ReportServer]:
    with serving(run) as one:
        yield one


def circuits_asked(watched: Watched) -> list[str]:
    return [url.rsplit("/", 1)[1] for url in watched.requests if "/circuit/" in url]


def test_circuits_are_fetched_when_they_are_looked_at(watched: Watched, server: ReportServer) -> None:
    page = watched.open(server.address)
    expect(page.locator(".drawing").first).to_have_attribute("data-edges", "150")
    entries = page.evaluate("JSON.parse(document.getElementById('payload').textContent).circuits")
    steps = {entry["blob"].rsplit("/", 1)[1]: entry["step"] for entry in entries if entry["label"] == "tune seed 0"}
    assert sorted(steps[name] for name in circuits_asked(watched)) == [0, 1000]  # the first checkpoint and the last
    page.get_by_role("slider", name=re.compile("Checkpoint")).fill("3")
    eventually(page, lambda: [steps[name] for name in circuits_asked(watched)[2:]] == [300])
    page.get_by_role("slider", name=re.compile("Checkpoint")).fill("10")
    expect(page.locator(".slider").first).to_contain_text("step 1,000")
    expect(page.locator(".legend")).to_contain_text(re.compile(r"added [1-9]\d*"))
    assert len(circuits_asked(watched)) == 3
    assert {url.split("/")[2] for url in watched.requests if url != "data:,"} == {server.address.split("/")[2]}
    assert watched.complaints == []


def test_a_finished_job_appears_where_the_reader_is(watched: Watched, run: Path, tmp_path: Path) -> None:
    live = take_back(shutil.copytree(run, tmp_path / "run"))
    jobs = live / "jobs"
    complete(jobs / "circuits-tune-seed1-0123456789ab")
    with serving(live) as server:
        page = unfold(watched.open(server.address, "#view=apart&node=m3"))
        progress = page.get_by_role("status").filter(has_text="complete")
        expect(progress).to_contain_text("1 of 6 jobs complete.")
        expect(page.locator("#accuracy")).to_contain_text("is missing or empty")
        expect(page.locator(".notes").get_by_role("heading")).to_have_text("m3")
        page.locator("#compared > summary").click()
        page.evaluate("window.same = true")
        where = page.evaluate("scrollY")

        complete(jobs / "train-tune-seed0-0123456789ab")
        expect(progress).to_contain_text("2 of 6 jobs complete.", timeout=PATIENCE_MS)
        expect(page.get_by_role("img", name="Accuracy over training, per seed")).to_be_visible()
        complete(jobs / "circuits-tune-seed0-0123456789ab")
        expect(progress).to_contain_text("3 of 6 jobs complete.", timeout=PATIENCE_MS)
        options = page.get_by_label("Fine-tuning").locator("option")
        expect(options).to_have_text([re.compile("seed 0"), re.compile("seed 1")])

        assert page.evaluate("window.same") is True  # drawn again in its place
        assert page.evaluate("scrollY") >= where > 0
        assert page.locator("#compared").get_attribute("open") is not None
        expect(page.locator("details.fold:not([open])")).to_have_count(0)
        expect(page.locator(".notes").get_by_role("heading")).to_have_text("m3")
        expect(page).to_have_url(re.compile("#view=apart&node=m3$"))
    assert watched.complaints == []


def test_the_page_says_that_its_server_is_gone_and_back(watched: Watched, run: Path) -> None:
    with serving(run) as server:
        page = watched.open(server.address)
        progress = page.get_by_role("status").filter(has_text="follows the run folder")
        page.route("**/state", lambda route: route.abort())
        expect(progress).to_contain_text("The server no longer answers", timeout=PATIENCE_MS)
        page.unroute("**/state")
        expect(progress).not_to_contain_text("no longer", timeout=PATIENCE_MS)


def test_a_circuit_that_cannot_be_read_is_said_and_another_drawn(watched: Watched, run: Path, tmp_path: Path) -> None:
    spoilt = shutil.copytree(run, tmp_path / "run")
    path = spoilt / "jobs" / "circuits-tune-seed0-0123456789ab" / "scores" / "step-00300.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x10
    path.write_bytes(data)
    with serving(spoilt) as server:
        page = watched.open(server.address)
        page.get_by_role("slider", name=re.compile("Checkpoint")).fill("3")
        alert = page.locator("#circuit").get_by_role("alert")
        expect(alert).to_contain_text("The circuit could not be read: step-00300.safetensors is damaged")
        page.get_by_role("slider", name=re.compile("Checkpoint")).fill("4")
        expect(alert).to_have_count(0)
