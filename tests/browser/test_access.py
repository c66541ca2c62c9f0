"""What axe-core finds wrong for readers who do not see, or not well: nothing, in any view of the page."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser.watched import Watched

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = {
    "change": "",
    "apart": "#view=apart&against=tune+seed+1&find=mlp",
    "map": "#view=map&heat=change",
    "node": "#node=a3.h5&find=a3.h5",
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(watched: Watched, where: str) -> list[str]:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `npm ci` in web/")
    watched.page.evaluate(AXE.read_text(encoding="utf-8"))
    found = watched.page.evaluate(
        "([where, rules]) => axe.run(where, { runOnly: rules, resultTypes: ['violations'] })", [where, RULES]
    )
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(
    ("view", "scheme"), [("change", "light"), ("apart", "dark"), ("map", "light"), ("node", "dark")]
)
def test_axe_finds_nothing(chromium: Browser, report: Path, view: str, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    watched = Watched(page)
    watched.open(report, VIEWS[view])
    where = "html" if view == "change" else "#circuit"  # the rest of the page is the same in every view
    if view == "change":
        assert violations(watched, where) == []  # as it opens, its details folded
    page.evaluate(
        "where => document.querySelectorAll(`${where} details`).forEach(one => { one.open = true; })", where
    )
    page.wait_for_timeout(100)
    assert violations(watched, where) == []
    page.close()
