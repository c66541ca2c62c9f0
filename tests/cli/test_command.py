import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.cli import VERBS, call, overview

SUBVERBS = {
    "tasks": ("list", "show", "check", "export"),
    "report": ("build", "serve", "figures"),
    "runs": ("list", "check"),
    "job": ("run",),
}


def test_help_imports_nothing_heavy_and_is_quick():
    script = (
        "import sys\nfrom circuitune.cli import call\nassert call(['--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'pydantic', 'cyclopts', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    times: list[float] = []
    for _ in range(5):
        begun = processor_seconds()
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        times.append(processor_seconds() - begun)
    assert min(times) < 0.3


def processor_seconds() -> float:
    """What the children of this process have used so far; the clock would count a busy machine's other work too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_overview_names_every_verb(capsys: pytest.CaptureFixture[str]):
    assert call([]) == 0
    shown = capsys.readouterr().out
    assert shown == overview()
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", shown, re.MULTILINE)


@pytest.mark.parametrize(
    "arguments",
    [(verb,) for verb in VERBS if verb not in SUBVERBS]
    + [(verb, sub) for verb, subs in SUBVERBS.items() for sub in subs],
    ids=" ".join,
)
def test_every_verb_explains_itself_with_an_example(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert call([*arguments, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"circuitune {' '.join(arguments)}" in shown


def test_quiet_leaves_results_and_errors(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    asked = ["check", "nano", "--task", "add_sub", "--set", "limit=100"]
    assert call(asked) == 0
    loud = capsys.readouterr()
    assert loud.err
    assert call([*asked, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == (loud.out, "")
    assert call(["--quiet", "check", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_every_verb(shell: str, capsys: pytest.CaptureFixture[str]):
    assert call(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(re.search(rf"\b{verb}\b", script) for verb in VERBS)
    assert "--critical-layers" in script


def test_bash_accepts_the_completion(capsys: pytest.CaptureFixture[str]):
    call(["completion", "bash"])
    subprocess.run(["bash", "-n"], input=capsys.readouterr().out, text=True, check=True)


def test_the_version(capsys: pytest.CaptureFixture[str]):
    assert call(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], 'Did you mean "run"'),
        (["run", "--qick"], "--quick"),
        (["run", "--jobs", "two"], "--jobs"),
        (["run", "--jobs", "0"], "--jobs 0"),
        (["run", "--quick", "--full"], "one of --quick, --full and --recipe"),
        (["run", "--pairs", "a.csv", "--task", "add_sub"], "either --pairs or --task"),
        (["run", "--answer-prefix", "x"], "belongs to --pairs"),
        (["run", "--task", "add_sub", "--set", "limit"], "NAME=VALUE"),
        (["discover", "--metric", "charm"], "--metric"),
        (["discover", "--task", "add_sub", "--share", "0"], "--share"),
        (["evaluate"], "FILE"),
        (["job"], "job"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    code = call(arguments)
    shown = capsys.readouterr()
    if arguments == ["job"]:  # a group of verbs alone shows its help
        assert code == 0
        return
    assert code == 2
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_reader_that_leaves_early_is_no_error():
    script = "from circuitune.cli import main\nmain(['tasks', 'show', 'add_sub', '--count', '5000'])"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
