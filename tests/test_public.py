"""The public names: complete, lazy, and the same list three times."""

import ast
import subprocess
import sys
from pathlib import Path

import circuitune


def _type_checking_names() -> set[str]:
    tree = ast.parse(Path(circuitune.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name for statement in block.body if isinstance(statement, ast.ImportFrom) for alias in statement.names
    }


def test_the_lists_agree_and_every_name_exists():
    assert _type_checking_names() == set(circuitune.__all__) == set(circuitune._HOMES)
    for name in circuitune.__all__:
        assert getattr(circuitune, name) is not None
        assert name in dir(circuitune)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(circuitune, "anneal")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, circuitune; print([m for m in ('torch', 'transformers', 'peft', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
