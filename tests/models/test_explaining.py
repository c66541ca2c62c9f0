import pytest
import torch

from circuitune.core.errors import InputError, MachineError
from circuitune.models.explaining import explained


def fail(error: Exception) -> None:
    with explained("a/model", lambda why: f"a/model is none ({why}); give another."):
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such type.\nSee the pages on types."), "no such type"),
        (RuntimeError("Error(s) in loading:\n\tsize mismatch\n\tfor w."), "Error(s) in loading: size mismatch for w"),
        (KeyError("nope"), "nothing is named 'nope'"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (OSError("x" * 5000), "x" * 300),
    ],
)
def test_what_a_library_raises_is_one_sentence(error: Exception, reason: str):
    with pytest.raises(InputError) as raised:
        fail(error)
    assert str(raised.value) == f"a/model is none ({reason}); give another."


@pytest.mark.parametrize("error", [InputError("Ours."), MachineError("Ours.")])
def test_our_own_errors_pass_as_they_are(error: Exception):
    with pytest.raises(type(error), match=r"^Ours\.$"):
        fail(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
    ],
)
def test_too_little_memory_is_the_machine_s(error: Exception):
    with pytest.raises(MachineError, match=r"^Not enough memory to load a/model\.$"):
        fail(error)
