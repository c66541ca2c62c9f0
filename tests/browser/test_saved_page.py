"""The page of a run that a release made and that is committed: nothing in it was made up for the test."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.watched import Watched, eventually
from circuitune.circuits.scores import Circuit
from circuitune.report import build

pytestmark = pytest.mark.browser

SAVED = Path(__file__).parents[1] / "golden" / "saved" / "0.1.0"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Path(shutil.copytree(SAVED, tmp_path_factory.mktemp("saved") / "run")))


@pytest.fixture(scope="module")
def ends() -> tuple[Circuit, Circuit]:
    """The circuits of the fine-tuning before and after, from their files."""
    [folder] = SAVED.glob("jobs/circuits-tune-seed0-*/circuits")
    return Circuit.load(folder / "step-00000.safetensors"), Circuit.load(folder / "step-00001.safetensors")


def test_its_slider_its_nodes_and_its_table_show_what_its_files_hold(
    watched: Watched, real: Path, ends: tuple[Circuit, Circuit]
) -> None:
    page = watched.open(real)
    before, after = ends
    legend = page.locator("#circuit .legend")
    expect(legend).to_contain_text(re.compile(rf"added (\d+ of )?{len((after ^ before) & after)}(?!\d)"))

    held = next(name for name in after.nodes if name.startswith("a"))
    page.locator(f'#circuit [data-node="{held}"]').hover()
    notes = page.locator(".notes")
    expect(notes.get_by_role("heading")).to_have_text(held)
    leaving = len([edge for edge in (before | after).edges if edge.startswith(f"{held}->")])
    expect(notes).to_contain_text(f"Out {leaving}:")
    expect(notes).not_to_contain_text("Its change")  # 0.1.0 did not measure it

    page.locator("#compared summary").click()
    page.locator("#compared").get_by_role("checkbox").uncheck()
    rows = page.locator("#compared tbody tr")
    listed = {*(before | after).edges}
    if len(listed) > 50:
        page.locator("#compared").get_by_role("button", name=re.compile("^Show")).click()
    expect(rows).to_have_count(len(listed))
    names = rows.evaluate_all("rows => rows.map(row => row.cells[0].textContent + '->' + row.cells[1].textContent)")
    assert set(names) == listed

    page.get_by_role("slider", name=re.compile("Checkpoint")).fill("0")
    expect(legend).to_contain_text(re.compile("added 0"))
    eventually(page, lambda: rows.count() == len(before.edges))
    assert watched.complaints == []
    assert [request for request in watched.requests if not request.startswith("file:")] == []
