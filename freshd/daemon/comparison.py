"""What the last comparison measured, read from its report, so that it can stand beside the live figures."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from freshd.shapes import ApproachTime, ComparisonFigures

_MAX_BYTES = 16 << 20
_MOST_APPROACHES = 20


@dataclass(frozen=True, slots=True)
class _Seen:
    cycles_s: Mapping[str, float] = field(default_factory=dict)
    figures: ComparisonFigures | None = None


class LastComparison:
    """The report of `freshd compare` that a config names; read again whenever it is written anew."""

    def __init__(self, path: Path | None) -> None:
        """Name the file; None, or one that is absent or no report, tells nothing."""
        self._path = path
        self._read: tuple[tuple[int, int], _Seen] | None = None

    def cycles_s(self) -> Mapping[str, float]:
        """Give the wall seconds that each arm took to follow the change, by arm."""
        return self._seen().cycles_s

    def figures(self) -> ComparisonFigures | None:
        """Give what the page shows of it; None where no update was measured."""
        return self._seen().figures

    def _seen(self) -> _Seen:
        if self._path is None:
            return _Seen()
        try:
            found = self._path.stat()
        except OSError:
            return _Seen()
        stamp = (found.st_mtime_ns, found.st_size)
        if self._read is None or self._read[0] != stamp:
            written_at = datetime.fromtimestamp(found.st_mtime, UTC)
            seen = _seen_in(self._path, written_at) if found.st_size <= _MAX_BYTES else _Seen()
            self._read = stamp, seen
            return seen
        return self._read[1]


def _seen_in(path: Path, written_at: datetime) -> _Seen:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        report = json.loads(path.read_text(encoding="utf-8"))
        arms = [arm for arm in report["arms"] if arm["update"]][:_MOST_APPROACHES]
        cycles_s = {str(arm["arm"]): _seconds(arm["update"]["wall_seconds"]) for arm in arms}
        return _Seen(cycles_s, _figures(report, cycles_s, written_at) if cycles_s else None)
    return _Seen()


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"got {seconds}, expected seconds")
    return seconds


def _figures(report: Mapping[str, Any], cycles_s: Mapping[str, float], written_at: datetime) -> ComparisonFigures:
    names = {str(arm["arm"]): str(arm.get("name", arm["arm"])) for arm in report["arms"]}
    alike: dict[float, ApproachTime] = {}
    for arm, seconds in sorted(cycles_s.items(), key=lambda one: one[1]):
        is_training = not arm.endswith("rag")
        own = alike.setdefault(seconds, ApproachTime(names=[], seconds=seconds, is_training=is_training))
        own["names"].append(names[arm])
    setup, words = report.get("setup") or {}, report.get("verdict") or {}
    break_even = words.get("break_even")
    return ComparisonFigures(
        measured_at=_instant(report.get("measured_at")) or f"{written_at:%Y-%m-%dT%H:%M:%SZ}",
        model=str(setup.get("model", "")),
        machine=str(setup.get("machine", "")),
        is_quick=setup.get("is_quick") is True,
        approaches=list(alike.values()),
        break_even=None if break_even is None else str(break_even),
    )


def _instant(text: Any) -> str | None:
    """Give an instant as it is written; None for what is none."""
    with suppress(ValueError):
        if isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None:
            return text
    return None
