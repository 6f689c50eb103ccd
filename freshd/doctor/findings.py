"""What doctor tells of one thing: what it got, and where that is not right, what it expected and what mends it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from freshd.errors import FreshdError
from freshd.redaction import printable
from freshd.shapes import Diagnosis


class Verdict(StrEnum):
    """How bad it is."""

    PASS = "pass"  # noqa: S105 (no password)
    WARN = "warn"
    """freshd runs, with less than it could have."""
    ERROR = "error"
    """freshd does not run, or not truly."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        expected: None where it is as it should be.
        hint: What mends it; None likewise, or where only waiting does.

    """

    name: str
    got: str
    verdict: Verdict = Verdict.PASS
    expected: str | None = None
    hint: str | None = None

    def told(self) -> Diagnosis:
        """Say it in the shape of the outside contract."""
        return {
            "name": printable(self.name),
            "status": self.verdict.value,
            "got": printable(self.got),
            "expected": None if self.expected is None else printable(self.expected),
            "try": None if self.hint is None else printable(self.hint),
        }


def warning(name: str, got: str, expected: str, hint: str) -> Finding:
    """Tell of what costs something."""
    return Finding(name, got, Verdict.WARN, expected, hint)


def broken(name: str, got: str, expected: str, hint: str) -> Finding:
    """Tell of what keeps freshd from running, or from telling the truth."""
    return Finding(name, got, Verdict.ERROR, expected, hint)


def refused(
    name: str, error: FreshdError | str, otherwise: str = "what freshd accepts", hint: str | None = None
) -> Finding:
    """Tell of what freshd refuses in its own words.

    Args:
        name: Of what was looked at.
        error: What was got, and mostly what was expected instead.
        otherwise: What was expected where those words do not say.
        hint: That of the error where it is left out.

    """
    got, *said = re.split("[,;] expected ", " ".join(str(error).split()), maxsplit=1)
    own_hint = error.hint if isinstance(error, FreshdError) else ""
    return Finding(name, got, Verdict.ERROR, said[0] if said else otherwise, hint or own_hint or None)


def looked_at(name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Look at something, and tell of it whatever comes in the way."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except FreshdError as error:
        found.append(refused(name, error))
    except OSError as error:
        hint = "run as the user that runs freshd"
        found.append(broken(name, f"{error.strerror or error}", "something that can be looked at", hint))
    return found
