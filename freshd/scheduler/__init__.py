"""When a source is looked at, and which change goes next.

    timetable ─ scan ─▶ Scanner ──▶ ledger: pending ──▶ Indexer ─ batch ─▶ pipeline
    watch ─ hints ─ look ─▶ ┘ └─ mark ──────────────▶ Marks ─ released when applied ─▶ watermark

`Scheduler` runs all of it in threads; `Reindexer` does one round of it in the caller's.
"""

from freshd.scheduler.engine import Scheduler, Vital
from freshd.scheduler.errands import BetweenBatches, at_once
from freshd.scheduler.indexer import Trouble
from freshd.scheduler.marks import Marks
from freshd.scheduler.observer import Observer
from freshd.scheduler.oneshot import Drain, Reindexer
from freshd.scheduler.readahead import ReadAhead
from freshd.scheduler.remover import Remover
from freshd.scheduler.scanner import Scan, Scanner
from freshd.scheduler.tally import Tally, Target

__all__ = [
    "BetweenBatches",
    "Drain",
    "Marks",
    "Observer",
    "ReadAhead",
    "Reindexer",
    "Remover",
    "Scan",
    "Scanner",
    "Scheduler",
    "Tally",
    "Target",
    "Trouble",
    "Vital",
    "at_once",
]
