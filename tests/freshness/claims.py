"""What the surfaces claim of a source, and whether any of them claims more than is so."""

import re
import time
from datetime import datetime, timedelta
from html import escape

from tests.freshness.living import Living, Said

_ARTICLE = re.compile("<article.*?</article>", re.DOTALL)


def article(said: Said) -> str:
    """Give the part of the page that is about the source."""
    name = f"{escape(said.source['name'])}</bdi>"
    return next(text for text in _ARTICLE.findall(said.page) if name in text)


def claims_fresh(said: Said) -> set[str]:
    """Name the surfaces that call the source as fresh as promised."""
    stale_s, target_s = said.staleness_by_metrics(), said.source["freshness_target_seconds"]
    claims = {
        "/status": said.status == "pass",
        "/status as a whole": said.report["status"] == "pass",
        "the page": 'class="status pass"' in article(said),
        "the page as a whole": "as fresh as promised" in said.page,
        "the metrics": stale_s is not None and stale_s <= target_s,
        "search": said.mark is not None and said.asked_at - said.mark <= timedelta(seconds=target_s),
    }
    return {name for name, does_claim in claims.items() if does_claim}


def marks(said: Said) -> set[datetime]:
    """Give the watermark as every surface has it; none where none of them has one."""
    mark_s = said.metric("freshd_source_watermark_timestamp_seconds", source=said.source["name"])
    shown = said.source["watermark"]
    assert (mark_s is None) == (said.mark is None) == (shown is None)
    if mark_s is None or said.mark is None:
        return set()
    return {datetime.fromisoformat(shown), said.mark, datetime.fromtimestamp(mark_s, said.mark.tzinfo)}


def assert_nobody_calls_it_fresh(
    one: Living, since_s: float, since: datetime, name: str = "docs", *, targets: float = 2.0
) -> Said:
    """Look from one target after it froze on, for another one; give what was said last.

    Args:
        one: In which something is frozen or broken.
        since_s: Since when, by the clock that nobody sets.
        since: The same instant by freshd's clock.
        name: The source.
        targets: Until when, in targets of the source.

    """
    target_s = one.source(name)["freshness_target_seconds"]
    while True:
        while time.monotonic() <= since_s + target_s:
            time.sleep(0.02)
        is_last, asked_s = time.monotonic() > since_s + targets * target_s, time.monotonic()
        said = one.said(name)
        assert claims_fresh(said) == set()
        assert all(mark <= since for mark in marks(said))
        stale_s = said.source["staleness_seconds"]
        assert stale_s is None or stale_s >= asked_s - since_s - 0.001
        if is_last:
            assert said.status in ("error", "unknown")
            assert said.exit_code == 4
            assert said.source["reasons"]
            return said
