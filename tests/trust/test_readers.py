"""Whatever a file holds: it is refused in one sentence, or it is read and then valid. Never a traceback or a wait.

`benchmarks/fuzz.py` does the same thousands of times.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fuzz import with_hypothesis
from readers import READERS, Choices, Reader, damaged, intact, judged

pytestmark = pytest.mark.filterwarnings("ignore")  # libraries warn of what they refuse


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_an_intact_file_is_accepted(reader: Reader, tmp_path: Path):
    assert judged(reader, tmp_path, intact(reader)) == "accepted"


def holds(reader: Reader, count: int) -> None:
    whole = intact(reader)

    def once(choose: Choices) -> None:
        content = damaged(whole, choose)
        with TemporaryDirectory() as folder:
            outcome = judged(reader, Path(folder), content)
        assert not outcome.startswith("wrong"), (outcome, content[:2000])

    with_hypothesis(once, count, 0)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_refused_or_valid(reader: Reader):
    holds(reader, 5)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_many_damaged_files_are_refused_or_valid(reader: Reader):
    holds(reader, 60)
