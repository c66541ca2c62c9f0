"""What a worker does with a job, wherever it is: one thread, no raised error, every warning kept."""

import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from circuitune.core.atomic import write_text
from circuitune.core.errors import InputError, MachineError, out_of_memory
from circuitune.experiments.specs import JobSpec, title

THREADS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""Environment of a worker: results depend on the order of sums, so one thread, and fixed workspaces on a GPU."""
FAILURE = "failure.txt"
"""In a job's folder: the traceback of an error that is nobody's input."""


@dataclass(frozen=True)
class Answer:
    """What a worker sends back: what went wrong, and what it was warned of."""

    error: BaseException | None
    warnings: list[str]

    def check(self, spec: JobSpec) -> None:
        """Raise what went wrong."""
        if isinstance(self.error, InputError | MachineError):
            raise self.error
        if self.error is not None:
            raise MachineError(f"Job '{title(spec)}' failed: {self.error}") from self.error


def attempt(folder: Path) -> Answer:
    """Do the job in ``folder`` in this process."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", UserWarning)
        error = _error(folder)
    return Answer(error, [str(warning.message) for warning in caught])


def _error(folder: Path) -> BaseException | None:
    try:
        import torch  # a worker starts faster than it is needed

        torch.set_num_threads(1)
        from circuitune.experiments.job import run_job

        run_job(folder)
    except (InputError, MachineError) as error:
        return type(error)(*error.args)
    except OSError as error:  # one that nobody met with a sentence of its own
        return MachineError(
            f"{folder.name}: the disk or the network failed ({error}); then run the same command again."
        )
    except Exception as error:
        if out_of_memory(error):
            return MachineError(
                f"{folder.name}: out of memory; run the same command with --jobs 1, take a smaller "
                "training.batch_size, or a machine with more memory."
            )
        return _defect(folder, error)
    return None


def _defect(folder: Path, error: Exception) -> BaseException:
    """An error of ours: its place goes where the next attempt clears it, if the disk takes it."""
    where = f" (see {folder / FAILURE})"
    try:
        write_text(folder / FAILURE, "".join(traceback.format_exception(error)))
    except MachineError:
        where = ""
    return RuntimeError(f"{type(error).__name__}: {error}{where}")
