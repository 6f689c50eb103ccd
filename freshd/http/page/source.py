"""Shows one source: how it does and why, how stale it was and is, what waits, and when it is looked at next."""

from datetime import datetime

from freshd.http.page.chart import Trail, sawtooth
from freshd.http.page.markup import (
    UNBROKEN,
    bar,
    command,
    counted,
    duration,
    fact,
    line,
    name,
    percent,
    plain,
    setting,
    status,
    when,
)
from freshd.shapes import CanaryStatus, Percentiles, QuarantinedDocument, SourceStatus

_QUARANTINED = 5
"""Quarantined documents of a source that are named; all of them count, and `/status` names more."""


def source_article(source: SourceStatus, trail: Trail, now: datetime, key: str) -> str:
    """Build the part about one source; `key` is its place in the page."""
    reasons = "".join(f"<li>{line(reason)}</li>" for reason in source["reasons"])
    facts = (
        _lag("Edit to searchable", source["lag_seconds"], "no edit yet"),
        _lag("Deletion to forgotten", source["time_to_forget_seconds"], "no deletion yet"),
        _objective(source),
        _budget(source),
        fact("Index", counted(source["documents"], "document"), counted(source["chunks"], "chunk")),
        _waiting(source, now),
        _looks(source, now),
        _canary(source["canary"], now),
    )
    drawing = sawtooth(
        key,
        f"Staleness of {source['name']}",
        trail,
        now.timestamp(),
        source["staleness_seconds"],
        source["freshness_target_seconds"],
    )
    return (
        f'<article id="{key}" aria-labelledby="{key}-name"><header>'
        f'<h3 id="{key}-name">{name(source["name"])} <small>{plain(source["type"], 40)}</small></h3>'
        f"{status(source['status'])}</header>"
        + (f'<ul class="reasons">{reasons}</ul>' if reasons else "")
        + f"{_staleness(source)}{drawing}"
        + f'<dl class="facts">{"".join(facts)}</dl></article>'
    )


def _staleness(source: SourceStatus) -> str:
    stale, target = source["staleness_seconds"], source["freshness_target_seconds"]
    aim = f'<span class="note">target {setting(target)}</span>'
    if stale is None:
        return f'<p class="staleness"><b>staleness unknown</b> {aim}</p>'
    kind = ' class="late"' if stale > target else ""
    return f'<p class="staleness"><b{kind}>{duration(stale)}</b> stale <span aria-hidden="true">·</span> {aim}</p>'


def _lag(label: str, lags: Percentiles, none_yet: str) -> str:
    if lags["p50"] is None:
        return fact(label, "–", none_yet)
    return fact(label, f"{duration(lags['p50'])} <small>median</small>", f"{duration(lags['p99'])} at p99")


def _objective(source: SourceStatus) -> str:
    share, seen = source["objective"], source["changes"]
    promised = f"{percent(share, '.6g')} within {setting(source['freshness_target_seconds'])}"
    window = setting(source["objective_window_seconds"])
    if not seen["total"]:
        return fact("Objective", promised, f"no change in {window}")
    return fact("Objective", promised, f"{seen['within_target']:,} of {counted(seen['total'], 'change')} in {window}")


def _budget(source: SourceStatus) -> str:
    left = source["error_budget_remaining"]
    if left is None:
        return fact("Error budget", "–", "nothing to judge by yet")
    value = f"{percent(left)} left" if left >= 0 else f"overspent by {percent(-left)}"
    rates = ((3_600, source["burn_rate_1h"]), (21_600, source["burn_rate_6h"]))
    burning = ", ".join(_burn(rate, over_s) for over_s, rate in rates if rate is not None)
    return fact("Error budget", value + bar({"good": left}), f"burns {burning}" if burning else "burns nothing")


def _burn(rate: float, over_s: int) -> str:
    return f"{rate:.2g}×{UNBROKEN}over{UNBROKEN}{setting(over_s)}"


def _waiting(source: SourceStatus, now: datetime) -> str:
    oldest = source["oldest_pending_at"]
    pending = f"{source['pending']:,} pending"
    notes = [f"oldest change {when(oldest, now)}" if oldest else ""]
    if source["held"]:
        mend = command("freshd", "deletions", "list", source["name"])
        notes.append(f"<b>{counted(source['held'], 'deletion')} held</b>: {mend}")
    if source["quarantined"]:
        notes.append(
            f"<b>{counted(source['quarantined'], 'document')} quarantined</b>, the last good state stays: mend, then"
            f" {command('freshd', 'reindex', source['name'])}"
        )
        notes += [_quarantined(one, now) for one in source["quarantine"][:_QUARANTINED]]
    if source["divergent"]:
        notes.append(f"<b>{counted(source['divergent'], 'point')} diverged</b>: {command('freshd', 'verify')}")
    return fact("Waiting", pending if source["pending"] or len(notes) > 1 else "nothing", *notes)


def _quarantined(one: QuarantinedDocument, now: datetime) -> str:
    at = one["next_try_at"]
    tried = f"tried {counted(one['attempts'], 'time')}, next {when(at, now) if at else 'now'}"
    return f"{name(one['document_id'])}: {line(one['error'])} ({tried})"


def _looks(source: SourceStatus, now: datetime) -> str:
    upcoming, last, every = source["next_scan_at"], source["last_complete_scan_at"], source["scan_interval_seconds"]
    value = when(upcoming, now) if upcoming else "–"
    watch, overdue, failing = source["watch"], source["overdue_since"], source["failing_since"]
    error = f": {line(source['last_error'])}" if source["last_error"] else ""
    return fact(
        "Next scan",
        value,
        f"every {setting(every)}" if every else "",
        f"last complete one {when(last, now)}" if last else "none was complete yet",
        line(watch) if watch else "",
        f"<b>fails</b>, first {when(failing, now)}{error}" if failing else "",
        f"<b>silent</b> beyond its habit, since {when(overdue, now)}" if overdue else "",
    )


def _canary(canary: CanaryStatus | None, now: datetime) -> str:
    if canary is None:
        return fact("Canary", "–", "none configured")
    checked = canary["checked_at"]
    at = when(checked, now) if checked else "first round under way"
    if canary["error"]:
        return fact("Canary", "<b>failed</b>", line(canary["error"]), at)
    return fact(
        "Canary", f"found in {duration(canary['found_seconds'])}", f"gone in {duration(canary['gone_seconds'])}", at
    )
