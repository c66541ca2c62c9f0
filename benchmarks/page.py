"""How fast the page is with a circuit of 24 layers x 16 heads at ten checkpoints, in Chromium without a window.

    PYTHONPATH=tests .venv/bin/python benchmarks/page.py

Prints, of made-up scores, the size of the file, the time until the circuit is drawn, the time to paint it again and
the frames that the browser shows while the reader slides and points, beside what each is to be; and, where they are
at hand, the size and the opening of the page of the study's released circuits.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from browser.conftest import CHROMIUM
from circuitune.report import build
from report.released import RELEASED, build_released_run
from report.synthetic import build_large_run

CENTRES = """() => [...document.querySelectorAll("#circuit .node")]
    .map(node => node.getBoundingClientRect())
    .filter(box => box.top > 0 && box.bottom < innerHeight)
    .map(box => [box.x + box.width / 2, box.y + box.height / 2])"""
RECORD = """() => {
    window.drawn = [];
    cancelAnimationFrame(window.recording);
    const record = time => { window.drawn.push(time); window.recording = requestAnimationFrame(record); };
    window.recording = requestAnimationFrame(record);
}"""
SLIDE = """([name, value]) => new Promise(done => {
    const label = [...document.querySelectorAll(".slider")].find(one => one.textContent.startsWith(name));
    const slider = label.querySelector("input");
    const begun = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    // The page draws in the next frame; the one after it begins when that one is painted.
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun))));
})"""
DRAWN = "() => Number(document.querySelector('.drawing').dataset.edges)"
REPEATS = 9


def main() -> None:
    """Build the page, use it, print."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = build(build_large_run(Path(folder) / "run"))
        print(f"file: {report.stat().st_size / 1e6:.1f} MB (below 15)")
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        opened = [opening(browser.new_page(), report) for _ in range(3)]
        print(f"drawn after opening: {statistics.median(opened):.2f} s (below 2)")
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        opening(page, report)
        for line in used(page):
            print(line)
        if RELEASED.is_dir():
            report = build(build_released_run(Path(folder) / "released"))
            opened = [opening(browser.new_page(), report) for _ in range(3)]
            print(f"the study's circuits: {report.stat().st_size / 1e6:.1f} MB, {statistics.median(opened):.2f} s")
        browser.close()


def opening(page: Page, report: Path) -> float:
    """Seconds until the circuit stands on a page just opened."""
    begun = time.perf_counter()
    page.goto(report.as_uri())
    page.wait_for_selector('.drawing:not([data-edges="0"])')
    return time.perf_counter() - begun


def used(page: Page) -> Iterator[str]:
    """What a reader would do with the open page, a line of numbers each."""
    for edges in (2_000, 10_000):
        page.evaluate(SLIDE, ["Edges drawn", _stop(page, edges)])
        drawn = page.evaluate(DRAWN)
        yield f"{drawn} edges, to paint them again: {_painting(page):.0f} ms (below 150 at 10,000)"
        step, frames = hover(page)
        yield f"{drawn} edges, pointing: {step:.0f} ms from node to node, {_frames(frames)}"
        frames = sliding(page)
        yield f"{drawn} edges, sliding over checkpoints: {_frames(frames)}"
    page.get_by_role("radio", name="heat map of all edges").check()
    times = [page.evaluate(SLIDE, ["Checkpoint", step % 9 + 1]) for step in range(REPEATS)]
    yield f"heat map of all edges, to another checkpoint: {statistics.median(times):.0f} ms"


def _stop(page: Page, edges: int) -> int:
    """The slider's stop for so many edges; see `scales.ts`."""
    return next(stop for stop in range(200, 10_000) if round(200 * 1.02 ** (stop - 200)) >= edges)


def _painting(page: Page) -> float:
    """Milliseconds to redraw all edges: two settings of the slider that differ by one stop."""
    last = page.get_by_role("slider", name="Edges drawn").evaluate("slider => slider.valueAsNumber")
    times = [page.evaluate(SLIDE, ["Edges drawn", last - step % 2]) for step in range(1, 2 * REPEATS)]
    return statistics.median(times)


def hover(page: Page) -> tuple[float, list[float]]:
    """A walk over the nodes in sight: milliseconds from node to node, and those between its frames."""
    page.locator("#circuit .drawing").scroll_into_view_if_needed()
    nodes = page.evaluate(CENTRES)
    page.evaluate(RECORD)
    begun = time.perf_counter()
    for x, y in nodes:
        page.mouse.move(x, y)
    step = 1000 * (time.perf_counter() - begun) / len(nodes)
    return step, _between(page)


def sliding(page: Page) -> list[float]:
    """Every checkpoint in turn, twice, the second time with all of them decoded: milliseconds between frames."""
    for step in range(10):
        page.evaluate(SLIDE, ["Checkpoint", step])
    page.evaluate(RECORD)
    for step in range(10):
        page.evaluate(SLIDE, ["Checkpoint", step])
    return _between(page)


def _between(page: Page) -> list[float]:
    return [after - before for before, after in itertools.pairwise(page.evaluate("window.drawn"))]


def _frames(times: list[float]) -> str:
    slow = statistics.quantiles(times, n=20)[-1]
    return f"{1000 / statistics.median(times):.0f} frames a second, 95 % within {slow:.0f} ms"


if __name__ == "__main__":
    main()
