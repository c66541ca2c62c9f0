"""Whether results on one model can be trusted: what must hold of any model, tried on this one.

    report = check_model(model)                 # on random tokens; or check_model(model, inputs)
    print(report.verdict)

The engine takes an `Anatomy` at its word: which modules are the norms, the projections, the MLP of a block, and how
they fit together. A wrong one gives scores as smooth as a right one, so each of its statements is tried here on the
model itself (`trials.py`). Errors are measured against what corrupting the prompt changes in the same place, because
that is what scores are made of: 1e-3 is a thousandth of the largest effect there is to find.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from circuitune.circuits import trials
from circuitune.circuits.metrics import Loss, resolve
from circuitune.circuits.quadrature import LARGE_RESIDUAL
from circuitune.circuits.trials import Found, Trial
from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.running import prepared

BOUNDS = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 1e-1}
"""Largest error that rounding explains, by the type of the residual stream; many norms compute in float32 always."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold of a model.

    Attributes:
        name: which.
        value: largest error found (of ``exact`` the correlation); None where it could not be computed.
        bound: largest that passes; None for what is told for information.
        passed: whether it does.
        sentence: what was found, in words.
    """

    name: str
    value: float | None
    bound: float | None
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Report:
    """What `check_model` found.

    Attributes:
        family: the `Anatomy`'s name.
        dtype: type of the residual stream.
        pairs: number of pairs.
        checks: in the order in which they build on each other.
    """

    family: str
    dtype: str
    pairs: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks do."""
        return all(check.passed for check in self.checks)

    @property
    def verdict(self) -> str:
        """Whether the engine computes on this model what it says, in a sentence or two."""
        failed = [check.name for check in self.checks if not check.passed]
        if not failed:
            judged = sum(check.bound is not None for check in self.checks)
            return (
                f"This model is read correctly: all {judged} checks pass in {self.dtype}. How near EAP-IG comes to "
                "exact scores depends on the pairs."
            )
        if failed == ["completeness"]:
            return (
                f"Exact scores and circuits of this model can be trusted: all other checks pass in {self.dtype}. "
                "EAP-IG's scores leave out a part of the effect; compare them with exact ones before relying on them."
            )
        finer = "float64" if self.dtype in ("float64", "float32") else "float32"
        way = f"What fails in {finer} too is a wrong Anatomy; what passes there is rounding, and {finer} the way out."
        if self.dtype == "float64":
            way = "Its Anatomy does not describe it: begin with the first of them."
        fail = "fails" if len(failed) == 1 else "fail"
        return f"Results on this model cannot be trusted: {', '.join(failed)} {fail} in {self.dtype}. {way}"

    def to_record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"passed": self.passed, "verdict": self.verdict, **asdict(self)}


@dataclass(frozen=True)
class _Statement:
    """What a check claims.

    Attributes:
        attempt: tries it.
        claim: in words, where it holds.
        unit: what the error is a share of.
        look: where to look where it does not hold.
        bound: what passes where that is more than rounding explains.
    """

    attempt: Callable[[Trial], Found]
    claim: str
    unit: str
    look: str
    bound: float = 0.0


_EFFECT = "of what corrupting the prompt changes"
_SCORE = "of the largest score"

STATEMENTS = {
    "input": _Statement(
        trials.input_node,
        "The output of `input` is all that the blocks get from the token ids",
        _EFFECT,
        "Anatomy.embedding and embedding_norm, and what the model does between them and its first block",
    ),
    "norms": _Statement(
        trials.norms,
        "Every norm computes what its Norm says",
        "of what it returns",
        "the kind, epsilon and offset of the Norm",
    ),
    "streams": _Statement(
        trials.streams,
        "What every node reads is the sum of the sources before it",
        _EFFECT,
        "Anatomy.parallel, Block.output and heads_norm, Mlp.writes, and what else the block adds or scales",
    ),
    "heads": _Statement(
        trials.heads,
        "Every q, k and v input reaches its own heads, as a query, key or value",
        _EFFECT,
        "Block.projections and their Layout",
    ),
    "full circuit": _Statement(
        trials.full_circuit,
        "The model run as the circuit of all edges gives the clean logits",
        _EFFECT,
        "Mlp.compute, Anatomy.final_norm, unembedding and softcap",
    ),
    "empty circuit": _Statement(
        trials.empty_circuit,
        "The model run as the circuit without edges gives the corrupted logits",
        _EFFECT,
        "Anatomy.final_norm, unembedding and softcap",
    ),
    "gradients": _Statement(
        trials.node_gradients,
        "A source's edge scores add up to its effect by the model's own backward pass",
        "of the largest effect",
        "Block.attention_norm and mlp_norm, and Mlp.reads, whose first input must be the normalised stream",
    ),
    "completeness": _Statement(
        trials.completeness,
        "EAP-IG's scores of the edges out of `input` add up to the rise of the loss",
        "of the sum of their magnitudes",
        "the model itself if all else passes: where it jumps (experts change on the path), no number of steps will "
        "do; trust `exact` scores and `evaluate` there",
        LARGE_RESIDUAL,
    ),
    "exact edges": _Statement(
        trials.exact_edges,
        "The exact scores of a sample of edges are those of the model run without them",
        _SCORE,
        "what the block's forward does besides attention and MLP",
    ),
    "prefix": _Statement(
        trials.prefix_sharing,
        "Computing the shared start of the prompts once changes no score",
        _SCORE,
        "attention that is not causal, or a cache that is not Transformers' DynamicCache",
    ),
    "batch size": _Statement(
        trials.batch_size, "The scores do not depend on the batch size", _SCORE, "what rows of a batch share"
    ),
}
"""Name of a check -> what it claims."""


def check_model(
    model: nn.Module,
    inputs: EncodedPairs | None = None,
    *,
    metric: str | Loss | None = None,
    edges: int = 40,
    seed: int = 0,
) -> Report:
    """Try everything the engine relies on, on one model and some pairs.

    Args:
        model: a Transformers causal language model or a `peft.PeftModel`, of a family of `FAMILIES` (one's own
            included); left as it was.
        inputs: the encoded pairs, a dozen is plenty; by default random tokens (`random_tokens`).
        metric: as in `attribute`; by default the logit difference, or ``nll`` for pairs without a wrong answer.
        edges: how many edges are scored exactly.
        seed: of the random tokens and of the choice of edges.

    Raises:
        InputError: an unsupported architecture, a model that does not run, pairs that never differ or are longer
            than the model reads, an unknown metric.
    """
    anatomy = anatomy_of(model)
    inputs = random_tokens(anatomy, seed=seed) if inputs is None else inputs
    metric = metric or ("nll" if inputs.wrong is None else "logit_diff")
    resolve(metric, inputs)
    inputs.require_context(anatomy.positions)
    if bool((inputs.first_difference() >= inputs.lengths()).all()):
        raise InputError("No clean prompt differs from its corrupted one: there is nothing to find; change a token.")
    bound = BOUNDS.get(anatomy.dtype, BOUNDS[torch.bfloat16])
    with prepared(model), torch.no_grad():
        _require_run(model, inputs)
        trial = Trial(model, anatomy, inputs, metric, bound, edges, seed)
        checks = [_tried(trial, name, statement) for name, statement in STATEMENTS.items()]
        checks.append(_beside_exact(trial))
    return Report(anatomy.family, str(anatomy.dtype).removeprefix("torch."), len(inputs), tuple(checks))


def _require_run(model: nn.Module, inputs: EncodedPairs) -> None:
    row = inputs.clean[:1] if inputs.mask is None else inputs.clean[:1, inputs.mask[0]]
    try:
        model(input_ids=row.to(anatomy_of(model).device))
    except Exception as error:
        sentence = f"The model itself does not run on these tokens ({_reason(error)}); mend it first."
        raise InputError(sentence) from error


def _tried(trial: Trial, name: str, statement: _Statement) -> Check:
    bound, found = max(trial.bound, statement.bound), _attempted(trial, statement.attempt)
    if isinstance(found, str):
        return Check(name, None, bound, False, f"{statement.claim}: not to be computed ({found}). {_look(statement)}")
    note = f" ({found.note})" if found.note else ""
    if found.value <= bound:
        sentence = f"{statement.claim}, to {found.value:.0e} {statement.unit}{note}."
        return Check(name, found.value, bound, True, sentence)
    size = f"{found.value:.0e} {statement.unit}" if math.isfinite(found.value) else "numbers that are not finite"
    where = f" from {found.where} on," if found.where else ""
    sentence = f"{statement.claim}: false{where} by {size}, where {bound:.0e} passes{note}. {_look(statement)}"
    return Check(name, found.value if math.isfinite(found.value) else None, bound, False, sentence)


def _look(statement: _Statement) -> str:
    return f"Look at {statement.look}."


def _beside_exact(trial: Trial) -> Check:
    """For information: no bound says how far a gradient may be from a finite difference."""
    found = _attempted(trial, trials.gradient_beside_exact)
    if isinstance(found, str) or not math.isfinite(found.value):
        return Check("exact", None, None, True, "EAP-IG could not be compared with exact scores.")
    sentence = f"EAP-IG and exact scores of a sample of edges correlate at {found.value:.3f}; {found.note}."
    return Check("exact", found.value, None, True, sentence)


def _attempted(trial: Trial, attempt: Callable[[Trial], Found]) -> Found | str:
    """What an attempt found, or how it failed: an Anatomy that does not fit can fail in any way."""
    try:
        return attempt(trial)
    except (InputError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        return _reason(error)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no reason given"]
    return f"{type(error).__name__}: {lines[0]}".rstrip(".")


def random_tokens(
    anatomy: Anatomy, *, usable: Sequence[int] | None = None, count: int = 6, seed: int = 0
) -> EncodedPairs:
    """Pairs of random tokens, of two lengths and with starts in common; answers are random too.

    Args:
        anatomy: of the model; its context bounds the length.
        usable: ids to draw from; by default the vocabulary without the ids that the config names.
        count: number of pairs.
        seed: of the ids.

    Raises:
        InputError: fewer than two usable ids.
    """
    ids = torch.tensor(ordinary_ids(anatomy) if usable is None else usable)
    if len(ids) < 2:
        raise InputError("Random pairs need two ordinary tokens, this vocabulary has fewer; give pairs of your own.")
    generator = torch.Generator().manual_seed(seed)
    longest = min(12, anatomy.positions or 12)
    lengths = torch.tensor([longest, max(1, longest - 3)]).repeat(count)[:count]
    clean = torch.randint(len(ids), (count, longest), generator=generator)
    corrupted = clean.clone()
    for row, length in enumerate(lengths.tolist()):
        different = length // 3 + torch.randint((length + 2) // 3, (2,), generator=generator)
        corrupted[row, different] = (clean[row, different] + 1) % len(ids)
    answer = torch.randint(len(ids), (count,), generator=generator)
    wrong = (answer + 1) % len(ids)
    mask = torch.arange(longest) < lengths[:, None]
    return EncodedPairs(ids[clean], ids[corrupted], ids[answer], ids[wrong], None if bool(mask.all()) else mask)


def ordinary_ids(anatomy: Anatomy) -> list[int]:
    """Ids of the vocabulary but for those that the model's config names: beginning, end, padding, image, ..."""
    config: Any = anatomy.model.config
    text = getattr(config, "text_config", config)
    named = [value for name, value in {**config.to_dict(), **text.to_dict()}.items() if name.endswith("token_id")]
    special = {token for value in named for token in (value if isinstance(value, list) else [value])}
    return [token for token in range(text.vocab_size) if token not in special]
