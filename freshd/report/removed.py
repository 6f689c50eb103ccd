"""What commands print and the endpoint answers about what left the index on purpose."""

from collections.abc import Sequence

from freshd.ledger.database import Database
from freshd.ledger.forgetting import SqliteForgetting
from freshd.model import SourceName
from freshd.payload import rfc3339
from freshd.pipeline.removal import Taken
from freshd.redaction import printable
from freshd.scheduler.remover import KEPT_FOR, Forgotten
from freshd.shapes import ForgetReport, PruneReport, RemovedSource


def forget_report(done: Forgotten | None = None, readmitted: Sequence[str] = ()) -> ForgetReport:
    """Say what was forgotten, or let in again."""
    taken = done.taken if done else Taken()
    return {
        "documents": taken.documents,
        "points": taken.points,
        "vectors": taken.vectors,
        "unknown": [printable(name) for name in done.unknown] if done else [],
        "readmitted": [printable(name) for name in readmitted],
    }


def prune_report(source: SourceName, taken: Taken) -> PruneReport:
    """Say what was taken out of a source that left the config."""
    return {"source": source, "documents": taken.documents, "points": taken.points}


def removed_sources(database: Database, configured: Sequence[SourceName]) -> list[RemovedSource]:
    """Say which sources left the config, and until when their documents stay."""
    return [
        {
            "name": one.name,
            "documents": one.documents,
            "chunks": one.chunks,
            "removed_at": rfc3339(one.since),
            "pruned_at": rfc3339(one.since + KEPT_FOR) if one.since else None,
        }
        for one in SqliteForgetting(database).removed(configured)
    ]
