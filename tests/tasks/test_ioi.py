from collections import Counter

from transformers import PreTrainedTokenizerBase

from circuitune.tasks.ioi import PLACES, THINGS, Ioi, recognise


def test_the_wording_is_the_classical_one():
    known = recognise("When Mary and John went to the store, John gave a drink to")
    assert known is not None
    assert (known.answer, known.kind) == ("Mary", "first")
    assert recognise("When Mary and John went to the store, Anna gave a drink to") is None
    assert recognise("When Mary and Mary went to the store, Mary gave a drink to") is None
    openings = Counter(pair.clean.split()[0] for pair in Ioi(size=400).generate())
    assert set(openings) == {"When", "After", "While", "Then,"}


def test_the_corruption_lets_the_other_one_give():
    for pair in Ioi(size=600).generate():
        clean, corrupted = pair.clean.replace(",", "").split(), pair.corrupted.replace(",", "").split()
        (place,) = (n for n in range(len(clean)) if clean[n] != corrupted[n])
        assert (pair.answer, pair.wrong) == (f" {corrupted[place]}", f" {clean[place]}")
        assert clean.count(clean[place]) == 2
        assert clean.count(corrupted[place]) == 1


def test_the_first_named_person_is_the_answer_half_of_the_time():
    pairs = Ioi().generate()
    assert len(pairs) == 10_000
    first = sum(pair.clean.index(pair.answer) < pair.clean.index(f"{pair.wrong}") for pair in pairs)
    assert first == 5_000
    assert Counter(pair.kind for pair in pairs) == {"first": 5_000, "second": 5_000}


def test_both_orders_of_the_people_are_one_group():
    one = recognise("When Mary and John went to the store, John gave a drink to")
    other = recognise("When John and Mary went to the store, John gave a drink to")
    assert one is not None
    assert other is not None
    assert one.group == other.group
    assert one.answer == other.answer


def test_places_and_things_take_the_article_a_and_are_words_of_the_embedded_model(
    nano_tokenizer: PreTrainedTokenizerBase,
):
    assert not any(thing[0] in "aeiou" for thing in THINGS)
    assert {len(ids) for ids in nano_tokenizer([*PLACES, *THINGS])["input_ids"]} == {1}
