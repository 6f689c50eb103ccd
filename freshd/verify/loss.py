"""Notices that the store holds less than the ledger is sure of; asked before anything is called fresh.

A count tells of most losses. Points that somebody else put there hide a loss from it,
so a few chunks, others each time, are looked for by their ids as well: what took many away is seen at once.
Single lost points beside as many foreign ones are for the verify on schedule.
"""

from uuid import uuid4

from freshd.errors import StoreUnavailable
from freshd.ledger.proofs import Proofs
from freshd.model import ChunkId
from freshd.ports import Store

SAMPLE = 64
"""Chunks looked for by their ids."""

_LEAST = ChunkId("00000000-0000-0000-0000-000000000000")


class PointsLost(StoreUnavailable):
    """The store answers, and does not hold what it was given."""


def expect_points(proofs: Proofs, store: Store) -> None:
    """Look whether the store holds what it must; asked by the thread that writes, between its writes.

    Raises:
        PointsLost: It does not.
        StoreUnavailable: It does not answer.

    """
    wanted, held = proofs.certain_chunks(), store.count()
    if held < wanted:
        raise _lost(f"holds {held:,} points, expected at least {wanted:,}")
    sample = _sample(proofs) if wanted else []
    absent = len(sample) - len(store.retrieve(sample)) if sample else 0
    if absent:
        raise _lost(f"does not hold {absent:,} of {len(sample):,} points that it must hold")


def _sample(proofs: Proofs) -> list[ChunkId]:
    """Choose some chunks: ids are hashes, so that whatever follows a random one is as good as any others."""
    chosen = proofs.certain(ChunkId(str(uuid4())), SAMPLE)
    return sorted({*chosen, *proofs.certain(_LEAST, SAMPLE - len(chosen))})


def _lost(what: str) -> PointsLost:
    return PointsLost(f"store: {what}: some were lost", hint="freshd puts them back by itself, vectors from the cache")
