"""A rank plan from training data alone: no pairs, no phase 1, no wrong answers.

    plan = ct.plan_for(model, tokenizer, "sft.jsonl")                 # as many parameters as uniform rank 8
    plan = ct.plan_for(model, tokenizer, dataset, budget=2_000_000)   # at most that many
    config = plan.to_lora_config(model)

The loss is what fine-tuning lowers: the negative log-likelihood of the completions' tokens, teacher-forced, its mean
over all of them. Every edge of the base model is scored by EAP-IG (`circuits.attribution`, which carries answers of
any length), ablated as `adapters.completions` says; the modules that edges with the largest scores pass through are
critical.
"""

from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter

import torch
from peft import PeftModel
from torch import Tensor

from circuitune.adapters.allocation import TWO_LEVEL, GateMode, RankPlan, rank_plan
from circuitune.adapters.completions import MAX_TOKENS, ROWS, Completions, Corruption, Dataset, read_completions
from circuitune.adapters.gate import RANDOM_MODELS, RANDOM_ROWS
from circuitune.adapters.modules import Model, linear_modules
from circuitune.adapters.verdicts import FROM_DATA
from circuitune.circuits.attribution import attribute
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import BUDGET, attribution_memory
from circuitune.circuits.metrics import appended
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.models.running import prepared
from circuitune.models.versions import can_be_drawn, weights_size
from circuitune.tasks.chat import ChatTokenizer

STEPS = 5
"""Points of the path integral."""

UNIFORM_RANK = 8
"""Uniform plans of this rank have the parameters that are spent unless asked otherwise."""

CRITICAL_SHARE = 0.2
"""Of the modules (layers), those that are critical: the study's 5 of 24 layers, rounded."""

OVERHEAD = 1.5
"""Time of a scoring over that of its bare passes (measured: 1.3 to 1.6)."""


def plan_for(
    model: Model,
    tokenizer: ChatTokenizer,
    dataset: Dataset,
    *,
    budget: int | None = None,
    ablation: Corruption = "mean",
    rows: int = ROWS,
    max_tokens: int = MAX_TOKENS,
    steps: int = STEPS,
    allocator: str = TWO_LEVEL,
    critical_layers: int | None = None,
    modules: bool = True,
    gate: GateMode = "warn",
    seed: int = 0,
    memory: int = BUDGET,
) -> RankPlan:
    """LoRA ranks for fine-tuning a model on a dataset, from the base model's circuit alone.

    By default two levels by module: half of the even rank everywhere, and what is left of the budget for the fifth of
    the modules with the largest scores. That is the cheapest choice that is sound. Of the scores it uses only which
    modules come first, as water-filling does not, and nobody has shown that their sizes mean anything for ranks; the
    gate can say whether that choice is stable; and no module goes without LoRA (unless the budget is below rank 1).
    By layer it would hardly look at the data: without a second map the rule books every edge to its source's layer
    and the input to layer 0, early layers have the most edges leaving, and on the embedded model layer 0 came first
    for sums, for counting and for random words alike. By module an edge counts at both ends and the input nowhere.
    A contest at equal size may change this default; `verdicts` says what is known.

    Args:
        model: the base model, without an adapter.
        tokenizer: its tokenizer.
        dataset: rows of prompt and completion, or of messages (`adapters.completions`).
        budget: most LoRA parameters; None: those of uniform rank 8.
        ablation: ``mean`` (any rows) or ``interchange`` (needs prompts of equal length).
        rows: how many to sample.
        max_tokens: rows with more are cut; never more than the model reads.
        steps: points of the path integral.
        allocator, gate: as in `rank_plan`.
        critical_layers: how many layers are critical; by module the same share is; None: a fifth.
        modules: by module; False: by layer.
        seed: of the sample.
        memory: bytes that scoring may take above the model.

    Raises:
        InputError: an adapter in the model, rows that do not fit (by number), too few of them, or a budget that
            cannot be spent.
    """
    sample = read_completions(
        dataset, tokenizer, rows=rows, max_tokens=readable(model, max_tokens), ablation=ablation, seed=seed
    )
    scores = completion_scores(model, sample, steps=steps, per_example=gate != "off", memory=memory)
    return data_plan(
        model,
        sample,
        scores,
        budget=budget,
        allocator=allocator,
        critical_layers=critical_layers,
        modules=modules,
        gate=gate,
        memory=memory,
    )


def readable(model: Model, max_tokens: int) -> int:
    """At most the tokens that the model reads; InputError where it has an adapter."""
    if isinstance(model, PeftModel) or hasattr(model, "peft_config"):
        raise InputError(
            "A plan from data looks at the base model and this one has an adapter; merge it (merge_and_unload) or "
            "give the base."
        )
    return min(max_tokens, anatomy_of(model).positions or max_tokens)


def completion_scores(
    model: Model, sample: Completions, *, steps: int = STEPS, per_example: bool = False, memory: int = BUDGET
) -> EdgeScores:
    """Scores of all edges for the completions' negative log-likelihood, mean per token.

    `attribute` sums the loss over each completion's tokens and averages over rows; that is divided by the mean number
    of tokens, so every token of the sample counts alike, as in training.
    """
    batch_size, _ = _batching(model, sample, steps, memory)
    scores = attribute(
        model,
        sample.inputs,
        method="eap-ig",
        steps=steps,
        metric="nll",
        ablation=sample.ablation,
        per_example=per_example,
        batch_size=batch_size,
    )
    tokens = float(sample.answered.double().mean())
    return replace(
        scores,
        values=scores.values / tokens,
        examples=None if scores.examples is None else scores.examples / tokens,
        settings={**scores.settings, "loss": "completion nll per token", "tokens": int(sample.answered.sum())},
    )


def data_plan(
    model: Model,
    sample: Completions,
    scores: EdgeScores,
    *,
    budget: int | None = None,
    allocator: str = TWO_LEVEL,
    critical_layers: int | None = None,
    modules: bool = True,
    gate: GateMode = "warn",
    memory: int = BUDGET,
) -> RankPlan:
    """The second half of `plan_for`: ranks from `completion_scores`."""
    few = _few(sample)
    steps = int(scores.settings["steps"])
    budget = RankPlan.uniform(model, rank=UNIFORM_RANK).count if budget is None else budget
    even = max(0, budget) // sum(module.rank_cost for module in linear_modules(model).values())
    fifth = max(1, round(CRITICAL_SHARE * scores.graph.layers))
    plan = rank_plan(
        scores,
        rank=ceil(even / 2),
        critical_layers=fifth if critical_layers is None else critical_layers,
        allocator=allocator,
        budget=budget,
        modules=modules,
        gate=gate,
        model=model,
        score=lambda other: completion_scores(other, few, steps=steps, memory=memory),
    )
    traced: dict[str, str | int | float] = {
        "dataset": sample.source,
        "rows": len(sample),
        "rows_read": sample.read,
        "rows_cut": sample.cut,
        **{f"left_out.{reason}": count for reason, count in sample.left_out.items()},
        "max_tokens": sample.max_tokens,
        "seed": sample.seed,
        "contest": FROM_DATA,
    }
    if sample.sha256 is not None:
        traced["dataset_sha256"] = sample.sha256
    if isinstance(name := model.name_or_path, str) and name:
        traced["model"] = name
    return replace(plan, provenance={**plan.provenance, **traced})


@dataclass(frozen=True)
class Cost:
    """What scoring a sample takes.

    Attributes:
        rows: of the sample.
        tokens: that the model is run on, all rows together.
        longest: of one row.
        edges: that get a score.
        forward: passes over every row.
        backward: the same.
        memory: bytes above the model, predicted.
        seconds: predicted from the times of a long and a short forward pass on this machine.
        random_rows: rows that the gate's models with random weights are run on as well, all of them together; in
            memory and seconds too.
    """

    rows: int
    tokens: int
    longest: int
    edges: int
    forward: int
    backward: int
    memory: int
    seconds: float
    random_rows: int = 0

    @property
    def sentence(self) -> str:
        """The same in words."""
        passes = f"{self.forward} forward and {self.backward} backward passes over each"
        alike = round((self.rows + self.random_rows) * (self.forward + 2 * self.backward) / 3)
        if self.random_rows:
            passes += f", and {self.random_rows} rows through models with random weights, for the gate"
        time = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} minutes"
        return (
            f"Cost: {self.edges:,} edges on {self.rows} rows of {self.tokens:,} tokens (longest {self.longest}), "
            f"{passes}: as much as training on {alike} such rows; about {time} here and "
            f"{self.memory / 2**30:.2f} GiB above the model."
        )


def scoring_cost(
    model: Model, sample: Completions, *, steps: int = STEPS, gate: bool = False, memory: int = BUDGET
) -> Cost:
    """What `completion_scores` with the same arguments will take, and with `gate` what the gate of `data_plan` adds.

    Runs a few forward passes of one row.
    """
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    tokens, rows = int(sample.lengths.sum()), len(sample)
    _, peak = _batching(model, sample, steps, memory)
    random = gate and can_be_drawn(model)
    few = RANDOM_MODELS * len(_few(sample)) if random else 0
    kept = 4 * rows * graph.edge_mask.numel() * gate + weights_size(model) * random
    forward = steps + 2  # the clean run, and the mean's or the other prompt's
    seconds = _forward_seconds(model, sample) * (1 + few / rows) * (forward + 2 * steps) * OVERHEAD
    return Cost(rows, tokens, int(sample.lengths.max()), graph.edges, forward, steps, peak + kept, seconds, few)


def _few(sample: Completions) -> Completions:
    """The rows that a model with random weights is scored on; the sample is in random order."""
    return replace(sample, inputs=sample.inputs.rows(slice(RANDOM_ROWS)))


def _batching(model: Model, sample: Completions, steps: int, memory: int) -> tuple[int, int]:
    """Rows per batch in terms of the prompts' width, as `attribute` counts them, and the bytes that a batch takes.

    `attribution_memory` counts one row of logits per example; here every position may have one.
    """
    anatomy = anatomy_of(model)
    need = attribution_memory(anatomy, Graph.of(anatomy), steps)
    per_position = need.per_position + need.per_row
    longest = int(sample.lengths.max())
    positions = max(longest, (memory - need.fixed) // per_position)
    used = min(positions, int(sample.lengths.sum()))
    return max(1, positions // sample.inputs.clean.shape[1]), need.fixed + used * per_position


def _forward_seconds(model: Model, sample: Completions) -> float:
    """Of one forward pass over all rows: so much a batch, and so much a token, from a long and a short run.

    Rows of equal lengths of prompt and completion run together.
    """
    row = int(sample.lengths.argmax())
    longest = appended(sample.inputs.rows([row]), sample.inputs.answer[[row]]).clean.to(model.device)

    def seconds(tokens_BP: Tensor) -> float:
        start = perf_counter()
        float(model(input_ids=tokens_BP, use_cache=False).logits[0, -1, 0])  # waits for a device to be done
        return perf_counter() - start

    with prepared(model), torch.no_grad():
        batch, whole = (min(seconds(tokens) for _ in range(5)) for tokens in (longest[:, :1], longest))
    token = max(0.0, whole - batch) / max(1, longest.shape[1] - 1)
    batches = len(torch.stack([sample.inputs.lengths(), sample.answered], 1).unique(dim=0))
    return batches * batch + int(sample.lengths.sum()) * token
