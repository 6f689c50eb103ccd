"""One order out of two: by vector and by BM25. Pure.

Ranks alone say how good a match is beside its neighbours, not how much better than they are:
a rare identifier that stands in one passage would weigh as much as a common word's best passage.
So scores are kept, and only made comparable: the best of each answer is 1, what an answer leaves out is 0.
"""

from collections import Counter
from collections.abc import Sequence

from freshd.model import ChunkId, Match


def dense_floor(answer: Sequence[Match], limit: int) -> float:
    """Give the cosine of what an answer leaves out, at the most: its last one, or none where nothing was left out."""
    return min(match.score for match in answer) if answer and len(answer) >= limit else 0.0


def fuse(dense: Sequence[Match], sparse: Sequence[Match], *, floor: float) -> list[tuple[ChunkId, float]]:
    """Order what either answer has by the sum of its two shares, best first; ties go by chunk id.

    An engine gives equal scores in the order of its storage, which is another one in an index made from scratch.

    Args:
        dense: Nearest by cosine, which has no zero of its own: some likeness is between any two texts.
        sparse: Best by BM25, which is 0 where no term is shared.
        floor: Cosine that counts as none.

    """
    scores = Counter(_shares(dense, floor))
    scores.update(_shares(sparse, 0.0))
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))


def _shares(answer: Sequence[Match], floor: float) -> dict[ChunkId, float]:
    """Stretch scores so that the best is 1 and the floor, or less, 0; all are 1 where nothing tells them apart."""
    best = max((match.score for match in answer), default=floor)
    if best <= floor:
        return {match.chunk_id: 1.0 for match in answer}
    return {match.chunk_id: max(0.0, match.score - floor) / (best - floor) for match in answer}
