"""Text that others wrote as plain values: JSON and YAML that run nothing, never hang and say nothing twice.

All readers raise ValueError with a reason of one line, whatever the text. What they refuse beyond what their formats
do: a key that comes twice in a mapping, text that no UTF-8 file can hold, and values nested too deeply to be walked.
"""

import json
from collections.abc import Iterable
from math import isfinite
from typing import Any, NoReturn, cast

import yaml

LONGEST_YAML = 100_000
"""Characters of a YAML text; a whole study has 10,000; PyYAML reads that many in a second."""
MOST_VALUES = 20_000
"""Values of a YAML text with its aliases written out: nine lines of aliases to aliases can stand for a billion."""
LONGEST_NUMBER = 100
"""Characters of a whole number; longer ones would be read, and could not be printed or made a float."""


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text; NaN and infinity, which are no JSON, and numbers too large for a float are refused.

    Raises:
        ValueError: it is none, in one line.
    """
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
        if b"\\ud" in (text if isinstance(text, bytes) else text.encode()).lower():
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeError as error:
        raise ValueError("it is no text in UTF-8") from error
    except ValueError as error:
        raise ValueError(one_line(error)) from error
    return value


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The members of the JSON object that a text is.

    Raises:
        ValueError: it is no JSON, or another value, in one line.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return cast(dict[str, Any], value)


def parse_yaml(text: str) -> object:
    """The value of a YAML text, of plain types alone.

    Raises:
        ValueError: it is none, in one line.
    """
    if len(text) > LONGEST_YAML:
        raise ValueError(f"longer than {LONGEST_YAML:,} characters")
    try:
        loader: Any = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _count(root, {})
            return cast(object, loader.construct_document(root))
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:  # the latter: odd tags
        raise ValueError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object; ValueError where a name comes twice, of which readers would take either."""
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse_twice(name for name, _ in pairs)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    """A number with a point or an exponent; 1e999 would be read as infinity."""
    value = float(digits)
    if not isfinite(value):
        raise ValueError(f"{digits[:60]} is too large for a number")
    return value


def _whole(digits: str) -> int:
    _require_short(digits)
    return int(digits)


def _require_short(digits: str) -> None:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits):,} characters")


def _refuse_twice(names: Iterable[str]) -> NoReturn:
    seen: set[str] = set()
    twice = next(name for name in names if name in seen or seen.add(name))
    raise ValueError(f"{twice[:60]!r} comes twice in one mapping")


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for once its aliases are written out; ValueError where it is no plain tree."""
    known = counted.get(id(node))
    if known is not None:
        if not known:
            raise ValueError("an alias stands for a value that contains itself")
        return known
    counted[id(node)] = 0
    total = 1
    if isinstance(node, yaml.ScalarNode):
        _require_text(node)
    elif isinstance(node, yaml.MappingNode):
        pairs = cast(list[tuple[yaml.Node, yaml.Node]], node.value)
        names = [str(key.value) for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            _refuse_twice(names)
        total += sum(_count(part, counted) for pair in pairs for part in pair)
    else:
        total += sum(_count(part, counted) for part in cast(list[yaml.Node], node.value))
    if total > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values, its aliases written out")
    counted[id(node)] = total
    return total


def _require_text(node: yaml.ScalarNode) -> None:
    value = str(node.value)
    value.encode()  # UnicodeEncodeError, a ValueError, for half of a surrogate pair
    if node.tag == "tag:yaml.org,2002:int":
        _require_short(value)
