"""Says what is wrong in a config: one line per fault, with its place, what was got and what was expected."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from freshd.config import values
from freshd.redaction import MASK, is_secret_key, printable, without_url_secrets

Place = tuple[str | int, ...]
"""Keys and indexes that lead from the top of the file to a value."""

MAX_SHOWN_CHARACTERS = 60

_EXPECTED_BY_TYPE = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "an array",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "byte_size": values.A_SIZE,
    "byte_size_unit": values.A_SIZE,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a config; `message` is fit to be shown."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{_place_text(self.place)}: {self.message}"


def faults_of(error: ValidationError, data: object, known_keys: Mapping[Place, Iterable[str]]) -> list[Fault]:
    """Translate what pydantic found.

    Args:
        error: The errors of one validation.
        data: What was validated.
        known_keys: The keys a table may have, by the place of the table; for suggestions.

    """
    return [_fault(details, data, known_keys) for details in error.errors(include_url=False)]


def got_but_expected(value: object, expected: str, *, is_secret: bool = False) -> str:
    """Word the most common fault."""
    return f"got {MASK if is_secret else shown(value)}, expected {expected}"


def shown(value: object) -> str:
    """Show a value as TOML would write it, shortened, without secrets or control characters."""
    match value:
        case str():
            text = without_url_secrets(value)
            is_long = len(text) > MAX_SHOWN_CHARACTERS
            quoted = json.dumps(text[:MAX_SHOWN_CHARACTERS], ensure_ascii=False)
            return printable(quoted) + ("…" if is_long else "")
        case bool():
            return str(value).lower()
        case Mapping():
            return "a table"
        case Sequence():
            return "an array"
        case _:
            return printable(str(value))[:MAX_SHOWN_CHARACTERS]


def _fault(details: ErrorDetails, data: object, known_keys: Mapping[Place, Iterable[str]]) -> Fault:
    if details["type"] == "extra_forbidden":
        *parent, key = details["loc"]
        return Fault(details["loc"], unknown_key(str(key), known_keys.get(tuple(parent), ())))
    if details["type"] == "missing":
        return Fault(details["loc"], "got none, expected a value")
    place = _place_in(data, details["loc"])
    is_secret = any(is_secret_key(part) or part == "headers" for part in place if isinstance(part, str))
    return Fault(place, _mismatch(details, is_secret=is_secret))


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Word the refusal of a key, with the nearest known one if it looks like a slip."""
    choices = sorted(known)
    near = get_close_matches(key[:MAX_SHOWN_CHARACTERS], choices, n=1)
    if near:
        return f'unknown key, did you mean "{near[0]}"?'
    if is_secret_key(key):
        return "unknown key; secrets are read from the environment only"
    return f"unknown key, expected one of {', '.join(choices)}" if choices else "unknown key"


def _mismatch(details: ErrorDetails, *, is_secret: bool) -> str:
    wanted = _expectation(details)
    if wanted:
        return got_but_expected(details["input"], wanted, is_secret=is_secret)
    own_words = printable(without_url_secrets(details["msg"].removeprefix("Value error, ")))
    got = MASK if is_secret else shown(details["input"])
    return own_words if own_words.startswith("got ") else f"got {got}: {own_words}"


def _expectation(details: ErrorDetails) -> str:
    """Say what was expected; empty where a connector's validator speaks another way than ours and pydantic's."""
    kind, message, context = details["type"], details["msg"], details.get("ctx", {})
    match kind:
        case values.EXPECTED:
            return message
        case "literal_error" | "enum":
            return str(context["expected"]).replace("'", '"')
        case "string_too_short" | "too_short":
            return f"{context['min_length']} or more {'characters' if kind == 'string_too_short' else 'items'}"
        case _ if kind in _EXPECTED_BY_TYPE:
            return _EXPECTED_BY_TYPE[kind]
    for introduction in ("Input should be ", "Value error, expected "):
        if message.startswith(introduction):
            return printable(message.removeprefix(introduction))
    return ""


def _place_in(data: Any, loc: Place) -> Place:
    """Keep the part of `loc` that exists in the data: pydantic appends names of union members and functions."""
    place: list[str | int] = []
    for part in loc:
        try:
            data = data[part]
        except (TypeError, LookupError):
            break
        place.append(part)
    return tuple(place)


def _place_text(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{_key_text(part)}"
    return text.removeprefix(".")


def _key_text(key: str) -> str:
    is_bare = key.isascii() and key.replace("-", "_").replace(".", " ").isidentifier()
    return key if is_bare else shown(key)
