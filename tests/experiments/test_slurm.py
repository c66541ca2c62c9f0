"""Jobs in a Slurm queue of one machine, started for the test where Debian's packages are installed."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from circuitune.core.errors import InputError, MachineError
from circuitune.experiments.engines import slurm
from circuitune.experiments.engines.local import Local
from circuitune.experiments.engines.schedule import Pending
from circuitune.experiments.engines.slurm import Slurm, stages
from circuitune.experiments.inputs import freeze
from circuitune.experiments.run import conduct
from circuitune.experiments.specs import JobSpec, folder_name
from circuitune.experiments.store import Run
from experiments import tiny

DAEMONS = ("munged", "slurmctld", "slurmd")
MEMORY = 600 << 20
CONFIGURATION = """\
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def until(true: Callable[[], object], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def daemons() -> dict[str, str]:
    """The commands of a whole Slurm; skips where one is missing (Debian: slurmctld, slurmd, slurm-client, munge)."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    found = {name: shutil.which(name, path=path) for name in (*DAEMONS, "sbatch")}
    missing = [name for name, place in found.items() if place is None]
    if missing:
        pytest.skip(f"needs Slurm and munge ({', '.join(missing)} not found)")
    return {name: place for name, place in found.items() if place}


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A controller and a node of two cores; ends with the tests."""
    commands, folder = daemons(), tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    facts = {"host": socket.gethostname(), "user": getpass.getuser(), "folder": folder, "ports": free_ports(2)}
    configuration.write_text(CONFIGURATION.format(**facts))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {
        "key": key.name,
        "socket": "munge.socket",
        "pid": "munged.pid",
        "log": "munged.log",
        "seed": "munge.seed",
    }
    options = [f"--{name}{'' if name == 'socket' else '-file'}={folder / file}" for name, file in files.items()]
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / "daemons.log").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(configuration))
        try:
            start(commands["munged"], "--foreground", "--force", *options)
            until((folder / "munge.socket").exists, 20)
            start(commands["slurmctld"], "-D")
            start(commands["slurmd"], "-D")
            until(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout, 60)
            yield folder
            said("scancel", "--me")
            until(lambda: not waiting(), 30)
        finally:
            for process in reversed(started):
                process.terminate()
            for process in reversed(started):
                process.wait(30)


def waiting() -> list[str]:
    return said("squeue", "--noheader", "--format=%i %T %r").splitlines()


@pytest.mark.slow
def test_a_requeued_job_is_done_again_and_no_other(
    queue: Path, model: Path, trained: tuple[Run, list[JobSpec]], tmp_path: Path
):
    expected, specs = trained[0], trained[1][:3]
    run, _ = tiny.prepared(freeze(tiny.slower(model, tmp_path)), tmp_path / "run")
    pending = Slurm().run(run, specs, MEMORY, tiny.Record())
    assert pending is not None
    first, second = (run.folder / "slurm" / "submitted").read_text().split()
    assert pending.sentence == f"3 of 3 jobs are in the queue now (squeue --jobs {first},{second})."

    training = run.job(specs[1]).folder
    until(lambda: (training / "checkpoints").is_dir())
    said("scontrol", "requeue", f"{second}_0")
    assert not run.job(specs[1]).complete
    kept = (run.job(specs[0]).folder / "COMPLETE.json").stat().st_mtime_ns
    again = Slurm().run(run, specs, MEMORY, tiny.Record())
    assert again is not None
    assert f"are still in the queue (squeue --jobs {second};" in again.sentence

    until(lambda: f"{second}_0 PENDING BeginTime" in waiting())
    # Slurm would wait two minutes; within the second of the kill the node refuses the job for good.
    said("scontrol", "update", f"jobid={second}_0", "starttime=now+3")
    until(lambda: not waiting())
    observer = tiny.Record()
    assert Slurm().run(run, specs, MEMORY, observer) is None
    assert observer.events == [("kept", spec.label) for spec in specs]
    assert (run.job(specs[0]).folder / "COMPLETE.json").stat().st_mtime_ns == kept
    for spec in specs:
        assert tiny.content(run.job(spec).folder) == tiny.content(expected.job(spec).folder)
    logs = {path.name: path.read_text() for path in (run.folder / "slurm" / "logs").iterdir()}
    ended = {name: text.count("Complete: ") for name, text in logs.items()}
    assert ended == {f"{first}_0.log": 1, **{f"{second}_{number}.log": 1 for number in range(2)}}
    assert "REQUEUE" in logs[f"{second}_0.log"]


@pytest.mark.slow
def test_a_job_that_ends_badly_is_submitted_again_and_its_log_named(queue: Path, model: Path, tmp_path: Path):
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    alone = [jobs.tuning[0]]  # its pairs are not there
    assert Slurm().run(run, alone, MEMORY, tiny.Record()) is not None
    until(lambda: not waiting())
    (log,) = (run.folder / "slurm" / "logs").iterdir()
    assert "which is not complete; run that first" in log.read_text()
    again = Slurm().run(run, alone, MEMORY, tiny.Record())
    assert again is not None
    assert "They were in the queue before; " in again.sentence
    said("scancel", "--me")
    until(lambda: not waiting())


def test_an_option_that_slurm_refuses_is_said(
    queue: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SBATCH_PARTITION", "none")
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    with pytest.raises(MachineError, match=r"Slurm refused the jobs \(.*[Pp]artition"):
        Slurm().run(run, jobs.jobs, MEMORY, tiny.Record())


@pytest.fixture
def written(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, tuple[JobSpec, ...], Pending]:
    """The files for all jobs of a run, on a machine without Slurm."""
    monkeypatch.setenv("PATH", "/nowhere")
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    pending = Slurm(at_once=3).run(run, jobs.jobs, MEMORY, tiny.Record())
    assert pending is not None
    return run, jobs.jobs, pending


def test_without_sbatch_the_files_are_written_and_the_sentence_says_what_to_type(
    written: tuple[Run, tuple[JobSpec, ...], Pending],
):
    run, jobs, pending = written
    script = run.folder / "slurm" / "submit.sh"
    assert pending.sentence.endswith(f"There is no sbatch here; where there is, type: bash {script}")
    text = "".join(path.read_text() for path in sorted(script.parent.glob("stage-*.sbatch")))
    assert [text.count(folder_name(spec)) for spec in jobs] == [1] * len(jobs)
    assert "--array=0-3%3" in text
    assert "--mem=600M" in text
    assert "--requeue" in text


def test_every_job_is_in_a_stage_after_those_it_needs(written: tuple[Run, tuple[JobSpec, ...], Pending]):
    _, jobs, _ = written
    done: set[str] = set()
    for stage in stages(jobs):
        assert all(set(spec.inputs.values()) <= done for spec in stage)
        done |= {folder_name(spec) for spec in stage}
    assert len(done) == len(jobs)
    assert len(stages(jobs)) == 4


def test_a_stage_larger_than_an_array_may_be_is_several(
    written: tuple[Run, tuple[JobSpec, ...], Pending], monkeypatch: pytest.MonkeyPatch
):
    run, jobs, _ = written
    monkeypatch.setattr(slurm, "LARGEST", 3)
    Slurm().run(run, jobs, MEMORY, tiny.Record())
    assert sorted(path.name for path in (run.folder / "slurm").glob("stage-2*")) == [
        "stage-2-1.sbatch",
        "stage-2.sbatch",
    ]
    chain = (run.folder / "slurm" / "submit.sh").read_text().splitlines()
    assert [line for line in chain if line.startswith("stage2=")] == [
        "stage2=$(submit --dependency=afterany:$stage1 stage-2.sbatch)",
        "stage2=$stage2:$(submit --dependency=afterany:$stage1 stage-2-1.sbatch)",
    ]
    assert any(line.startswith("stage3=$(submit --dependency=afterany:$stage2 ") for line in chain)


@pytest.fixture
def busy(written: tuple[Run, tuple[JobSpec, ...], Pending], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run, with its array 7 in a queue that knows no other."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "squeue").write_text("#!/bin/sh\necho 7\n")
    (tools / "sbatch").write_text("#!/bin/sh\necho 8\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    (written[0].folder / "slurm" / "submitted").write_text("7\n")
    return written[0]


def test_while_jobs_are_in_the_queue_no_other_command_touches_them(busy: Run, model: Path, tmp_path: Path):
    recipe = tiny.recipe(model, tmp_path)
    fewer = recipe.model_copy(update={"training": recipe.training.model_copy(update={"rows": 20})})
    there = sorted(path.name for path in (busy.folder / "jobs").iterdir())
    for chosen, engine in ((fewer, Slurm()), (recipe, Local(1))):
        with pytest.raises(InputError, match="scancel 7"):
            conduct(freeze(chosen), busy.folder, engine, tiny.Record().watch)
    assert sorted(path.name for path in (busy.folder / "jobs").iterdir()) == there


def test_a_damaged_list_of_arrays_names_those_that_are_whole(busy: Run):
    (busy.folder / "slurm" / "submitted").write_bytes(b"\xff\x80\n7\n")
    assert slurm.in_queue(busy.folder) == "7"


def test_the_script_submits_nothing_twice(busy: Run):
    script = busy.folder / "slurm" / "submit.sh"
    again = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert (again.returncode, (script.parent / "submitted").read_text()) == (1, "7\n")
    assert "in the queue already" in again.stderr
    (script.parent / "submitted").write_text("5\n")
    subprocess.run(["bash", script], capture_output=True, check=True)
    assert set((script.parent / "submitted").read_text().split()) == {"8"}
