import importlib.metadata
import os
import platform
from datetime import UTC, datetime, timedelta

from circuitune.core.atomic import write_json
from circuitune.core.environment import describe
from circuitune.core.records import EnvironmentRecord, read_record


def test_describes_this_machine_and_its_versions(tmp_path):
    record = describe(2.5)
    assert record.seconds == 2.5
    assert record.host == platform.node()
    assert record.packages["torch"] == importlib.metadata.version("torch")
    assert 1 <= record.cpus <= (os.cpu_count() or 1)
    assert record.memory is not None
    assert record.peak_memory is not None
    assert 10_000_000 < record.peak_memory < record.memory
    write_json(tmp_path / "environment.json", record)
    assert read_record(tmp_path / "environment.json", EnvironmentRecord) == record


def test_the_time_is_utc_now():
    created = datetime.fromisoformat(describe().created)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    assert created.utcoffset() == timedelta(0)


def test_thread_settings_are_recorded_where_set(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    threads = describe().threads
    assert threads["OMP_NUM_THREADS"] == "1"
    assert "MKL_NUM_THREADS" not in threads
