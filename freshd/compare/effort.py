"""What work took: wall seconds, CPU seconds of this process and of those it names, peak memory."""

import os
import platform
import re
import resource
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

_PROC: Final = Path("/proc")
_FORGET_PEAK: Final = "5"
"""What resets the peak of a process: `clear_refs` in proc(5)."""


class Stopwatch:
    """Adds up what the blocks took that it was the context of."""

    def __init__(self, children: Callable[[], Collection[int]] = lambda: ()) -> None:
        """Begin at zero.

        Args:
            children: Gives the ids of processes that work for this one and are not over yet.

        """
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self._children = children
        self._began = (0.0, 0.0)

    def __enter__(self) -> "Stopwatch":
        self._began = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall_s, cpu_s = self._now()
        self.wall_s += wall_s - self._began[0]
        self.cpu_s += cpu_s - self._began[1]

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time() + sum(map(_cpu_s, self._children()))


def forget_peak(children: Collection[int] = ()) -> None:
    """Let `peak_bytes` count from here, where the system can; else it stays that of the whole run.

    Args:
        children: Ids of processes that work for this one.

    """
    for name in ("self", *map(str, children)):
        with suppress(OSError):
            (_PROC / name / "clear_refs").write_text(_FORGET_PEAK)


def peak_bytes(children: Collection[int] = ()) -> int:
    """Give the largest resident memory since `forget_peak` of this process and of those it names, added up.

    They need not have been at their largest at the same moment: together they never held more than this.
    """
    own = _peak_bytes("self")
    if own is None:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return own + sum(_peak_bytes(str(pid)) or 0 for pid in children)


def _peak_bytes(name: str) -> int | None:
    """Read the peak of a process; None where it is gone or the system does not tell."""
    with suppress(OSError):
        for line in (_PROC / name / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    return None


def machine() -> str:
    """Describe this machine: processor, cores that may be used, memory."""
    processor = _processor_says("model name") or platform.processor() or platform.machine()
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{processor}, {usable_cores()} cores, {gib:.0f} GiB of memory"


def usable_cores() -> int:
    """Give how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def processor_flags() -> frozenset[str]:
    """Give what the processor says it can do, in the system's words; nothing where the system does not tell."""
    return frozenset(_processor_says("flags").split())


def _processor_says(key: str) -> str:
    with suppress(OSError):
        if found := re.search(rf"(?m)^{key}\s*:\s*(.+)$", (_PROC / "cpuinfo").read_text()):
            return found[1].strip()
    return ""


def _cpu_s(pid: int) -> float:
    """Read the CPU seconds of another process; 0 where it is gone or the system does not tell."""
    try:
        fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
