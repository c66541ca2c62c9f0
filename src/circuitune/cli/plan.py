"""``circuitune plan``: LoRA ranks from circuits before and after a short fine-tuning, from data, or even ones."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from circuitune.cli.output import say, show, show_json, table, working
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_model, load_pairs
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitune.adapters.allocation import RankPlan
    from circuitune.adapters.gate import Score
    from circuitune.adapters.modules import Model
    from circuitune.circuits.scores import EdgeScores
    from circuitune.tasks.chat import ChatTokenizer

DEFAULT = "circuit_plan.json"
HEAVY = 3
"""Edges that are named of every critical layer."""
LEVELS = {"rank": 8, "critical_rank": 32, "critical_layers": 5}
Rule = Literal["released", "normalised", "destination", "both", "count", "before", "after"]


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Training data in place of scores."""

    dataset: str | None = None
    "Training data: JSONL, CSV, Parquet or a saved dataset with prompt and completion, or messages."
    rows: int = 100
    "How many of its rows to sample."
    max_tokens: int = 256
    "Rows with more tokens are cut."
    ablation: Literal["mean", "interchange"] = "mean"
    "What a removed edge carries: the mean over the rows, or another row's prompt of as many tokens."
    by: Literal["modules", "layers"] | None = None
    "What is critical: single modules, as by default, or whole layers."
    steps: int = 5
    "Steps of the integral."
    seed: int = 0
    "Of the sample."


NO_DATA = DataOptions()
NO_PAIRS = PairOptions()


def scores_beside(plan: Path) -> Path:
    """Where the scores of a plan lie: named after it, so that plans in one folder keep their own."""
    stem = "circuit" if plan.name == DEFAULT else plan.name.removesuffix(".json")
    return plan.with_name(f"{stem}_scores.safetensors")


def plan(
    before: Path | None = None,
    after: Path | None = None,
    /,
    *,
    model: str = "nano",
    loading: ModelOptions = LOADED,
    data: DataOptions = NO_DATA,
    source: PairOptions = NO_PAIRS,
    rank: int | None = None,
    critical_rank: int | None = None,
    critical_layers: int | None = None,
    rule: Rule | None = None,
    allocator: Literal["two-level", "proportional", "water-filling"] = "two-level",
    budget: int | None = None,
    modules: bool = False,
    unite: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    gate: Literal["warn", "uniform", "off"] = "warn",
    out: Path = Path(DEFAULT),
    json: bool = False,
) -> None:
    """Turn edge scores, or training data, into LoRA ranks: a high rank for the layers whose edges matter most.

    With neither the ranks are even, which nothing has beaten on every task tried (docs/studies.md).
    Writes circuit_plan.json; `circuitune train --plan`, `circuitune export` and RankPlan.load read it. With --dataset
    the base model's edges are scored on the data first, and the scores are written beside the plan, under its name.
    Where one map decides alone, name its pairs as for `circuitune discover` (--task or --pairs): then the gate also
    asks whether models with random weights choose the same.

    Examples:
      circuitune plan --model my-gpt2 --budget 500000          (even ranks)
      circuitune plan base/scores.safetensors tuned/scores.safetensors --rank 4 --critical-rank 12 --critical-layers 2
      circuitune plan base/scores.safetensors --model my-gpt2          (without a first fine-tuning)
      circuitune plan base/scores.safetensors --task add_sub --set limit=100          (the gate tries random weights)
      circuitune plan --model my-gpt2 --dataset sft.jsonl --budget 500000          (without pairs)
      circuitune plan base/scores.safetensors tuned/scores.safetensors --rule normalised --gate uniform
      circuitune plan base/scores.safetensors tuned/scores.safetensors --modules --allocator water-filling
      --budget 500000
      circuitune plan sums/before.safetensors sums/after.safetensors --unite products/before.safetensors
      products/after.safetensors          (for a task that takes both)

    Parameters
    ----------
    before: Path
        Scores of the base model, as `circuitune discover` writes them.
    after: Path
        Scores of the same model after a short fine-tuning, on the same pairs; without them the base model's decide.
    model: str
        The model to train: a folder, the name of one on the hub, or nano.
    rank: int
        LoRA rank of the ordinary layers, or of all, by default 8; with --dataset half of the even rank.
    critical_rank: int
        LoRA rank of the critical layers, by default 32; with --budget or --dataset what the budget allows.
    critical_layers: int
        How many layers are critical, by default 5 or with --dataset a fifth; with --modules the same share of all
        modules is.
    rule: str
        How importance follows from the scores; by default released, or before where there is no AFTER.
    allocator: str
        two-level: a high and a low rank; proportional to importance; water-filling: importance times log(1 + rank).
    budget: int
        Most trainable parameters; by default what the two levels take, with --dataset those of uniform rank 8.
    modules: bool
        Rank every linear module by itself: an edge counts for the modules at both of its ends. With --dataset see
        --by.
    unite: tuple[Path, ...]
        Scores of other steps of a composed task, united with BEFORE (and AFTER): of each step as many files.
    gate: str
        Where the choice is unstable or no more than chance: warn, or plan the same size uniform; off: do not look.
        Needs scores of every pair (discover --per-example).
    out: Path
        The file to write.
    json: bool
        Print the result as JSON.
    """
    from circuitune.core.atomic import ensure_writable_folder

    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name the file to write, such as {out / DEFAULT}.")
    levels = {"rank": rank, "critical_rank": critical_rank, "critical_layers": critical_layers}
    if before is not None and data.dataset is not None:
        raise InputError("Name one thing to plan from: either a file of scores or --dataset FILE.")
    even = before is None and data.dataset is None
    _require_used(data, {**levels, "rule": rule, "unite": unite or None}, budget, modules)
    _require_levels(levels, allocator, budget)
    if even:
        _require_even(levels, rule, allocator, budget, modules, unite, gate, source)
    _require_needed(source, before, rule or ("before" if after is None else "released"), unite, gate)
    common: dict[str, Any] = {"allocator": allocator, "budget": budget, "modules": modules, "gate": gate}
    facts: dict[str, Any] = {}
    scores: list[EdgeScores]
    if data.dataset is not None:
        loaded, tokenizer = load_model(model, loading)
        ensure_writable_folder(out.parent)
        made, facts, scores = _from_data(loaded, tokenizer, data, critical_layers, common, scores_beside(out))
    elif before is None:
        made, loaded = _even(model, loading, rank, budget)
        scores = []
        ensure_writable_folder(out.parent)
    else:
        chosen = {name: LEVELS[name] if level is None else level for name, level in levels.items()}
        scores = _read_scores(before, after, unite)
        made, loaded = _from_scores(scores, model, loading, source, {**chosen, "rule": rule, **common})
        ensure_writable_folder(out.parent)
    made = replace(made, provenance={**made.provenance, "model": model})
    made.save(out)
    _report(made, loaded, budget, out, json, facts, _heavy(made, scores))


def _require_used(data: DataOptions, others: dict[str, Any], budget: int | None, modules: bool) -> None:
    """InputError for an option that would change nothing."""
    if data.dataset is not None:
        unused = [name for name in ("rank", "critical_rank", "rule", "unite") if others[name] is not None]
        fix = "belongs to plans from scores; with --dataset give --budget."
    else:
        given, default = asdict(data), asdict(NO_DATA)
        unused = [name for name in given if given[name] != default[name]]
        fix = "belongs to plans from training data (--dataset); leave it out."
    if unused:
        raise InputError(f"--{unused[0].replace('_', '-')} {fix}")
    if budget is not None and others["critical_rank"] is not None:
        raise InputError("With --budget the critical rank is what the budget allows; leave out --critical-rank.")
    if data.by == "layers" and modules:
        raise InputError("--by layers and --modules contradict each other; give one of the two.")


def _require_needed(source: PairOptions, before: Path | None, rule: str, unite: tuple[Path, ...], gate: str) -> None:
    """InputError for pairs that nothing would be scored on."""
    from circuitune.dynamics.layers import RULES

    given = _pairs_given(source)
    reasons = {
        "with --dataset the gate takes its rows": before is None,
        "with --gate off nobody looks": gate == "off",
        f"the rule {rule} looks at a change, not at one map alone": not RULES[rule].alone,
        "united scores are of several sets of pairs": bool(unite),
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    if given and why:
        raise InputError(
            f"--{_option(given[0])} names pairs for models with random weights, and {why}; leave it out."
        )


def _pairs_given(source: PairOptions) -> list[str]:
    """Fields of the options of pairs that were given."""
    return [name for name, value in asdict(source).items() if value != asdict(NO_PAIRS)[name]]


def _option(field: str) -> str:
    """How a field of the options of pairs is typed."""
    return "set" if field == "settings" else field.replace("_", "-")


def _require_levels(levels: dict[str, int | None], allocator: str, budget: int | None) -> None:
    """InputError for a level that an allocator with a budget would not look at."""
    given = [name for name, level in levels.items() if level is not None]
    if given and budget is not None and allocator != "two-level":
        raise InputError(
            f"With --budget, --allocator {allocator} has no levels; leave out --{given[0].replace('_', '-')}, "
            "or take --allocator two-level."
        )


def _require_even(
    levels: dict[str, int | None],
    rule: str | None,
    allocator: str,
    budget: int | None,
    modules: bool,
    unite: tuple[Path, ...],
    gate: str,
    source: PairOptions,
) -> None:
    """InputError for what needs something to plan from, where there is nothing."""
    given = {
        "critical-rank": levels["critical_rank"] is not None,
        "critical-layers": levels["critical_layers"] is not None,
        "rule": rule is not None,
        "allocator": allocator != "two-level",
        "modules": modules,
        "unite": bool(unite),
        "gate": gate != "warn",
        **{_option(name): True for name in _pairs_given(source)},
    }
    if unused := [name for name, asked in given.items() if asked]:
        raise InputError(
            f"--{unused[0]} needs something to plan from: name a file of scores or --dataset FILE. "
            "(With neither the ranks are even: give --rank or --budget.)"
        )
    if levels["rank"] is not None and levels["rank"] < 1:
        raise InputError(f"--rank {levels['rank']} trains nothing; give at least 1.")
    if levels["rank"] is not None and budget is not None:
        raise InputError("Even ranks follow from --rank or from --budget; give one of the two.")


def _even(model: str, loading: ModelOptions, rank: int | None, budget: int | None) -> "tuple[RankPlan, Model]":
    """One rank everywhere, or as even ranks as a budget allows, and the model they are for."""
    from circuitune.adapters.allocation import RankPlan
    from circuitune.adapters.modules import linear_modules

    loaded, _ = load_model(model, loading)
    wanted = {"rank": LEVELS["rank"] if rank is None else rank} if budget is None else {"parameters": budget}
    made = RankPlan.uniform(loaded, **wanted)
    full = {name: min(module.inputs, module.outputs) for name, module in linear_modules(loaded).items()}
    if over := [name for name, most in full.items() if made.ranks[name] > most]:
        raise InputError(
            f"{over[0]} would get rank {made.ranks[over[0]]}, and its weight has {full[over[0]]}; give a lower "
            f"{'--rank' if budget is None else '--budget'}."
        )
    return made, loaded


def _read_scores(before: Path, after: Path | None, unite: tuple[Path, ...]) -> "list[EdgeScores]":
    """The map before, and after if there is one; those of several steps united."""
    from circuitune.circuits.scores import EdgeScores
    from circuitune.dynamics.composition import union_scores

    own = [before] if after is None else [before, after]
    if len(unite) % len(own):
        raise InputError(
            f"--unite has {len(unite)} files; of each step give {'BEFORE and AFTER' if after else 'BEFORE alone'}, "
            "as of the first."
        )
    sides = [[EdgeScores.load(path) for path in (first, *unite[at :: len(own)])] for at, first in enumerate(own)]
    return [union_scores(maps) if unite else maps[0] for maps in sides]


def _from_scores(
    scores: "list[EdgeScores]", model: str, loading: ModelOptions, source: PairOptions, options: dict[str, Any]
) -> "tuple[RankPlan, Model]":
    """The plan from scores before (and after), and the model it is for."""
    from circuitune.adapters.allocation import rank_plan

    loaded, tokenizer = load_model(model, loading)
    score = None if source == NO_PAIRS else _again(scores[-1], loaded, tokenizer, source)
    return rank_plan(*scores, model=loaded, score=score, **options), loaded


def _again(
    scores: "EdgeScores", model: "Model", tokenizer: "PreTrainedTokenizerBase", source: PairOptions
) -> "Score":
    """How these scores were made, for another model and on few of their pairs, saying what it costs.

    Raises:
        InputError: the options name other pairs, or the scores do not say how they were made.
    """
    from circuitune.adapters.gate import RANDOM_MODELS, RANDOM_ROWS
    from circuitune.circuits.attribution import attribute
    from circuitune.cli.discover import usable
    from circuitune.models.encoding import encode

    made = scores.settings
    wanted = {"method", "steps", "quadrature", "metric", "ablation", "pairs", "pairs_digest"}
    if not wanted <= made.keys():
        raise InputError("The scores do not say how and on which pairs they were made; leave out --task or --pairs.")
    pairs, metric = load_pairs(source, model, tokenizer, made["metric"], "circuit")
    sample = usable(pairs, metric).sample(made["pairs"])
    if encode(sample, tokenizer).digest != made["pairs_digest"]:
        raise InputError(
            f"The scores were made on other pairs ({made['pairs']} of them); name them as `circuitune discover` did."
        )
    few = encode(sample.sample(RANDOM_ROWS), tokenizer)
    say(f"Cost: the gate scores {RANDOM_MODELS} models with random weights on {len(few)} pairs each.")
    how = {name: made[name] for name in ("method", "metric", "ablation", "quadrature", "steps") if made[name]}
    return lambda other: attribute(other, few, **how)


def _from_data(
    model: "Model",
    tokenizer: "ChatTokenizer",
    data: DataOptions,
    critical_layers: int | None,
    options: dict[str, Any],
    scores_file: Path,
) -> "tuple[RankPlan, dict[str, Any], list[EdgeScores]]":
    """The plan from training data, saying what it costs before it starts; facts for the report; and the scores."""
    from circuitune.adapters.completions import read_completions
    from circuitune.adapters.data_plan import completion_scores, data_plan, readable, scoring_cost

    assert data.dataset is not None
    most = readable(model, data.max_tokens)
    sample = read_completions(
        data.dataset, tokenizer, rows=data.rows, max_tokens=most, ablation=data.ablation, seed=data.seed
    )
    per_example = options["gate"] != "off"
    say(sample.sentence)
    cost = scoring_cost(model, sample, steps=data.steps, gate=per_example)
    say(cost.sentence)
    with working("Scoring"):
        scores = completion_scores(model, sample, steps=data.steps, per_example=per_example)
    options["modules"] = data.by != "layers"
    made = data_plan(model, sample, scores, critical_layers=critical_layers, **options)
    replace(scores, examples=None, groups=None).save(scores_file)
    facts = {
        "scores": str(scores_file),
        "rows": {"used": len(sample), "read": sample.read, "cut": sample.cut, "left_out": dict(sample.left_out)},
        "cost": asdict(cost),
    }
    return made, facts, [scores]


def _heavy(made: "RankPlan", scores: "list[EdgeScores]") -> list[dict[str, Any]]:
    """The edges that weigh most in each critical layer; none where single modules were ranked, or nothing was."""
    from circuitune.dynamics.layers import heaviest_edges

    if not made.critical_layers:
        return []
    found = heaviest_edges(scores[0], scores[-1], str(made.provenance["rule"]), made.critical_layers, HEAVY)
    return [asdict(edge) for edge in found]


def _report(
    made: "RankPlan",
    model: "Model",
    budget: int | None,
    out: Path,
    json: bool,
    facts: dict[str, Any],
    heavy: list[dict[str, Any]],
) -> None:
    """Ranks by layer or by module, the edges they owe most to, the number of parameters, and what the gate found."""
    from circuitune.adapters.verdicts import EVEN, contest_verdict

    base = model.num_parameters()
    unplanned = made.provenance.get("allocation") == "uniform" and made.gate is None
    known = EVEN if unplanned else contest_verdict(made.provenance)
    unit, rows = _ranks(made, model)
    if json:
        result: dict[str, Any] = {
            "plan": str(out),
            "critical_layers": list(made.critical_layers),
            "heaviest_edges": heavy,
            "budget": budget,
            "parameters": made.count,
            f"{unit}s": rows,
            "gate": made.gate and {**asdict(made.gate), "passed": made.gate.passed},
            "contest": known,
            **facts,
        }
        show_json(result)
        return
    show(table([unit, "rank", "importance"], [list(row.values()) for row in rows]))
    if made.critical_layers:
        layers = ", ".join(map(str, made.critical_layers))
        show(f"Critical layers, most important first: {layers} (rule {_rule(str(made.provenance['rule']))}).")
        show("Their edges of most importance, and its share of the layer's:")
        show(table(["layer", "edge", "importance", "share"], [list(edge.values()) for edge in heavy]))
    planned = "" if budget is None else f"Budget {budget:,}: "
    show(f"{planned}{made.count:,} trainable parameters, {made.count / (base + made.count):.4%} of the whole.")
    if made.gate is not None:
        show(made.gate.sentence)
    if unplanned:
        show(f"Even ranks, as nothing was named to plan from (scores, or --dataset): {EVEN}")
    if known and not unplanned:
        show(f"Against uniform LoRA of the same size: {known}")
    if facts:
        show(f"Scores: {facts['scores']}")
    rows = "" if facts else " --dataset sft.jsonl"
    show(f"Plan: {out} (for your trainer: circuitune export {out} --for trl{rows} --out train_trl.py)")


def _rule(name: str) -> str:
    """A rule of importance with what it counts."""
    from circuitune.dynamics.layers import RULES

    return f"{name}: {RULES[name].said}" if name in RULES else name


def _ranks(made: "RankPlan", model: "Model") -> tuple[str, list[dict[str, Any]]]:
    """Rank and importance by layer where all modules of each layer share them, else by module; and which it is."""
    from circuitune.adapters.modules import linear_modules

    modules = linear_modules(model)
    weights = made.importance.per_module(modules) if made.importance else [None] * len(modules)
    facts = [
        (module.layer, made.ranks[name], weight)
        for (name, module), weight in zip(modules.items(), weights, strict=True)
    ]
    layers = list(dict.fromkeys(facts))
    if len(layers) == 1 + max(layer for layer, *_ in layers):
        return "layer", [{"layer": layer, "rank": rank, "importance": weight} for layer, rank, weight in layers]
    named = zip(modules, facts, strict=True)
    return "module", [{"module": name, "rank": rank, "importance": weight} for name, (_, rank, weight) in named]
