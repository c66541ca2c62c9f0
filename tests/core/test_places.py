import os
from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.places import inside, is_plain_name, require_contained


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "out/x", "a\0b", "circle/x"])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    with pytest.raises(InputError, match=r"lies outside|is no path") as error:
        inside(folder, name)
    assert str(tmp_path) not in str(error.value)  # a report, which is handed on, may show the sentence


def test_a_path_in_the_folder_is_found_through_its_own_links(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert inside(tmp_path, "link/x") == tmp_path.resolve() / "real" / "x"
    require_contained(tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a\\b", ".hidden", "a\0"])
def test_what_is_no_plain_name(name: str):
    assert not is_plain_name(name)
    assert is_plain_name("train-0123456789ab")


def test_a_link_that_leads_out_or_a_pipe_is_refused(tmp_path: Path):
    folder = tmp_path / "run"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    require_contained(folder)
    link = folder / "deep" / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of"):
        require_contained(folder)
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(InputError, match="neither a file nor a folder"):
        require_contained(folder)


def test_what_a_job_removes_meanwhile_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "job" / "checkpoints").mkdir(parents=True)
    looked, scandir = list[str](), os.scandir

    def scan(path: Path):
        if Path(path).name == "checkpoints":
            Path(path).rmdir()
        looked.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    require_contained(tmp_path)
    assert looked == [tmp_path.name, "job", "checkpoints"]
