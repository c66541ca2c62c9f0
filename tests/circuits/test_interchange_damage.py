"""Whatever bytes a file holds: it is read, or refused in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits import foreign
from circuitune.circuits.interchange import Imported, export_circuit, import_circuit
from circuitune.core.errors import InputError

QUICK = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def read_or_refused(path: Path) -> Imported | None:
    try:
        return import_circuit(path)
    except InputError as error:
        sentence = str(error)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return None


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One intact file of each kind, by its name."""
    folder = tmp_path_factory.mktemp("whole")
    foreign.save_json(folder / "new.json", foreign.new_json(1, 2))
    foreign.save_json(folder / "merged.json", foreign.collapsed_json(1, 2))
    foreign.save_pt(folder / "new.pt", foreign.new_pt(layers=1))
    foreign.save_pt(folder / "old.pt", foreign.old_pt(layers=1))
    circuit = import_circuit(folder / "new.json").circuit
    assert circuit is not None
    export_circuit(circuit, folder / "ours.json", format="eap-ig-json")
    export_circuit(circuit, folder / "ours.graphml", format="graphml")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["new.json", "merged.json", "new.pt", "old.pt", "ours.json", "ours.graphml"])
@QUICK
@given(data=st.data())
def test_bytes_that_were_changed_cut_or_doubled(
    name: str, whole_files: dict[str, bytes], tmp_path: Path, data: st.DataObject
):
    damaged = bytearray(whole_files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(damaged) - 1)))
        change = data.draw(st.sampled_from(["flip", "cut", "insert", "double"]))
        if change == "flip" and damaged:
            damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "cut":
            del damaged[place : place + data.draw(st.integers(1, 200))]
        elif change == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            damaged += damaged[place:]
    (tmp_path / name).write_bytes(bytes(damaged))
    read_or_refused(tmp_path / name)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of every value in nested objects."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    return found


@pytest.mark.parametrize("make", [foreign.new_json, foreign.old_json, foreign.collapsed_json])
@QUICK
@given(data=st.data())
def test_json_values_of_any_kind_in_any_place(
    make: Callable[..., dict[str, Any]], tmp_path: Path, data: st.DataObject
):
    file = make(1, 2)
    for _ in range(data.draw(st.integers(1, 3))):
        *outer, last = data.draw(st.sampled_from(places(file)))
        holder = file
        for key in outer:
            holder = holder[key]
        change = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace":
            holder[last] = data.draw(json_values)
        else:
            value = holder.pop(last)
            if change == "rename":
                holder[data.draw(st.text(max_size=12))] = value
    read_or_refused(foreign.save_json(tmp_path / "graph.json", file))


@QUICK
@given(value=json_values)
def test_any_json_at_all(value: Any, tmp_path: Path):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(value))
    assert read_or_refused(path) is None


@QUICK
@given(data=st.binary(max_size=300))
def test_any_bytes_at_all(data: bytes, tmp_path: Path):
    for suffix in ("json", "pt", "graphml"):
        path = tmp_path / f"any.{suffix}"
        path.write_bytes(data)
        assert read_or_refused(path) is None
