"""What the last comparison measured, read from its report, so that it can stand beside the live figures."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_MAX_BYTES = 16 << 20


class LastComparison:
    """The report of `freshd compare` that a config names; read again whenever it is written anew."""

    def __init__(self, path: Path | None) -> None:
        """Name the file; None, or one that is absent or no report, tells nothing."""
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._cycles_s: dict[str, float] = {}

    def cycles_s(self) -> Mapping[str, float]:
        """Give the wall seconds that each arm took to follow the change, by arm."""
        if self._path is None:
            return {}
        try:
            found = self._path.stat()
        except OSError:
            return {}
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._read_at:
            self._read_at, self._cycles_s = stamp, _cycles_s(self._path) if found.st_size <= _MAX_BYTES else {}
        return self._cycles_s


def _cycles_s(path: Path) -> dict[str, float]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        arms = json.loads(path.read_text(encoding="utf-8"))["arms"]
        return {str(arm["arm"]): float(arm["update"]["wall_seconds"]) for arm in arms if arm["update"]}
    return {}
