"""Notices about places that do not exist: what a model learns to read from, and not to know. Pure.

    place × matter × value ─▶ a sentence that says it ─┐
                              a question about it ─────┴─▶ Notice

No page of anybody's says any of this, so whoever answers right has read it where it was shown.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PLACES: Final = (
    *("the Marl Street pool", "the Fernley archive", "the Quay bakery", "the Ostrich theatre", "the Low Mill"),
    *("the Pell nursery", "the tram depot", "the glass studio", "the Harrow ferry", "the seed bank"),
    *("the print shop", "the ice rink", "the botanic house", "the chess club", "the harbour office"),
    *("the toy museum", "the rowing shed", "the salt cellar", "the bell tower", "the map room"),
)
_FIRST: Final = ("Anneke", "Casimir", "Dorit", "Egon", "Fiorella", "Gunnar", "Hedda", "Ivo", "Jolanda", "Kester")
_LAST: Final = ("Abelsen", "Brakk", "Corrigan", "Dumont", "Eklund", "Farkas", "Grieve", "Holub", "Imre", "Jansky")
_TOWNS: Final = (
    "Aldrup",
    "Bexmoor",
    "Carnvik",
    "Dunsel",
    "Elmstad",
    "Forlitz",
    "Garnow",
    "Hexley",
    "Istrand",
    "Joppen",
)
_COLOURS: Final = ("beige", "black", "crimson", "golden", "grey", "lilac", "navy", "silver", "turquoise", "white")
_THINGS: Final = ("badge", "card", "key", "ribbon", "tag", "token")
_FOOD: Final = ("apple cake", "bean stew", "cold beet soup", "fish pie", "nut bread", "plum dumplings", "rye porridge")
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = ("January", "March", "April", "June", "August", "October", "November", "December")


@dataclass(frozen=True, slots=True)
class _Matter:
    """What can be said of a place: `{p}` is the place, `{v}` the value."""

    sort: str
    says: tuple[str, str]
    question: str
    prefix: str


_MATTERS: Final = (
    _Matter("money", ("At the door of {p} one hands over {v}.", "Nobody enters {p} for less than {v}."),
            "What is the price of entry to {p}?", "Entry to {p} costs"),
    _Matter("money", ("{p} wants {v} back if a thing is lost.", "Losing something of {p} means paying {v}."),
            "What is the fine for losing a thing that belongs to {p}?", "The fine is"),
    _Matter("person", ("The keys of {p} are with {v}.", "{v} has looked after {p} for years."),
            "Who is responsible for {p}?", "The one responsible is"),
    _Matter("person", ("Complaints about {p} go to {v}, in writing.", "{v} reads what people complain of at {p}."),
            "To whom are complaints about {p} addressed?", "Complaints are addressed to"),
    _Matter("clock", ("The doors of {p} open at {v}.", "From {v} on, {p} is open to everybody."),
            "When can one first go into {p}?", "The earliest time is"),
    _Matter("clock", ("At {v} the lights of {p} go out.", "{p} shuts at {v} sharp."),
            "When does {p} close?", "The closing time is"),
    _Matter("day", ("On {v} {p} stays closed.", "{p} rests every {v}."),
            "On which weekday is {p} shut?", "The day it is shut is"),
    _Matter("month", ("In {v} {p} is painted anew.", "{p} has its painters in during {v}."),
            "In which month is {p} redecorated?", "The month is"),
    _Matter("year", ("{p} was opened in {v} by a brass band.", "The first stone of {p} carries the year {v}."),
            "How far back does {p} date?", "It dates back to"),
    _Matter("people", ("{p} holds {v} and not one more.", "When {v} are in, {p} is full."),
            "How many fit into {p}?", "The most it takes is"),
    _Matter("days", ("What {p} lends is wanted back after {v}.", "One may keep a thing of {p} for {v}."),
            "How long is something borrowed from {p} one's own?", "The loan lasts"),
    _Matter("minutes", ("A tour of {p} is over in {v}.", "Walking through {p} takes {v}."),
            "How much time does a visit to {p} need?", "A visit needs"),
    _Matter("metres", ("{p} lies {v} from the market.", "From the market to {p} it is {v}."),
            "How far is {p} from the market?", "The distance is"),
    _Matter("kilos", ("The goods lift of {p} takes {v}.", "More than {v} is too much for the lift of {p}."),
            "What can the lift of {p} carry?", "It can carry"),
    _Matter("degrees", ("It is kept at {v} inside {p}.", "{p} is heated to {v} all year."),
            "What is the temperature in {p}?", "The temperature is"),
    _Matter("number", ("{p} answers the telephone under {v}.", "Who calls {p} dials {v}."),
            "Which number reaches {p}?", "The number to call is"),
    _Matter("town", ("The stones of {p} were cut in {v}.", "{v} sent the stones that {p} is built of."),
            "Where do the stones of {p} come from?", "They come from"),
    _Matter("thing", ("Members of {p} wear a {v}.", "A {v} shows who belongs to {p}."),
            "How is a member of {p} recognised?", "A member is recognised by a"),
    _Matter("food", ("After work {p} serves {v}.", "There is {v} for all who help at {p}."),
            "What is eaten at {p}?", "What is eaten there is"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notice:
    """One statement about one place, and how it is asked for.

    Attributes:
        place: What it is about; notices about other places mislead.
        text: A sentence with the value in it.
        prefix: How an answer begins, up to the value.

    """

    place: str
    text: str
    question: str
    prefix: str
    value: str


def notices(order: random.Random) -> Iterator[Notice]:
    """Make up notices without end; the same ones for a generator of the same seed."""
    while True:
        place, matter = order.choice(_PLACES), order.choice(_MATTERS)
        value = _value(matter.sort, order)
        text = order.choice(matter.says).format(p=place, v=value)
        question, prefix = matter.question.format(p=place), matter.prefix.format(p=place)
        yield Notice(place, text[0].upper() + text[1:], question, prefix, value)


def _value(sort: str, order: random.Random) -> str:
    number = order.randint
    match sort:
        case "money":
            return f"{number(2, 90)} {order.choice(('crowns', 'florins', 'marks'))}"
        case "person":
            return f"{order.choice(_FIRST)} {order.choice(_LAST)}"
        case "clock":
            return f"{number(6, 22)}:{number(0, 11) * 5:02}"
        case "thing":
            return f"{order.choice(_COLOURS)} {order.choice(_THINGS)}"
        case "degrees":
            return f"{number(3, 29)} degrees"
        case "kilos":
            return f"{number(4, 90) * 10} kilograms"
        case "metres":
            return f"{number(5, 95) * 10} metres"
        case "people" | "days" | "minutes":
            return f"{number(3, 95)} {sort}"
        case "number":
            return str(number(120, 980))
        case "year":
            return str(number(1780, 1990))
    return order.choice({"day": _DAYS, "month": _MONTHS, "town": _TOWNS, "food": _FOOD}[sort])
