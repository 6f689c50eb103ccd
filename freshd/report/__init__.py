"""Nouns into the shapes of the outside contract: what commands print and the endpoint answers."""

from freshd.report.answers import (
    changes_answer,
    exit_code,
    judge_deletions,
    reindex_report,
    search_answer,
    stored_changes,
)
from freshd.report.removed import forget_report, prune_report
from freshd.report.status import Running, status_report, stored_status
from freshd.report.verified import LastVerify, recall_verify, remember_verify

__all__ = [
    "LastVerify",
    "Running",
    "changes_answer",
    "exit_code",
    "forget_report",
    "judge_deletions",
    "prune_report",
    "recall_verify",
    "reindex_report",
    "remember_verify",
    "search_answer",
    "status_report",
    "stored_changes",
    "stored_status",
]
