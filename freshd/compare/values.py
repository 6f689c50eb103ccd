"""What counts as the value of a fact: where values stand in a sentence, and what else could stand there. Pure.

sentence ─▶ quoted words, dates, times, numbers with their units, names
value ─▶ its shape ("9 crowns", "X X") ─▶ others of that shape: from other facts, else with shifted numbers
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MOST_WORDS: Final = 4
"""A longer value is a sentence: no model would be expected to give it back word by word."""

_NO_UNIT: Final = re.compile(
    "a|after|all|an|and|are|as|at|be|before|below|beside|but|by|can|each|else|ends|every|for|from|has|have|if|in|into|"
    "is|it|its|later|may|must|no|nor|not|of|off|on|once|only|onto|or|out|over|per|since|so|still|than|that|the|then|"
    "there|they|this|to|too|until|up|was|were|when|where|which|while|who|whom|will|with|you"
)
"""Words that follow a number without being what it counts."""

_NO_NAME: Final = (
    "A|After|All|An|And|Any|Anybody|Are|As|At|Before|But|By|Each|Every|Everybody|For|From|He|Here|How|If|In|It|Its|"
    "Nobody|No|Not|Of|On|Once|One|Our|Please|She|So|Somebody|Some|That|The|Their|Then|There|These|They|This|Those|To|"
    "Until|We|What|When|Where|Which|While|Who|Whoever|With|You|Your"
)
"""Words that begin a sentence, and hence with a capital, without being part of a name."""

_MONTH: Final = f"(?:{'|'.join(MONTHS)})"
_WEEKDAY: Final = f"(?:{'|'.join(WEEKDAYS)})"
_CAPITAL: Final = "[A-ZÀ-ÖØ-Þ]"
_FIND: Final = re.compile(
    rf"""["“«](?P<quoted>[^"“”«»]+)["”»]
    | \b(?P<date>\d{{4}}-\d\d-\d\d | \d{{1,2}}\ {_MONTH}(?:\ \d{{4}})? | {_MONTH}\ \d{{1,2}}(?:,\ \d{{4}})?
        | (?!May|March){_MONTH}(?:\ \d{{4}})? | {_WEEKDAY})\b
    | \b(?P<time>\d{{1,2}}:\d\d(?:\ ?[ap]m)?)\b
    | \b(?!(?:{_NO_NAME})\b)
        (?P<name>{_CAPITAL}[\w’'-]+(?:\ (?:of\ |de\ |von\ )?{_CAPITAL}[\w’'-]+|\ \d+\b)*)
    | (?P<number>(?:\bminus\ |(?<!\w)[-−])?[$€£]?\b\w*\d\w*(?:[.,/-]\w*\d\w*)*
        (?:\ ?[%°]C?|\ (?P<unit>[a-z][a-z/²³-]*[a-z²³]))?)
    """,
    re.VERBOSE,
)
_DAY: Final = re.compile(rf"\b(?:(\d{{1,2}}) {_MONTH}|{_MONTH} (\d{{1,2}})\b|\d{{4}}-\d\d-(\d\d))")


class Sort(StrEnum):
    """What a value in a sentence is."""

    QUOTED = "quoted"
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Value:
    """One value and its place: exactly `sentence[start:end]`."""

    text: str
    sort: Sort
    start: int
    end: int


def values_in(sentence: str) -> tuple[Value, ...]:
    """Find the values of a sentence, in order, not overlapping."""
    found = (_value(match, sentence) for match in _FIND.finditer(sentence))
    return tuple(value for value in found if value is not None and 0 < len(value.text.split()) <= MOST_WORDS)


def _value(match: re.Match[str], sentence: str) -> Value | None:
    sort = next(sort for sort in Sort if match[sort.value] is not None)
    start, end = match.span(sort.value)
    if match["unit"] and _NO_UNIT.fullmatch(match["unit"]):
        end = match.start("unit") - 1
    text = sentence[start:end]
    # Every sentence begins with a capital: one such word there is no name, two in a row are.
    return None if sort is Sort.NAME and start == 0 and " " not in text else Value(text, sort, start, end)


def count(value: str, text: str) -> int:
    """Count how often a value stands in a text as a whole: "14 crowns" neither in "114 crowns" nor in "0.14 crowns"."""
    if not value.strip():
        return 0
    first, low = value.split()[0].lower(), text.lower()
    at = low.find(first)
    if at < 0:
        return 0
    words = r"\s+".join(re.escape(word) for word in value.split())
    whole = re.compile(rf"(?<!\w)(?<!\d[.,:]){words}(?!\w)(?![.,:]\d)", re.IGNORECASE)
    if len(low) != len(text):  # some letter is two in lower case, and places are not those of the text
        return len(whole.findall(text))
    found = 0
    while at >= 0:  # an expression that ignores case looks at every place, which takes twenty times as long
        match = whole.match(text, at)
        found += match is not None
        at = low.find(first, match.end() if match else at + 1)
    return found


def alternatives(value: str, others: Iterable[str], seed: str) -> Iterator[str]:
    """Think of values that could stand in place of one.

    Args:
        value: The one that is right.
        others: Values of other facts; those of the same shape and magnitude come first.
        seed: Decides the order, so that the same fact always gets the same ones.

    Yields:
        Values other than `value`, each once; none if it is of a shape that only people can vary.

    """
    alike = {other for other in others if shape(other) == shape(value) and _is_near(other, value)}
    seen = {value.casefold()}
    for other in chain(_shuffled(alike, seed), _shuffled(_shifted(value), seed)):
        if other.casefold() not in seen:
            seen.add(other.casefold())
            yield other


def shape(value: str) -> str:
    """Say what a value looks like: "9 crowns", "9 M", "9:9", "X X" for a name, "x x" for words."""
    if re.search(rf"\d|\b(?:{_MONTH}|{_WEEKDAY})\b", value):
        figures = re.sub(rf"\b{_MONTH}\b", "M", re.sub(r"\d+", "9", value))
        return re.sub(rf"\b{_WEEKDAY}\b", "W", figures)
    return " ".join("X" if word[0].isupper() else "x" for word in value.split())


def _is_near(one: str, other: str) -> bool:
    """Whether the first number of each is of the same magnitude; true where there is none."""
    numbers = [float(match[0].replace(",", "")) for text in (one, other) if (match := re.search(r"\d[\d,]*", text))]
    return len(numbers) < 2 or max(numbers) <= 2 * min(numbers)


def _shuffled(values: Iterable[str], seed: str) -> list[str]:
    return sorted(values, key=lambda value: hashlib.sha256(f"{seed}\n{value}".encode()).digest())


def _shifted(value: str) -> set[str]:
    """Give values of the same shape that lie near."""
    if clock := re.search(r"\b(\d{1,2}):(\d\d)\b", value):
        minutes = int(clock[1]) * 60 + int(clock[2])
        return {_put(value, clock.span(), _clock(minutes + by, clock[1])) for by in (-35, -20, -10, 15, 25, 40)}
    for names in (MONTHS, WEEKDAYS):
        if value in names:
            return set(names) - {value}
    if date := _DAY.search(value):
        span = date.span(date.lastindex or 0)
        return {_put(value, span, str(day).zfill(span[1] - span[0])) for day in range(11, 29)}
    number = re.search(r"\d+(?:[.,]\d+)*", value)
    return {_put(value, number.span(), near) for near in _near_numbers(number[0])} if number else set()


def _put(value: str, span: tuple[int, int], text: str) -> str:
    return value[: span[0]] + text + value[span[1] :]


def _clock(minutes: int, hour: str) -> str:
    """Write minutes since midnight with as many digits as `hour` has."""
    return f"{str(minutes // 60 % 24).zfill(len(hour))}:{minutes % 60:02}"


def _near_numbers(number: str) -> Iterator[str]:
    """Give numbers near one, with its separators at their places and its zeros at the end."""
    digits = re.sub(r"\D", "", number)
    head = digits
    while head.endswith("0") and len(head) > 2:
        head = head[:-1]
    size = int(head)
    # A year that is a tenth off is no year anybody would believe.
    is_year = number == digits and 1500 <= size <= 2100
    steps = (3, 5, 8) if is_year else (max(1, size // 10), max(2, size // 5), max(3, size * 3 // 10))
    for near in (size + sign * step for step in steps for sign in (-1, 1)):
        text = str(near).zfill(len(head) if digits[0] == "0" else 0) + digits[len(head) :]
        if near > 0 and (number == digits or len(text) == len(digits)):
            taken = iter(text)
            yield text if number == digits else "".join(next(taken) if one.isdigit() else one for one in number)
