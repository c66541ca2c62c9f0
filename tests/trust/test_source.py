"""What the source may not contain, whoever writes it."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "circuitune"
MODULES = sorted(SOURCE.rglob("*.py"))
CALLS = {"eval", "exec", "compile", "__import__", "input"}
"""Built-in functions that run text, or ask for it."""
MODULES_OF_PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
LOADERS = {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "numpy.load", "np.load", "os.system"}


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def offences(path: Path, text: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"imports {name}" for name in names if name.partition(".")[0] in MODULES_OF_PICKLES]
        if isinstance(node, ast.Call):
            name, keywords = called(node), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in CALLS or name in LOADERS:
                found.append(f"calls {name}")
            if name == "torch.load" and keywords.get("weights_only") != "True":
                found.append("torch.load without weights_only=True")
            if keywords.get("trust_remote_code") == "True":
                found.append(f"{name} with trust_remote_code=True")
            if keywords.get("allow_pickle", "False") != "False" or keywords.get("shell") == "True":
                found.append(f"{name} with allow_pickle or shell")
            from_config = name.startswith("Auto") and name.endswith(("from_pretrained", "from_config"))
            if from_config and "trust_remote_code" not in keywords and None not in keywords:
                found.append(f"{name} does not say trust_remote_code: Transformers would ask on the terminal")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_unpickles_or_runs_text(path: Path):
    assert offences(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=Loader)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "AutoConfig.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_scan_finds_it(text: str):
    assert offences(Path("x.py"), text)


def test_yaml_and_strange_json_are_read_in_one_place():
    readers = [path.name for path in MODULES if re.search(r"yaml\.(safe_load|SafeLoader)", path.read_text())]
    assert readers == ["parsing.py"]


def test_trust_in_code_and_pickles_is_off_unless_somebody_says_so():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(trust_remote_code|pickled_weights)(: bool)? ?= ?True", text.replace("`", "")) or (
            path.name == "loading.py" and "in Python pickled_weights=True" in text
        ), path
    recipe = (SOURCE / "experiments" / "recipe.py").read_text(encoding="utf-8")
    assert "trust_remote_code" not in recipe  # a recipe from a stranger cannot turn it on
    assert "pickled_weights" not in recipe
