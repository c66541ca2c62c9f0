import json
import struct

import pytest
import safetensors.torch
import torch

from circuitune.core import tensors
from circuitune.core.errors import InputError, MachineError

CONTENT = {
    "values": torch.tensor([[0.1, -2.0], [3.5, float("nan")]]),
    "mask": torch.tensor([True, False]),
    "empty": torch.zeros(0, 2),
    "scalar": torch.tensor(7),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
}
METADATA = {"kind": "scores", "settings": {"steps": 5, "share": 1e-05, "name": "ü"}, "completeness": None}


@pytest.fixture
def path(tmp_path):
    tensors.save(tmp_path / "file.safetensors", CONTENT, METADATA)
    return tmp_path / "file.safetensors"


def test_tensors_and_metadata_read_back(path):
    loaded, metadata = tensors.load(path)
    assert metadata == METADATA
    assert loaded.keys() == CONTENT.keys()
    for name, tensor in CONTENT.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.allclose(loaded[name], tensor, rtol=0, atol=0, equal_nan=True)


def test_other_tools_can_read_the_tensors(path):
    assert torch.equal(safetensors.torch.load_file(path)["mask"], CONTENT["mask"])


def test_equal_content_in_any_order_gives_equal_bytes(path):
    again = path.with_name("again")
    tensors.save(again, dict(reversed(CONTENT.items())), dict(reversed(METADATA.items())))
    assert again.read_bytes() == path.read_bytes()


def test_views_that_share_memory_and_gradients_are_no_obstacle(path):
    base = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    tensors.save(path, {"whole": base, "turned": base.T, "row": base[1]}, {})
    loaded, _ = tensors.load(path)
    assert torch.equal(loaded["turned"], base.T)
    assert torch.equal(loaded["row"], base[1])


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_every_flipped_bit_is_refused_in_one_sentence(tmp_path, bit):
    path = tmp_path / "file.safetensors"
    tensors.save(path, {"values": torch.tensor([1.0, 2.0]), "mask": torch.tensor([True])}, {"share": 1e-05})
    data = path.read_bytes()
    refusals: list[str] = []
    for index in range(len(data)):
        damaged = bytearray(data)
        damaged[index] ^= 1 << bit
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            tensors.load(path)
        refusals.append(str(caught.value))
    assert all(refusal.startswith(str(path)) and "\n" not in refusal for refusal in refusals)


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"make it again\.$"):
            tensors.load(path)


def test_a_bit_flipped_in_a_tensor_is_called_damage(path):
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="does not match its checksum"):
        tensors.load(path)


def test_metadata_changed_by_hand_is_called_damage(path):
    loaded, _ = tensors.load(path)
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    text = header["__metadata__"][tensors.KEY].replace('"steps":5', '"steps":6')
    safetensors.torch.save_file(loaded, path, metadata={tensors.KEY: text})
    with pytest.raises(InputError, match="does not match its checksum"):
        tensors.load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere cannot be read \(No such file"):
        tensors.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory"):
        tensors.load(tmp_path)


def test_foreign_files_are_told_apart(tmp_path):
    safetensors.torch.save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors was not written by circuitune"):
        tensors.load(tmp_path / "model.safetensors")
    torch.save({"weight": torch.ones(2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt is not a whole safetensors file"):
        tensors.load(tmp_path / "model.pt")


def test_metadata_that_is_not_finite_is_refused_and_the_old_file_stays(path):
    before = path.read_bytes()
    with pytest.raises(MachineError, match="not finite"):
        tensors.save(path, CONTENT, {"completeness": float("nan")})
    assert path.read_bytes() == before
