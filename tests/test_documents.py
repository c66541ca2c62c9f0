"""The documents point at what exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


def test_every_page_is_in_the_sites_navigation():
    pages = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert set(named(pages)) == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def named(entries: list[Any]) -> Iterator[str]:
    """The pages of a navigation, whose entries may be sections."""
    for entry in entries:
        for page in entry.values():
            yield from [page] if isinstance(page, str) else named(page)


def blocks(language: str) -> list[str]:
    """What the guides give to be copied into a file."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))]
    return re.findall(rf"^```{language}\n(.*?)^```", "".join(texts), re.MULTILINE | re.DOTALL)


def test_files_to_be_copied_have_the_form_they_need():
    for script in blocks("bash"):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    jobs = [yaml.safe_load(text) for text in blocks("yaml") if "kind: RayJob" in text]
    assert [job["spec"]["entrypoint"].split()[:2] for job in jobs] == [["circuitune", "sweep"]]
