import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from circuitune.core.atomic import (
    PARTIAL,
    ensure_writable_folder,
    flush,
    remove_partial_files,
    replacing,
    write_bytes,
    write_json,
    write_text,
)
from circuitune.core.errors import InputError, MachineError


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces_whole_files_and_creates_the_folder(tmp_path):
    target = tmp_path / "a" / "b" / "file.bin"
    write_bytes(target, b"old, and longer")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert entries(target.parent) == ["file.bin"]


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path, error):
    target = tmp_path / "file.bin"
    write_bytes(target, b"old")

    def fail_midway() -> None:
        with replacing(target) as file:
            file.write(bytes(100_000))
            file.flush()
            assert target.read_bytes() == b"old"
            raise error

    with pytest.raises(type(error)):
        fail_midway()
    assert target.read_bytes() == b"old"
    assert entries(tmp_path) == ["file.bin"]


def test_text_keeps_its_line_ends_and_is_utf8(tmp_path):
    write_text(tmp_path / "t", "a\r\nü\n")
    assert (tmp_path / "t").read_bytes() == "a\r\nü\n".encode()


def test_new_files_have_the_permissions_of_ordinary_ones(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "ordinary").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_no_temporary_one(tmp_path):
    target = tmp_path / "file.bin"
    write_bytes(target, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(MachineError, match=r"file\.bin could not be written"):
            write_bytes(target, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"old"
    assert entries(tmp_path) == ["file.bin"]


def test_a_rename_that_fails_leaves_no_temporary_file(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(MachineError, match="taken could not be written"):
        write_bytes(tmp_path / "taken", b"data")
    assert entries(tmp_path) == ["taken"]


def test_a_folder_that_cannot_be_created_is_a_machine_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="file"):
        write_bytes(tmp_path / "file" / "inside", b"data")


def test_a_disk_that_does_not_take_what_was_written_is_a_machine_error():
    with pytest.raises(MachineError, match=r"null could not be written \(Invalid argument\)"):
        flush(Path("/dev/null"))  # nothing can be flushed to it


@pytest.mark.timeout(120)
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    target = tmp_path / "file.bin"
    size = 1_000_000
    write_bytes(target, b"0" * size)
    code = (
        "import sys; from pathlib import Path; from circuitune.core.atomic import write_bytes\n"
        "print('ready', flush=True)\n"
        f"while True:\n  for c in b'ab': write_bytes(Path(sys.argv[1]), bytes([c]) * {size})\n"
    )
    for delay in (0.005, 0.02, 0.05):
        with subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            try:
                writer.wait(delay)
            except subprocess.TimeoutExpired:
                writer.send_signal(signal.SIGKILL)
        data = target.read_bytes()
        assert len(data) == size
        assert len(set(data)) == 1
    remove_partial_files(tmp_path)
    assert entries(tmp_path) == ["file.bin"]


def test_partial_files_are_removed_at_every_depth_and_nothing_else(tmp_path):
    kept = tmp_path / "deep" / f"user{PARTIAL}"
    write_text(kept, "not ours: no leading dot")
    (tmp_path / "deep" / f".scores.abc{PARTIAL}").write_text("half")
    remove_partial_files(tmp_path)
    assert entries(tmp_path / "deep") == [kept.name]


def test_json_is_sorted_indented_and_ends_in_a_newline(tmp_path):
    write_json(tmp_path / "v.json", {"b": 1, "a": ["ü", None]})
    assert (tmp_path / "v.json").read_text(encoding="utf-8") == ('{\n "a": [\n  "ü",\n  null\n ],\n "b": 1\n}\n')


def test_json_takes_a_pydantic_model(tmp_path):
    class Point(BaseModel):
        x: int
        where: Path

    write_json(tmp_path / "p.json", Point(x=1, where=Path("a/b")))
    assert json.loads((tmp_path / "p.json").read_text()) == {"x": 1, "where": "a/b"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_that_is_not_finite_is_refused_and_the_old_file_stays(tmp_path, number):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(MachineError, match=r"v\.json would hold a number that is not finite"):
        write_json(tmp_path / "v.json", {"loss": number})
    assert (tmp_path / "v.json").read_text() == "1\n"


def test_a_writable_folder_is_created_and_left_empty(tmp_path):
    folder = ensure_writable_folder(tmp_path / "x" / "y")
    assert folder == tmp_path / "x" / "y"
    assert entries(folder) == []


def test_an_unwritable_folder_is_an_input_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out is not a writable folder"):
        ensure_writable_folder(tmp_path / "file" / "out")
    with pytest.raises(InputError, match=r"file is not a writable folder"):
        ensure_writable_folder(tmp_path / "file")
    with pytest.raises(InputError, match=r"/proc/self/fdinfo is not a writable folder"):
        ensure_writable_folder(Path("/proc/self/fdinfo"))
