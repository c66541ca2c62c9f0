"""A rank plan for other tools: a script for TRL, a fragment for axolotl, a section of a model card, a PEFT folder.

    plan = RankPlan.load("circuit_plan.json")
    base = skeleton("EleutherAI/pythia-160m")                      # its shapes; no weights are read
    trl_script(plan, base, model="EleutherAI/pythia-160m", dataset="sft.jsonl")
    axolotl_fragment(plan, base, model="EleutherAI/pythia-160m")
    model_card(plan, base, model="EleutherAI/pythia-160m")
    save_peft_folder(plan, model, Path("adapter"))                 # needs the model itself

`circuitune.adapters.uniform` writes a trained adapter with one rank for servers that read no patterns.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import LoraConfig
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from circuitune.adapters.allocation import OWNED, RankPlan
from circuitune.adapters.lora import attach, save_adapter
from circuitune.adapters.modules import linear_modules
from circuitune.adapters.uniform import COMPANIONS
from circuitune.adapters.verdicts import contest_verdict
from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import ensure_writable_folder, write_text
from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_bytes
from circuitune.models.explaining import explained
from circuitune.models.loading import NANO, NANO_FOLDER, require_sane

_READERS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}

_SCRIPT = '''\
"""Fine-tunes {shown} with LoRA of {parameters:,} parameters, ranks by circuitune. pip install trl"""

from peft import LoraConfig

lora = LoraConfig(
    task_type="CAUSAL_LM",
{fields}
)

import torch  # noqa: E402
from datasets import {loader}  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

trainer = SFTTrainer(
    model={model!r},
    args=SFTConfig(
        output_dir="adapter",
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),{revision}
    ),
    train_dataset={rows},
    peft_config=lora,
)
trainer.train()
trainer.save_model()
'''

_FRAGMENT = """\
# LoRA of {parameters:,} parameters, ranks by circuitune: put these keys into your axolotl configuration.
# lora_rank_pattern and lora_alpha_pattern go to PEFT's LoraConfig as they are; axolotl has them since 2026 (its pull
# request 3673). An older one does not: there give lora_model_dir the folder of `circuitune export PLAN --for peft`.
# lora_target_linear must stay unset, or every linear module is trained.
"""


def skeleton(name: str, *, offline: bool = False) -> PreTrainedModel:
    """A model's modules on the meta device, from its config alone.

    Args:
        name: as `models.loading.load` takes it: nano, a folder, a name on the hub, NAME@REVISION; no adapter.
        offline: take a hub model from the hub's cache, and ask nobody.

    Raises:
        InputError: no config there, or one of no causal language model.
    """
    place, revision = _place(name)
    with explained(name, lambda why: f"{name} is no causal language model that can be found ({why}); check --model."):
        config = AutoConfig.from_pretrained(
            place, revision=revision or "main", trust_remote_code=False, local_files_only=offline
        )
        require_sane(config, name)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def trl_script(plan: RankPlan, base: PreTrainedModel, *, model: str, dataset: str) -> str:
    """A whole Python program: the config, and TRL's ``SFTTrainer`` on the dataset.

    Args:
        plan: the ranks.
        base: the model or its `skeleton`.
        model: what the program loads, also NAME@REVISION.
        dataset: file, saved dataset or name on the hub that it trains on.

    Raises:
        InputError: a plan for another model.
    """
    fields = ",\n".join(f"    {name}={_literal(value, 4)}" for name, value in _decided(plan, base).items())
    loader, rows = _loading(dataset)
    place, revision = _place(model)
    return _SCRIPT.format(
        model=place,
        shown=re.sub(r"[^\w./@ +-]", "_", place),  # it stands in a docstring, and could end it
        revision=f'\n        model_init_kwargs={{"revision": {revision!r}}},' if revision else "",
        parameters=plan.parameters(base),
        fields=f"{fields},",
        loader=loader,
        rows=rows,
    )


def axolotl_fragment(plan: RankPlan, base: PreTrainedModel, *, model: str) -> str:
    """Keys of an axolotl configuration; axolotl makes the same ``LoraConfig`` of them as `RankPlan.to_lora_config`.

    Raises:
        InputError: a plan for another model, or an alpha that is not whole (axolotl takes no other).
    """
    decided = _decided(plan, base)
    patterns = decided.get("alpha_pattern", {})
    broken = [value for value in (decided["lora_alpha"], *patterns.values()) if value != int(value)]
    if broken:
        raise InputError(f"axolotl takes whole lora_alpha only, and this plan has {broken[0]}; choose another alpha.")
    place, revision = _place(model)
    keys = {
        "base_model": place,
        **({"revision_of_model": revision} if revision else {}),
        "adapter": "lora",
        "lora_r": decided["r"],
        "lora_alpha": decided["lora_alpha"],
        "lora_dropout": 0.0,
        "lora_fan_in_fan_out": decided.get("fan_in_fan_out", False),
        "lora_target_modules": decided["target_modules"],
        "lora_rank_pattern": decided.get("rank_pattern", {}),
        "lora_alpha_pattern": patterns,
    }
    written = {key: value for key, value in keys.items() if value != {}}
    text = yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=1000)
    return _FRAGMENT.format(parameters=plan.parameters(base)) + text


def model_card(plan: RankPlan, base: PreTrainedModel, *, model: str) -> str:
    """A section of a model card in Markdown: the ranks, where they come from and what is known of such plans."""
    plan, whole = plan.resolve(base), base.num_parameters()
    said = plan.provenance
    source, revision = _named(model)
    shown = _prose(f"{source} (revision {revision})" if revision else source)
    lines = [
        "## LoRA ranks",
        "",
        f"{plan.count:,} trainable parameters ({plan.count / (whole + plan.count):.4%} of the whole) on {shown}; "
        f"alpha / r = {plan.alpha_over_rank:g}. Ranks planned by circuitune: {_origin(plan)}.",
        "",
        *_rank_table(plan, base),
        "",
    ]
    if "gate" in said:
        lines += [f"Was the choice stable and more than chance? {_prose(said['gate'])}.", ""]
    verdict = _prose(said.get("contest", "")) or contest_verdict(said)
    if verdict:
        lines += [f"Against uniform LoRA of the same size: {verdict}", ""]
    lines += [
        "<details><summary>Provenance (circuit_plan.json)</summary>",
        "",
        "```json",
        json.dumps(dict(said), indent=1, sort_keys=True, ensure_ascii=False),
        "```",
        "",
        "</details>",
        "",
    ]
    return "\n".join(lines)


def save_peft_folder(
    plan: RankPlan, model: PreTrainedModel, folder: Path, *, name: str, scores: Path | None = None, seed: int = 0
) -> list[Path]:
    """A PEFT adapter of the planned ranks before training, its plan and its card; returns what was written.

    Any tool that goes on with a saved adapter can train it (``PeftModel.from_pretrained(..., is_trainable=True)``):
    B is zero, so it computes what the base does, and A is drawn from `seed`. `model` is left as it was.

    Args:
        plan: the ranks.
        model: the base model.
        folder: to write.
        name: of the base model, as others load it; NAME@REVISION is written as PEFT's two fields.
        scores: file of the edge scores that the plan was made from; copied, means only.
        seed: of A.

    Raises:
        InputError: a plan for another model, or scores that the plan was not made from.
    """
    plan = plan.resolve(model)
    kept = None if scores is None else own_scores(plan, scores)
    ensure_writable_folder(folder)
    card = model_card(plan, model, model=name)
    adapted = attach(model, plan, seed)
    source, revision = _named(name)
    try:
        config = adapted.peft_config["default"]
        config.base_model_name_or_path, config.revision = source, revision or None
        save_adapter(adapted, folder)
    finally:
        adapted.unload()
    written = [folder / "adapter_model.safetensors", folder / "adapter_config.json", folder / COMPANIONS[0]]
    plan.save(folder / COMPANIONS[0])
    if kept is not None:
        kept.save(folder / COMPANIONS[1])
        written.append(folder / COMPANIONS[1])
    head = yaml.safe_dump({"base_model": source, "library_name": "peft", "tags": ["lora"]}, sort_keys=False)
    write_text(folder / "README.md", f"---\n{head}---\n\n{card}")
    return [*written, folder / "README.md"]


def own_scores(plan: RankPlan, path: Path) -> EdgeScores:
    """The scores in this file without their examples; InputError where the plan was made from others."""
    scores = EdgeScores.load(path)
    digest = sha256_bytes(scores.values.contiguous().numpy().tobytes())
    if plan.provenance.get("before.scores_sha256") != digest:
        raise InputError(
            f"{path} holds other scores than the plan was made from; make the plan again to have its own."
        )
    return EdgeScores(scores.values, scores.graph, scores.completeness, settings=scores.settings)


def _named(model: str) -> tuple[str, str]:
    """Name and revision, empty where there is none; a folder may have an @ in its name."""
    name, _, revision = (model, "", "") if Path(model).exists() else model.partition("@")
    return name, revision


def _place(model: str) -> tuple[str, str]:
    """The same, with nano as the folder that other libraries find it in."""
    name, revision = _named(model)
    return (str(NANO_FOLDER) if model == NANO else name), revision


def _decided(plan: RankPlan, base: PreTrainedModel) -> dict[str, Any]:
    """The fields of the ``LoraConfig`` that the plan decides, without those that are empty or PEFT's default."""
    config, default = plan.to_lora_config(base), LoraConfig()
    fields = {name: getattr(config, name) for name in OWNED}
    fields["target_modules"] = sorted(fields["target_modules"], key=list(linear_modules(base)).index)
    kept = ("r", "lora_alpha", "target_modules")
    return {name: value for name, value in fields.items() if name in kept or value != getattr(default, name)}


def _literal(value: object, indent: int) -> str:
    """Python source of a list or mapping, one item a line; of anything else on one."""
    space = " " * indent
    if isinstance(value, Mapping):
        inner = "".join(f"{space}    {key!r}: {item!r},\n" for key, item in value.items())
        return f"{{\n{inner}{space}}}"
    if isinstance(value, list):
        inner = "".join(f"{space}    {item!r},\n" for item in value)
        return f"[\n{inner}{space}]"
    return repr(value)


def _loading(dataset: str) -> tuple[str, str]:
    """The function of the library ``datasets`` that reads it, and the call."""
    path = Path(dataset)
    if path.is_dir():
        return "load_from_disk", f"load_from_disk({dataset!r})"
    if path.suffix.lower() in _READERS:
        reader = _READERS[path.suffix.lower()]
        return "load_dataset", f'load_dataset({reader!r}, data_files={dataset!r}, split="train")'
    return "load_dataset", f'load_dataset({dataset!r}, split="train")'


def _origin(plan: RankPlan) -> str:
    said = plan.provenance
    rule = f", importance by rule {said['rule']}" if "rule" in said else ""
    data = ""
    if "dataset" in said:
        data = f", from the base model's circuit on {said.get('rows')} rows of {Path(str(said['dataset'])).name}"
    layers = ", ".join(map(str, plan.critical_layers))
    critical = f"; critical layers, most important first: {layers}" if layers else ""
    return _prose(f"{said.get('allocation', 'by hand')}{rule}{data}{critical}")


def _prose(value: object) -> str:
    """Text of a plan's file in Markdown: on one line, and neither HTML nor a link."""
    return re.sub(r"([\[\]`|])", r"\\\1", html.escape(" ".join(str(value).split()), quote=False))


def _rank_table(plan: RankPlan, base: PreTrainedModel) -> Sequence[str]:
    """By layer where the modules of every layer share a rank, else by module."""
    modules = linear_modules(base)
    by_layer = {(module.layer, plan.ranks.get(name, 0)) for name, module in modules.items()}
    if len(by_layer) == len({layer for layer, _ in by_layer}):
        return ["| layer | rank |", "|---|---|", *(f"| {layer} | {rank} |" for layer, rank in sorted(by_layer))]
    return ["| module | rank |", "|---|---|", *(f"| {name} | {plan.ranks.get(name, 0)} |" for name in modules)]
