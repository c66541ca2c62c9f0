"""`check_model` passes what is right and names what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from circuitune.circuits.checking import STATEMENTS, check_model
from circuitune.core.errors import InputError
from circuitune.models import families
from circuitune.models.anatomy import Anatomy, Block, Mlp, Norm
from circuitune.testing import SHAPES, random_pairs, tiny_model

Change = Callable[[Anatomy], Anatomy]

USUAL = ("gpt2", "gpt_neox", "llama", "gemma2", "bloom")
"""Checked with every change; the others belong to `make check`."""


@pytest.mark.parametrize(
    "family", [family if family in USUAL else pytest.param(family, marks=pytest.mark.slow) for family in SHAPES]
)
def test_every_family_passes(family: str):
    report = check_model(tiny_model(family, layers=2, kv_heads=2), edges=12)
    failed = [check.sentence for check in report.checks if not check.passed]
    # Experts change on the path of a random mixture, where no number of steps makes the integral exact.
    assert all("add up to the rise of the loss" in sentence for sentence in failed), failed
    assert [check.name for check in report.checks] == [*STATEMENTS, "exact"]


def test_the_language_model_inside_gemma_3_passes():
    text = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 4,
        "query_pre_attn_scalar": 8,
        "max_position_embeddings": 64,
    }
    seeing = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    tokens = {"image_token_index": 96, "boi_token_index": 95, "eoi_token_index": 94}
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config=seeing, mm_tokens_per_image=4, **tokens)
    model = Gemma3ForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    report = check_model(model, edges=8)
    assert report.passed, [check.sentence for check in report.checks if not check.passed]


def blocks(change: Callable[[Block], Block]) -> Change:
    return lambda anatomy: replace(anatomy, blocks=tuple(change(block) for block in anatomy.blocks))


def other_layout(block: Block) -> Block:
    kind = "group" if block.layout.kind == "letter" else "letter"
    return replace(block, layout=replace(block.layout, kind=kind))


def ordered(*order: int) -> Change:
    return blocks(lambda block: replace(block, projections=tuple(block.projections[i] for i in order)))


def no_heads_norm(block: Block) -> Block:
    return replace(block, heads_norm=None)


def plain_norms(block: Block) -> Block:
    return replace(block, attention_norm=replace(block.attention_norm, offset=0.0))


def rough(norm: Norm) -> Norm:
    return replace(norm, epsilon=0.1)


WRONG: dict[str, tuple[str, Change, str]] = {
    "epsilon": ("gpt2", blocks(lambda b: replace(b, mlp_norm=rough(b.mlp_norm))), "norms"),
    "offset of the norms": ("gemma", blocks(plain_norms), "norms"),
    "kind of the last norm": ("gpt2", lambda a: replace(a, final_norm=replace(a.final_norm, kind="rms")), "norms"),
    "parallel": ("gpt_neox_serial", lambda a: replace(a, parallel=True), "streams"),
    "serial": ("gpt_neox", lambda a: replace(a, parallel=False), "streams"),
    "layout": ("gpt_neox", blocks(other_layout), "heads"),
    "layout of separate projections": ("llama", blocks(other_layout), "heads"),
    "keys for values": ("llama", ordered(0, 2, 1), "heads"),
    "queries for keys": ("opt", ordered(1, 0, 2), "heads"),
    "soft cap": ("gemma2", lambda a: replace(a, softcap=None), "full circuit"),
    "norm after the heads": ("gemma2", blocks(no_heads_norm), "streams"),
    "norm after the MLP": ("gemma2", blocks(lambda b: replace(b, mlp=Mlp.of(b.module.mlp))), "streams"),
    "norm of the embedding": ("bloom", lambda a: replace(a, embedding_norm=None), "streams"),
    "embedding": ("llama", lambda a: replace(a, embedding=nn.Embedding(97, a.width)), "input"),
    "what the MLP reads": (
        "llama",
        blocks(lambda b: replace(b, mlp=replace(b.mlp, reads=b.module.mlp.up_proj))),
        "gradients",
    ),
    "what the MLP computes": (
        "opt",
        blocks(lambda b: replace(b, mlp=replace(b.mlp, compute=lambda x: b.mlp.compute(x) / 2))),
        "full circuit",
    ),
    "a block left out": ("llama", lambda a: replace(a, blocks=a.blocks[:-1]), "streams"),
}


QUICK = ("epsilon", "serial", "layout", "norm after the heads", "what the MLP reads", "soft cap")


@pytest.mark.parametrize(
    "mistake", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WRONG]
)
def test_a_wrong_anatomy_is_found_and_the_sentence_says_where_to_look(mistake: str, monkeypatch: pytest.MonkeyPatch):
    family, change, name = WRONG[mistake]
    model = tiny_model(family, layers=2, kv_heads=2)
    kind = model.config.model_type
    right = families.FAMILIES[kind]
    monkeypatch.setitem(families.FAMILIES, kind, lambda found: change(right(found)))
    report = check_model(model, edges=8)
    assert not report.passed
    assert "cannot be trusted" in report.verdict
    first = next(check for check in report.checks if not check.passed)
    assert first.name == name
    assert "Look at" in first.sentence


def test_the_model_is_left_as_it_was():
    model = tiny_model("gpt2")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    check_model(model, edges=8)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_half_precision_is_judged_by_its_own_rounding():
    report = check_model(tiny_model("llama", layers=2, dtype=torch.bfloat16))
    assert report.dtype == "bfloat16"
    assert report.passed, [check.sentence for check in report.checks if not check.passed]


@pytest.mark.slow
def test_a_model_that_jumps_keeps_its_exact_scores():
    """A step function in an MLP: no number of points integrates it, and nothing else is wrong."""

    class Steps(nn.Module):
        def forward(self, x: Any) -> Any:
            return 4 * x + 8 * torch.round(4 * x.detach())

    model = tiny_model("gpt2", layers=2)
    for block in model.transformer.h:
        block.mlp.act = Steps()
    report = check_model(model, edges=8)
    assert [check.name for check in report.checks if not check.passed] == ["completeness"]
    assert report.verdict.startswith("Exact scores and circuits of this model can be trusted")


def test_pairs_that_do_not_differ_are_refused():
    inputs = random_pairs(4)
    with pytest.raises(InputError, match="nothing to find"):
        check_model(tiny_model("gpt2"), replace(inputs, corrupted=inputs.clean))


def test_tokens_the_model_does_not_know_are_refused_in_a_sentence():
    inputs = random_pairs(4)
    with pytest.raises(InputError, match="does not run on these tokens"):
        check_model(tiny_model("gpt2"), replace(inputs, clean=inputs.clean + 10_000))


def test_a_record_holds_plain_values():
    record = check_model(tiny_model("gpt2", layers=1)).to_record()
    assert record["passed"] is True
    assert {check["name"] for check in record["checks"]} == {*STATEMENTS, "exact"}
