"""The promises of SECURITY.md that no other test holds: what a folder or file from a stranger may not do."""

import ast
import gzip
import json
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.export import axolotl_fragment, model_card, skeleton, trl_script
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import import_circuit
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.cli import call
from circuitune.core import tensors
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import COMPLETE, is_complete, verify
from circuitune.core.records import AccuracyRow, SummaryRecord, TransitionRow
from circuitune.experiments.artefacts import by_step
from circuitune.experiments.ledger import LARGEST, read_ledger
from circuitune.experiments.store import Run
from circuitune.models.loading import Loader, load, load_tokenizer, with_adapter
from circuitune.report import build
from circuitune.report.figures import draw
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.registry import task
from circuitune.testing import tiny_model
from readers import GRAPH, model_files, sample_scores, write_run

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model's folder and, beside it, an adapter's."""
    for name, data in model_files().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "base"


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def pickled(safe: Path, mark: Path | None = None) -> None:
    """Weights in the pickled form in place of the safe one."""
    from safetensors.torch import load_file

    name = {"model.safetensors": "pytorch_model.bin", "adapter_model.safetensors": "adapter_model.bin"}[safe.name]
    torch.save({**load_file(safe), **({"bomb": Bomb(mark)} if mark else {})}, safe.with_name(name))
    safe.unlink()


class TestWeights:
    def test_pickled_ones_are_read_only_if_asked_for(self, model: Path):
        before = load(model)[0].state_dict()
        pickled(model / "model.safetensors")
        with pytest.raises(InputError, match="--pickled-weights"):
            load(model)
        after = load(model, pickled_weights=True)[0].state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_of_an_adapter_too(self, model: Path):
        adapter = model.parent / "adapter"
        pickled(adapter / "adapter_model.safetensors")
        with pytest.raises(InputError, match="--pickled-weights"):
            load(adapter)
        load(adapter, pickled_weights=True)

    def test_even_then_nothing_but_tensors_is_unpickled(self, model: Path, tmp_path: Path):
        mark = tmp_path / "ran"
        pickled(model / "model.safetensors", mark)
        with pytest.raises(InputError, match="does not load"):
            load(model, pickled_weights=True)
        assert not mark.exists()

    def test_an_index_cannot_lead_out_of_the_folder_or_to_a_pickle(self, model: Path):
        for name in ("../elsewhere.safetensors", "/x.safetensors", "pytorch_model.bin"):
            index = {"metadata": {}, "weight_map": {"embed_out.weight": name}}
            (model / "model.safetensors.index.json").write_text(json.dumps(index))
            with pytest.raises(InputError, match="its index names"):
                load(model)

    def test_a_config_cannot_ask_for_any_amount_of_memory(self, model: Path):
        for field, value in (("vocab_size", 10**12), ("num_hidden_layers", 10**9), ("hidden_size", 10**6)):
            original = (model / "config.json").read_text()
            change(model / "config.json", **{field: value})
            with pytest.raises(InputError, match=r"which no model has|its files hold"):
                load(model)
            (model / "config.json").write_text(original)


class TestCode:
    CODE = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"

    @pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
    def test_code_beside_a_model_does_not_run(self, model: Path, file: str):
        (model / "own.py").write_text(self.CODE)
        name = "AutoTokenizer" if file.startswith("token") else "AutoConfig"
        entry = ["own.Own", None] if file.startswith("token") else "own.Own"
        changes = {"model_type": "unheard-of"} if file == "config.json" else {"tokenizer_class": "Own"}
        change(model / file, auto_map={name: entry}, **changes)
        with suppress(InputError):  # an unknown tokenizer's tokenizer.json does without its class
            load(model)
        assert not list(model.rglob("ran"))

    def test_nor_does_it_where_only_the_shapes_are_wanted(self, model: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("builtins.input", lambda _="": "y")  # what Transformers would ask the terminal
        (model / "own.py").write_text(self.CODE)
        change(model / "config.json", model_type="unheard-of", auto_map={"AutoConfig": "own.Own"})
        with pytest.raises(InputError):
            skeleton(str(model))
        assert not list(model.rglob("ran"))

    @pytest.mark.parametrize("field", ["attn_implementation", "_attn_implementation", "experts_implementation"])
    def test_a_config_cannot_name_a_kernel_on_the_hub(self, model: Path, field: str):
        change(model / "config.json", **{field: "somebody/kernel"})
        with pytest.raises(InputError, match="from the hub"):
            load(model)

    @pytest.mark.parametrize(
        "fields", [{"megatron_config": {"a": 1}, "megatron_core": "ran_here"}, {"megatron_core": "ran_here"}]
    )
    def test_a_module_that_an_adapter_names_is_not_imported(
        self, model: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object]
    ):
        """Refused here, whatever PEFT does: its versions before 0.21 import the module."""
        adapter = model.parent / "adapter"
        load(adapter)  # as PEFT writes it, with the default of megatron_core
        (model / "ran_here.py").write_text(self.CODE)
        monkeypatch.syspath_prepend(model)
        change(adapter / "adapter_config.json", **fields)
        base = load(model)[0]
        for read in (load, load_tokenizer, Loader().load, lambda place: with_adapter(base, place)):
            with pytest.raises(InputError, match=r"adapter_config\.json asks for a module of Megatron"):
                read(adapter)
        assert "ran_here" not in sys.modules


class TestSizes:
    @pytest.mark.parametrize("kind", ["scores", "circuit"])
    def test_a_graph_is_measured_before_anything_of_its_size_is_made(self, tmp_path: Path, kind: str):
        path = tmp_path / "f.safetensors"
        (sample_scores() if kind == "scores" else sample_scores().top(3)).save(path)
        arrays, metadata = tensors.load(path)
        metadata["graph"] = {**metadata["graph"], "layers": 10**12}
        tensors.save(path, arrays, metadata)
        with pytest.raises(InputError, match="which its graph"):
            (EdgeScores if kind == "scores" else Circuit).load(path)

    def test_a_tensor_that_repeats_one_number_is_none(self, tmp_path: Path):
        cfg = {"n_layers": 10_000, "n_heads": 1000, "parallel_attn_mlp": True}
        graph = Graph(10_000, 1000, 1000, parallel=True)
        endless = torch.zeros(1).expand(graph.shape)
        file = {"cfg": cfg, "src_nodes": [], "dst_nodes": [], "edges_scores": endless, "edges_in_graph": endless}
        torch.save(file, tmp_path / "g.pt")
        with pytest.raises(InputError, match="far more than the file has edges for"):
            import_circuit(tmp_path / "g.pt")

    def test_a_packed_pt_is_not_unpacked(self, tmp_path: Path):
        torch.save({"cfg": torch.zeros(10)}, tmp_path / "g.pt")
        with zipfile.ZipFile(tmp_path / "g.pt") as plain, zipfile.ZipFile(tmp_path / "h.pt", "w", 8) as packed:
            for member in plain.infolist():
                packed.writestr(member.filename, plain.read(member))
        with pytest.raises(InputError, match="no whole PyTorch file"):
            import_circuit(tmp_path / "h.pt")

    def test_a_ledger_is_unpacked_no_further_than_a_ledger_goes(self, tmp_path: Path):
        with gzip.open(tmp_path / "jobs.jsonl.gz", "wb", compresslevel=1) as file:
            for _ in range(LARGEST // 2**24 + 1):
                file.write(bytes(2**24))
        with pytest.raises(InputError, match="is no ledger"):
            read_ledger(tmp_path / "jobs.jsonl.gz")

    def test_equal_rows_that_take_no_room_are_not_counted_out(self, tmp_path: Path):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        batch = pyarrow.table({name: pyarrow.repeat("x", 2**20) for name in ("clean", "corrupted", "answer")})
        with parquet.ParquetWriter(tmp_path / "p.parquet", batch.schema) as writer:
            for _ in range(40):
                writer.write_table(batch)
        assert (tmp_path / "p.parquet").stat().st_size < 2**20
        with pytest.raises(InputError, match="more than can be read"):
            read_pairs(tmp_path / "p.parquet")


class TestFolders:
    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        folder = tmp_path / "run"
        folder.mkdir()
        write_run("", folder)
        return folder

    def test_a_report_reads_no_file_that_a_link_leads_to(self, run: Path, tmp_path: Path):
        (tmp_path / "secret.yaml").write_text("password: hunter2\n")
        (run / "recipe.yaml").unlink()
        (run / "recipe.yaml").symlink_to(tmp_path / "secret.yaml")
        with pytest.raises(InputError, match="leads out of"):
            build(run)
        assert not (run / "report.html").exists()

    def test_a_run_that_goes_on_moves_nothing_that_a_link_leads_to(self, run: Path, tmp_path: Path, capsys):
        home = tmp_path / "home"
        (home / "thesis").mkdir(parents=True)
        (run / "jobs").symlink_to(home)
        (tmp_path / "r.yaml").write_text((run / "recipe.yaml").read_text())
        assert call(["run", "--recipe", str(tmp_path / "r.yaml"), "--out", str(run), "--jobs", "1"]) == 2
        assert "leads out of" in capsys.readouterr().err
        assert (home / "thesis").is_dir()

    def test_a_run_folders_recipe_names_no_file_outside(self, run: Path, tmp_path: Path):
        (tmp_path / "private.csv").write_text("clean,corrupted,answer\n")
        for name in ("../private.csv", str(tmp_path / "private.csv")):
            recipe = yaml.safe_load((run / "recipe.yaml").read_text())
            (run / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "data": {"file": name}}))
            with pytest.raises(InputError, match="lies outside"):
                _ = Run.open(run).recipe

    @pytest.mark.parametrize("name", ["../other", "/etc", "a/../../b", ""])
    def test_a_spec_names_no_job_outside(self, run: Path, name: str):
        with pytest.raises(InputError, match="is no name of a job"):
            Run(run).job(name)

    @pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../b"])
    def test_a_manifest_names_no_file_outside(self, tmp_path: Path, name: str):
        (tmp_path / "job").mkdir()
        (tmp_path / "secret").write_text("x")
        record = {"files": {name: {"bytes": 1, "sha256": "0" * 64}}}
        (tmp_path / "job" / COMPLETE).write_text(json.dumps(record))
        assert not is_complete(tmp_path / "job")
        assert "which is not in its folder" in verify(tmp_path / "job")[0]

    def test_what_is_of_no_step_is_named(self, tmp_path: Path):
        (tmp_path / "step-00002.safetensors").touch()
        (tmp_path / ".DS_Store").touch()
        with pytest.raises(InputError, match=r"\.DS_Store, which is of no step"):
            by_step(tmp_path)


class TestText:
    HOSTILE = 'x"""\nimport os; os.system("id")\n<script>alert(1)</script> [a](javascript:b) `c` | $\\frac$ \x1b[2J'

    def test_a_programs_strings_stay_strings(self):
        model = tiny_model("gpt_neox")
        plan = RankPlan.two_level(model, [1], 2, 4)
        tree = ast.parse(trl_script(plan, model, model=self.HOSTILE, dataset=self.HOSTILE))
        assert [node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)] == ["torch"]
        read = yaml.safe_load(axolotl_fragment(plan, model, model=self.HOSTILE.replace("\x1b", "")))
        assert read["base_model"] == self.HOSTILE.replace("\x1b", "")

    def test_a_model_card_has_no_markup_of_a_plan(self):
        model = tiny_model("gpt_neox")
        plan = RankPlan.two_level(model, [1], 2, 4)
        said = {"allocation": self.HOSTILE, "rule": self.HOSTILE, "gate": self.HOSTILE, "contest": self.HOSTILE}
        hostile = RankPlan(2, 4, (1,), plan.ranks, provenance=said, count=plan.count)
        text = model_card(hostile, model, model=self.HOSTILE)
        prose, _, rest = text.partition("```json")
        assert "<script>" not in prose
        assert "](javascript" not in prose.replace("\\]", "")
        assert rest.count("\n```") == 1  # nothing in the record ends its block

    def test_a_formula_is_disarmed_and_read_back(self, tmp_path: Path):
        labels = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''-x", "\uff1dx", "'x", "x", "", "1", " =x"]
        base = {"arm": "a", "seed": -1, "step": 0, "steps": 1, "epoch": -0.5, "split": "s", "examples": 1}
        base |= {"correct": 0, "accuracy": -0.0, "low": 0.0, "high": 1e-9, "loss": -2.5}
        rows = [AccuracyRow.model_validate({"label": label, **base}) for label in labels]
        write_rows(tmp_path / "t.csv", rows, AccuracyRow)
        assert read_rows(tmp_path / "t.csv", AccuracyRow) == rows
        lines = (tmp_path / "t.csv").read_bytes().decode().split("\n")[1:-1]
        assert [line.startswith(("'", "\"'")) for line in lines] == [True] * 10 + [False] * 4
        assert all(",-1,0,1,-0.5,s,1,0,-0.0,0.0,1e-09,-2.5" in line for line in lines)  # numbers as they are

    def test_a_notebook_shows_text(self):
        scores = EdgeScores(sample_scores().values, GRAPH, settings={"model": self.HOSTILE})
        assert "<script>" not in scores._repr_html_()
        assert "&lt;script&gt;" in scores._repr_html_()

    def test_figures_and_their_captions_show_text(self, tmp_path: Path):
        write_run("", tmp_path)
        hostile = {"label": "<script>alert(1)</script> $\\frac$", "seed": 0, "added": 1, "removed": 1, "rate": 0.1}
        rows = [
            TransitionRow.model_validate({**hostile, "step_from": step, "step_to": step + 1, "kind": kind})
            for kind in ("node", "edge")
            for step in (0, 1)
        ]
        write_rows(tmp_path / "tables" / "transitions.csv", rows, TransitionRow)
        drawn = draw(tmp_path, formats=("svg",))
        assert {path.name for path in drawn.files} >= {"transitions.svg", "figures.md"}
        assert all("<script>" not in path.read_text() for path in drawn.files)

    def test_an_error_is_one_tame_line(self):
        sentence = str(InputError(self.HOSTILE * 100))
        assert "\n" not in sentence
        assert "\x1b" not in sentence
        assert len(sentence) == 2000

    def test_the_command_prints_nothing_that_moves_the_cursor(self, tmp_path: Path, capsys):
        pairs = task("add_sub", limit=20, style="short").sample(60)
        kinds = [replace(pair, kind=f"{pair.kind}\x1b[2J\x9b2J\x7f") for pair in pairs]
        PairSet("mine", tuple(kinds)).to_jsonl(tmp_path / "p.jsonl")
        for more in ([], ["--json"]):
            assert call(["tasks", "check", str(tmp_path / "p.jsonl"), *more]) == 0
            shown = capsys.readouterr()
            assert "\N{REPLACEMENT CHARACTER}" in shown.out
            assert not set("\x1b\x7f\x9b") & set(shown.out + shown.err)


def test_the_summary_of_a_stranger_is_text_on_the_page(tmp_path: Path):
    """In the browser too: tests/browser/test_untrusted_page.py."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_run("", folder)
    said = {
        "title": "</title><script>x</script>",
        "sentences": ["</script><script>y"],
        "notes": [],
        "findings": {},
    }
    (folder / "summary.json").write_text(SummaryRecord.model_validate(said).model_dump_json())
    page = build(folder).read_text()
    assert page.count("<script>") == 1
