"""What is declared is what is imported, what is locked is licensed, and no bound is there without its reason."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import licences
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = {"dev", "docs"}
"""Extras of what runs beside the package."""
NAMES = {"yaml": "pyyaml", "huggingface_hub": "huggingface-hub"}
"""Modules that are not called as the package that brings them."""
UNSEEN = {"jinja2": "Transformers renders chat templates with it", "pyarrow": "datasets reads Parquet with it"}
"""Declared, not imported by us, and needed all the same."""
OFFERED = {"pandas"}
"""Imported where the user has it; `to_pandas()` says in a sentence how to get it."""


def name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower()


def declared(*extras: str) -> set[str]:
    own = [*PROJECT["dependencies"], *(item for extra in extras for item in PROJECT["optional-dependencies"][extra])]
    return {name(item) for item in own}


def imported() -> dict[str, set[str]]:
    """Third-party modules that the package imports, each with the files that do."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for module in (whole.partition(".")[0] for whole in names):
                if module not in sys.stdlib_module_names and module != "circuitune":
                    found.setdefault(module, set()).add(path.relative_to(ROOT).as_posix())
    return found


def package(module: str) -> str:
    first = module.partition(".")[0]
    return NAMES.get(first, first)


def test_every_import_is_of_a_declared_dependency():
    runtime = declared(*(set(PROJECT["optional-dependencies"]) - TOOLS))
    missing = {module: files for module, files in imported().items() if package(module) not in runtime | OFFERED}
    assert not missing


def test_every_declared_dependency_is_imported():
    used = {package(module) for module in imported()}
    assert declared(*(set(PROJECT["optional-dependencies"]) - TOOLS)) - used - UNSEEN.keys() == set()
    assert not UNSEEN.keys() & used  # a reason that no longer holds


def test_the_core_needs_no_extra():
    """What only extras bring is never imported at the top of a module of the core."""
    optional = declared(*PROJECT["optional-dependencies"]) - declared()
    for path in (ROOT / "src").rglob("*.py"):
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        found = {module for module in modules if package(module) in optional}
        allowed = path.name in ("reinforce.py", "ray.py") or path.parent.name == "figures"
        assert allowed or not found, path


def test_an_upper_bound_has_its_reason_beside_it():
    for line in (ROOT / "pyproject.toml").read_text().splitlines():
        if re.search(r'"[A-Za-z][\w\[\].-]*[^"]*(<|==|~=)', line):
            assert "#" in line, f"say why: {line.strip()}"


def test_every_locked_package_has_a_licence_that_lets_us_depend_on_it():
    packages = licences.locked()
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    assert {one.name for one in packages} == {*re.findall(r"^([\w.-]+)==", lock, re.MULTILINE), "torch"}
    for one in packages:
        assert set(licences.parts(one.licence)) <= licences.KNOWN, one
        assert one.needed_by, one


def test_the_table_of_licences_is_that_of_the_lock():
    assert licences.TABLE.read_text() == licences.table(licences.locked()), f"run {licences.COMMAND}"


@pytest.mark.parametrize("expression", ["GPL-3.0-or-later", "MIT AND AGPL-3.0", "LGPL-2.1 OR GPL-2.0"])
def test_a_copyleft_licence_would_be_found(expression):
    assert not set(licences.parts(expression)) <= licences.KNOWN


def test_a_package_that_says_nothing_known_stops_by_name(monkeypatch):
    monkeypatch.setattr(licences, "NAMES", {})
    monkeypatch.setattr(licences, "KNOWN", frozenset())
    with pytest.raises(SystemExit, match="accelerate says its licence as"):
        licences.licence("accelerate")
