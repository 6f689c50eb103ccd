"""Shows what holds for all sources: the verdict, the store, the last verify, and what is being indexed now."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from freshd.http.page.markup import bar, command, counted, duration, fact, line, name, plain, status, when
from freshd.shapes import (
    GenerationStatus,
    Indexing,
    RemovedSource,
    SourceStatus,
    StatusReport,
    StoreStatus,
    VerifyReport,
)

_MANY = 5
"""From so many sources on, a list of them comes first."""


def verdict(report: StatusReport) -> str:
    """Say in one line how fresh everything is; read aloud when it changes."""
    return (
        f'<p id="verdict" aria-live="polite">{status(report["status"])} <span>{_sentence(report["sources"])}</span></p>'
    )


def _sentence(sources: Sequence[SourceStatus]) -> str:
    counts = Counter(source["status"] for source in sources)
    if not sources:
        return "No source is configured."
    if counts["pass"] == len(sources):
        subject = "The one source is" if len(sources) == 1 else f"All {len(sources)} sources are"
        return f"{subject} as fresh as promised."
    words = (("error", "in error"), ("unknown", "unknown"), ("warn", "with a warning"), ("pass", "fine"))
    told = [f"{counts[kind]} {word}" for kind, word in words if counts[kind]]  # type: ignore[index]
    return f"{counted(len(sources), 'source')}: {', '.join(told)}."


def notices(reasons: Sequence[str]) -> str:
    """Say what is wrong with the daemon as a whole."""
    return "".join(f'<p class="notice">{line(reason)}</p>' for reason in reasons)


def facts(report: StatusReport, now: datetime) -> str:
    """Show store, last verify, and what is being indexed."""
    indexing, store, verify = _indexing(report["indexing"]), _store(report["store"]), _verify(report["verify"], now)
    return f'<dl class="facts wide">{indexing}{_generation(report["generation"], now)}{store}{verify}</dl>'


def _indexing(indexing: Indexing | None) -> str:
    if indexing is None:
        return fact("Indexing", "nothing", "everything found is searchable, or waits below")
    done, total, eta = indexing["done"], indexing["total"], indexing["eta_seconds"]
    newest = "/".join(part for part in (indexing["source"], indexing["document_id"]) if part)
    left = f", about {duration(eta)} left" if eta is not None else ""
    return fact(
        "Indexing",
        f"{done:,} of {counted(total, 'document')}{left}{bar({'busy': done / total if total else 0.0})}",
        name(newest),
    )


def _store(store: StoreStatus) -> str:
    where = f"{plain(store['kind'])}, collection {name(store['collection'], 60)}"
    if store["error"]:
        return fact("Store", "<b>does not answer</b>", line(store["error"]), where)
    return fact("Store", "answers", where)


def _generation(generation: GenerationStatus, now: datetime) -> str:
    filling, retired = generation["filling"], generation["retired"]
    if filling:
        done, of, eta = filling["documents"], filling["of"], filling["eta_seconds"]
        left = f", about {duration(eta)} left" if eta is not None else ""
        put_off = f"{filling['failed']:,} put off" if filling["failed"] else ""
        return fact(
            "Next generation",
            f"{done:,} of {counted(of, 'document')}{left}{bar({'busy': done / of if of else 0.0})}",
            name(filling["name"], 60),
            line(filling["error"]) if filling["error"] else put_off,
        )
    if retired is None:
        return ""
    return fact(
        "Former generation", name(retired["name"], 60), f"kept to go back to; discarded {when(retired['until'], now)}"
    )


def _verify(verify: VerifyReport, now: datetime) -> str:
    checked_at = verify["checked_at"]
    if not checked_at:
        return fact("Verify", "never yet", command("freshd", "verify"))
    kinds = {"missing": verify["missing"], "orphaned": verify["orphaned"], "damaged": verify["damaged"]}
    kinds = {kind: number for kind, number in kinds.items() if number}
    looked = f"{counted(verify['checked'], 'point')} in {duration(verify['elapsed_seconds'])}, {when(checked_at, now)}"
    if not kinds:
        return fact("Verify", "store and ledger agree", looked)
    found = ", ".join(f"{number:,} {kind}" for kind, number in kinds.items())
    return fact("Verify", f"<b>{found}</b>", command("freshd", "verify"), looked)


def removed(sources: Sequence[RemovedSource], now: datetime) -> str:
    """List the sources that left the config and are still kept; nothing for none."""
    return "".join(f'<p class="note">{_removed(source, now)}</p>' for source in sources)


def _removed(source: RemovedSource, now: datetime) -> str:
    kept = f"{counted(source['documents'], 'document')} kept"
    since = f" {when(source['removed_at'], now)}" if source["removed_at"] else ""
    until = f", pruned {when(source['pruned_at'], now)}" if source["pruned_at"] else ""
    left = f"{name(source['name'], 40)} left the config{since}: out of search, {kept}{until}."
    return f"{left} {command('freshd', 'prune', source['name'])}"


def overview(sources: Sequence[SourceStatus], keys: Sequence[str]) -> str:
    """List many sources, each leading to its own part; nothing for a few."""
    if len(sources) < _MANY:
        return ""
    rows = "".join(
        f'<li><a href="#{key}">{status(source["status"])} {name(source["name"], 40)}</a></li>'
        for key, source in zip(keys, sources, strict=True)
    )
    return f'<nav aria-label="Sources"><ul>{rows}</ul></nav>'
