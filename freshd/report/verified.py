"""What the last verify saw, kept in the ledger so that a restart does not forget it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from freshd.ledger.database import Database
from freshd.payload import rfc3339
from freshd.shapes import VerifyReport
from freshd.verify import Kind, Verified

_KEY = "verify"
_NONE_YET: VerifyReport = {
    "checked_at": None,
    "checked": 0,
    "missing": 0,
    "orphaned": 0,
    "damaged": 0,
    "repaired": 0,
    "elapsed_seconds": 0.0,
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
    """Give what the last verify over this ledger saw; counts of zero before the first."""
    kept = database.recall(_KEY)
    return LastVerify(_NONE_YET, {}) if kept is None else LastVerify(**json.loads(kept))


def remember_verify(database: Database, found: Verified) -> LastVerify:
    """Keep what a verify saw."""
    report: VerifyReport = {
        "checked_at": rfc3339(found.began_at),
        "checked": found.checked,
        "missing": found.divergent[Kind.MISSING],
        "orphaned": found.divergent[Kind.ORPHANED],
        "damaged": found.divergent[Kind.DAMAGED],
        "repaired": 0,
        "elapsed_seconds": round(found.elapsed.total_seconds(), 3),
    }
    database.remember(_KEY, json.dumps({"report": report, "divergent": dict(found.by_source)}))
    return LastVerify(report, found.by_source)
