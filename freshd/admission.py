"""Which chunks a search may show: those of applied revisions, and of revisions switched to but not yet durable.

Between the upsert of a document's new points and the removal of its old ones the store holds both;
the switch decides in one step which of the two every search sees.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from freshd.model import ChunkId, SourceName

_Key = tuple[SourceName, str]


@dataclass(frozen=True, slots=True)
class _Switch:
    shown: frozenset[ChunkId]
    hidden: frozenset[ChunkId]


class AppliedChunks(Protocol):
    """What is asked of a ledger; see `ports.Ledger`."""

    def admitted(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that belong to an applied revision."""
        ...

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Give each of those amid up to `reach` chunks before it and after it, in the order of its document."""
        ...


class Admission:
    """The ledger's applied chunks, overlaid with the switches under way. Safe to use from several threads."""

    def __init__(self, ledger: AppliedChunks) -> None:
        """Start with what the ledger says is applied."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._switches: dict[_Key, _Switch] = {}
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Rises with every switch; a search that saw two values may have seen half of one and should look again."""
        return self._epoch

    @property
    def is_settled(self) -> bool:
        """Whether search shows nothing that the ledger does not know of yet."""
        return not self._switches

    def switch(self, key: _Key, wanted: frozenset[ChunkId], held: frozenset[ChunkId]) -> None:
        """Show a document's wanted chunks instead of those it held, at once and for every search."""
        with self._lock:
            before = self._switches.get(key)
            hidden = held | (before.shown | before.hidden if before else frozenset())
            self._switches[key] = _Switch(wanted, hidden - wanted)
            self._epoch += 1

    def settle(self, source: SourceName, document_id: str) -> None:
        """Let the ledger speak for a document again, now that it knows of the switch."""
        with self._lock:
            self._switches.pop((source, document_id), None)

    def admits(self, chunk_ids: Sequence[ChunkId]) -> set[ChunkId]:
        """Give those that may be shown."""
        with self._lock:  # read before the ledger: a switch that settles in between is in one of the two
            switches = list(self._switches.values())
        admitted = self._ledger.admitted(chunk_ids)
        for switch in switches:
            admitted -= switch.hidden
        asked = set(chunk_ids)
        for switch in switches:
            admitted |= switch.shown & asked
        return admitted

    def around(self, chunk_ids: Sequence[ChunkId], reach: int) -> dict[ChunkId, tuple[ChunkId, ...]]:
        """Give each chunk amid those beside it, as the ledger has them; none of a document that is being switched."""
        with self._lock:
            switches = list(self._switches.values())
        changing = frozenset[ChunkId]().union(*(switch.shown | switch.hidden for switch in switches))
        runs = self._ledger.around(chunk_ids, reach)
        return {chunk_id: run for chunk_id, run in runs.items() if changing.isdisjoint(run)}
