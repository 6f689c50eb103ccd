"""Shows the newest changes, and what each cost: how little had to be embedded anew."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from freshd.http.page.markup import UNBROKEN, bar, counted, duration, name, percent, plain, when
from freshd.shapes import ChangeEntry

_FATES = ("embedded", "reused", "relabelled", "kept", "removed")
_WANTED = ("embedded", "reused", "relabelled", "kept")
"""Fates of the chunks that a document has afterwards."""


def changes_section(newest: Sequence[ChangeEntry], targets_s: Mapping[str, float], now: datetime) -> str:
    """Build the table of the newest changes, newest first.

    Args:
        newest: As the dashboard has them.
        targets_s: Freshness target of each source, by its name.
        now: Ages count from it.

    """
    heading = '<section aria-labelledby="changes"><h2 id="changes">Newest changes</h2>'
    if not newest:
        return f'{heading}<p class="note">Nothing has changed yet.</p></section>'
    columns = "".join(f'<th scope="col">{column}</th>' for column in ("Document", "Change", "Chunks", "Lag", "When"))
    rows = "".join(_row(change, targets_s.get(change["source"]), now) for change in newest)
    return (
        f'{heading}<p class="note">{_saved(newest)}</p>'
        f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _saved(newest: Sequence[ChangeEntry]) -> str:
    edits = [change["chunks"] for change in newest if change["lag_seconds"] is not None]
    embedded = sum(chunks["embedded"] for chunks in edits)
    wanted = sum(chunks[fate] for chunks in edits for fate in _WANTED)  # type: ignore[literal-required]
    if not wanted:
        return "What each cost, and how long it took."
    share = percent(embedded / wanted)
    return f"Of {counted(wanted, 'chunk')} in documents edited here, {embedded:,} had to be embedded: {share}."


def _row(change: ChangeEntry, target_s: float | None, now: datetime) -> str:
    document = f'<span class="note">{name(change["source"], 40)}/</span>{name(change["document_id"])}'
    if change["previous_id"] is not None:
        document += f'<span class="note below">was {name(change["previous_id"])}</span>'
    at = change["searchable_at"] or change["changed_at"]
    return (
        f'<tr><th scope="row">{document}</th><td>{plain(change["kind"])}</td><td class="cost">{_cost(change)}</td>'
        f"{_lag(change['lag_seconds'], target_s)}<td>{when(at, now)}</td></tr>"
    )


def _cost(change: ChangeEntry) -> str:
    counts = {fate: change["chunks"][fate] for fate in _FATES if change["chunks"][fate]}  # type: ignore[literal-required]
    if not counts:
        return "none touched"
    total = sum(counts.values())
    told = ", ".join(f"{number:,}{UNBROKEN}{fate}" for fate, number in counts.items())
    return bar({fate: number / total for fate, number in counts.items()}) + f"<span>{told}</span>"


def _lag(seconds: float | None, target_s: float | None) -> str:
    if seconds is None:
        return '<td class="note">first index</td>'
    if target_s is not None and seconds > target_s:
        return f'<td class="lag"><b class="late">{duration(seconds)}</b> <span class="note">past target</span></td>'
    return f'<td class="lag">{duration(seconds)}</td>'
