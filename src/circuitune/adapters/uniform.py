"""An adapter of many ranks as one of a single rank and scale, with the same outputs.

    pad_uniform(Path("adapter"), Path("padded"))

Servers such as vLLM, SGLang and llama.cpp read one ``r`` and one ``lora_alpha`` and no patterns. Every module gets
the largest rank: A [K, input] gets rows of zeros and B [output, K] columns of zeros, so that B A is what it was.
The scale, alpha / r (rsLoRA: alpha / sqrt(r)), becomes one number: where all modules share it and alpha stays whole,
B is untouched; else it goes into B and alpha = r.

Modules without factors stay without: these servers look factors up by module and leave others as they are. Where one
list of targets must hold in every block, give `everywhere`, the base's linear modules: those that have a namesake
with factors in another block get factors of zeros.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from torch import Tensor

from circuitune.adapters.modules import LinearModule
from circuitune.core.atomic import ensure_writable_folder, write_bytes, write_json
from circuitune.core.errors import InputError
from circuitune.core.parsing import parse_object

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
COMPANIONS = ("circuit_plan.json", "circuit_scores.safetensors")
"""What lies beside an adapter and says where its ranks come from; copied along."""

_PREFIX = "base_model.model."

_OTHER = (
    "use_dora",
    "lora_bias",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "use_qalora",
    "velora_config",
    "monteclora_config",
    "arrow_config",
    "megatron_config",
    "use_bdlora",
    "kasa_config",
)
"""Fields of ``LoraConfig`` with which the change of a weight is not s B A."""

_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations after which an adapter fits a changed base only."""


@dataclass(frozen=True)
class Padded:
    """What became of an adapter.

    Attributes:
        rank: of every module.
        scale: alpha / r.
        modules: how many have factors.
        zeros: how many of these have nothing else.
        parameters: before and after.
        files: what was written.
    """

    rank: int
    scale: float
    modules: int
    zeros: int
    parameters: tuple[int, int]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Factors:
    a: Tensor
    b: Tensor
    scale: float


def pad_uniform(adapter: Path, out: Path, everywhere: Mapping[str, LinearModule] | None = None) -> Padded:
    """Write the adapter with one rank and one scale; the base model is not needed.

    Args:
        adapter: folder of a saved LoRA or rsLoRA adapter.
        out: folder to write, empty or new.
        everywhere: linear modules of the base's blocks; see the module docstring.

    Raises:
        InputError: no adapter there, one that is more than LoRA factors, or a folder to write that holds files.
    """
    if out.resolve() == adapter.resolve():
        raise InputError(f"--out {out} is the adapter itself; name another folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out} is a file or holds other files; name an empty or new folder.")
    factors = _read(adapter)
    before = sum(f.a.numel() + f.b.numel() for f in factors.values())
    rank, adapted = max(len(f.a) for f in factors.values()), len(factors)
    scale = _common_scale(factors, rank)
    if everywhere is not None:
        factors |= _zeros(factors, everywhere)
    tensors = {
        f"{_PREFIX}{name}.lora_{letter}.weight": tensor
        for name, f in factors.items()
        for letter, tensor in zip("AB", _padded(f, rank, scale), strict=True)
    }
    said = _said(adapter) | {
        "r": rank,
        "lora_alpha": round(scale * rank),
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "init_lora_weights": True,
    }
    if len(factors) > adapted:
        said["target_modules"] = sorted(factors)
    ensure_writable_folder(out)
    write_bytes(out / WEIGHTS, safetensors.torch.save(tensors, {"format": "pt"}))
    write_json(out / CONFIG, said)
    companions = [name for name in COMPANIONS if (adapter / name).is_file()]
    for name in companions:
        shutil.copyfile(adapter / name, out / name)
    after = sum(tensor.numel() for tensor in tensors.values())
    files = tuple(out / name for name in (WEIGHTS, CONFIG, *companions))
    return Padded(rank, scale, len(factors), len(factors) - adapted, (before, after), files)


def _read(adapter: Path) -> dict[str, _Factors]:
    """Every module's factors by its full name in the base model."""
    config = _config(adapter)
    try:
        state = safetensors.torch.load_file(adapter / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{adapter / WEIGHTS} cannot be read ({error}); save the adapter as safetensors.") from error
    endings = (".lora_A.weight", ".lora_B.weight")
    foreign = [key for key in state if not (key.startswith(_PREFIX) and key.endswith(endings))]
    if foreign or not state:
        what = f"holds {foreign[0]}" if foreign else "is empty"
        raise InputError(f"{adapter / WEIGHTS} {what}, and only plain LoRA factors can be padded; merge it instead.")
    names = sorted({key.removeprefix(_PREFIX).rsplit(".", 2)[0] for key in state})
    factors: dict[str, _Factors] = {}
    for name in names:
        a, b = (state.get(f"{_PREFIX}{name}{ending}") for ending in endings)
        if a is None or b is None or a.ndim != 2 or b.ndim != 2 or len(a) != b.shape[1]:
            raise InputError(f"{adapter / WEIGHTS} has no two factors that fit for {name}; save the adapter again.")
        alpha = _alpha(config, name)
        factors[name] = _Factors(a, b, alpha / (sqrt(len(a)) if config.use_rslora else len(a)))
    return factors


def _alpha(config: LoraConfig, name: str) -> float:
    patterns = config.alpha_pattern or {}
    return patterns.get(get_pattern_key(list(patterns), name), config.lora_alpha)


def _config(adapter: Path) -> LoraConfig:
    if not (adapter / CONFIG).is_file():
        raise InputError(f"{adapter} holds no {CONFIG}; give the folder of a saved LoRA adapter.")
    _said(adapter)
    try:
        config: Any = PeftConfig.from_pretrained(str(adapter))
        if config.peft_type is None:
            raise ValueError("no peft_type")
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"{adapter / CONFIG} is not a config of PEFT ({error}); save the adapter again.") from error
    init = str(config.init_lora_weights) if isinstance(config, LoraConfig) else ""
    if type(config) is not LoraConfig:
        other = str(getattr(config.peft_type, "value", config.peft_type))
    elif init.startswith(_CHANGES_BASE):
        other = f"LoRA with init_lora_weights={init!r}, which changes the base"
    else:
        other = next((f"LoRA with {name}" for name in _OTHER if getattr(config, name, None)), "")
    if other:
        raise InputError(f"{adapter} is {other}, and only plain LoRA and rsLoRA can be padded; merge it instead.")
    return config


def _said(adapter: Path) -> dict[str, Any]:
    """The members of the adapter's config; InputError where it is no JSON object."""
    try:
        return parse_object((adapter / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{adapter / CONFIG} is not a config of PEFT ({error}); save the adapter again.") from error


def _common_scale(factors: Mapping[str, _Factors], rank: int) -> float:
    """The scale that all share, if alpha = scale x rank is then whole; else 1."""
    first, *others = {f.scale for f in factors.values()}
    return first if not others and (first * rank).is_integer() else 1.0


def _padded(f: _Factors, rank: int, scale: float) -> tuple[Tensor, Tensor]:
    missing = rank - len(f.a)
    b = f.b if f.scale == scale else (f.b.float() * (f.scale / scale)).to(f.b.dtype)
    a_KI = torch.cat([f.a, f.a.new_zeros(missing, f.a.shape[1])])
    b_OK = torch.cat([b, b.new_zeros(len(b), missing)], dim=1)
    return a_KI, b_OK


def _zeros(factors: Mapping[str, _Factors], everywhere: Mapping[str, LinearModule]) -> dict[str, _Factors]:
    """Factors of rank 0 for modules without any whose last name another block has factors for."""
    foreign = [name for name in factors if name not in everywhere]
    if foreign:
        raise InputError(
            f"The adapter has factors for {foreign[0]}, which is no linear module of that base's blocks."
        )
    some = next(iter(factors.values()))
    last = {name.rpartition(".")[2] for name in factors}
    return {
        name: _Factors(some.a.new_zeros(0, module.inputs), some.b.new_zeros(module.outputs, 0), some.scale)
        for name, module in everywhere.items()
        if name not in factors and name.rpartition(".")[2] in last
    }
