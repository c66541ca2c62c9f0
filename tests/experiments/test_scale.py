"""What a study of large models takes, from their shapes: against what is known of them, and formulas done by hand."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from circuitune.core.errors import InputError
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.scale import config_from, config_of, need, outline, require_shape, tokens
from circuitune.experiments.study import load_study
from circuitune.models.loading import load
from circuitune.tasks.registry import task
from experiments import tiny_paper

PAPER = Path(__file__).parents[2] / "studies" / "paper"
KNOWN = {  # parameters and edges
    "pythia-1.4b": (1_414_647_808, 231_493),
    "gpt-neo-2.7b": (2_651_307_520, 638_641),
    "opt-6.7b": (6_658_473_984, 1_592_881),
}
MINE: dict[str, Any] = {
    "model": "nowhere/large",
    "contest": None,
    "training": {"rows": 100, "test_rows": 10, "epochs": 3, "checkpoints": 4},
    "tuning": {"seeds": [0]},
}


@pytest.mark.parametrize("variant", ["reproduction", "corrected"])
@pytest.mark.parametrize("name", KNOWN)
def test_the_shapes_are_those_of_the_models(name: str, variant: str):
    shape = yaml.safe_load((PAPER / f"{name}-{variant}.yaml").read_text())["shape"]
    found = outline(config_from(shape))
    assert (found.parameters, found.graph.edges) == KNOWN[name]


@pytest.mark.parametrize("variant", ["reproduction", "corrected"])
@pytest.mark.parametrize("name", KNOWN)
def test_the_studies_are_as_registered(name: str, variant: str):
    study = load_study(PAPER / f"{name}-{variant}.yaml")
    recipe = study.recipes["two_step"]
    assert recipe.contest is not None
    assert (recipe.contest.rank, recipe.contest.critical_rank) == (16, 64)
    assert recipe.discovery.quadrature == ("right" if variant == "reproduction" else "midpoint")
    assert recipe.discovery.metric == ("kl" if variant == "reproduction" else "logit_diff")
    assert recipe.united == ("inner", "outer")
    assert {value.claim for value in study.registration.hypotheses.values()} == {1, 2, 3, 4, 5}
    full = study.recipes["add_sub-full"].tuning
    assert full is not None
    assert full.method == "full"
    for run, own in study.recipes.items():
        assert own.tuning is not None
        assert own.tuning.seeds == study.registration.seeds_of(run, "ratio")


def test_an_outline_is_the_model_s_own():
    model, _ = load("nano")
    found = outline(config_of("nano"))
    assert found.parameters == model.num_parameters()
    assert found.graph.edges == 6573


def test_operations_are_those_of_the_formula():
    shape = outline(config_of("nano"))
    recipe = load_recipe("default", {**MINE, "dtype": "float32"})
    length = tokens(task("add_sub", limit=100, style="short"))
    assert length == 4  # 24 + 46 =
    training = 3 * 3 * 100 + 5 * 10  # forward and backward; tests before the first step and at four checkpoints
    circuits = 5 * (200 * (2 + 3 * 5) + 200 * (2 + 4 * 6))
    chance = 7 * 200 * (2 + 3 * 5) + 2 * 200 * (2 + 4 * 12)
    taken = need(recipe, shape)
    assert taken.jobs == 4
    assert taken.operations == 2 * shape.parameters * length * (training + circuits + chance)
    assert taken.hours(1e-3) == pytest.approx(taken.operations / 1e9 / 3600)


def test_memory_is_that_of_the_larger_job():
    large = outline(config_from(yaml.safe_load((PAPER / "opt-6.7b-corrected.yaml").read_text())["shape"]))

    def bytes_of(**changes: object) -> int:
        return need(load_recipe("default", {**MINE, **changes}), large).memory

    lora = bytes_of(dtype="float32")
    full = bytes_of(tuning={"method": "full", "rank": None, "learning_rate": 1e-5, "seeds": [0]}, dtype="float32")
    assert lora > 4 * large.parameters
    assert full > 16 * large.parameters > lora
    assert bytes_of(dtype="bfloat16") < lora - 1.9 * large.parameters


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"model_type": "gpt_neox", "num_hidden_layers": 9}, "shape: num_hidden_layers is 9, and nano has 8"),
        ({"hidden_layers": 8}, "shape: hidden_layers is 8, and nano has None"),
    ],
)
def test_a_shape_of_another_model_is_refused(shape: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        require_shape(shape, "nano")


def test_a_shape_of_no_model_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="'abacus' is no model_type"):
        config_from({"model_type": "abacus"})
    with pytest.raises(InputError, match="cannot be read"):
        config_of(str(tmp_path))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_hidden_layers": "x"}, "expected int, got str"),
        ({"rope_parameters": 3}, "rope_parameters"),
        ({"hidden_act": "nope"}, "makes no model of its fields .nothing is named 'nope'"),
        ({"torch_dtype": "nope"}, "no attribute 'nope'"),
        ({"vocab_size": -1}, "negative dimension"),
        ({"num_hidden_layers": 3_000_000}, "num_hidden_layers 3,000,000, which no model has"),
    ],
)
def test_fields_that_make_no_model_are_one_sentence(fields: dict[str, Any], said: str):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with pytest.raises(InputError, match=rf"^shape: .*{said}"):
        outline(config_from({"model_type": "gpt_neox", **sizes, **fields}))


def test_too_few_layers_are_refused(tmp_path: Path):
    shape = outline(config_of(str(tiny_paper.save_model("pythia-1.4b", tmp_path))))
    contest = {"contest": {"critical_layers": 2}}
    with pytest.raises(InputError, match="has 2 layers"):
        need(load_recipe("default", contest), shape)
