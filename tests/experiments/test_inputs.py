from pathlib import Path

import pytest
import torch

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_file
from circuitune.core.records import PairsRecord, read_record
from circuitune.experiments.checking import check
from circuitune.experiments.inputs import critical_count, freeze, metric_for, reference
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe, to_yaml
from circuitune.experiments.specs import folder_name
from circuitune.experiments.validation import Validator
from circuitune.tasks.pairs import Pair, PairSet
from experiments import tiny


def rows(count: int, wrong: bool = False, bad: int = 0) -> str:
    """A CSV file of sums in words of one's own, ``bad`` of them with an answer of two tokens."""
    lines = ["clean,corrupted,answer" + (",wrong" if wrong else "")]
    for n in range(count):
        answer = "10 20" if n < bad else str(n + 1)
        cells = [f"one more than {n} is", f"one more than {n + 100} is", answer] + ([str(n + 101)] if wrong else [])
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def pairs(with_wrong: int, without: int) -> PairSet:
    made = [
        Pair(f"{n}", f"-{n}", " a", " b" if n < with_wrong else None, f"{n}") for n in range(with_wrong + without)
    ]
    return PairSet("made", tuple(made))


class TestFreeze:
    def test_a_file_is_named_by_its_content(self, model: Path, tmp_path: Path):
        source = tmp_path / "mine.csv"
        source.write_text(rows(50))
        frozen = freeze(tiny.recipe(model, tmp_path, file=str(source)))
        inside = f"inputs/{sha256_file(source)[:12]}/mine.csv"
        assert frozen.recipe.data.file == inside
        assert frozen.files == {inside: source}
        before = plan(frozen.recipe, frozen.model).pairs
        source.write_text(rows(51))
        again = freeze(tiny.recipe(model, tmp_path, file=str(source)))
        assert plan(again.recipe, again.model).pairs != before

    def test_files_of_every_kind_are_copied_into_the_run(self, model: Path, tmp_path: Path):
        for name in ("mine", "kept", "part", "other"):
            (tmp_path / f"{name}.csv").write_text(rows(50 + len(name)) + f"{name},{name} 1, a, b\n")
        (tmp_path / "text.txt").write_text("One line.\n")
        parts = "{parts: {inner: {file: part.csv}, outer: {file: mine.csv}}, unrelated: {ioi: {file: other.csv}}}"
        (tmp_path / "all.yaml").write_text(
            f"extends: quick\nmodel: {model}\ndata: {{file: mine.csv}}\n"
            f"contest: {{kept: {{one: {{file: kept.csv}}}}, text: {{file: text.txt}}}}\ncomposition: {parts}\n"
        )
        frozen = freeze(load_recipe(tmp_path / "all.yaml"))
        names = {"mine.csv", "kept.csv", "part.csv", "other.csv", "text.txt"}
        assert {path.name for path in frozen.files.values()} == names
        assert set(frozen.recipe.files) == set(frozen.files)

    def test_a_model_is_known_by_its_files_wherever_they_lie(self, model: Path, tmp_path: Path):
        copy = tiny.save_model(tmp_path / model.name)
        assert reference(str(model), None) == reference(str(copy), None)
        (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
        assert reference(str(model), None) != reference(str(copy), None)

    def test_the_device_is_pinned_and_half_precision_makes_other_jobs(self, model: Path, tmp_path: Path):
        asked = tiny.recipe(model, tmp_path)
        plain, half = freeze(asked), freeze(asked.model_copy(update={"dtype": "bfloat16"}))
        assert (plain.recipe.device, plain.model.device) == ("cpu", "cpu")
        first, second = (plan(one.recipe, one.model).pairs for one in (plain, half))
        assert folder_name(first) != folder_name(second)

    def test_a_run_that_was_begun_keeps_its_device(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        asked = tiny.recipe(model, tmp_path)
        begun = freeze(asked)
        (tmp_path / "recipe.yaml").write_text(to_yaml(begun.recipe))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert freeze(asked).model.device == "cuda"
        assert freeze(asked, here=False).model.device == "cpu"
        assert freeze(asked, folder=tmp_path).model.device == "cpu"

    def test_a_missing_file_is_named(self, model: Path, tmp_path: Path):
        with pytest.raises(InputError, match=r"none\.csv is no file"):
            freeze(tiny.recipe(model, tmp_path, file=str(tmp_path / "none.csv")))

    @pytest.mark.parametrize("name", ["no/such/model", "not a name!", "nobody/none"])
    def test_a_model_that_is_nowhere_is_one_sentence(self, name: str):
        with pytest.raises(InputError, match=r"--model|hub"):
            freeze(load_recipe("default", {"model": name}))


class TestValidate:
    def test_more_critical_layers_than_the_model_can_spare(self, model: Path, tmp_path: Path):
        recipe = tiny.recipe(model, tmp_path)
        contest = recipe.contest.model_copy(update={"critical_layers": 3})
        with pytest.raises(InputError, match="3 layers"):
            Validator().size(freeze(recipe.model_copy(update={"contest": contest})), tmp_path / "run")

    def test_a_prompt_longer_than_the_model_reads(self, model: Path, tmp_path: Path):
        source = tmp_path / "mine.csv"
        source.write_text(rows(50) + f"{'one ' * 70}is,{'ten ' * 70}is,7\n")
        with pytest.raises(InputError, match=r"mine: 1 of 51 prompts .* the 64 tokens .* \(row 51 has 71\)"):
            Validator().size(freeze(tiny.recipe(model, tmp_path, file=str(source))), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_it_says_what_the_time_depends_on(self, model: Path, tmp_path: Path):
        size = Validator().size(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
        assert (size.rows, size.tokens) == (120, 4)

    def test_nothing_is_written(self, model: Path, tmp_path: Path):
        Validator().size(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
        assert not (tmp_path / "run").exists()


class TestMetric:
    def test_the_logit_difference_where_most_pairs_have_a_wrong_answer(self):
        assert metric_for(pairs(4, 0), "auto") == "logit_diff"
        assert metric_for(pairs(3, 1), "auto") == "logit_diff"
        assert metric_for(pairs(2, 2), "auto") == "kl"

    def test_what_was_asked_for_is_taken_or_refused(self):
        assert metric_for(pairs(4, 0), "nll") == "nll"
        with pytest.raises(InputError, match=r"column `wrong`, or set discovery\.metric to kl"):
            metric_for(pairs(0, 4), "logit_diff")


@pytest.mark.parametrize(("layers", "count"), [(8, 2), (24, 5), (12, 2), (32, 7), (2, 1)])
def test_the_study_s_share_of_critical_layers(layers: int, count: int):
    assert critical_count(None, layers) == count
    assert critical_count(3, layers) == 3


@pytest.mark.slow
def test_a_file_of_one_s_own_runs_to_the_end_and_says_what_was_left_out(model: Path, tmp_path: Path):
    source = tmp_path / "mine.csv"
    source.write_text(rows(60, bad=3))
    run, jobs = tiny.finished(tiny.recipe(model, tmp_path, file=str(source)), tmp_path / "run")
    record = read_record(run.job(jobs.pairs).folder / "pairs.json", PairsRecord)
    assert [row.row for row in record.left_out] == [1, 2, 3]
    assert record.wrong == "model"
    assert sum(record.parts.values()) == 57
    summary = (run.folder / "summary.json").read_text()
    assert "three rows that broke a rule left out" in summary
    assert "the model's own on the corrupted prompt" in summary
    assert run.job(jobs.pairs).spec == jobs.pairs
    source.unlink()  # the run has its own copy
    assert not check(run.folder).broken
