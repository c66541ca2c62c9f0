"""A page that remembers what it complained of and asked for, and what to read from it only once it is there."""

import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

PATIENCE_S = 10


def eventually(page: Page, holds: Callable[[], object]) -> None:
    """Wait for what Playwright's `expect` has no words for: the page renders after the event, not within it."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "the page did not become so"
        page.wait_for_timeout(20)


def unfold(page: Page) -> Page:
    """Open every section, as a reader would one by one."""
    page.evaluate("document.querySelectorAll('details.fold').forEach(one => { one.open = true; })")
    page.wait_for_timeout(100)  # the charts are laid out when they are seen
    return page


class Watched:
    """A page with everything it said and asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, place: Path | str, address: str = "") -> Page:
        """Open the file, or what a server has, and wait until the circuit is drawn, if there is one."""
        self.page.goto((place.as_uri() if isinstance(place, Path) else place) + address)
        self.page.wait_for_selector("#making")
        if self.page.locator("#circuit .drawing").count():
            self.page.wait_for_selector('.drawing:not([data-edges="0"])')
        return self.page
