"""The summary of a run: its findings, on what data they were made, and what a reader must know to judge them."""

from pathlib import Path

from circuitune.core.atomic import write_json
from circuitune.core.chance_records import (
    AnalysisRecord,
    ChanceRow,
    ChangedRow,
    CompositionRecord,
    LayerFrequencyRow,
    RobustnessRow,
    RuleRow,
    StabilityRow,
    TunedCausalRow,
    VerdictRow,
)
from circuitune.core.csvio import read_rows
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    CriticalRow,
    FaithfulnessRow,
    FindingsRecord,
    MethodRow,
    PairsRecord,
    RankPlanRecord,
    SummaryRecord,
    read_record,
)
from circuitune.dynamics.causal import ACCURACY, MEASURES
from circuitune.dynamics.comparison import QUESTIONS
from circuitune.dynamics.layers import RULES
from circuitune.experiments import chance_findings, findings, meaning
from circuitune.experiments.artefacts import ANALYSIS, COMPOSITION, PAIRS, PLAN
from circuitune.experiments.findings import count
from circuitune.experiments.plan import Plan
from circuitune.experiments.recipe import Recipe
from circuitune.experiments.store import Run
from circuitune.experiments.tables import CRITICAL_RULES


def write_summary(run: Run, plan: Plan) -> None:
    """Write ``summary.json`` from the tables of a run."""
    write_json(run.folder / "summary.json", summarise(run, plan))


def summarise(run: Run, plan: Plan) -> SummaryRecord:
    """The summary of a run whose tables are there."""
    pairs = read_record(run.job(plan.pairs).folder / PAIRS, PairsRecord)
    tables, share = run.folder / "tables", run.recipe.discovery.share
    found = find(tables, share)
    analyses = [read_record(run.job(job).folder / ANALYSIS, AnalysisRecord) for job in plan.analyses]
    composed = [read_record(run.job(job).folder / COMPOSITION, CompositionRecord) for job in plan.compositions]
    found = found.model_copy(
        update={
            "causal": chance_findings.causal(analyses),
            "composition": [f"{record.label}: {record.sentence}" for record in composed],
        }
    )
    model = plan.pairs.model.name
    return SummaryRecord(
        title=f"{model}, fine-tuned on {pairs.name}",
        sentences=[
            _data(pairs, model),
            *found.training,
            *answers(tables),
            *found.where[:1],
            *_chosen(run.recipe),
            *_advice(tables),
        ],
        notes=_notes(run, plan, pairs),
        findings=found,
    )


def find(tables: Path, share: float) -> FindingsRecord:
    """What the tables in a folder show; ``share`` of the edges is the size of the run's circuits."""
    method = read_rows(tables / "methods.csv", MethodRow)
    found = _tuned(tables, share) if (tables / "change.csv").is_file() else FindingsRecord()
    return found.model_copy(
        update={
            "where": _where(tables),
            "contest": _contest(method) if method else [],
        }
    )


def answers(tables: Path) -> list[str]:
    """The verdicts on what changed and whether the gain passes through it; none where no circuits were followed."""
    if not (tables / "change.csv").is_file():
        return []
    change = read_rows(tables / "change.csv", ChangeRow)
    chances, verdicts = read_rows(tables / "chance.csv", ChanceRow), read_rows(tables / "verdicts.csv", VerdictRow)
    said = [meaning.changed(change, chances, verdicts, measure) for measure in meaning.MEASURES]
    passes = meaning.passes(read_rows(tables / "causal.csv", TunedCausalRow))
    return [one for one in (*said, findings.null_caution(change), passes) if one]


def _chosen(recipe: Recipe) -> list[str]:
    """By which rule the layers of the contest were chosen, and what the other one counts; none without a contest."""
    if recipe.contest is None:
        return []
    rule = recipe.contest.rule
    others = "; ".join(f"the {name} rule counts the {RULES[name].said}" for name in CRITICAL_RULES if name != rule)
    return [
        f"The layers of CircuitLoRA are those of the {rule} rule, which counts the {RULES[rule].said}. For "
        f"comparison only, {others}."
    ]


def _advice(tables: Path) -> list[str]:
    """What the contest says to do, where there is one."""
    rows = read_rows(tables / "methods.csv", MethodRow)
    return [meaning.advice(rows, read_rows(tables / "accuracy.csv", AccuracyRow))] if rows else []


def _where(tables: Path) -> list[str]:
    """Which layers are critical, and how far the rules agree on it."""
    critical = read_rows(tables / "critical_layers.csv", CriticalRow)
    if not critical:
        return []
    if not (tables / "change.csv").is_file():
        return [findings.critical(critical)]
    frequency = read_rows(tables / "layer_frequency.csv", LayerFrequencyRow)
    stability = read_rows(tables / "stability.csv", StabilityRow)
    return [
        findings.critical(critical, frequency, stability),
        findings.rules(read_rows(tables / "rules.csv", RuleRow)),
    ]


def _tuned(tables: Path, share: float) -> FindingsRecord:
    """What the fine-tunings whose circuits were followed show."""
    faithfulness = read_rows(tables / "faithfulness.csv", FaithfulnessRow)
    change = read_rows(tables / "change.csv", ChangeRow)
    start = findings.start_caution(faithfulness, share)
    return FindingsRecord(
        training=[
            findings.learning(read_rows(tables / "accuracy.csv", AccuracyRow)),
            findings.faithful(faithfulness, share, _whole(tables / "causal.csv")),
        ],
        changes=[findings.change(change, "edge"), findings.change(change, "node"), findings.ratio(change)],
        chance=chances(tables),
        robust=_robust(tables / "robustness.csv"),
        cautions=[findings.null_caution(change), *([start] if start else [])],
    )


def _whole(table: Path) -> list[float]:
    """Accuracy of every tuned model on the pairs that faithfulness is measured on: those of the causal check too."""
    return sorted({row.tuned for row in read_rows(table, TunedCausalRow) if row.measure == ACCURACY})


def _robust(table: Path) -> list[str]:
    """What other pairs of the task would have given, where the run asked."""
    return [chance_findings.robust(read_rows(table, RobustnessRow))] if table.is_file() else []


def _contest(method: list[MethodRow]) -> list[str]:
    """What the comparison of methods shows."""
    others = findings.rivals(method)
    return [
        findings.against_uniform(method),
        findings.against_random(method),
        *([others] if others else []),
        findings.seed_caution(method),
    ]


def chances(tables: Path) -> list[str]:
    """The changes in the tables of a folder, held against chance."""
    rows, verdicts = read_rows(tables / "chance.csv", ChanceRow), read_rows(tables / "verdicts.csv", VerdictRow)
    return [
        *(chance_findings.change(rows, verdicts, measure) for measure in QUESTIONS),
        chance_findings.edges(read_rows(tables / "changed.csv", ChangedRow)),
        chance_findings.stable(read_rows(tables / "stability.csv", StabilityRow)),
    ]


def _data(pairs: PairsRecord, model: str) -> str:
    rows = sum(pairs.parts.values())
    trained = f", of which {pairs.parts['train']:,} are trained on" if "train" in pairs.parts else ""
    out = f"{count(len(pairs.left_out), 'row')} that broke a rule left out" if pairs.left_out else "no row left out"
    source = {
        "given": "wrong answers come with the data",
        "computed": "wrong answers were computed from the corrupted prompts",
        "model": "missing wrong answers are the model's own on the corrupted prompt",
        "none": "there are no wrong answers",
    }[pairs.wrong]
    metric = f"{MEASURES[pairs.metric]} ({pairs.metric})" if pairs.metric in MEASURES else pairs.metric
    return (
        f"{model} was fine-tuned on {pairs.name}: {rows:,} pairs{trained}, {out}; {source}; the metric is {metric}."
    )


def _notes(run: Run, plan: Plan, pairs: PairsRecord) -> list[str]:
    discovery = run.recipe.discovery
    difference = "; that of a difference is Newcombe's" if plan.methods else ""
    always = "; phase 1 always on validation" if plan.phase1 else ""
    notes = [
        *_model_notes(run, plan, pairs),
        f"Circuits: {discovery.method}, {discovery.steps} steps ({discovery.quadrature}), metric {pairs.metric}, "
        f"at most {discovery.pairs} pairs of the circuit split ({pairs.parts['circuit']:,} rows).",
        f"Faithfulness: at most {discovery.evaluation_pairs} pairs of the {discovery.part} split "
        f"({pairs.parts[discovery.part]:,} rows{always}), interchange ablation.",
        *_phase1_note(plan),
        *([meaning.RULE] if plan.tuning else []),
        f"Intervals of accuracy are Wilson's at 95 %{difference}, over test rows, not seeds.",
    ]
    if pairs.metric == "logit_diff" and pairs.wrong == "model":
        notes.append("Pairs whose own answer on the corrupted prompt is the right answer are not used for circuits.")
    return notes + [
        f"Left out: row {row.row if row.row is not None else '?'}: {row.reason}" for row in pairs.left_out[:20]
    ]


def _model_notes(run: Run, plan: Plan, pairs: PairsRecord) -> list[str]:
    """The model's size, and which of its modules the tuning trains by LoRA of which rank, where it does."""
    notes = [f"Model: {pairs.size.parameters:,} parameters, {count(pairs.size.layers, 'layer')}."]
    place = run.job(plan.tuning[0]).folder / PLAN if plan.tuning else None
    if place is None or not place.is_file():
        return notes
    ranks = read_record(place, RankPlanRecord)
    names = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in ranks.ranks))
    rank = "\N{EN DASH}".join(map(str, sorted({min(ranks.ranks.values()), max(ranks.ranks.values())})))
    return [
        *notes,
        f"Fine-tuning: LoRA of rank {rank}, alpha {ranks.alpha_over_rank:g} times the rank, in "
        f"{count(len(ranks.ranks), 'module')} ({names}); {ranks.parameters:,} parameters are trained.",
    ]


def _phase1_note(plan: Plan) -> list[str]:
    """How the layers of the contest were chosen, where there is one."""
    if not plan.phase1:
        return []
    phase1 = plan.phase1[0]
    return [
        f"Phase 1: LoRA of rank {phase1.ranks.rank}, {count(phase1.training.epochs, 'epoch')}, measured on "
        "validation; what chooses the layers never sees the test split."
    ]
