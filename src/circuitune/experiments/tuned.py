"""The job that fine-tunes: its ranks, its learning rate, what it starts from, and what all of it cost."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import TypedDict

from peft import PeftModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitune.adapters.allocation import RankPlan, rank_plan
from circuitune.adapters.data_plan import plan_for
from circuitune.adapters.importance import Importance, ModuleImportance
from circuitune.adapters.probes import gradient_probe, weight_change
from circuitune.circuits.scores import EdgeScores
from circuitune.core.atomic import write_json
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.records import AccuracyRow, ComputeRecord, TextRow, TrainedRecord, read_record
from circuitune.dynamics.composition import union_scores
from circuitune.experiments.arms import CIRCUITS, TUNED
from circuitune.experiments.artefacts import COMPUTE, PLAN, TEXT, TRAINED, by_step, load, opened, row_label
from circuitune.experiments.inputs import critical_count, given
from circuitune.experiments.specs import RankSpec, TrainSpec, is_rate_role, is_union_role, pairs_role
from circuitune.experiments.store import JobFolder
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import encode
from circuitune.tasks.pairs import PairSet
from circuitune.training.catalogue import tuning
from circuitune.training.eva import Eva
from circuitune.training.finetune import TrainingResult, finetune
from circuitune.training.methods import PLANNED, RANKED, TrainingSettings
from circuitune.training.text import read_passages, text_loss
from circuitune.training.tuning import Adapter, Tuning
from circuitune.training.warm import Warm

PROBED = 200
"""Training rows that the gradient probe looks at."""


class Levels(TypedDict):
    """The study's two ranks, and how many layers get the higher one."""

    rank: int
    critical_rank: int
    critical_layers: int


def train(job: JobFolder, spec: TrainSpec) -> None:
    """One fine-tuning: the rank plan, checkpoints, and accuracy at each, on validation or (stage report) test."""
    model, tokenizer = load(job, spec)
    with FlopCounterMode(display=False) as probing:
        plan = _plan(job, spec, model, tokenizer)
    if plan is not None and spec.method in PLANNED:
        plan.save(job.folder / PLAN)
    settings = _settings(job, spec)
    passages = read_passages(given(spec.text, job.run.folder), tokenizer, model) if spec.text else []
    before = text_loss(model, passages) if passages else 0.0
    result = finetune(
        model,
        tokenizer,
        job.pairs("train"),
        settings,
        config=_tuning(job, spec, model, plan),
        folder=job.folder,
        evaluate=_measured(job, spec),
        seed=spec.seed,
        label=row_label(spec),
        arm=spec.arm,
    )
    if passages:
        write_rows(job.folder / TEXT, [_text_row(spec, passages, before, text_loss(result.model, passages))], TextRow)
    write_json(job.folder / TRAINED, _record(job, spec, settings, result, probing.get_total_flops()))


def _measured(job: JobFolder, spec: TrainSpec) -> dict[str, PairSet]:
    """The split that accuracy is reported on, then the other tasks, by name."""
    part = "validation" if spec.stage == "tune" else "test"
    others = {name: job.pairs("test", pairs_role(name)).sample(spec.kept_pairs) for name in spec.kept}
    return {part: job.pairs(part), **others}


def _text_row(spec: TrainSpec, passages: Sequence[Sequence[int]], before: float, after: float) -> TextRow:
    return TextRow(
        arm=spec.arm,
        draw=spec.ranks.draw,
        seed=spec.seed,
        passages=len(passages),
        tokens=sum(len(ids) - 1 for ids in passages),
        before=before,
        after=after,
    )


# ---- learning rate and steps ----


def _settings(job: JobFolder, spec: TrainSpec) -> TrainingSettings:
    training = spec.training
    settings = TrainingSettings(**training.model_dump(exclude={"rows", "test_rows"}))
    if spec.rates:
        settings = replace(settings, learning_rate=_best_rate(job, spec))
    if spec.twist == "longer":
        rival = read_record(job.input("rival").folder / TRAINED, TrainedRecord)
        whole = rival.allocation_flops + rival.training_flops
        settings = replace(settings, max_steps=whole // rival.step_flops)
    return settings


def _best_rate(job: JobFolder, spec: TrainSpec) -> float:
    """The learning rate of the highest mean validation accuracy over the jobs that tried it; of equals the lowest."""
    if len(spec.rates) == 1:
        return spec.rates[0]
    reached: dict[float, list[float]] = {rate: [] for rate in sorted(spec.rates)}
    for role in filter(is_rate_role, spec.inputs):
        tried = job.input(role)
        rate = read_record(tried.folder / TRAINED, TrainedRecord).learning_rate
        reached[rate].append(read_rows(tried.folder / "accuracy.csv", AccuracyRow)[-1].accuracy)
    return max(reached, key=lambda rate: fmean(reached[rate]))


# ---- ranks ----


def _plan(
    job: JobFolder, spec: TrainSpec, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> RankPlan | None:
    """The ranks, module by module; None where the method has none."""
    ranks = spec.ranks
    if ranks.kind == "none":
        return None
    if ranks.kind == "uniform":
        return RankPlan.uniform(model, rank=ranks.rank)
    levels = _levels(ranks, model)
    if ranks.kind == "random":
        draw = 1000 * spec.seed + ranks.draw
        return RankPlan.random_layers(model, levels["critical_layers"], levels["rank"], levels["critical_rank"], draw)
    if ranks.kind in ("first", "gradient", "weights"):
        return RankPlan.from_importance(model, _importance(job, ranks, model, tokenizer), **levels)
    if ranks.kind == "union":
        return rank_plan(*_united(job, spec), **levels, rule=ranks.rule, gate="off", model=model)
    if ranks.kind == "data":
        rows = [{"prompt": pair.clean, "completion": pair.answer} for pair in job.pairs("train")]
        budget = _circuit_plan(job, ranks, model).count
        plan = plan_for(model, tokenizer, rows, budget=budget, gate="off", seed=spec.seed)
        said = {
            key: value for key, value in plan.provenance.items() if key != "model"
        }  # a path, where it is a folder
        return replace(plan, provenance=said)
    return _from_circuits(job, ranks, model)


def _levels(ranks: RankSpec, model: PreTrainedModel) -> Levels:
    assert ranks.critical_rank is not None
    count = critical_count(ranks.critical_layers, anatomy_of(model).layers)
    return Levels(rank=ranks.rank, critical_rank=ranks.critical_rank, critical_layers=count)


def _importance(
    job: JobFolder, ranks: RankSpec, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Importance:
    """What chooses the layers without circuits."""
    if ranks.kind == "first":
        return Importance.first(anatomy_of(model).layers)
    if ranks.kind == "gradient":
        found = gradient_probe(model, encode(job.pairs("train").sample(PROBED), tokenizer))
    else:
        with opened(model, by_step(job.input("phase1").folder / "checkpoints")[-1]) as adapted:
            assert isinstance(adapted, PeftModel)  # phase 1 is a LoRA
            found = weight_change(adapted)
    return found.by_layer(model)


def _circuit_plan(job: JobFolder, ranks: RankSpec, model: PreTrainedModel, rule: str | None = None) -> RankPlan:
    """Two levels by the circuits before and after phase 1, with the study's rule or another."""
    before, after = _around(job.input("circuits"))
    # A contest compares what the rule says, not what one would dare: no gate.
    return rank_plan(before, after, **_levels(ranks, model), rule=rule or ranks.rule, gate="off", model=model)


def _from_circuits(job: JobFolder, ranks: RankSpec, model: PreTrainedModel) -> RankPlan:
    """The study's plan from the circuits before and after phase 1, or one of other ranks and as many parameters."""
    if ranks.kind in ("base", "after"):
        return _circuit_plan(job, ranks, model, "before" if ranks.kind == "base" else "after")
    plan = _circuit_plan(job, ranks, model)
    if ranks.kind in ("circuit", "transfer"):
        return plan
    if ranks.kind == "bottom":
        assert isinstance(plan.importance, Importance)
        return RankPlan.from_importance(model, plan.importance.reversed(), **_levels(ranks, model))
    if ranks.kind == "mlp":
        only = ModuleImportance.mlp_only(model)
        return RankPlan.from_importance(model, only, allocator="proportional", budget=plan.count)
    if ranks.kind in ("modules", "base_modules"):
        before, after = _around(job.input("circuits"))
        rule = ranks.rule if ranks.kind == "modules" else "before"
        every = ModuleImportance.from_scores(model, before, after, rule)
        return RankPlan.from_importance(model, every, allocator="water-filling", budget=plan.count)
    return RankPlan.uniform(model, parameters=plan.count)


def _around(circuits: JobFolder) -> tuple[EdgeScores, EdgeScores]:
    """The maps before and after the fine-tuning that a job found circuits of."""
    paths = by_step(circuits.folder / "scores")
    return EdgeScores.load(paths[0]), EdgeScores.load(paths[-1])


def _united(job: JobFolder, spec: TrainSpec) -> tuple[EdgeScores, EdgeScores]:
    """The united maps of all parts before any fine-tuning, and those of each part after its own phase 1."""
    before, after = zip(*(_around(part) for part in _parts(job, spec)), strict=True)
    return union_scores(before), union_scores(after)


def _parts(job: JobFolder, spec: TrainSpec) -> list[JobFolder]:
    """The jobs that found circuits of the parts."""
    return [job.input(role) for role in filter(is_union_role, spec.inputs)]


def _tuning(job: JobFolder, spec: TrainSpec, model: PreTrainedModel, plan: RankPlan | None) -> Tuning:
    if spec.twist == "warm":
        assert plan is not None
        return Warm(by_step(job.input("phase1").folder / "checkpoints")[-1], plan)
    if spec.ranks.kind == "alphas":
        assert plan is not None
        return Adapter(plan.to_lora_config(model, alphas_of=_circuit_plan(job, spec.ranks, model)))
    if spec.twist == "even":
        assert plan is not None
        assert plan.rank is not None
        return Eva(plan.rank, even=True)
    if spec.method in RANKED:  # one rank for all modules: the plan's, or what of it fits everywhere
        return tuning(spec.method, model, rank=plan.rank if plan else spec.ranks.rank)
    faster = plan.critical_layers if plan and spec.twist == "faster" else ()
    return tuning(spec.method, model, plan=plan if spec.method in PLANNED else None, faster=faster)


# ---- cost ----


def _record(
    job: JobFolder, spec: TrainSpec, settings: TrainingSettings, result: TrainingResult, probing: int
) -> TrainedRecord:
    steps = result.steps[-1]
    return TrainedRecord(
        learning_rate=settings.learning_rate,
        steps=steps,
        parameters=result.parameters,
        saved=result.saved,
        step_flops=result.step_flops,
        training_flops=result.attach_flops + steps * result.step_flops,
        allocation_flops=probing + _chosen(job, spec),
    )


def _chosen(job: JobFolder, spec: TrainSpec) -> int:
    """Operations of the jobs without which the ranks, or the start, would not be known."""
    kind = spec.ranks.kind
    if kind not in CIRCUITS:
        return _phase1(job.input("phase1")) if kind in TUNED else 0
    spent = 0
    for circuits in _parts(job, spec) or [job.input("circuits")]:
        spent += CIRCUITS[kind] * read_record(circuits.folder / COMPUTE, ComputeRecord).attribution_flops
        if kind in TUNED:
            spent += _phase1(circuits.input("training"))
    return spent


def _phase1(job: JobFolder) -> int:
    return read_record(job.folder / TRAINED, TrainedRecord).training_flops
