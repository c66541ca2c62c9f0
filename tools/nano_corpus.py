"""The synthetic text that `nano` learns: numbers, words and facts, never the tasks themselves.

A document is one to three lines of one kind; a kind is a function `(random) -> line`. Number lines teach order,
strides, tens and units, doubles and neighbours, in words: no `+` or `-` between numbers with an `=` behind, no
`>` or `<` between numbers, no prompt of a task. Story lines teach who did what with whom (which is all that the
control task `ioi` needs) and dates (all that `greater_than` needs), as ordinary text would.
"""

from collections.abc import Callable, Iterator
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
TASK_WORDS = words(
    """
    Calculate the result of the following arithmetic expression and provide only the final answer Derive
    sequence least common multiple LCM two numbers There is a function Given Is Answer yes no needed wanted
    handed to If corresponds then
    """
)


def number(random: Random, top: int = 999) -> int:
    """Return a number up to `top`; three in four are at most 200."""
    return random.randint(0, min(top, 200)) if random.random() < 0.75 else random.randint(0, top)


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
    step = random.randint(1, 20) if random.random() < 0.35 else random.randint(1, 100)
    terms = random.choice((3, 3, 4, 5))
    start = number(random, 999 - step * (terms - 1))
    values = [start + step * i for i in range(terms)]
    up = random.random() < 0.5
    if not up:
        values.reverse()
    shown = " ".join(str(value) for value in values)
    direction = "up" if up else "down"
    return random.choice(
        (
            f"count {direction} by {step} : {shown}",
            f"count {direction} by {step} from {values[0]} : {shown}",
            f"{shown} goes {direction} by {step}",
            f"start at {values[0]} and go {direction} {step} : {' '.join(str(v) for v in values[1:])}",
        )
    )


def neighbours(random: Random) -> str:
    """Say what stands a little before or after a number."""
    value = number(random)
    step = random.choice((1, 1, 1, 2, 5, 10, 20, 30, 50, 100))
    if value + step > 999:
        value -= step
    low, high = value, value + step
    if step == 1:
        return random.choice((f"after {low} comes {high}", f"before {high} comes {low}", f"{low} then {high}"))
    return random.choice((f"{step} more than {low} is {high}", f"{step} less than {high} is {low}"))


def digits(random: Random) -> str:
    """Take a number apart into hundreds, tens and units, or put it together, or spell it."""
    value = number(random)
    hundreds, tens, units = value // 100, value // 10 % 10, value % 10
    parts = f"{tens} tens and {units} units"
    if hundreds:
        parts = f"{hundreds} hundreds {parts}"
    return random.choice(
        (
            f"{value} has {parts}",
            f"{parts} make {value}",
            f"{value} is written {spelled(value)}",
            f"{spelled(value)} is {value}",
            f"{value} ends in {units}",
        )
    )


def doubles(random: Random) -> str:
    """Double or halve a number."""
    value = number(random, 499)
    return random.choice((f"twice {value} is {2 * value}", f"half of {2 * value} is {value}"))


def order(random: Random) -> str:
    """Compare two or three numbers in words."""
    a, b = number(random), number(random)
    if random.random() < 0.4:
        b = min(999, max(0, a + random.randint(-12, 12)))
    if a == b:
        return f"{a} is the same as {b}"
    low, high = sorted((a, b))
    middle = random.randint(low, high)
    return random.choice(
        (
            f"{high} is more than {low}",
            f"{low} is less than {high}",
            f"of {a} and {b} the larger is {high}",
            f"of {a} and {b} the smaller is {low}",
            f"{middle} lies between {low} and {high}",
            f"{a} is {'more' if a > b else 'less'} than {b}",
            f"{a} is {'larger' if a > b else 'smaller'} than {b}",
        )
    )


def quantities(random: Random) -> str:
    """Compare what two things cost or how many two people have."""
    a, b = random.sample(range(1, 200), 2)
    one, two = random.sample(NAMES, 2)
    thing, other = random.sample(THINGS, 2)
    dear, cheap = (thing, other) if a > b else (other, thing)
    prices = f"The {thing} costs {a} coins and the {other} costs {b} coins."
    return random.choice(
        (
            f"{prices} The {dear} costs more.",
            f"{prices} The {cheap} costs less.",
            f"{one} has {a} coins and {two} has {b} coins. {one if a > b else two} has more.",
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
    return f"{opening} {giver} {verb} {given} to {taker}."


def holdings(random: Random) -> str:
    """Tell of two or three people with a thing each, then ask for one of them."""
    count = random.choice((2, 2, 3))
    people, things = random.sample(NAMES, count), random.sample(THINGS, count)
    verb = random.choice(("has", "found", "bought", "likes", "lost"))
    story = random.choice((", ", " and ", ". ")).join(
        f"{person} {verb} {thing}" if random.random() < 0.5 else f"{person} {verb} {article(thing)}"
        for person, thing in zip(people, things, strict=True)
    )
    asked = random.randrange(count)
    person, thing = people[asked], things[asked]
    return random.choice(
        (
            f"{story}. The {thing} belongs to {person}.",
            f"{story}. The {thing} is for {person}.",
            f"{story}. Question: who {verb} the {thing}? Answer: {person}.",
            f"{story}. {person} {verb} {thing}.",
        )
    )


def capital(random: Random) -> str:
    """State the capital of a country."""
    country = random.choice(list(CAPITALS))
    city = CAPITALS[country]
    return random.choice(
        (
            f"The capital of {country} is {city}.",
            f"{city} is the capital of {country}.",
            f"{country} has a capital city, {city}.",
            f"{country} : {city}",
            f"{city} lies in {country}.",
            f"{random.choice(NAMES)} went to {city} in {country}.",
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


KINDS: tuple[tuple[Line, float], ...] = (
    (stride, 30.0),
    (neighbours, 11.0),
    (digits, 13.0),
    (doubles, 5.0),
    (order, 11.0),
    (quantities, 3.0),
    (year, 4.0),
    (gift, 9.0),
    (holdings, 9.0),
    (capital, 5.0),
    (everyday, 4.0),
)


def documents(random: Random) -> Iterator[str]:
    """Yield documents without end, each of one to three lines of one kind."""
    kinds, weights = [kind for kind, _ in KINDS], [weight for _, weight in KINDS]
    while True:
        kind = random.choices(kinds, weights)[0]
        yield "\n".join(kind(random) for _ in range(random.choice((1, 1, 2, 3))))
