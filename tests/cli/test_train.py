"""``circuitune train``: what its adapters say about where they come from."""

import json
import shutil
from pathlib import Path

from circuitune.cli import call
from circuitune.models.loading import load

SHORT = ["--epochs", "0.02", "--checkpoints", "1", "--batch-size", "64", "--accumulation", "1"]
TASK = ["--task", "add_sub", "--set", "style=short", "--set", "limit=100"]


def test_adapters_name_their_base_as_the_user_did(here: Path, model: Path):
    shutil.copytree(model, here / "mine")
    assert call(["train", "--model", "mine", *TASK, "--rank", "1", "--out", "tuned", *SHORT]) == 0
    adapter = here / "tuned" / "checkpoints" / "step-00002"
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "mine"
    load("tuned/checkpoints/step-00002")
