"""When, where and with what versions something was made: the part of a record that no result depends on."""

import importlib.metadata
import os
import platform
import resource
import sys
from datetime import UTC, datetime

from circuitune.core.records import EnvironmentRecord

_PACKAGES = (
    "circuitune",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "numpy",
    "scipy",
    "pydantic",
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def describe(seconds: float | None = None) -> EnvironmentRecord:
    """Describe this process, after ``seconds`` of work; imports none of the packages it names."""
    return EnvironmentRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        host=platform.node(),
        platform=platform.platform(),
        python=platform.python_version(),
        packages={name: version for name in _PACKAGES if (version := _version(name))},
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=machine_memory(),
        peak_memory=_peak_memory(),
        threads={name: os.environ[name] for name in _THREADS if name in os.environ},
    )


def machine_memory() -> int:
    """Bytes of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes; macOS counts in bytes, Linux in KiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
