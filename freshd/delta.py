"""Tells what a document's chunks need done to them: held × wanted → add, relabel, keep, remove.

Does not touch the store, and trusts nothing that a broken attempt left behind:

    id is …      wanted, same label   wanted, other label   wanted, not held   not wanted
    certain      keep                 relabel               –                  remove
    unknown      add                  add                   add                remove

An id is *unknown* when an attempt that broke off may or may not have written or removed it.
Such an id is written whole again even where an applied revision names it too;
to count it as kept or to relabel it would be to guess.
The next attempt records everything it is about to touch before it begins, so that in its turn it may break off.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from freshd.model import ChunkId, Digest, Revision


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk that the index should hold.

    Attributes:
        label: Digest of the payload that may change while the chunk's id stays.

    """

    chunk_id: ChunkId
    label: Digest


@dataclass(frozen=True, slots=True)
class Delta:
    """What is to be done, each id in at most one place.

    Attributes:
        add: Write whole, vectors and payload; in wanted order.
        relabel: Certainly there, with an outdated payload; in wanted order.
        keep: Certainly there as wanted; in wanted order.
        remove: Delete if there; sorted.

    """

    add: tuple[ChunkId, ...] = ()
    relabel: tuple[ChunkId, ...] = ()
    keep: tuple[ChunkId, ...] = ()
    remove: tuple[ChunkId, ...] = ()

    @property
    def touched(self) -> frozenset[ChunkId]:
        """Every id that an attempt at this delta may leave unknown."""
        return frozenset((*self.add, *self.relabel, *self.remove))


def diff(held: Revision, wanted: Sequence[Wanted]) -> Delta:
    """Compare what the index holds of a document with what it should hold.

    Args:
        held: The applied revision and what broken attempts since then left unknown.
        wanted: In document order, each id once; empty for a deleted document.

    Returns:
        Everything held, unknown or wanted, each id in exactly one place;
        nothing but `keep` when the wanted chunks are what is held for certain.

    """
    labels = {chunk.chunk_id: chunk.label for chunk in held.chunks}
    certain = {chunk_id: label for chunk_id, label in labels.items() if chunk_id not in held.unknown}
    wanted_ids = {chunk.chunk_id for chunk in wanted}
    present = [chunk for chunk in wanted if chunk.chunk_id in certain]
    return Delta(
        add=tuple(chunk.chunk_id for chunk in wanted if chunk.chunk_id not in certain),
        relabel=tuple(chunk.chunk_id for chunk in present if chunk.label != certain[chunk.chunk_id]),
        keep=tuple(chunk.chunk_id for chunk in present if chunk.label == certain[chunk.chunk_id]),
        remove=tuple(sorted((labels.keys() | held.unknown) - wanted_ids)),
    )
