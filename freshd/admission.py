"""Which chunks a search may show: those of applied revisions, and of revisions switched to but not yet durable.

Between the upsert of a document's new points and the removal of its old ones the store holds both;
the switch decides in one step which of the two every search sees.

    switch ─▶ the switch speaks for the document ─▶ its version in the ledger moves on ─▶ the ledger speaks again
                                                    (applied, forgotten, withdrawn, doubted)
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from freshd.model import ChunkId, SourceName

_Key = tuple[SourceName, str]


@dataclass(frozen=True, slots=True)
class Switch:
    """What search shows of one document from now on.

    Attributes:
        key: What search knows the document by.
        version: Of the document in the ledger, where `held` was read.
        shown: Its chunks from now on.
        held: Its chunks until now.

    """

    key: _Key
    version: int
    shown: frozenset[ChunkId]
    held: frozenset[ChunkId] = frozenset()


class AppliedChunks(Protocol):
    """What is asked of a ledger; see `ports.Ledger`."""

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that belong to an applied revision."""
        ...

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Give each of those amid up to `reach` chunks before it and after it, in the order of its document."""
        ...

    def still_at(self, versions: Mapping[_Key, int]) -> set[_Key]:
        """Give the documents that still are of these versions and may be shown."""
        ...


class Admission:
    """The ledger's applied chunks, overlaid with the switches under way. Safe to use from several threads."""

    def __init__(self, ledger: AppliedChunks) -> None:
        """Start with what the ledger says is applied."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._switches: dict[_Key, Switch] = {}
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Rises with every switch; a search that saw two values may have seen half of one and should look again."""
        return self._epoch

    @property
    def is_settled(self) -> bool:
        """Whether search shows nothing that the ledger does not know of yet."""
        return not self._standing()

    def switch(self, switches: Iterable[Switch]) -> None:
        """Show documents' wanted chunks instead of those they held, at once and for every search."""
        before = {one.key: one for one in self._standing()}
        with self._lock:
            for one in switches:
                former = before.get(one.key)
                held = one.held | (former.shown | former.held) if former else one.held
                if one.shown or held:
                    self._switches[one.key] = replace(one, held=held)
            self._epoch += 1

    def admits(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that may be shown; never what bears a number, as others' points on a server may."""
        switches, asked = self._standing(), [one for one in chunk_ids if not one.isdecimal()]
        admitted = self._ledger.admitted(asked)
        for one in switches:
            admitted -= one.held
            admitted |= one.shown.intersection(asked)
        return admitted

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Give each chunk amid those beside it, as the ledger has them; none of a document that is being switched."""
        changing = frozenset[ChunkId]().union(*(one.shown | one.held for one in self._standing()))
        runs = self._ledger.around(chunk_ids, reach)
        return {chunk_id: run for chunk_id, run in runs.items() if changing.isdisjoint(run)}

    def _standing(self) -> list[Switch]:
        """Give the switches that the ledger does not know of yet, and let go of those that it has moved on from.

        Read before anything else is asked of the ledger: what it learns in between is in one of the two.
        """
        with self._lock:
            switches = list(self._switches.values())
        if not switches:
            return []
        keys = self._ledger.still_at({one.key: one.version for one in switches})
        with self._lock:
            for one in switches:
                if one.key not in keys and self._switches.get(one.key) is one:
                    del self._switches[one.key]
        return [one for one in switches if one.key in keys]
