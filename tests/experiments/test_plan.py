from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import AnalyseSpec, DiscoverSpec, ModelRef, TrainSpec, folder_name, title

MODEL = ModelRef(name="m", fingerprint="0" * 64)


def test_every_job_comes_after_its_inputs():
    for name in ("default", "quick", "full"):
        seen: set[str] = set()
        for spec in plan(load_recipe(name), MODEL).jobs:
            assert set(spec.inputs.values()) <= seen
            seen.add(folder_name(spec))


def test_the_default_plan_is_what_the_command_promises():
    jobs = plan(load_recipe("default"), MODEL)
    assert [job.seed for job in jobs.tuning] == [0, 1]
    assert all(job.training.checkpoints == 10 for job in jobs.tuning)
    assert [(job.ranks.rank, job.training.epochs) for job in jobs.phase1] == [(2, 1)]
    assert [job.arm for job in jobs.methods] == ["circuitlora", "uniform", "random", "random", "random"]
    assert len({title(job) for job in jobs.jobs}) == len(jobs.jobs)


def test_equal_recipes_and_models_give_equal_names_and_any_change_gives_others():
    recipe = load_recipe("default")
    names = {folder_name(spec) for spec in plan(recipe, MODEL).jobs}
    assert names == {folder_name(spec) for spec in plan(load_recipe("default"), MODEL).jobs}
    other_model = plan(recipe, ModelRef(name="m", fingerprint="1" * 64))
    assert not names & {folder_name(spec) for spec in other_model.jobs}


def test_a_change_reaches_the_jobs_below_it_and_no_others():
    before = plan(load_recipe("default"), MODEL)
    after = plan(load_recipe("default", {"discovery": {"steps": 3}}), MODEL)
    kept = {folder_name(spec) for spec in before.jobs} & {folder_name(spec) for spec in after.jobs}
    assert {folder_name(spec) for spec in (before.pairs, *before.tuning, *before.phase1)} <= kept
    assert not {folder_name(spec) for spec in (*before.tuning_circuits, *before.phase1_circuits)} & kept
    assert folder_name(before.methods[0]) not in kept  # its ranks come from the circuits


def test_what_decides_a_setting_has_stage_tune_and_never_evaluates_on_test():
    jobs = plan(load_recipe("default", {"discovery": {"part": "test"}}), MODEL)
    deciding = (*jobs.phase1, *jobs.phase1_circuits)
    assert {spec.stage for spec in deciding} == {"tune"}
    assert {spec.discovery.part for spec in jobs.phase1_circuits} == {"validation"}
    reported = [spec for spec in jobs.jobs if spec not in deciding]
    assert {spec.stage for spec in reported} == {"report"}


def test_specs_hold_no_absolute_path():
    for spec in plan(load_recipe("default"), MODEL).jobs:
        assert isinstance(spec, TrainSpec | DiscoverSpec | AnalyseSpec) or spec.kind == "pairs"
        assert '"/' not in spec.model_dump_json()
