"""Hours of edits at a steady rate over one daemon: does its memory grow, and what stands in the end?"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, linear_regression

from tests.torture.daemon import Daemon
from tests.torture.place import Place

_SAMPLE_S = 2.0
_WARM_UP = 0.25
"""Share of the time whose samples tell nothing: caches and pools fill."""

_DOCUMENTS = 200
_KIB_PER_MIB = 1_024
_LONGEST_S = {False: 60.0, True: 1_800.0}
"""Until everything is applied, without and with a model: a first index is some thousand chunks."""

_MAY_GROW = 1.0
"""MiB an hour."""

_BLOCKS, _T = 12, 2.228
"""Samples follow one another closely and say the same: the means of so many stretches are what a line is laid through.

Student's t of 95 %, both sides, for two less.
"""


@dataclass(frozen=True)
class Memory:
    """What a process had of its own after the warm-up and at the end.

    Attributes:
        mib_per_hour: Of the line of least squares.
        give_or_take: Half the 95 % interval of that; infinite where there is too little to tell from.

    """

    first_mib: float
    last_mib: float
    mib_per_hour: float
    give_or_take: float

    @property
    def grows(self) -> bool:
        """Whether it is certain that it grows by more than it may."""
        return self.mib_per_hour - self.give_or_take > _MAY_GROW


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


def soak(minutes: float, rate: float, seed: int, *, has_model: bool = False) -> Soaked:
    """Edit at a rate for some minutes, then compare with an index made anew.

    Args:
        minutes: For how long.
        rate: Edits a second; a model on few cores follows one or two.
        seed: Of the edits.
        has_model: Embed with the bundled model, not with hashes.

    Raises:
        Diverged: What stands in the end is not what should.

    """
    longest_s = _LONGEST_S[has_model]
    with Place(seed, documents=_DOCUMENTS, has_model=has_model) as place:
        daemon = Daemon(place)
        try:
            daemon.start()
            daemon.settled(longest_s)
            samples, changes = _edited(place, daemon, minutes * 60, rate)
            daemon.doubt()
            settled_s = daemon.settled(longest_s)
            status = daemon.status()
            assert status is not None
            lag_s = status["sources"][0]["lag_seconds"]
            daemon.stop()
        finally:
            daemon.close()
        place.compare("after the soak")
    warm = samples[int(len(samples) * _WARM_UP) :]
    parent, store = (_memory([(at, mib[i]) for at, mib in warm]) for i in (0, 1))
    return Soaked(changes, minutes, parent, store, lag_s, settled_s)


def _edited(
    place: Place, daemon: Daemon, seconds: float, rate: float
) -> tuple[list[tuple[float, tuple[float, float]]], int]:
    """Edit, and look at memory meanwhile: hours since the beginning and MiB of both processes; how many edits."""
    began_s = time.monotonic()
    samples, next_sample_s, done = [], 0.0, 0
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        if elapsed_s >= next_sample_s:
            parent, store = (_private_mib(pid) for pid in (daemon.pid, _store_of(daemon)))
            samples.append((elapsed_s / 3600, (parent, store)))
            next_sample_s += _SAMPLE_S
        if done < elapsed_s * rate:
            place.tree.churn(1)
            done += 1
        else:
            time.sleep(min(0.01, done / rate - elapsed_s))
    return samples, done


def _store_of(daemon: Daemon) -> int:
    """Give the id of the store's process; what reads documents may be there beside it, or be gone by now."""
    return next(pid for pid in daemon.pids()[1:] if b"edge_child" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _private_mib(pid: int) -> float:
    """Resident memory of its own: pages of files that it maps, as the engine does, are the kernel's to take back."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / _KIB_PER_MIB


def _memory(samples: Sequence[tuple[float, float]]) -> Memory:
    slope, give_or_take = slope_of(samples)
    return Memory(samples[0][1], samples[-1][1], slope, give_or_take)


def slope_of(samples: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Give the slope of samples at instants, and half its 95 % interval."""
    if len(samples) < _BLOCKS:
        return math.nan, math.inf
    ends = [len(samples) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    blocks = [samples[start:end] for start, end in pairwise(ends)]
    at, means = ([fmean(one[i] for one in block) for block in blocks] for i in (0, 1))
    line = linear_regression(at, means)
    off = sum((mean - line.slope * x - line.intercept) ** 2 for x, mean in zip(at, means, strict=True))
    spread = sum((x - fmean(at)) ** 2 for x in at)
    return line.slope, _T * math.sqrt(off / (_BLOCKS - 2) / spread)
