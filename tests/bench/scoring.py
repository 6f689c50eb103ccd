"""How well ranked hits answer questions whose answers are known, by document and by passage. Pure.

A question names one file and the lines that answer it, so recall at k is whether the first right hit is among k,
and nDCG is 1 / log2(its rank + 1). What is beyond the tenth rank counts for nothing.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bench.timing import Spread

Question = Mapping[str, Any]
"""With `id`, `question` and `kind`, and where the answer stands: `path`, `start_line` and `end_line` (inclusive)."""

Hits = Sequence[Mapping[str, Any]]
"""Best first; each with `path`, `start_line` and `end_line`."""

MEASURES = ("R@1", "R@3", "R@5", "R@10", "MRR@10", "nDCG@10")

_RANKS = (1, 3, 5, 10)
_RESAMPLES, _SEED = 2_000, 7


def document_rank(question: Question, hits: Hits) -> int | None:
    """Give the rank of the right document, each counted where its first hit stands; None if it was not found."""
    paths = list(dict.fromkeys(hit["path"] for hit in hits))
    return paths.index(question["path"]) + 1 if question["path"] in paths else None


def passage_rank(question: Question, hits: Hits, min_cover: float = 0.0) -> int | None:
    """Give the rank of the first hit that holds a line of the answer and a share of its lines; None if none does.

    One line favours long hits, so a share should be asked for beside it.
    """
    wanted = question["end_line"] - question["start_line"] + 1
    for rank, hit in enumerate(hits, start=1):
        shared = shared_lines(question, hit)
        if shared > 0 and shared >= min_cover * wanted:
            return rank
    return None


def shared_lines(question: Question, hit: Mapping[str, Any]) -> int:
    """Count the lines of the answer that a hit holds."""
    if hit["path"] != question["path"]:
        return 0
    first, last = max(hit["start_line"], question["start_line"]), min(hit["end_line"], question["end_line"])
    return max(0, last - first + 1)


LEVELS: Mapping[str, Callable[[Question, Hits], int | None]] = {
    "document": document_rank,
    "passage": passage_rank,
    "half a passage": lambda question, hits: passage_rank(question, hits, 0.5),
}


def measures(rank: int | None) -> tuple[float, ...]:
    """Give what a rank is worth by each of `MEASURES`."""
    recalls = tuple(float(rank is not None and rank <= k) for k in _RANKS)
    if rank is None or rank > max(_RANKS):
        return (*recalls, 0.0, 0.0)
    return (*recalls, 1 / rank, 1 / math.log2(rank + 1))


def mean(values: Sequence[float]) -> float:
    """Average over questions, at least one."""
    return sum(values) / len(values)


def lead(own: Sequence[float], other: Sequence[float]) -> Spread:
    """Give the mean of paired differences between the 2.5th and the 97.5th percentile of its resamples."""
    differences = [a - b for a, b in zip(own, other, strict=True)]
    chance, n = random.Random(_SEED), len(differences)
    means = sorted(mean(chance.choices(differences, k=n)) for _ in range(_RESAMPLES))
    cut = round(0.025 * _RESAMPLES)
    return Spread(mean(differences), means[cut], means[-cut - 1], n)
