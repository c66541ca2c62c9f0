import pytest
import torch

from circuitune.circuits import attribution, faithfulness
from circuitune.circuits.attribution import attribute
from circuitune.circuits.batches import Batch, batches
from circuitune.circuits.faithfulness import evaluate
from circuitune.circuits.halving import in_pieces
from circuitune.core.errors import MachineError, out_of_memory
from circuitune.testing import random_pairs, tiny_model

CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


def test_every_way_of_saying_it_is_known():
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), RuntimeError(CPU)):
        assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory(ValueError("out of memory"))


@pytest.fixture
def parts() -> list[Batch]:
    return list(batches(random_pairs(7), torch.device("cpu"), 10**6))


def rows(done: list[tuple[Batch, object]]) -> list[int]:
    return torch.cat([piece.rows for piece, _ in done]).tolist()


def test_batches_are_halved_until_they_fit_and_keep_their_rows(parts: list[Batch]):
    tried: list[int] = []

    def work(batch: Batch) -> int:
        tried.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError(CPU)
        return len(batch)

    whole = rows([(batch, None) for batch in parts])
    with pytest.warns(UserWarning, match=r"memory did not hold a batch of \d+; going on with \d+ at a time"):
        done = list(in_pieces(work, parts))
    assert rows(done) == whole
    assert max(size for _, size in done) <= 2
    assert tried.count(7) <= 1  # what did not fit once is not tried again


@pytest.mark.filterwarnings("ignore:memory did not hold")
def test_a_single_row_that_does_not_fit_is_the_end(parts: list[Batch]):
    def work(batch: Batch) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(MachineError, match=r"Out of memory with a batch of 1 .*shorten"):
        list(in_pieces(work, parts))


def test_other_errors_pass(parts: list[Batch]):
    def work(batch: Batch) -> int:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_pieces(work, parts))


def test_scores_and_faithfulness_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch):
    model = tiny_model("gpt2")
    inputs = random_pairs(6)
    scores = attribute(model, inputs, steps=2)
    whole = evaluate(model, inputs, scores.top(0.3))

    def short(work):
        def limited(*given):
            if len(given[-1]) > 2:
                raise RuntimeError(CPU)
            return work(*given)

        return limited

    monkeypatch.setattr(attribution, "attribute_batch", short(attribution.attribute_batch))
    monkeypatch.setattr(faithfulness._Request, "_measure_batch", short(faithfulness._Request._measure_batch))
    with pytest.warns(UserWarning, match="memory did not hold"):
        halved = attribute(model, inputs, steps=2)
    with pytest.warns(UserWarning, match="memory did not hold"):
        again = evaluate(model, inputs, scores.top(0.3))
    torch.testing.assert_close(halved.values, scores.values)
    assert halved.settings == scores.settings
    torch.testing.assert_close(again.circuit.metric, whole.circuit.metric)


def test_a_broken_weight_and_an_overflow_are_named_with_their_layer():
    model = tiny_model("gpt_neox")
    inputs = random_pairs(4)
    scores = attribute(model, inputs, steps=2)
    with torch.no_grad():
        model.gpt_neox.layers[1].mlp.dense_4h_to_h.weight.mul_(1e38)
        model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight.mul_(1e6)
    layer = r"not finite: the output of gpt_neox\.layers\.1\.mlp\.dense_4h_to_h is the first"
    with pytest.raises(MachineError, match=layer):
        attribute(model, inputs, steps=2)
    with pytest.raises(MachineError, match=layer):
        evaluate(model, inputs, scores.top(0.3))
    with torch.no_grad():
        model.gpt_neox.layers[0].attention.dense.weight[0, 0] = torch.nan
    with pytest.raises(MachineError, match=r"the weight gpt_neox\.layers\.0\.attention\.dense\.weight holds NaN"):
        attribute(model, inputs, steps=2)
