"""Where a section is cut: a question that only text nearby answers. The module of the room explains the rules."""

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from freshd.chunker.units import Run, Unit

_AFTER_COLON = 1
"""Badness of parting a block from the line that announces it."""
_BEGINNING_CHARACTERS = 64
"""How much of a unit's first line decides its rank.

With all of it, edits move more boundaries: 2 to 3 % more was embedded again between releases of Django's documentation.
"""

_Rank = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """How large chunks may be, in tokens of the embedder.

    Attributes:
        min_tokens: Cuts keep this distance from each other wherever the text allows; sections may be shorter.
        max_tokens: Most that the model may be given: special tokens, heading path and text together.

    """

    min_tokens: int
    max_tokens: int

    def __post_init__(self) -> None:
        """Refuse limits that leave no room between them."""
        if not 2 <= self.min_tokens * 2 <= self.max_tokens:
            raise ValueError(
                f"chunk limits: got min_tokens = {self.min_tokens}, max_tokens = {self.max_tokens}, "
                "expected 1 <= min_tokens <= max_tokens / 2"
            )


def cut(text: str, run: Run, min_tokens: int) -> Iterator[Run]:
    """Divide a run of weighed units at its cuts; every part is within the capacity or a single unit."""
    units = run.units
    offsets = list(accumulate((unit.weight for unit in units), initial=0))
    ranks = _ranks(text, units, offsets, min_tokens)
    local = [i for i in range(1, len(units)) if _is_lowest_nearby(i, ranks, offsets, min_tokens)]
    edges = {0, *local, len(units)}
    for first, past in pairwise([0, *local, len(units)]):
        edges.update(_cuts_within(first, past, ranks, offsets, min_tokens, run.capacity))
    for first, past in pairwise(sorted(edges)):
        yield replace(run, units=units[first:past])


def _ranks(text: str, units: Sequence[Unit], offsets: Sequence[int], reach: int) -> list[_Rank]:
    """How good a cut before each unit is, lower is better: badness, its beginning, and for equals what is around."""
    bodies = [text[unit.start : unit.end].strip() for unit in units]
    after_colon = [False, *(body.endswith(":") for body in bodies[:-1])]
    plain = [
        (max(unit.badness, _AFTER_COLON * is_announced), _short_hash(_beginning(body)))
        for unit, body, is_announced in zip(units, bodies, after_colon, strict=True)
    ]
    times_seen = Counter(plain)
    has_equals = any(times > 1 for times in times_seen.values())
    hashes = [_short_hash(body) for body in bodies] if has_equals else []

    def surroundings(i: int) -> str:
        first = bisect_left(offsets, offsets[i] - reach)
        past = bisect_right(offsets, offsets[i] + reach)
        return _short_hash(f"{''.join(hashes[first:i])}|{''.join(hashes[i:past])}")

    return [(*rank, surroundings(i) if times_seen[rank] > 1 else "") for i, rank in enumerate(plain)]


def _beginning(body: str) -> str:
    return body[:_BEGINNING_CHARACTERS].split("\n", 1)[0]


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_lowest_nearby(i: int, ranks: Sequence[_Rank], offsets: Sequence[int], reach: int) -> bool:
    """Whether boundary `i` is the lowest within reach, the first of equals, and not itself that close to an end."""
    here = offsets[i]
    if here < reach or offsets[-1] - here < reach:
        return False
    before, after = i - 1, i + 1
    while here - offsets[before] < reach:
        if ranks[before] <= ranks[i]:
            return False
        before -= 1
    while offsets[after] - here < reach:
        if ranks[after] < ranks[i]:
            return False
        after += 1
    return True


def _cuts_within(
    first: int, past: int, ranks: Sequence[_Rank], offsets: Sequence[int], reach: int, capacity: int
) -> Iterator[int]:
    """Cut at the lowest rank, and at its equals beyond reach, until every part fits or is one unit."""
    pending = [(first, past)]
    while pending:
        first, past = pending.pop()
        if offsets[past] - offsets[first] <= capacity or past - first == 1:
            continue
        nearest, farthest = offsets[first] + reach, offsets[past] - reach
        inner = [i for i in range(first + 1, past) if nearest <= offsets[i] <= farthest] or range(first + 1, past)
        lowest = min(ranks[i] for i in inner)
        cuts: list[int] = []
        for i in inner:
            if ranks[i] == lowest and (not cuts or offsets[i] - offsets[cuts[-1]] >= reach):
                cuts.append(i)
        yield from cuts
        pending.extend(pairwise([first, *cuts, past]))
