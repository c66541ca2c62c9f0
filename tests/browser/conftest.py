from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser.watched import Watched
from circuitune.report import build
from report.synthetic import build_run

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="session")
def chromium() -> Generator[Browser, None, None]:
    """Debian's Chromium, without a window."""
    if not CHROMIUM.is_file():
        pytest.skip(f"no Chromium at {CHROMIUM}: the page is not looked at in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a synthetic run whose change is larger than its null."""
    return build(build_run(tmp_path_factory.mktemp("report") / "run"))


@pytest.fixture
def watched(chromium: Browser) -> Generator[Watched, None, None]:
    """A fresh page at laptop width."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    yield Watched(page)
    page.close()
