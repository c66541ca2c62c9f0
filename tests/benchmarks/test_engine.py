import json

import pytest
import torch

import engine
import reference_child
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.models.anatomy import anatomy_of
from measuring import Measured, Pairs

CASE = engine.Case(7, 5)


@pytest.fixture(scope="module", params=["tiny", "gpt2"])
def model(request):
    small = {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 64, "bos_token_id": 0, "eos_token_id": 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.SHAPES, "gpt2", {"model_type": "gpt2", **small})
        yield engine.random_model(request.param, torch.float32)


def whole_runs(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens).logits[:, -1]


def test_pairs_agree_on_the_prefix_and_nowhere_else():
    pairs = engine.random_pairs(CASE, 50, 64)
    assert pairs.shared == 4
    assert torch.equal(pairs.clean[:, :4], pairs.corrupted[:, :4])
    assert (pairs.clean[:, 4:] != pairs.corrupted[:, 4:]).all()
    assert (pairs.answer != pairs.wrong).all()


@pytest.mark.parametrize("first", [1, 5, 7])
@pytest.mark.parametrize("measure", [engine.floor_attribute, engine.floor_curve])
def test_the_floor_gives_the_models_own_logits(model, first, measure):
    pairs = engine.random_pairs(engine.Case(7, first), 3, 64)
    torch.testing.assert_close(measure(model, pairs)["logits"], whole_runs(model, pairs.clean))


def test_a_run_on_the_prefix_leaves_it_as_it_was(model):
    pairs = engine.random_pairs(CASE, 3, 64)
    ends = engine.floor_ends(model, pairs)
    torch.testing.assert_close(
        engine.last_logits(model, ends.corrupted, ends.prefix), whole_runs(model, pairs.corrupted)
    )
    torch.testing.assert_close(engine.last_logits(model, ends.clean, ends.prefix), ends.logits)


def test_the_curve_scores_the_circuits_the_reference_is_given(model):
    pairs = engine.random_pairs(CASE, 3, 64)
    graph = Graph.of(anatomy_of(model))
    scores = EdgeScores(engine.ours_attribute(model, pairs)["scores"], graph)
    pairs = engine.with_circuits(pairs, scores)
    circuits = [Circuit(mask, graph) for mask in pairs.circuits]
    evaluated = evaluate(model, engine.encoded(pairs), circuits)
    expected = torch.stack([result.circuit.metric.mean() for result in evaluated])
    torch.testing.assert_close(engine.ours_curve(model, pairs)["scores"], expected)


def test_every_weight_has_its_place_in_the_reference(model, tmp_path):
    model.save_pretrained(tmp_path)
    weights = reference_child.load_file(tmp_path / "model.safetensors")
    neox = model.config.model_type == "gpt_neox"
    mapped = reference_child.hooked_weights(weights, 2, neox)
    anatomy = anatomy_of(model)
    stream = torch.randn(3, anatomy.width)
    with torch.no_grad():
        q, k, v = anatomy.blocks[1].layout.split(anatomy.blocks[1].projections[0](stream[None]))
    for part, expected in zip("QKV", (q, k, v), strict=True):
        W, b = mapped[f"blocks.1.attn.W_{part}"], mapped[f"blocks.1.attn.b_{part}"]
        torch.testing.assert_close(torch.einsum("nd,hde->nhe", stream, W) + b, expected[0])
    heads = torch.randn(3, 2, 16)
    with torch.no_grad():
        expected = anatomy.blocks[1].output(heads.flatten(1)[None])[0]
    written = torch.einsum("nhe,hed->nd", heads, mapped["blocks.1.attn.W_O"]) + mapped["blocks.1.attn.b_O"]
    torch.testing.assert_close(written, expected)


def test_pairs_survive_the_file_between_the_processes(tmp_path):
    pairs = engine.random_pairs(CASE, 3, 64)._replace(scores=torch.randn(2, 3))
    pairs.save(tmp_path / "pairs")
    again = Pairs.load(tmp_path / "pairs")
    assert again.shared == pairs.shared
    assert again.circuits is None
    assert torch.equal(again.clean, pairs.clean)
    assert torch.equal(again.scores, pairs.scores)


def test_ratios_are_taken_within_a_repeat():
    floor = engine.row(CASE, "attribute", "floor", [Measured(1.0, 1.0, 100), Measured(2.0, 1.0, None)])
    runs = [Measured(1.5, 1.5, 300), Measured(5.0, 2.5, 300)]
    ours = engine.row(CASE, "attribute", "ours", runs, floor)
    assert ours.time == [1.5, 2.5]
    assert ours.memory == [3.0]
    assert "2 (1.5–2.5) x floor" in engine.line(ours, 1)
    assert engine.row(CASE, "attribute", "ours", runs, floor, threads=2).time == [1.5, 2.5]
    assert engine.busy([floor, ours], 1) == 0.5


@pytest.mark.parametrize("text", ["19", "19@", "19@20", "0@0", "a@b"])
def test_a_case_that_is_none_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        engine.parse(["--case", text])
    assert "such as 19@17" in capsys.readouterr().err


def test_a_checkout_without_a_python_is_refused(capsys):
    with pytest.raises(SystemExit):
        engine.parse(["--reference", "."])
    assert "belong together" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_command_in_small(tmp_path, capsys):
    file = tmp_path / "engine.json"
    engine.main(["--shape", "tiny", "--pairs", "2", "--repeats", "1", "--case", "6@4", "--json", str(file)])
    printed = capsys.readouterr().out.splitlines()
    rows = json.loads(file.read_text())["rows"]
    assert [(r["measure"], r["subject"]) for r in rows] == [
        ("attribute", "floor"), ("attribute", "ours"), ("curve", "floor"), ("curve", "ours"),
    ]  # fmt: skip
    assert all(r["processor"][0] > 0 for r in rows)
    assert sum("reference" in text and "not run" in text for text in printed) == 2
