from pathlib import Path

import pytest
import yaml

from circuitune.core.errors import InputError
from circuitune.experiments.recipe import BUILT_IN, load_recipe, to_yaml


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_recipes_are_valid_and_have_names_of_their_own(name: str):
    assert load_recipe(name).name.startswith("nano-add_sub")
    assert len({load_recipe(other).name for other in BUILT_IN}) == len(BUILT_IN)


def test_the_study_at_full_size_has_three_seeds_five_draws_and_long_prompts():
    full = load_recipe("full")
    assert len(full.tuning.seeds) == len(full.contest.seeds) == 3
    assert full.contest.random_draws == 5
    assert full.data.parameters["style"] == "full"


def test_a_recipe_survives_its_own_yaml(tmp_path: Path):
    recipe = load_recipe("quick", {"training": {"epochs": 2}})
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe))
    assert load_recipe(path) == recipe


def test_extending_changes_only_what_is_named(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: default\nname: mine\ntraining: {epochs: 1}\n")
    default, mine = load_recipe("default"), load_recipe(path)
    assert mine.training == default.training.model_copy(update={"epochs": 1})
    assert mine.contest == default.contest


def test_paths_in_a_recipe_are_meant_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "model").mkdir()
    path = tmp_path / "mine.yaml"
    path.write_text("extends: default\nmodel: model\ndata: {file: mine.csv}\n")
    monkeypatch.chdir("/")
    recipe = load_recipe(path)
    assert (recipe.model, recipe.data.file) == (str(tmp_path / "model"), str(tmp_path / "mine.csv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mapping"),
        ("- a\n- b\n", "mapping"),
        ("a: [", "valid YAML"),
        ("extends: nothing\n", "can extend"),
        ("extends: default\nepoch: 3\n", "field epoch"),
        ("extends: default\ntraining: {epochs: 0}\n", "field training.epochs"),
        ("extends: default\ntraining: {learning_rate: .nan}\n", "field training.learning_rate"),
        ("extends: default\ncontest: {rank: 4, critical_rank: 4}\n", "larger than rank"),
        ("extends: default\ndata: {task: add_sub, file: a.csv}\n", "either a task or a file"),
        ("extends: default\ndata: {}\n", "either a task or a file"),
        ("extends: default\nname: ../outside\n", "field name"),
        ("extends: default\nformat: 2\n", "field format"),
        ("a: !!python/object/apply:os.system ['true']\n", "valid YAML"),
    ],
)
def test_a_bad_recipe_is_one_sentence_that_names_the_place(tmp_path: Path, text: str, message: str):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


def test_a_missing_recipe_says_which_there_are(tmp_path: Path):
    with pytest.raises(InputError, match="default, quick, full"):
        load_recipe(tmp_path / "none.yaml")


def test_the_shipped_files_are_plain_yaml_mappings():
    folder = Path(load_recipe.__code__.co_filename).parent / "recipes"
    for path in folder.glob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
