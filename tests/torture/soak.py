"""Hours of edits at a steady rate over one daemon: does its memory grow, and what stands in the end?"""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.torture.daemon import Daemon
from tests.torture.place import Place

_SAMPLE_S = 2.0
_WARM_UP = 0.25
"""Share of the time whose samples tell nothing: caches and pools fill."""

_DOCUMENTS = 200
_KIB_PER_MIB = 1_024


@dataclass(frozen=True)
class Memory:
    """What a process had of its own after the warm-up and at the end; the slope is that of least squares."""

    first_mib: float
    last_mib: float
    mib_per_hour: float


@dataclass(frozen=True)
class Soaked:
    """What was seen.

    Attributes:
        lag_s: Median and 99th percentile from an edit to its being found, as `/status` told at the end.
        settled_s: From the last edit to everything applied.

    """

    changes: int
    minutes: float
    parent: Memory
    store: Memory
    lag_s: dict[str, float | None]
    settled_s: float


def soak(minutes: float, rate: float, seed: int) -> Soaked:
    """Edit at a rate for some minutes, then compare with an index made anew.

    Raises:
        Diverged: What stands in the end is not what should.

    """
    with Place(seed, documents=_DOCUMENTS) as place:
        daemon = Daemon(place)
        try:
            daemon.start()
            daemon.settled()
            samples = _edited(place, daemon, minutes * 60, rate)
            daemon.doubt()
            settled_s = daemon.settled()
            status = daemon.status()
            assert status is not None
            lag_s = status["sources"][0]["lag_seconds"]
            daemon.stop()
        finally:
            daemon.close()
        place.compare("after the soak")
    warm = samples[int(len(samples) * _WARM_UP) :]
    parent, store = (_memory([(at, mib[i]) for at, mib in warm]) for i in (0, 1))
    return Soaked(round(minutes * 60 * rate), minutes, parent, store, lag_s, settled_s)


def _edited(place: Place, daemon: Daemon, seconds: float, rate: float) -> list[tuple[float, tuple[float, float]]]:
    """Edit, and look at memory meanwhile: hours since the beginning, MiB of both processes."""
    began_s = time.monotonic()
    samples, next_sample_s, done = [], 0.0, 0
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        if elapsed_s >= next_sample_s:
            parent, store = (_private_mib(pid) for pid in daemon.pids()[:2])
            samples.append((elapsed_s / 3600, (parent, store)))
            next_sample_s += _SAMPLE_S
        if done < elapsed_s * rate:
            place.tree.churn(1)
            done += 1
        else:
            time.sleep(min(0.01, done / rate - elapsed_s))
    return samples


def _private_mib(pid: int) -> float:
    """Resident memory of its own: pages of files that it maps, as the engine does, are the kernel's to take back."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / _KIB_PER_MIB


def _memory(samples: list[tuple[float, float]]) -> Memory:
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0
    return Memory(samples[0][1], samples[-1][1], slope)
