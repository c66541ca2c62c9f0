from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.locking import locked


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path):
    with locked(tmp_path), pytest.raises(InputError, match="wait for it or stop it"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
