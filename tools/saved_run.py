"""Save a small run folder as this release writes it, for the tests of all releases after it.

    PYTHONPATH=tests python tools/saved_run.py /models/tiny tests/golden/saved/0.1.0

The model folder (it is made, and named in the recipe) is not needed to read the run; of the machine nothing is kept.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from circuitune.core.manifest import ENVIRONMENT
from circuitune.experiments.recipe import load_recipe
from experiments import tiny

DATA = {"task": "add_sub", "parameters": {"limit": 12, "style": "short"}}


def main(model: Path, folder: Path) -> None:
    """Do the run and keep its folder."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place) / "tiny.yaml"
        recipe.write_text(tiny.RECIPE.replace("rows: 120, test_rows: 40", "rows: 40, test_rows: 12"))
        changes = {"model": str(tiny.save_model(model)), "data": DATA, "tuning": {"rank": 1, "seeds": [0]}}
        run, _ = tiny.finished(load_recipe(recipe, changes), Path(place) / "run")
        for path in run.folder.rglob(ENVIRONMENT):
            said = json.loads(path.read_text())
            path.write_text(json.dumps({**said, "host": "a machine", "platform": "a system"}, indent=1) + "\n")
        shutil.copytree(run.folder, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
