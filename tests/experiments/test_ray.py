"""Jobs on a Ray cluster of two nodes on this machine, of which one is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is an extra: pip install 'circuitune[ray]'")

from ray.cluster_utils import Cluster

from circuitune.core.errors import InputError
from circuitune.experiments.engines.ray import Ray, work
from circuitune.experiments.inputs import freeze
from circuitune.experiments.specs import JobSpec, PairsSpec, folder_name
from circuitune.experiments.store import Run
from experiments import tiny

MEMORY = 256 << 20
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()", "run", "--engine", "ray"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One node with one core; tests add a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        yield nodes
        nodes.shutdown()


def workers() -> list[psutil.Process]:
    """Ray's workers that do a job now."""
    return [process for process in psutil.Process().children(recursive=True) if "ray::work" in process.name()]


class Saboteur(tiny.Record):
    """Does harm once: as soon as a training is half on disk and another job is in progress."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.kept: dict[Path, int] = {}
        self.busy: set[str] = set()

    def started(self, spec: JobSpec) -> None:
        super().started(spec)
        self.busy.add(folder_name(spec))

    def advanced(self, spec: JobSpec, share: float) -> None:
        super().advanced(spec, share)
        if share > 0 and len(self.busy) == 2 and not self.kept:
            self.kept = self.completed()
            assert self.kept
            self.harm()

    def finished(self, spec: JobSpec, seconds: float | None) -> None:
        super().finished(spec, seconds)
        self.busy.discard(folder_name(spec))

    def completed(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.run.folder.glob("jobs/*/COMPLETE.json")}

    def harm(self) -> None:
        raise NotImplementedError


def sabotaged(saboteur: Saboteur, cluster: Cluster, run: Run, trained: tuple[Run, list[JobSpec]]) -> None:
    """Run the jobs; hold what they come to against the run that nobody harmed."""
    expected, specs = trained
    Ray(None, cluster.address).run(run, specs, MEMORY, saboteur)
    lost = [text for event, text in saboteur.events if event == "warned"]
    assert len(lost) == 1
    assert "its worker was lost and it is begun again" in lost[0]
    assert sorted(label for event, label in saboteur.events if event == "started") == sorted(s.label for s in specs)
    assert saboteur.kept.items() <= saboteur.completed().items()
    for spec in specs:
        assert tiny.content(run.job(spec).folder) == tiny.content(expected.job(spec).folder)


@pytest.mark.slow
def test_a_killed_worker_loses_only_its_job(
    cluster: Cluster, model: Path, trained: tuple[Run, list[JobSpec]], tmp_path: Path
):
    class Killer(Saboteur):
        def harm(self) -> None:
            workers()[0].send_signal(signal.SIGKILL)

    second = cluster.add_node(**NODE)
    run, _ = tiny.prepared(freeze(tiny.slower(model, tmp_path)), tmp_path / "run")
    sabotaged(Killer(run), cluster, run, trained)
    cluster.remove_node(second)


@pytest.mark.slow
def test_a_lost_node_loses_only_its_job(
    cluster: Cluster, model: Path, trained: tuple[Run, list[JobSpec]], tmp_path: Path
):
    class Remover(Saboteur):
        def harm(self) -> None:
            cluster.remove_node(second, allow_graceful=False)

    second = cluster.add_node(**NODE)
    run, _ = tiny.prepared(freeze(tiny.slower(model, tmp_path)), tmp_path / "run")
    sabotaged(Remover(run), cluster, run, trained)
    assert second not in cluster.list_all_nodes()


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path):
    begun, answer = work(str(tmp_path / "elsewhere"))
    assert begun is None
    assert answer is not None
    with pytest.raises(InputError, match=r"does not see .*elsewhere; choose a folder that all machines share"):
        answer.check(PairsSpec.model_construct(label="pairs"))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1", "head:x"])
def test_an_address_where_no_cluster_is(address: str, model: Path, tmp_path: Path):
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    with pytest.raises(InputError, match=rf"--address {address}: no Ray cluster answers there .*HOST:PORT"):
        Ray(None, address).run(run, jobs.jobs, MEMORY, tiny.Record())


@pytest.mark.slow
def test_without_an_address_ray_listens_on_loopback_alone_and_ends_with_the_command(model: Path, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(tiny.RECIPE)
    command = [*COMMAND, "--recipe", "tiny.yaml", "--model", str(model), "--out", "run", "--jobs", "1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not next((tmp_path / "run").glob("jobs/pairs-*/train.jsonl"), None):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    ports = [socket for member in family for socket in member.net_connections("inet") if socket.status == "LISTEN"]
    assert ports
    assert {socket.laddr.ip.removeprefix("::ffff:") for socket in ports} == {"127.0.0.1"}
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate()[1].decode().splitlines()
    assert process.returncode == 130
    assert said[-1] == "circuitune: Stopped. The same command goes on from here."
    assert not psutil.wait_procs(family, timeout=30)[1]
