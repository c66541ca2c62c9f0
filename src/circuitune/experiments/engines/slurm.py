"""Leave jobs to Slurm: one array per stage, each after the stage before it has ended.

    slurm/stage-1.sbatch, stage-2.sbatch ...   what an array does, to be read (and changed) by people
    slurm/submit.sh                            submits them all; its options go to sbatch
    slurm/submitted, slurm/logs/               the arrays' numbers, and what their jobs said

A stage holds the jobs whose inputs are in earlier stages. It begins when they have ended, well or not: a job whose
input is missing says so in its log and leaves the rest alone. A requeued job is done again, as any killed job is.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from circuitune.core.atomic import ensure_writable_folder, write_text
from circuitune.core.errors import MachineError
from circuitune.experiments.engines.schedule import Observer, Pending, gpus, missing
from circuitune.experiments.engines.worker import THREADS
from circuitune.experiments.specs import JobSpec, folder_name, title
from circuitune.experiments.store import Run

FOLDER, SCRIPT, SUBMITTED, LOGS = "slurm", "submit.sh", "submitted", "logs"
"""Inside the run folder, and inside that."""
LARGEST = 1000
"""Jobs in one array: Slurm's own limit, unless a site sets another."""


@dataclass(frozen=True)
class Slurm:
    """A queue, in which at most ``at_once`` jobs of an array run at a time."""

    at_once: int | None = None

    def run(self, run: Run, specs: Sequence[JobSpec], memory: int, observer: Observer) -> Pending | None:
        """Submit the jobs that are not complete, unless they are in the queue already (see `Engine`)."""
        left = missing(run, specs, observer)
        if not left:
            return None
        folder, count = run.folder / FOLDER, f"{len(left)} of {len(specs)} jobs"
        before = _submitted(folder)
        if queued := _queued(before):
            return Pending(f"{count} are still in the queue (squeue --jobs {queued}; logs in {folder / LOGS}).")
        again = f" They were in the queue before; {folder / LOGS} says why they ended." if before else ""
        script = _write(folder, left, run.recipe.name, memory, self.at_once)
        if shutil.which("sbatch") is None:
            how = f"There is no sbatch here; where there is, type: bash {quote(str(script))}"
            return Pending(f"{count} are to be done.{again} {how}")
        _submit(script)
        return Pending(f"{count} are in the queue now (squeue --jobs {','.join(_submitted(folder))}).{again}")


def stages(jobs: Sequence[JobSpec]) -> list[list[JobSpec]]:
    """Jobs by how many others must be done one after the other before them; ``jobs`` come with inputs first."""
    level: dict[str, int] = {}
    for spec in jobs:
        level[folder_name(spec)] = 1 + max(
            (level[name] for name in spec.inputs.values() if name in level), default=-1
        )
    return [
        [spec for spec in jobs if level[folder_name(spec)] == number]
        for number in range(1 + max(level.values(), default=-1))
    ]


def _write(folder: Path, jobs: Sequence[JobSpec], name: str, memory: int, at_once: int | None) -> Path:
    """Write an sbatch file for every array and the script that submits them, which is returned."""
    for path in folder.glob("stage-*.sbatch"):
        path.unlink()
    ensure_writable_folder(folder / LOGS)
    names: list[list[str]] = []
    for number, stage in enumerate(stages(jobs), start=1):
        parts = [stage[start : start + LARGEST] for start in range(0, len(stage), LARGEST)]
        names.append([f"stage-{number}{f'-{part}' if part else ''}.sbatch" for part in range(len(parts))])
        for file, part in zip(names[-1], parts, strict=True):
            write_text(folder / file, _array(f"{name}-{number}", part, memory, at_once))
    write_text(folder / SCRIPT, _chain(names))
    return folder / SCRIPT


def _array(name: str, jobs: Sequence[JobSpec], memory: int, at_once: int | None) -> str:
    """The sbatch file of one array. Its paths are relative: a run folder can be moved."""
    limit = f"%{at_once}" if at_once else ""
    width = max(len(folder_name(spec)) for spec in jobs)
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --job-name={name}",
            f"#SBATCH --array=0-{len(jobs) - 1}{limit}",
            f"#SBATCH --ntasks=1 --cpus-per-task=1 --mem={memory >> 20}M",
            *(["#SBATCH --gpus-per-task=1"] if gpus(jobs[0]) else []),
            "#SBATCH --requeue --open-mode=append",
            f"#SBATCH --output={LOGS}/%A_%a.log",
            "",
            "jobs=(",
            *(f"    {folder_name(spec):<{width}}  # {title(spec)}" for spec in jobs),
            ")",
            *(f"export {variable}={value}" for variable, value in THREADS.items()),
            f'exec {quote(sys.executable)} -m circuitune job run "../jobs/${{jobs[SLURM_ARRAY_TASK_ID]}}"',
            "",
        ]
    )


def _chain(names: Sequence[Sequence[str]]) -> str:
    """The script that submits the arrays of every stage, whose files these are."""
    lines: list[str] = []
    for number, files in enumerate(names, start=1):
        after = f"--dependency=afterany:$stage{number - 1} " if number > 1 else ""
        for place, file in enumerate(files):  # one at a time: of several in a line only the last could fail
            lines.append(f"stage{number}={f'$stage{number}:' if place else ''}$(submit {after}{file})")
    return "\n".join(
        [
            "#!/bin/bash",
            "# Submits the arrays, each stage after the one before it has ended. Options go to sbatch:",
            f"#     bash {SCRIPT} --partition=long --time=2:00:00",
            "set -euo pipefail",
            'cd "$(dirname "$0")"',
            'options=("$@")',
            f"if [ -s {SUBMITTED} ] && squeue --me --noheader --format=%F | tr -d ' ' | grep -qxFf {SUBMITTED}; then",
            '    echo "They are in the queue already; scancel them before you submit them again." >&2',
            "    exit 1",
            "fi",
            f"rm -f {SUBMITTED}",
            f'submit() {{ sbatch --parsable "${{options[@]}}" "$@" | cut -d\';\' -f1 | tee -a {SUBMITTED}; }}',
            "",
            *lines,
            "",
        ]
    )


def _submit(script: Path) -> None:
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split())
        raise MachineError(
            f"Slurm refused the jobs ({reason}); type: bash {quote(str(script))}, with options for sbatch."
        )


def in_queue(run: Path) -> str:
    """The arrays of a run folder that are in the queue, as squeue takes them; empty where none is."""
    return _queued(_submitted(run / FOLDER))


def _submitted(folder: Path) -> list[str]:
    """The arrays of the last submission."""
    path = folder / SUBMITTED
    return path.read_text("ascii", "replace").split() if path.is_file() else []  # what is damaged is no array


def _queued(arrays: Sequence[str]) -> str:
    """Those of the arrays that are in the queue, as squeue takes them."""
    if not arrays or shutil.which("squeue") is None:
        return ""
    asked = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%F"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise MachineError(f"squeue does not answer ({' '.join(asked.stderr.split())}); try again later.")
    known = set(asked.stdout.split())
    return ",".join(array for array in arrays if array in known)
