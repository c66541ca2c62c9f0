"""Tasks of installed packages, and the page on tasks: what it says is so."""

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks.checks import check
from circuitune.tasks.registry import TASKS, made_by, names, parameters, recognise, task
from circuitune.tasks.sequences import GEOMETRIC

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
Install = Callable[..., None]


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a module and its entry point where an installer would."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(source: str, entry: str = "doubles = doubles:Doubles", module: str = "doubles") -> None:
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[circuitune.tasks]\n{entry}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    yield put
    sys.modules.pop("doubles", None)


def test_the_pages_template_is_a_task(install: Install, nano_tokenizer: PreTrainedTokenizerBase):
    source = block("python")
    assert len(source.splitlines()) < 40
    entry = tomllib.loads(block("toml"))["project"]["entry-points"]["circuitune.tasks"]
    install(source, *(f"{name} = {value}" for name, value in entry.items()))
    assert names() == (*TASKS, "doubles")
    assert parameters("doubles") == {"largest": 400}
    pairs = task("doubles", largest=300, seed=5)
    assert len(pairs) == 300
    assert made_by(pairs) == sys.modules["doubles"].Doubles(largest=300)
    assert pairs.digest == task("doubles", largest=300, seed=5).digest != task("doubles", largest=300).digest
    for pair in pairs:
        assert int(pair.answer) == 2 * int(pair.clean.split()[1])
        assert int(pair.wrong or "") == 2 * int(pair.corrupted.split()[1])
    assert check(pairs, nano_tokenizer).left_out == ()
    assert len(pairs.split("train")) == 180
    with pytest.raises(InputError, match="doubles has no parameter 'most'; it has largest"):
        task("doubles", most=3)


def test_names_of_our_tasks_stay_ours(install: Install):
    install(block("python"), "add_sub = doubles:Doubles")
    assert names() == tuple(TASKS)
    assert task("add_sub", limit=5).name == "add_sub"


GOOD = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Doubles:\n    name = 'doubles'\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0\n", r"of the installed package doubles does not load \(ZeroDivisionError: division by zero\)"),
        ("Triples = 3\n", r"does not load \(AttributeError"),
        ("class Doubles:\n    name = 'doubles'\n", "is not a dataclass with name = 'doubles'"),
        (GOOD, r"is not a dataclass with name = 'doubles' and generate\(seed\)"),
        (GOOD.replace("'doubles'", "'other'") + "    def generate(self, seed=0): ...\n", "with name = 'doubles'"),
        (GOOD + "    most: int\n    def generate(self, seed=0): ...\n", r"without a default \(most\)"),
    ],
)
def test_a_task_that_cannot_be_used_is_named_and_hides_no_other(install: Install, source: str, message: str):
    install(source)
    assert "doubles" in names()
    for ask in (task, parameters):
        with pytest.raises(InputError, match=message):
            ask("doubles")
    assert len(task("add_sub", limit=5))


@pytest.mark.parametrize("name", ["name", "self", "largest_of_all"])
def test_no_word_is_taken_for_a_parameter_that_is_none(name: str):
    with pytest.raises(InputError, match=f"add_sub has no parameter '{name}'"):
        task("add_sub", **{name: 1})


@pytest.mark.parametrize("seed", [1.5, "1", True, None])
def test_a_seed_is_a_whole_number(seed: object):
    with pytest.raises(InputError, match="seed must be a whole number"):
        task("add_sub", limit=5, seed=seed)  # type: ignore[arg-type]


def test_the_pages_code_runs(capsys: pytest.CaptureFixture[str]):
    code = "\n".join(re.findall(r"^ {4}(?!circuitune )(\S.*)$", re.sub(r"(?s)```.*?```", "", PAGE), re.MULTILINE))
    code = re.sub(r'ct\.task\("(\w+)", ', r'ct.task("\1", size=400, ', code)  # the same, sooner
    given: dict[str, object] = {}
    exec(code, given)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert len(given["parts"]) == 3  # type: ignore[arg-type]
    assert len(given["noisy"]) == len(given["circuit"])  # type: ignore[arg-type]


def test_the_pages_examples_are_in_the_wording_of_their_task():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (.*?) \|", PAGE, re.MULTILINE)
    shown = {name: texts for names_, texts in rows for name in re.findall(r"`(\w+)`", names_)}
    assert set(shown) == set(TASKS)
    for texts in shown.values():
        for prompt, answer in re.findall(r"`([^`]+)` `([^`]+)`", texts):
            known = recognise(prompt)
            assert known is not None
            assert known.answer == answer.strip()
            assert answer[0] == " " or prompt.endswith(("90,", "to the year 17"))


def test_the_pages_counts():
    geometric = {"style": "short", "kinds": "geometric", "size": 100_000}
    for start, count in ((10, "24 geometric"), (999, "78 with any")):
        pairs = task("sequence", corruption="term", **geometric, largest_geometric_start=start)
        assert {pair.kind for pair in pairs} == {GEOMETRIC}
        assert f"{len(pairs)} {count.split(' ', 1)[1]}" == count
        assert count in PAGE
