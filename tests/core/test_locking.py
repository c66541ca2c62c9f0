import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.core.errors import InputError, MachineError
from circuitune.core.locking import LOCK, locked

HOLDS = (
    "from pathlib import Path\nimport sys\nfrom circuitune.core.locking import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
)
COUNTS = """
import sys
from pathlib import Path
from circuitune.core.errors import InputError
from circuitune.core.locking import locked
folder, count = Path(sys.argv[1]), 0
while count < 200:
    try:
        with locked(folder):
            inside = folder / "inside"
            inside.open("x").close()  # fails where another process is inside
            inside.unlink()
            count += 1
    except InputError:
        pass
"""


def test_a_folder_has_one_holder_at_a_time_and_keeps_nothing_of_it(tmp_path: Path):
    with locked(tmp_path), pytest.raises(InputError, match="wait for it or stop it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert not any(tmp_path.iterdir())


def test_a_second_process_is_told_who_holds_it_and_a_dead_one_holds_nothing(tmp_path: Path):
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"process {holder.pid} on .*; wait for it"), locked(tmp_path):
            pass
        holder.kill()
    assert (tmp_path / LOCK).is_file()
    with locked(tmp_path):
        pass
    assert not any(tmp_path.iterdir())


def test_many_processes_are_never_inside_together(tmp_path: Path):
    """The file is removed while others open it: the race that a lock with a file must not lose."""
    command = [sys.executable, "-c", COUNTS, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")  # as Lustre answers unless it is mounted with -o flock

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(MachineError, match=r"gives no locks .*-o flock"), locked(tmp_path):
        pass


@pytest.mark.skipif(not os.access("/proc/self/fdinfo", os.R_OK), reason="needs Linux's /proc")
def test_a_folder_where_no_file_can_be_made_is_named():
    with pytest.raises(MachineError, match="/proc/self/fdinfo cannot be locked"), locked(Path("/proc/self/fdinfo")):
        pass
