"""Front matter: what a Markdown page says of itself above its text, in YAML (`---`) or TOML (`+++`).

Whatever is not valid front matter is text, so nothing is lost to a thematic break on the first line.
"""

import json
import tomllib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any, Final

import yaml

from freshd.parsers.blocks import Lines, shorten
from freshd.parsers.encoding import clean

VERSION = "front-matter-2"

_MOST_LINES: Final = 500
_MOST_CHARACTERS: Final = 64 * 1024

_OPENERS: Final = {"---": ("---", "..."), "+++": ("+++",)}
_TITLE: Final = "title"


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What a page says of itself.

    Attributes:
        n_lines: Lines it takes at the start of the page, both fences included; 0 without front matter.
        metadata: Every key but the title; what is not plain text is written as JSON.

    """

    n_lines: int = 0
    title: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_front_matter(lines: Lines) -> FrontMatter:
    """Read the front matter of a page; empty if there is none or it is not valid."""
    end = _closing_line(lines)
    if end is None:
        return FrontMatter()
    source = lines.text[lines.start(1) : lines.start(end)]
    try:
        values = tomllib.loads(source) if lines[0].startswith("+") else yaml.load(source, _PlainLoader)  # noqa: S506
        return _describe({} if values is None else values, end + 1)
    except (yaml.YAMLError, ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError):
        # ValueError: also TOML errors, impossible dates, integers too long to print.
        # Arithmetic, attributes and look-ups: what yaml's constructors fail with where a tag does not fit its value.
        return FrontMatter()


def _closing_line(lines: Lines) -> int | None:
    """Find the fence that ends the front matter; None if the page does not begin with one or it is too long."""
    closers = _OPENERS.get(lines[0].rstrip()) if len(lines) and lines.end(0) < _MOST_CHARACTERS else None
    if closers is None:
        return None
    for index in range(1, min(len(lines), _MOST_LINES)):
        if lines.end(index) > _MOST_CHARACTERS:
            return None
        if lines[index].rstrip() in closers:
            return index
    return None


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases: a few of them nested unfold to gigabytes, and front matter has no use for them."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read in front matter")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave merge keys alone; they need aliases to be of use."""


def _describe(values: Any, n_lines: int) -> FrontMatter:
    """Turn parsed values into strings.

    Raises:
        TypeError: They are not a mapping, so this was no front matter.

    """
    if not isinstance(values, dict):
        raise TypeError(f"front matter: got {type(values).__name__}, expected a mapping")
    metadata = {clean(_plain(key)): clean(_plain(value)) for key, value in values.items() if value is not None}
    title = shorten(metadata.pop(_TITLE, ""))
    return FrontMatter(n_lines, title or None, metadata)


def _plain(value: Hashable | Any) -> str:
    """Write a value as a person would: scalars bare, lists of scalars with commas, the rest as JSON."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, tuple, dict)) for item in value):
        return ", ".join(map(_plain, value))
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(_with_plain_keys(value), ensure_ascii=False, default=str)
    return str(value)


def _with_plain_keys(value: Any) -> Any:
    """Write the keys that JSON does not know, such as dates, as a person would."""
    if isinstance(value, dict):
        known = (str, int, float, bool, type(None))
        return {key if isinstance(key, known) else _plain(key): _with_plain_keys(inner) for key, inner in value.items()}
    return list(map(_with_plain_keys, value)) if isinstance(value, (list, tuple)) else value
