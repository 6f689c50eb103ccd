"""Repeated measurements: contenders that take turns, and what is said of their times."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spread:
    """A median between the lowest and the highest of `n` measurements."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def scaled(self, factor: float) -> "Spread":
        """Give the same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.n)


def take_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure contenders in turn, every other round backwards, so that a machine that slows down favours none.

    Args:
        contenders: Each does its work once and returns its seconds.
        rounds: How often each is asked.

    Returns:
        Seconds of each contender, by round.

    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for n in range(rounds):
        order = list(contenders.items())
        for name, measure in order if n % 2 == 0 else reversed(order):
            times[name].append(measure())
    return times


def ratios(times: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Divide round by round: both times of a round saw the machine in about the same mood."""
    return Spread.of([time / base for time, base in zip(times, baseline, strict=True)])


def took(work: Callable[[], object]) -> float:
    """Do something; give the seconds that took."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * round(share * 1000) // 1000))
    return ordered[rank - 1]


def until(condition: Callable[[], bool], what: str, *, patience_s: float, every_s: float = 0.003) -> None:
    """Wait for a condition, looking again so long after each look.

    Raises:
        TimeoutError: It did not come to be in time.

    """
    give_up_at_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > give_up_at_s:
            raise TimeoutError(f"waited {patience_s:.0f} s until {what}")
        time.sleep(every_s)


def peak_bytes(pid: int) -> int:
    """Give the most memory that a process ever had, without its children."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def resident_bytes(pid: int) -> int:
    """Give the memory that a process has now, without its children; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def cpu_s(pid: int) -> float:
    """Give the CPU seconds that a process has spent, without its children: the clock of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)
