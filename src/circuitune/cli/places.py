"""The options of ``run`` and ``sweep`` that say where jobs run."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.experiments.engines.schedule import Engine

HERE = 2
"""Jobs at a time on this machine, unless ``--jobs`` says otherwise."""


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Where and how many jobs run at a time; results are the same everywhere."""

    jobs: int | None = None
    "Jobs at a time, of one thread each; by default 2 on this machine, and what a cluster or queue gives."
    engine: Literal["local", "ray", "slurm"] = "local"
    "Where jobs run: processes of this machine, Ray tasks, or Slurm arrays."
    address: str | None = None
    "For ray: the cluster, such as auto or 10.0.0.1:6379; by default Ray is started on this machine alone."

    @property
    def here(self) -> bool:
        """Whether the jobs run on this machine."""
        return self.engine == "local" or (self.engine == "ray" and self.address is None)

    def open(self) -> "Engine":
        """The engine; InputError where options do not fit together."""
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"--jobs {self.jobs}: at least one worker is needed.")
        if self.address is not None and self.engine != "ray":
            raise InputError("--address belongs to --engine ray.")
        if self.engine == "ray":
            if find_spec("ray") is None:
                raise InputError("--engine ray needs Ray; install it with: pip install 'circuitune[ray]'.")
            from circuitune.experiments.engines.ray import Ray

            return Ray(self.jobs if self.address else self.jobs or HERE, self.address)
        if self.engine == "slurm":
            from circuitune.experiments.engines.slurm import Slurm

            return Slurm(self.jobs)
        from circuitune.experiments.engines.local import Local

        return Local(self.jobs or HERE)


PLACE = Place()
LATER = "When they are done, the same command makes the tables and the report."
"""What to do after an engine has left jobs to others."""


def at_a_time(workers: int | None) -> str:
    """How many jobs run at a time, as the end of a clause; nothing where that is not known."""
    return f", {workers} at a time" if workers else ""
