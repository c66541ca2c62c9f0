import resource
from pathlib import Path

import pytest

from circuitune.core.errors import MachineError
from circuitune.testing import tiny_model
from circuitune.training.whole import Full


def test_a_disk_that_is_full_for_safetensors_is_a_machine_error_and_leaves_nothing(tokenizer, tmp_path: Path):
    model = tiny_model("gpt_neox")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # weights are written by a library that is not Python
    try:
        with pytest.raises(MachineError, match=r"step-00000 could not be written .*free space"):
            Full().save(model, tokenizer, tmp_path / "step-00000")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not any(tmp_path.iterdir())
