"""The store held against the ledger, point by point, and made as the ledger says again.

    ledger: claims ──┐ both in order of chunk id,
                     ├─▶ pairs ─▶ differs? ─▶ suspects ─▶ looked at again ─▶ Finding ─▶ repair
    store: points ───┘ a page at a time                   ledger, store, ledger

`proof` says what a single point must be (pure), `verifier` walks and changes nothing, `repair` mends what it found,
`loss` notices at every mark that points are gone, `schedule` says when to verify again.
"""

from freshd.verify.findings import Divergence, Finding, Kind, NotVerified, Verified, or_not_verified
from freshd.verify.loss import PointsLost, expect_points
from freshd.verify.repair import Repair, Surroundings
from freshd.verify.schedule import next_verify_at
from freshd.verify.verifier import Making, Verifier

__all__ = [
    "Divergence",
    "Finding",
    "Kind",
    "Making",
    "NotVerified",
    "PointsLost",
    "Repair",
    "Surroundings",
    "Verified",
    "Verifier",
    "expect_points",
    "next_verify_at",
    "or_not_verified",
]
