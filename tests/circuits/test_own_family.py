"""The entry that the documents show is under 40 lines and passes every check."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import StableLmConfig, StableLmForCausalLM

from circuitune.circuits.checking import check_model
from circuitune.core.errors import InputError
from circuitune.models import families

DOCUMENT = Path(__file__).parents[2] / "docs" / "families.md"


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> str:
    """The document's second block of code, run; what it registers is gone after the test."""
    monkeypatch.setattr(families, "FAMILIES", dict(families.FAMILIES))
    code = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, str(DOCUMENT), "exec"), {})
    return code


def stablelm(**settings: Any) -> StableLmForCausalLM:
    torch.manual_seed(0)
    config = StableLmConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **settings,
    )
    model = StableLmForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("parallel", [False, True])
def test_the_documents_entry_passes_every_check(parallel: bool, entry: str):
    assert len(entry.splitlines()) < 40
    report = check_model(stablelm(use_parallel_residual=parallel), edges=10)
    assert report.family == "stablelm"
    assert report.passed, [check.sentence for check in report.checks if not check.passed]


def test_without_it_the_model_is_refused_and_the_document_named():
    with pytest.raises(InputError, match=r"'stablelm' is not supported.*docs/families\.md"):
        check_model(stablelm())
