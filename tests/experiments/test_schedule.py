"""Who is handed out when; and that a step of the schedule costs the same however many jobs there are."""

from pathlib import Path

from circuitune.experiments.engines.schedule import News, hand_out
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import JobSpec, ModelRef, folder_name
from circuitune.experiments.store import create
from experiments import tiny


class Instant:
    """Workers that have done a job as soon as they took it, so many at a time."""

    def __init__(self, at_once: int) -> None:
        self.at_once, self.taken, self.order = at_once, list[JobSpec](), list[str]()

    @property
    def free(self) -> bool:
        return len(self.taken) < self.at_once

    def take(self, spec: JobSpec) -> None:
        self.taken.append(spec)
        self.order.append(folder_name(spec))

    def news(self, seconds: float):
        spec = self.taken.pop(0)
        yield News(spec, "started")
        yield News(spec, "finished")


class Unread(dict[str, str]):
    """Inputs that count how often they are looked at."""

    looks = 0

    def values(self):
        Unread.looks += 1
        return super().values()


def jobs_of(seeds: int) -> tuple[JobSpec, ...]:
    recipe = load_recipe("quick", {"tuning": {"seeds": list(range(seeds))}})
    return plan(recipe, ModelRef(name="nano", fingerprint="none")).jobs


def run_of(folder: Path):
    return create(folder / "run", load_recipe("quick"), {})


def test_every_job_comes_after_its_inputs_and_otherwise_in_the_plans_order(tmp_path):
    jobs, workers = jobs_of(3), Instant(2)
    hand_out(run_of(tmp_path), jobs, workers, tiny.Record())
    places = {name: place for place, name in enumerate(workers.order)}
    assert set(workers.order) == {folder_name(spec) for spec in jobs}
    assert all(places[other] < places[folder_name(spec)] for spec in jobs for other in spec.inputs.values())
    trainings = [folder_name(spec) for spec in jobs if spec.kind == "train" and spec.arm == "tune"]
    assert sorted(trainings, key=places.__getitem__) == trainings


def test_inputs_that_are_complete_already_are_not_waited_for(tmp_path):
    jobs = jobs_of(1)[1:]  # without the pairs, which all others need
    workers = Instant(1)
    hand_out(run_of(tmp_path), jobs, workers, tiny.Record())
    assert len(workers.order) == len(jobs)


def test_inputs_are_looked_at_once_a_job(tmp_path):
    jobs = [spec.model_copy(update={"inputs": Unread(spec.inputs)}) for spec in jobs_of(20)]
    Unread.looks = 0
    hand_out(run_of(tmp_path), jobs, Instant(2), tiny.Record())
    assert Unread.looks == len(jobs)
