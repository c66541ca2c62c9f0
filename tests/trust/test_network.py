"""No hub name, no network: the verbs on folders, in a process whose sockets refuse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.adapters.lora import attach, save_adapter
from circuitune.core.errors import InputError
from circuitune.models.loading import load, load_tokenizer
from circuitune.testing import tiny_model
from experiments import tiny

FORBID = """\
import os, socket
def _refuse(*args, **kwargs):
    with open(os.environ["ASKED"], "a") as file:
        import traceback
        file.write("".join(traceback.format_stack(limit=12)) + "\\n")
    raise OSError("no network")
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = _refuse
_connect = socket.socket.connect
def connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _refuse()
    return _connect(self, address)
socket.socket.connect = socket.socket.connect_ex = connect
"""

VERBS = """\
tasks show add_sub
tasks export add_sub --set limit=20 --out pairs.jsonl
doctor
models {model}
discover --task add_sub --set limit=20 --model {model} --pairs-count 6 --steps 2 --out found
evaluate found/circuit.safetensors --task add_sub --set limit=20 --model {model} --pairs-count 6
plan found/scores.safetensors --model {model} --rank 2 --critical-rank 4 --critical-layers 1 --out plan.json
export plan.json --for trl --model {model} --dataset pairs.jsonl --out train.py
export plan.json --for peft --model {model} --out start
train --task add_sub --set limit=20 --model {model} --rank 1 --epochs 0.02 --checkpoints 1 --batch-size 64 --out tuned
compare {model} tuned/checkpoints/step-00001 --task add_sub --set limit=20 --pairs-count 6
run --recipe tiny.yaml --model {model} --out first --jobs 1
report first
runs check first
"""


PROGRAM = """\
import shlex
from circuitune.cli import call
if __name__ == "__main__":
    for line in {lines!r}:
        print(line, flush=True)
        code = call(shlex.split(line))
        assert code == 0, code
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_verbs_on_folders_ask_nobody(tmp_path: Path):
    model = tiny.save_model(tmp_path / "model")
    (tmp_path / "tiny.yaml").write_text(tiny.RECIPE.replace("{random_draws: 1}", "null"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FORBID)
    asked = tmp_path / "asked"
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE",)}
    environment["PYTHONPATH"] = f"{tmp_path / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment |= {"ASKED": str(asked), "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "cache")}
    script = "import sys, shlex; from circuitune.cli import call\n" + "".join(
        f"print({line!r}, flush=True); code = call(shlex.split({line!r})); assert code == 0, code\n"
        for line in VERBS.format(model=model).splitlines()
    )
    program = tmp_path / "verbs.py"
    program.write_text(
        f"if __name__ == '__main__':\n{''.join(f'    {line}{chr(10)}' for line in script.splitlines())}"
    )
    done = subprocess.run([sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert not asked.exists(), asked.read_text()


def test_the_guard_notices(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(FORBID)
    asked = tmp_path / "asked"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ASKED": str(asked)}
    code = "import urllib.request; urllib.request.urlopen('http://localhost:9')"
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode
    assert asked.exists()


def test_an_adapters_base_on_the_hub_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def asked(*args: object, **kwargs: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("circuitune.models.loading.model_info", asked)
    from peft import LoraConfig

    adapted = attach(tiny_model("gpt_neox"), LoraConfig(r=2, target_modules=["dense"]), seed=0)
    adapted.peft_config["default"].base_model_name_or_path = "somebody/model"
    save_adapter(adapted, tmp_path / "adapter")
    for read in (load, load_tokenizer):
        with pytest.raises(InputError, match="a file causes no download; get its base first: hf download somebody/m"):
            read(tmp_path / "adapter")
