from collections import Counter

import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks import countries
from circuitune.tasks.capitals import CapitalCountry, recognise
from circuitune.tasks.countries import CAPITALS, COMMON

PARTS = ("train", "circuit", "validation", "test")


def asked(prompt: str) -> str:
    return prompt.partition(", then ")[2].removesuffix(" corresponds to")


def example(prompt: str) -> str:
    return prompt.removeprefix("If ").partition(" corresponds to ")[0]


def test_the_wording_is_the_studys():
    known = recognise("If Abkhazia corresponds to Sukhumi, then Moldova corresponds to")
    assert known is not None
    assert known.answer == "Chisinau"
    for pair in CapitalCountry(size=100).generate():
        country, shown = asked(pair.clean), example(pair.clean)
        assert pair.clean == f"If {shown} corresponds to {CAPITALS[shown]}, then {country} corresponds to"
        assert pair.answer == f" {CAPITALS[country]}"


def test_the_corruption_asks_for_another_country():
    for pair in CapitalCountry(size=600).generate():
        assert example(pair.clean) == example(pair.corrupted)
        assert asked(pair.clean) != asked(pair.corrupted)
        assert pair.wrong == f" {CAPITALS[asked(pair.corrupted)]}"


def test_all_common_countries_are_asked_equally_often_and_never_shown():
    pairs = CapitalCountry().generate()
    counts = Counter(asked(pair.clean) for pair in pairs)
    assert set(counts) == set(COMMON)
    assert max(counts.values()) - min(counts.values()) < 0.2 * max(counts.values())
    assert {example(pair.clean) for pair in pairs}.isdisjoint(COMMON)


def test_all_countries_can_be_asked():
    pairs = CapitalCountry(asked="all", size=100_000).generate()
    countries_asked, shown = {asked(pair.clean) for pair in pairs}, {example(pair.clean) for pair in pairs}
    assert countries_asked.isdisjoint(shown)
    assert len(countries_asked) > 100
    assert len(shown) > 50


@pytest.mark.parametrize("choice", ["common", "all"])
def test_parts_can_be_kept_from_sharing_countries(choice: str):
    pairs = CapitalCountry(asked=choice, unseen="countries", size=2_000).generate()  # type: ignore[arg-type]
    parts = [{asked(text) for pair in pairs.split(part) for text in (pair.clean, pair.corrupted)} for part in PARTS]
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert all(len(part) >= 2 for part in parts)


def test_common_countries_are_single_tokens(
    nano_tokenizer: PreTrainedTokenizerBase,
    pythia_tokenizer: PreTrainedTokenizerBase,
    gpt2_tokenizer: PreTrainedTokenizerBase,
):
    texts = [f" {text}" for country in COMMON for text in (country, CAPITALS[country])]
    for tokenizer in (nano_tokenizer, pythia_tokenizer, gpt2_tokenizer):
        assert {len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]} == {1}


def test_the_table_says_where_it_comes_from_and_holds_nothing_disputed():
    assert countries.__doc__ is not None
    assert "Source: " in countries.__doc__
    assert len(CAPITALS) > 150
    assert len(set(CAPITALS.values())) == len(CAPITALS)
    disputed = {"Israel", "Palestine", "Taiwan", "Kosovo", "Abkhazia", "Western Sahara", "Northern Cyprus"}
    several = {
        "Bolivia",
        "South Africa",
        "Sri Lanka",
        "Benin",
        "Eswatini",
        "Ivory Coast",
        "Yemen",
        "Burundi",
        "Malaysia",
    }
    moving = {"Indonesia", "Equatorial Guinea", "Egypt", "South Sudan"}
    assert CAPITALS.keys().isdisjoint(disputed | several | moving)
    assert all(country not in capital for country, capital in CAPITALS.items())
    assert " ".join((*CAPITALS, *CAPITALS.values())).isascii()


def test_other_wordings_and_unknown_countries_are_not_solved():
    assert recognise("If Abkhazia corresponds to Sukhumi, then Atlantis corresponds to") is None
    assert recognise("The capital of Moldova is") is None
    with pytest.raises(InputError, match="capital_country: unseen must be one of prompts, countries"):
        CapitalCountry(unseen="cities")  # type: ignore[arg-type]
