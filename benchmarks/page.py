"""How fast the page follows the pointer over a circuit of 24 layers x 16 heads, in Chromium without a window.

    PYTHONPATH=tests .venv/bin/python benchmarks/page.py

Prints milliseconds from one node to the next (Chromium answers a move when the page has handled it) and between the
frames of the walk, which it takes no faster than it can paint them.
"""

import itertools
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from browser.conftest import CHROMIUM
from circuitune.report import build
from report.synthetic import build_run

SHAPE = (24, 16)
CENTRES = """() => [...document.querySelectorAll("#circuit .node")]
    .map(node => node.getBoundingClientRect())
    .filter(box => box.top > 0 && box.bottom < innerHeight)
    .map(box => [box.x + box.width / 2, box.y + box.height / 2])"""
RECORD = """() => {
    window.drawn = [];
    const record = time => { window.drawn.push(time); requestAnimationFrame(record); };
    requestAnimationFrame(record);
}"""


def main() -> None:
    """Build the page, walk over it, print."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = build(build_run(Path(folder) / "run", shape=SHAPE, steps=(0, 1000)))
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(report.as_uri())
        page.wait_for_selector('.drawing:not([data-edges="0"])', timeout=60_000)
        step, frames = hover(page)
        browser.close()
    slow = statistics.quantiles(frames, n=20)[-1]
    print(f"{SHAPE[0]} layers x {SHAPE[1]} heads: {step:.0f} ms from node to node")
    print(f"frames: median {statistics.median(frames):.0f} ms, 95 % within {slow:.0f} ms")


def hover(page: Page) -> tuple[float, list[float]]:
    """A walk over the nodes in sight: milliseconds from node to node, and those between its frames."""
    page.locator("#circuit .drawing").scroll_into_view_if_needed()
    nodes = page.evaluate(CENTRES)
    page.evaluate(RECORD)
    begun = time.perf_counter()
    for x, y in nodes:
        page.mouse.move(x, y)
    step = 1000 * (time.perf_counter() - begun) / len(nodes)
    times = page.evaluate("window.drawn")
    return step, [after - before for before, after in itertools.pairwise(times)]


if __name__ == "__main__":
    main()
