"""Globs as `.gitignore` writes them, decided one entry at a time while a tree is walked.

    lines ─ parse_lines ─▶ Glob … ─▶ Globs.decide(path, name) ─▶ True · False · None (says nothing)

The last glob that matches decides; `!` turns its answer round; a trailing `/` matches folders only;
a glob with another `/` is anchored to its folder, any other one matches a name at every depth.
A folder that matched is not entered, so nothing below it is ever asked about.

Written here and not taken from pathspec, for two measured reasons.
pathspec decides about whole paths, so that `*`, `!*/`, `!*.md` prunes every folder, which git does not;
and its expressions backtrack: `*a*a*a*a*a*b` takes 17 s for one name of 120 letters.
These never do: stars inside a name are matched left to right, once (atomic groups).
"""

import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

_NEVER = "(?!)"
_IS_ENDING = re.compile(r"\*[^*?\[\\]+").fullmatch
_ANY_FOLDERS = "(?:[^/]+/)*"

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "\\x21-\\x7e",
    "lower": "a-z",
    "print": "\\x20-\\x7e",
    "punct": re.escape(string.punctuation),
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Glob:
    """One line of an ignore file.

    Attributes:
        expression: What the whole name, or the whole path, must match.
        is_name_only: Asked about the entry's name; else about its path below the file's folder.
        ending: Of every name that it matches, and of no other; None where that is not all there is to it.

    """

    expression: str
    is_name_only: bool
    is_folder_only: bool = False
    is_negated: bool = False
    ending: str | None = None

    def in_any_case(self) -> "Glob":
        """Give the one that matches the same names, and those that differ from them in the case of letters alone."""
        # Not in any case alone: `[!A-Z]*` would not match what it matches as it stands.
        return replace(self, expression=f"(?:{self.expression}|(?i:{self.expression}))")


class Globs:
    """The globs of one ignore file or one option, in their order."""

    def __init__(self, globs: Iterable[Glob], *, any_case: bool = False) -> None:
        """Compile; nothing is asked about yet.

        Args:
            globs: In their order.
            any_case: Letters count in either case, but for what is negated: more is taken rather than less.

        """
        if any_case:
            globs = [glob if glob.is_negated else glob.in_any_case() for glob in globs]
        self._any_case = any_case
        self._compiled = [(glob, re.compile(glob.expression)) for glob in globs]
        self._compiled.reverse()
        endings = {glob.ending for glob, _ in self._compiled if glob.ending is not None}
        self._endings = tuple({ending.lower() for ending in endings} if any_case else endings)
        self._any_name = _any_of(glob for glob, _ in self._compiled if glob.is_name_only and glob.ending is None)
        self._any_path = _any_of(glob for glob, _ in self._compiled if not glob.is_name_only)
        self._is_plain = all(
            glob.is_name_only and not (glob.is_folder_only or glob.is_negated) for glob, _ in self._compiled
        )

    def decide(self, path: str, name: str, *, is_folder: bool) -> bool | None:
        """Tell whether the entry matches.

        Args:
            path: Below the folder these globs belong to, without a slash at either end.
            name: Its last part.
            is_folder: Whether the entry is a folder.

        Returns:
            True if the last glob that matches is a plain one, False if it is negated, None if there is none.

        """
        # Almost no entry matches anything: one look at its ending and one expression for all the others say so.
        if (
            not (name.lower() if self._any_case else name).endswith(self._endings)
            and not (self._any_name and self._any_name(name))
            and not (self._any_path and self._any_path(path))
        ):
            return None
        if self._is_plain:
            return True
        for glob, pattern in self._compiled:
            if glob.is_folder_only and not is_folder:
                continue
            if pattern.fullmatch(name if glob.is_name_only else path):
                return not glob.is_negated
        return None


def parse_lines(lines: Iterable[str], *, any_case: bool = False) -> Globs:
    """Read ignore-file lines; blank ones, comments and impossible globs match nothing, as in git; see `Globs`."""
    return Globs((glob for line in lines if (glob := parse_glob(line)) is not None), any_case=any_case)


def parse_glob(line: str) -> Glob | None:
    """Read one line; None if nothing could ever match it."""
    text = _strip_trailing_spaces(line.removesuffix("\r"))
    if not text or text.startswith("#"):
        return None
    is_negated = text.startswith("!")
    text = text[is_negated:]
    is_folder_only = text.endswith("/")
    text = text[: len(text) - is_folder_only]
    if not text:
        return None
    is_name_only = "/" not in text
    segments = text.removeprefix("/").split("/")
    if len(segments) == 2 and _is_double_star(segments[0]) and not _is_double_star(segments[1]):
        is_name_only, segments = True, segments[1:]
    expression = _segment(segments[0]) if is_name_only else _path(segments)
    if expression is None:
        return None
    is_ending = is_name_only and _IS_ENDING(segments[0])
    return Glob(expression, is_name_only, is_folder_only, is_negated, segments[0][1:] if is_ending else None)


def _any_of(globs: Iterable[Glob]) -> Callable[[str], object] | None:
    """Give one test for all the expressions at once."""
    expressions = [glob.expression for glob in globs]
    return re.compile("|".join(expressions)).fullmatch if expressions else None


def _strip_trailing_spaces(text: str) -> str:
    stripped = text.rstrip(" ")
    n_backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if n_backslashes % 2 and len(stripped) < len(text) else stripped


def _is_double_star(segment: str) -> bool:
    return len(segment) >= 2 and not segment.strip("*")


def _path(segments: Sequence[str]) -> str | None:
    """Translate a glob that is matched against a whole path.

    Between two `**`, the leftmost place that fits leaves most for the rest, so it is never given up again.
    """
    runs = _runs_between_double_stars(segments)
    if runs is None:
        return None
    *leading, last = runs
    if not leading:
        return "/".join(last)
    first, *middle = leading
    expression = "".join(f"{segment}/" for segment in first)
    expression += "".join(f"(?>{_ANY_FOLDERS}?{'/'.join(run)}/)" for run in middle if run)
    return expression + (_ANY_FOLDERS + "/".join(last) if last else "[\\s\\S]+")


def _runs_between_double_stars(segments: Sequence[str]) -> list[list[str]] | None:
    runs: list[list[str]] = [[]]
    for segment in segments:
        if _is_double_star(segment):
            runs.append([])
            continue
        expression = _segment(segment)
        if expression is None:
            return None
        runs[-1].append(expression)
    return runs


def _segment(segment: str) -> str | None:
    """Translate one name; between two stars the leftmost fit is kept, for the same reason."""
    pieces = _pieces(segment)
    if pieces is None:
        return None
    first, *others = pieces
    if not others:
        return first or _NEVER
    *middle, last = others
    # A star may stand for nothing, a name never is.
    return (first or "(?=[^/])") + "".join(f"(?>[^/]*?{piece})" for piece in middle if piece) + "[^/]*" + last


def _pieces(segment: str) -> list[str] | None:
    """Split at the stars; each piece matches a fixed number of characters. None if it is malformed."""
    pieces, at = [""], 0
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif char == "[":
            bracket = _bracket(segment, at)
            if bracket is None:
                return None
            expression, at = bracket
            pieces[-1] += expression
        elif char != "\\":
            pieces[-1] += re.escape(char)
        elif at == len(segment):
            return None
        else:
            pieces[-1] += re.escape(segment[at])
            at += 1
    return pieces


def _bracket(segment: str, at: int) -> tuple[str, int] | None:
    """Translate `[…]` that opens before `at`; also where it ends. None if it never does."""
    is_negated = segment[at : at + 1] in ("!", "^")
    at += is_negated
    members, start = "", at
    while at < len(segment):
        if segment[at] == "]" and at > start:
            return f"[^/{members}]" if is_negated else f"(?!/)[{members}]", at + 1
        if segment.startswith("[:", at):
            name, closed, _ = segment[at + 2 :].partition(":]")
            if not closed or name not in _POSIX_CLASSES:
                return None
            members += _POSIX_CLASSES[name]
            at += len(name) + 4
            continue
        low, at = _member(segment, at)
        high = low
        if segment.startswith("-", at) and at + 1 < len(segment) and segment[at + 1] != "]":
            high, at = _member(segment, at + 1)
        # A range that runs backwards still holds its first character.
        members += f"{re.escape(low)}-{re.escape(max(low, high))}"
    return None


def _member(segment: str, at: int) -> tuple[str, int]:
    """Read one character of a bracket, which a backslash may quote."""
    if segment[at] == "\\" and at + 1 < len(segment):
        at += 1
    return segment[at], at + 1
