"""The public names: complete, lazy, and the same list three times."""

import ast
import subprocess
import sys
from pathlib import Path

import circuitune


def _type_checking_names() -> set[str]:
    tree = ast.parse(Path(circuitune.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name for statement in block.body if isinstance(statement, ast.ImportFrom) for alias in statement.names
    }


def test_the_lists_agree_and_every_name_exists():
    assert _type_checking_names() == set(circuitune.__all__) == set(circuitune._HOMES)
    for name in circuitune.__all__:
        assert getattr(circuitune, name) is not None
        assert name in dir(circuitune)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(circuitune, "anneal")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, circuitune; print([m for m in ('torch', 'transformers', 'peft', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_value_fits_on_a_few_lines_at_a_prompt():
    model, tokenizer = circuitune.load("nano")
    pairs = circuitune.task("add_sub", limit=20, style="short").split("circuit").sample(8)
    inputs = circuitune.encode(pairs, tokenizer)
    scores = circuitune.attribute(model, inputs, steps=20, per_example=True)
    large, small = scores.top(0.05), scores.top(0.02)
    expected = {
        "<PairSet: add_sub, 8 pairs of the circuit part": pairs,
        "<EncodedPairs: 8 pairs of at most 4 tokens>": inputs,
        "<EdgeScores: 6,573 edges of 8 layers of 8 heads; method eap-ig, steps 20": scores,
        f"<Circuit: {len(large)} of 6,573 edges": large,
        f"<Faithfulness: {len(large)} edges on 8 examples; logit_diff: model ": circuitune.evaluate(
            model, inputs, large
        ),
        "<FaithfulnessCurve: 0.1% of edges ": circuitune.faithfulness_curve(model, inputs, scores),
        f"<Change: edges {len(large)} to {len(small)}, 0 added": circuitune.compare(large, small),
        "<RankPlan: ": circuitune.RankPlan.two_level(model, critical_layers=[0], rank=1, critical_rank=5),
    }
    for start, value in expected.items():
        assert repr(value).startswith(start)
        assert len(repr(value)) < 400
