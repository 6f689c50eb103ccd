"""Every metric that freshd has, as a scrape shows it."""

from datetime import timedelta
from pathlib import Path

from freshd.config import load
from freshd.metrics import Facts, Metrics
from freshd.report import stored_status
from freshd.shapes import StatusReport
from tests.kit.clock import HandClock

_CONFIG = """
[[sources]]
name = "handbook"
type = "files"
path = "."
canary_path = "canary.md"
"""


def every_metric(folder: Path) -> str:
    """Give a scrape of a daemon in which everything is known that can be; the folder is for its config."""
    clock = HandClock()
    (folder / "freshd.toml").write_text(_CONFIG)
    facts = Facts(
        _known(stored_status(load(folder / "freshd.toml"))), clock.now(), True, 2**30, 2**28, {}, {"rag": 0.4}
    )
    return Metrics(["handbook"], lambda: facts).text().decode()


def _known(status: StatusReport) -> StatusReport:
    at = (HandClock().now() - timedelta(minutes=1)).isoformat()
    (source,) = status["sources"]
    source |= {
        "watermark": at,
        "oldest_pending_at": at,
        "last_complete_scan_at": at,
        "error_budget_remaining": 0.5,
        "canary": {
            "document_id": "canary.md",
            "checked_at": at,
            "succeeded_at": at,
            "found_seconds": 0.1,
            "edited_seconds": 0.1,
            "gone_seconds": 0.1,
            "error": None,
        },
    }
    status["verify"]["checked_at"] = at
    status["generation"]["filling"] = {
        "name": "knowledge-1a2b3c4d",
        "documents": 1,
        "of": 2,
        "eta_seconds": 1.0,
        "failed": 0,
        "error": None,
    }
    return status
