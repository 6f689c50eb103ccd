"""Looks a second time for what a listing lacked: a document that moves under the walk may be in no place of it.

It left a folder that was not listed yet for one that was listed already: absent, although it was there all the time.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from freshd.changes import is_proof
from freshd.model import Known, Sighting
from freshd.ports import Connector

Absent = tuple[Known, datetime | None]
"""What the ledger knows of a document that was not there, and when a hint said so."""


def lacking(
    connector: Connector,
    absent: Sequence[Absent],
    cursor: str | None,
    was_seen: Callable[[Sighting], bool],
    go_on: Callable[[], None],
) -> list[Absent]:
    """Give the absent documents that a second listing lacks as well.

    One that has turned up under a name that the first listing did not show is left to the next look,
    which sees both ends of the move.

    Args:
        connector: Lists everything; nothing is asked of it where nothing was absent.
        absent: What the first listing lacked.
        cursor: The one that the first listing had.
        was_seen: Tells whether the first listing showed this identity under this name.
        go_on: Called now and then; what it raises ends the look.

    Raises:
        SourceUnavailable: Nothing may be concluded from what was not seen.

    """
    if not absent:
        return []
    names = {known.document_id for known, _ in absent}
    identities = {known.identity: known.document_id for known, _ in absent if known.identity}
    listing = connector.list(cursor=cursor)
    for seen in listing:
        go_on()
        names.discard(seen.document_id)
        if seen.identity in identities and not was_seen(seen):
            names.discard(identities[seen.identity])
    report, coverage = listing.report, connector.coverage
    return [one for one in absent if one[0].document_id in names and is_proof(one[0], report, coverage)]
