import pytest

from circuitune.core.parsing import parse_json, parse_yaml

pytestmark = pytest.mark.timeout(60)

LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'ha'}]\n" for n in range(30))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "aliases written out"),
        (MERGES, "aliases written out"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 50_000, "nested too deeply"),
        ("- " * 40_000, "nested too deeply"),
        ("a: " + "1, " * 200_000, "longer than"),
        ("a: 1\na: 2", "'a' comes twice"),
        ("a: {b: 1, b: 2}", "'b' comes twice"),
        ("a: " + "9" * 5000, "a number of 5,000 characters"),
        ("a: 0x" + "f" * 5000, "a number of 5,002 characters"),
        ('a: "\\ud800"', "surrogates not allowed"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: 2026-99-99", "month must be in 1..12"),
        ("a: [", "expected the node content"),
        ("a: \x00", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_refused_says_why_on_one_line(text: str, reason: str):
    with pytest.raises(ValueError, match=reason.replace("[", r"\[")) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


def test_yaml_of_people_is_read():
    shared = "base: &base {rank: 2, seeds: [0, 1]}\none: {<<: *base, rank: 4}\nmany: [*base, *base]\n"
    base = {"rank": 2, "seeds": [0, 1]}
    assert parse_yaml(shared) == {"base": base, "one": {"rank": 4, "seeds": [0, 1]}, "many": [base, base]}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "'a' comes twice"),
        ("9" * 5000, "a number of 5,000 characters"),
        ("[" + "9" * 400 + "]", "a number of 400 characters"),
        ('{"a": 1e999}', "1e999 is too large"),
        ('{"a": -1e999}', "-1e999 is too large"),
        ("9" * 400 + ".5", "is too large"),
        ("NaN", "NaN is no number"),
        ('["\\uD800"]', "no text in UTF-8"),
        (b"\xff", "no text in UTF-8"),
        ("{", "Expecting"),
    ],
)
def test_json_that_is_refused_says_why(text: str | bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_json_is_read():
    assert parse_json('{"a": [1, 2.5, null, "\\ud83d\\ude00"]}') == {"a": [1, 2.5, None, "\N{GRINNING FACE}"]}
