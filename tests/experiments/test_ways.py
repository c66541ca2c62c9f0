"""The whole chain of jobs for fine-tunings that are no LoRA of one rank."""

from pathlib import Path

import pytest

from circuitune.core.chance_records import TunedCausalRow
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.records import ChangeRow
from circuitune.experiments.recipe import Recipe, load_recipe
from experiments import tiny


def asked(model: Path, folder: Path, **how: object) -> Recipe:
    path = folder / "asked.yaml"
    path.write_text(tiny.RECIPE)
    changes = {"model": str(model), "contest": None, "robustness": {"draws": 1, "noise": [0.5], "parts": 2}}
    return load_recipe(path, {**changes, "tuning": {"seeds": [0], **how}})


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {"method": "full", "rank": None, "learning_rate": 0.01},
        {"method": "adalora", "rank": 2, "learning_rate": 0.05},
    ],
    ids=lambda how: how["method"],
)
def test_circuits_follow_checkpoints_of_any_kind(model: Path, tmp_path: Path, how: dict[str, object]):
    run, jobs = tiny.finished(asked(model, tmp_path, **how), tmp_path / "run")
    (training,) = jobs.tuning
    folder = run.job(training).folder / "checkpoints" / "step-00003"
    assert (folder / "config.json").is_file() == (how["method"] == "full")
    rows = read_rows(run.folder / "tables" / "change.csv", ChangeRow)
    assert {row.kind for row in rows if row.role == "change"} == {"node", "edge"}
    if how["method"] == "full":  # three steps of AdaLoRA change no edge of this model
        swapped = read_rows(run.folder / "tables" / "causal.csv", TunedCausalRow)
        assert {row.direction for row in swapped} == {"removal", "insertion"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"method": "full"}, "method full has no rank: say rank: null"),
        ({"method": "full", "rank": None}, r"method full needs a learning_rate of its own \(8e-06 is usual\)"),
        ({"method": "dora", "rank": None}, "method dora needs a rank"),
        ({"method": "magic"}, "tuning.method"),
    ],
)
def test_ranks_belong_to_methods_that_have_them(model: Path, tmp_path: Path, how: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        asked(model, tmp_path, **how)
