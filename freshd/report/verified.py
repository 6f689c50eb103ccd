"""What the last verify saw, kept in the ledger so that a restart does not forget it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from freshd.ledger.database import Database
from freshd.ledger.proofs import Proofs
from freshd.payload import rfc3339
from freshd.redaction import printable
from freshd.shapes import DivergentPoint, VerifyReport
from freshd.verify import Divergence, Kind, Verified

_KEY = "verify"
_NONE_YET: VerifyReport = {
    "checked_at": None,
    "checked": 0,
    "missing": 0,
    "orphaned": 0,
    "damaged": 0,
    "repaired": 0,
    "held": 0,
    "foreign": 0,
    "elapsed_seconds": 0.0,
    "examples": [],
}


@dataclass(frozen=True, slots=True)
class LastVerify:
    """What the last whole verify saw.

    Attributes:
        divergent: Points that differ, by source; empty text for those that name none.

    """

    report: VerifyReport
    divergent: Mapping[str, int]

    @property
    def checked_at(self) -> datetime | None:
        """When it began; None where none ever ended."""
        at = self.report["checked_at"]
        return None if at is None else datetime.fromisoformat(at)


def recall_verify(database: Database) -> LastVerify:
    """Give what the last verify saw of the generation that is live; counts of zero before the first."""
    kept = database.recall(_KEY)
    if kept is None:
        return LastVerify(_NONE_YET, {})
    said = json.loads(kept)
    if said["generation"] != _live(database):
        return LastVerify(_NONE_YET, {})
    return LastVerify({**_NONE_YET, **said["report"]}, said["divergent"])


def remember_verify(database: Database, found: Verified) -> VerifyReport:
    """Say what a verify saw, and keep what differs still: counts only, for what it is about may be forgotten."""
    report = _report(found, found.divergent)
    kept: VerifyReport = {**_report(found, found.left), "repaired": 0, "examples": []}
    said = {"report": kept, "divergent": dict(found.by_source), "generation": _live(database)}
    database.remember(_KEY, json.dumps(said))
    return report


def _live(database: Database) -> str | None:
    """Name what is live, by its name alone: what else is remembered of it may change while it stays."""
    said = Proofs(database).generation()
    return None if said is None else json.loads(said)["name"]


def _report(found: Verified, counts: Mapping[Kind, int]) -> VerifyReport:
    return {
        "checked_at": rfc3339(found.began_at),
        "checked": found.checked,
        "missing": counts[Kind.MISSING],
        "orphaned": counts[Kind.ORPHANED],
        "damaged": counts[Kind.DAMAGED],
        "repaired": found.repaired,
        "held": found.held,
        "foreign": found.foreign,
        "elapsed_seconds": round(found.elapsed.total_seconds(), 3),
        "examples": [_example(divergence) for divergence in found.examples],
    }


def _example(divergence: Divergence) -> DivergentPoint:
    return {
        "kind": divergence.kind.value,
        "chunk_id": divergence.chunk_id,
        "source": printable(divergence.source),
        "document_id": printable(divergence.document_id),
        "what": printable(divergence.what),
    }
