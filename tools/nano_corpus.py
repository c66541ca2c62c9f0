"""The synthetic text that `nano` learns: numbers, words and facts, never the tasks themselves.

A document is one or two lines of one kind; a kind is a function `(random) -> line`. Number lines teach order,
strides, tens and units, doubles and neighbours, in words: no `+` or `-` between numbers with an `=` behind, no
`>` or `<` between numbers, no prompt of a task. Story lines teach who did what with whom (which is all that the
control task `ioi` needs) and dates (all that `greater_than` needs), as ordinary text would. List lines say words
again, in the same order or couple by couple back to front: dense in what a model this small finds too rarely in
stories, that a word comes again and that two words belong together.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random

from nano_words import CAPITALS, EVENTS, NAMES, PLACES, THINGS, words

Line = Callable[[Random], str]

UNITS = words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
    """
)
TENS = words("ten twenty thirty forty fifty sixty seventy eighty ninety")
VERBS = words("has found bought likes lost")
TASK_WORDS = words(
    """
    Calculate the result of the following arithmetic expression and provide only the final answer Derive
    sequence least common multiple LCM two numbers There is a function Given Is Answer yes no needed wanted
    handed to If corresponds then
    """
)


def number(random: Random, top: int = 999) -> int:
    """Return a number up to `top`; one in three is at most 100, one in three at most 200."""
    return random.randint(0, min(top, random.choice((100, 200, 999))))


def spelled(value: int) -> str:
    """Return a number below 1,000 in words: 347 is "three hundred forty seven"."""
    hundreds, rest = divmod(value, 100)
    said = [UNITS[hundreds], "hundred"] if hundreds else []
    if rest >= 20:
        said.append(TENS[rest // 10 - 1])
        rest %= 10
    if rest or not said:
        said.append(UNITS[rest])
    return " ".join(said)


def article(word: str) -> str:
    """Return the word with its indefinite article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def stride(random: Random) -> str:
    """Count up or down in equal steps, the step said before the terms or after them."""
    step = random.randint(1, 25) if random.random() < 0.5 else random.randint(1, 100)
    up = random.random() < 0.5
    start = number(random, 999 - 2 * step) + (0 if up else 2 * step)
    last = start + 9 * step if up else start - 9 * step
    count = range(start, min(last, 999) + 1, step) if up else range(start, max(last, 0) - 1, -step)
    shown = " ".join(str(term) for term in count)
    direction = "up" if up else "down"
    return random.choice((f"count {direction} by {step} : {shown}", f"{shown} goes {direction} by {step}"))


def jumps(random: Random) -> str:
    """Take the same small or round step from several numbers."""
    step = random.choice((random.randint(1, 10), 10 * random.randint(1, 10)))
    up = random.random() < 0.5
    lows = [number(random, 999 - step) for _ in range(random.randint(3, 6))]
    jumped = ", ".join(f"{low} to {low + step}" if up else f"{low + step} to {low}" for low in lows)
    return f"{'up' if up else 'down'} {step} : {jumped}"


def digits(random: Random) -> str:
    """Take numbers apart into their digits, spell them, or put them together again."""
    values = [number(random) for _ in range(random.randint(2, 4))]
    style = random.randrange(4)
    if style == 0:
        return "digits : " + ", ".join(f"{value} has {' '.join(str(value))}" for value in values)
    if style == 1:
        return "digits : " + ", ".join(f"{' '.join(str(value))} make {value}" for value in values)
    if style == 2:
        return "words : " + ", ".join(f"{value} is {spelled(value)}" for value in values)
    return "words : " + ", ".join(f"{spelled(value)} is {value}" for value in values)


def portrait(random: Random) -> str:
    """Tell several things about one number: its tens, units, neighbours and double."""
    value = number(random, 499)
    facts = [
        f"tens {value // 10}, units {value % 10}",
        f"before it {value - 1}" if value else "nothing before it",
        f"after it {value + 1}",
        f"twice {2 * value}",
        f"in words {spelled(value)}",
    ]
    if value % 2 == 0:
        facts.append(f"half {value // 2}")
    random.shuffle(facts)
    return f"about {value} : {', '.join(facts)}"


def order(random: Random) -> str:
    """Say which of two numbers is more, for several couples, or put some in order."""
    couples: list[tuple[int, int]] = []
    for _ in range(random.randint(2, 5)):
        a = number(random)
        near = min(999, max(0, a + random.randint(-15, 15)))
        couples.append((a, near if random.random() < 0.4 else number(random)))
    style = random.randrange(4)
    if style == 0:
        return ", ".join(f"{a} and {b} : larger {max(a, b)}" for a, b in couples)
    if style == 1:
        return ", ".join(f"{a} and {b} : smaller {min(a, b)}" for a, b in couples)
    if style == 2:
        return "in order : " + " ".join(str(a) for a in sorted(a for a, _ in couples))
    words_for = {1: "falls", -1: "rises", 0: "stays"}
    return ", ".join(f"from {a} to {b} it {words_for[(a > b) - (a < b)]}" for a, b in couples)


def quantities(random: Random) -> str:
    """Compare what two things cost or how many two people have."""
    a, b = random.sample(range(1, 200), 2)
    one, two = random.sample(NAMES, 2)
    thing, other = random.sample(THINGS, 2)
    dear, cheap = (thing, other) if a > b else (other, thing)
    more, less = (one, two) if a > b else (two, one)
    return random.choice(
        (
            f"The {thing} costs {a} coins and the {other} costs {b} coins. The {dear} costs more than the {cheap}.",
            f"{one} has {a} coins and {two} has {b} coins. {more} has more than {less}.",
        )
    )


def year(random: Random) -> str:
    """Say from when to when something lasted: the end comes after the beginning."""
    century = random.randint(10, 20)
    begin = random.randint(2, 98)
    end = random.randint(begin + 1, 99)
    event, first, last = random.choice(EVENTS), f"{century}{begin:02d}", f"{century}{end:02d}"
    return random.choice(
        (
            f"The {event} lasted from the year {first} to the year {last}.",
            f"The {event} lasted from {first} to {last}.",
            f"The {event} began in {first} and ended in {last}.",
            f"The {event} went on from {first} until {last}.",
        )
    )


def gift(random: Random) -> str:
    """Tell of two people, one of whom gives something to the other."""
    one, two = random.sample(NAMES, 2)
    giver, taker = random.choice(((one, two), (two, one)))
    place, thing = random.choice(PLACES), random.choice(THINGS)
    pair = f"{one} and {two}"
    opening = random.choice(
        (
            f"When {pair} went to the {place},",
            f"After {pair} went to the {place},",
            f"While {pair} were at the {place},",
            f"Then, {pair} went to the {place}.",
            f"Then, {pair} had a long talk at the {place}.",
            f"{pair} met at the {place}.",
            f"Friends {pair} found {article(thing)} at the {place}.",
            f"One day {pair} worked at the {place}.",
        )
    )
    verb = random.choice(("gave", "gave", "gave", "passed", "offered", "sent", "showed", "brought"))
    given = random.choice((article(thing), f"the {thing}"))
    if random.random() < 0.15:
        return f"{opening} {taker} took {given} from {giver}."
    after = random.choice(("", "", f" {taker} thanked {giver}.", f" Now {taker} has the {thing}."))
    return f"{opening} {giver} {verb} {given} to {taker}.{after}"


def holdings(random: Random) -> str:
    """Tell of two or three people with a thing each, then say again who has what."""
    count = random.choice((2, 2, 3))
    people, things = random.sample(NAMES, count), random.sample(THINGS, count)
    verb = random.choice(VERBS)
    bare = random.random() < 0.5
    story = random.choice((", ", " and ", ". ")).join(
        f"{person} {verb} {thing if bare else article(thing)}" for person, thing in zip(people, things, strict=True)
    )
    wording = random.choice(
        (
            "The {thing} belongs to {person}.",
            "The {thing} is for {person}.",
            "Question: who {verb} the {thing}? Answer: {person}.",
            "It is {person} who {verb} the {thing}.",
        )
    )
    asked = random.sample(range(count), random.randint(1, count))
    said = (wording.format(person=people[i], thing=things[i], verb=verb) for i in asked)
    return f"{story}. {' '.join(said)}"


def repeats(random: Random) -> str:
    """Say a list of words and numbers two or three times."""
    numbers = [str(number(random)) for _ in range(60)]
    said = random.sample([*NAMES, *THINGS, *PLACES, *numbers], random.randint(4, 12))
    return " ".join(said * random.randint(2, 3))


def couples(random: Random) -> str:
    """Say who goes with what, then every couple again from its end, in another order."""
    count = random.randint(4, 10)
    people, others = random.sample(NAMES, count), random.sample([*THINGS, *PLACES], count)
    verb = random.choice(("", "", "", " has", " likes"))
    story = " ".join(f"{one}{verb} {other}" for one, other in zip(people, others, strict=True))
    return f"{story}. {' '.join(f'{others[i]} {people[i]}' for i in random.sample(range(count), count))}"


def roll_call(random: Random) -> str:
    """Say who goes with what, then who it was for a thing drawn again and again."""
    count = random.randint(2, 4)
    people, things = random.sample(NAMES, count), random.sample(THINGS, count)
    story = ", ".join(f"{one} {thing}" for one, thing in zip(people, things, strict=True))
    asked = [random.randrange(count) for _ in range(10)]
    return f"{story}. {', '.join(f'{things[i]} {people[i]}' for i in asked)}."


def owners(random: Random) -> str:
    """Tell who did what with which thing, then whose each thing is, in one of several short forms."""
    count = random.randint(2, 5)
    people, things = random.sample(NAMES, count), random.sample(THINGS, count)
    verbs = [random.choice(VERBS) for _ in range(count)]
    bare = random.random() < 0.7
    story = random.choice((", ", ". ", " and ")).join(
        f"{person} {verb} {thing if bare else article(thing)}"
        for person, verb, thing in zip(people, verbs, things, strict=True)
    )
    form = random.choice(
        ("{thing} {person}", "{thing} : {person}", "{thing} of {person}", "the {thing} is for {person}")
    )
    said = (form.format(thing=things[i], person=people[i]) for i in random.sample(range(count), count))
    return f"{story}. {', '.join(said)}."


def capital(random: Random) -> str:
    """State the capitals of one or more countries."""
    countries = random.sample(list(CAPITALS), 4)
    country, city = countries[0], CAPITALS[countries[0]]
    return random.choice(
        (
            f"The capital of {country} is {city}.",
            f"{city} is the capital of {country}.",
            f"{random.choice(NAMES)} went to {city} in {country}.",
            "capitals : " + ", ".join(f"{one} has {CAPITALS[one]}" for one in countries),
            "cities : " + ", ".join(f"{CAPITALS[one]} is in {one}" for one in countries),
        )
    )


def everyday(random: Random) -> str:
    """Use the words and signs of the tasks where they ask nothing about numbers."""
    one, two = random.sample(NAMES, 2)
    thing, other = random.sample(THINGS, 2)
    place = random.choice(PLACES)
    adjective = random.choice(("following", "final", "common", "arithmetic", "least", "only"))
    noun = random.choice(("result", "expression", "answer", "sequence", "multiple", "function", "LCM"))
    many = random.choice(("numbers", "two numbers", "letters"))
    verb = random.choice(("Calculate", "Derive", "provide", "Find", "Write"))
    yes = random.random() < 0.5
    return random.choice(
        (
            f"{verb} the {adjective} {noun} of the {many}.",
            f"There is {article(thing)} in the {place}. {one} needed {article(other)}.",
            f"{one} wanted {article(thing)}. {two} handed it over.",
            f"Given {article(thing)}, {one} is happy. If not, then {two} is.",
            f"{one} has {article(thing)}. Is it {article(thing if yes else other)}? {'yes' if yes else 'no'}",
            f"The {thing} corresponds to {one} and the {other} to {two}.",
            f"{thing} = {number(random)}, {other} = {number(random)}",
            f"x = {number(random)}, y = {number(random)}",
            f"* {thing} + {other} ({one})",
            f"<{one}> - {place} / {thing}",
        )
    )


Mixture = Mapping[Line, float]
"""Kinds of lines and how often each is drawn, in parts of the whole."""

AGAIN: Mixture = {repeats: 60, roll_call: 20, gift: 20}
"""Words come again."""

TOGETHER: Mixture = {couples: 65, repeats: 20, gift: 15}
"""Two words belong together."""

EVERYTHING: Mixture = {
    stride: 165,
    jumps: 90,
    digits: 68,
    portrait: 90,
    order: 60,
    quantities: 22,
    year: 38,
    capital: 45,
    everyday: 22,
    repeats: 60,
    couples: 120,
    owners: 120,
    gift: 60,
    holdings: 40,
}
"""Numbers, words and facts."""

COUNTING: Mixture = {
    stride: 250,
    jumps: 130,
    digits: 70,
    portrait: 110,
    order: 70,
    quantities: 20,
    year: 50,
    capital: 30,
    everyday: 20,
    repeats: 30,
    couples: 60,
    owners: 70,
    gift: 60,
    holdings: 30,
}
"""The same with more numbers, which take longest to learn."""


def documents(random: Random, mixture: Mixture = EVERYTHING) -> Iterator[str]:
    """Yield documents without end, each of one or two lines of one kind."""
    kinds, weights = list(mixture), list(mixture.values())
    while True:
        kind = random.choices(kinds, weights)[0]
        yield "\n".join(kind(random) for _ in range(random.choice((1, 1, 2))))
