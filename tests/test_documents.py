"""The documents point at what exists, and the commands in them are commands."""

import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

import circuitune as ct
from circuitune.cli.application import application
from circuitune.core.csvio import read_rows
from circuitune.core.records import RateRow
from circuitune.core.study_records import ClaimRow, TaskEffectRow

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *PAGES, *(ROOT / "src").rglob("README.md")])


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_to_files(document: Path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=name)
def test_a_picture_is_shown_somewhere_and_has_colours_for_light_and_dark(picture: Path):
    drawing = ElementTree.parse(picture).getroot()
    assert drawing.get("aria-label")
    assert "prefers-color-scheme: dark" in "".join(drawing.itertext())
    assert any(f"images/{picture.name})" in page.read_text(encoding="utf-8") for page in PAGES)


def pages_in(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages_in(part)]


def test_every_page_is_in_the_sites_navigation():
    named = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(named) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in PAGES)


def test_every_public_name_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^::: circuitune\.(\w+)$", page, re.MULTILINE)) == sorted(ct.__all__)


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "reference").glob("*.md")), ids=name)
def test_the_reference_names_what_exists_and_has_a_docstring(page: Path):
    for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        module, _, member = path.rpartition(".")
        assert getattr(import_module(module), member).__doc__, path


def commands(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^ {4,}(circuitune [a-z].*)$", text, re.MULTILINE)


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if commands(path)], ids=name)
def test_the_commands_parse(document: Path):
    for command in commands(document):
        arguments = shlex.split(command.replace(" ...", ""), comments=True)[1:]
        application().parse_args(arguments, exit_on_error=False, print_error=False)


def test_a_command_that_does_not_parse_is_found():
    with pytest.raises(Exception, match="Unknown option"):
        application().parse_args(["compare", "one", "two", "--no-such"], exit_on_error=False, print_error=False)


def blocks(language: str) -> list[str]:
    """What the guides give to be copied into a file."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))]
    return re.findall(rf"^```{language}\n(.*?)^```", "".join(texts), re.MULTILINE | re.DOTALL)


def test_files_to_be_copied_have_the_form_they_need():
    for script in blocks("bash"):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    jobs = [yaml.safe_load(text) for text in blocks("yaml") if "kind: RayJob" in text]
    assert [job["spec"]["entrypoint"].split()[:2] for job in jobs] == [["circuitune", "sweep"]]


def test_the_verdicts_in_the_documents_are_the_computed_ones():
    text = (ROOT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| (\d): .* \| ([a-z ]+) \| `(\w+)` \|$", text, re.M)
    assert [int(claim) for claim, _, _ in rows] == [1, 2, 3, 4, 5]
    for claim, said, study in rows:
        found = read_rows(ROOT / "docs" / "studies" / study / "verdicts.csv", ClaimRow)
        judged = {row.outcome for row in found if row.claim == int(claim) and row.outcome != "exploratory"}
        assert judged == {said}
        assert all(row.final for row in found)


def test_what_the_documents_count_in_the_contest_is_in_its_tables():
    study = ROOT / "docs" / "studies" / "contest"
    rows = [row for row in read_rows(study / "tasks.csv", TaskEffectRow) if row.hypothesis == "uniform"]
    counts = [sum(row.finding == finding for row in rows) for finding in ("below", "above")]
    assert ([*counts, len(rows)]) == [5, 0, 8]
    for page, said in {"README.md": "five of eight runs", "docs/limits.md": "five of eight runs"}.items():
        assert said in (ROOT / page).read_text()
    tried: dict[tuple[str, str], list[RateRow]] = {}
    for path in study.glob("*/rates.csv"):
        for row in read_rows(path, RateRow):
            tried.setdefault((path.parent.name, row.arm), []).append(row)
    highest = sum(max(own, key=lambda row: row.learning_rate).chosen for own in tried.values())
    assert f"In {highest} of {len(tried)} choices of" in " ".join((ROOT / "docs" / "studies.md").read_text().split())
