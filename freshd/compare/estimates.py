"""Shares of facts with where they may well lie, and what can be told from two of them. Pure.

An interval holds the middle 95 % of what drawing the facts anew would give (bootstrap over facts, seeds pooled).
All drawings are weighed and none is made, so that nothing here is random.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

_TAIL = 0.025
_NEGLIGIBLE = 1e-12


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over facts, and where it may well lie.

    Attributes:
        value: In [0, 1] for a share, in [−1, 1] for a difference of two.
        low, high: Ends of the 95 % interval.
        by_fact: What each fact adds, the mean over its seeds; so that two arms can be compared fact by fact.

    """

    value: float
    low: float
    high: float
    by_fact: Mapping[str, Fraction] = field(repr=False)

    @property
    def n(self) -> int:
        """How many facts it is over."""
        return len(self.by_fact)


def estimate(by_fact: Mapping[str, Fraction], least: int = 0) -> Estimate | None:
    """Give the mean over facts and its interval; None without facts.

    Args:
        by_fact: What each fact adds.
        least: The least that one can add, 0 or −1; the most is 1.

    """
    if not by_fact:
        return None
    values = list(by_fact.values())
    mean = sum(values) / len(values)
    low, high = _interval(values)
    if low == high:  # facts that all agree tell nothing of those that would not: rule of three
        unseen = min(1.0, 3 / len(values))
        low, high = low - unseen * (low - least), high + unseen * (1 - high)
    return Estimate(float(mean), low, high, by_fact)


def difference(one: Estimate | None, other: Estimate | None) -> Estimate | None:
    """Give by how much a share exceeds another, fact by fact; None where no fact has both."""
    if one is None or other is None:
        return None
    both = {key: share - other.by_fact[key] for key, share in one.by_fact.items() if key in other.by_fact}
    return estimate(both, least=-1)


def is_tie(one: Estimate | None, other: Estimate | None) -> bool:
    """Tell whether two shares cannot be told apart: the interval of their difference, fact by fact, holds 0."""
    apart = difference(one, other)
    return apart is None or apart.low <= 0 <= apart.high


def less_often(one: Mapping[str, float], other: Mapping[str, float]) -> Estimate | None:
    """Give the share of facts for which one takes less than the other, less the share for which it takes more.

    Seconds have no upper end, so that their mean has no interval worth its name; which of two is less does.
    """
    signs = {key: _sign(other[key] - value) for key, value in one.items() if key in other}
    return estimate(signs, least=-1)


def _sign(value: float) -> Fraction:
    return Fraction((value > 0) - (value < 0))


def _interval(values: Sequence[Fraction]) -> tuple[float, float]:
    """Give where the middle 95 % of the means lie over all ways to draw as many values from these, with return."""
    unit = math.lcm(*(value.denominator for value in values))
    counts = Counter(int(value * unit) for value in values)
    n, base = len(values), min(counts)
    once = [counts[base + step] / n for step in range(max(counts) - base + 1)]
    sums = _repeated(once, n)
    low = _quantile(sums)
    high = len(sums) - 1 - _quantile(sums[::-1])
    return (low / n + base) / unit, (high / n + base) / unit


def _repeated(once: list[float], n: int) -> list[float]:
    """Give the chances of each sum of `n` draws, by doubling."""
    sums = [1.0]
    for digit in f"{n:b}":
        sums = _convolved(sums, sums)
        if digit == "1":
            sums = _convolved(sums, once)
    return sums


def _convolved(one: Sequence[float], other: Sequence[float]) -> list[float]:
    sums = [0.0] * (len(one) + len(other) - 1)
    for n, chance in enumerate(one):
        if chance > _NEGLIGIBLE:
            for m, another in enumerate(other, n):
                sums[m] += chance * another
    return sums


def _quantile(chances: Sequence[float]) -> int:
    """Give the first place up to which more than the tail lies."""
    total = 0.0
    for place, chance in enumerate(chances):
        total += chance
        if total > _TAIL:
            return place
    return len(chances) - 1
