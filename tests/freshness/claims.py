"""What the surfaces claim of a source, and whether any of them claims more than is so."""

import re
import time
from datetime import UTC, datetime, timedelta
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
    """Give the watermark as every surface has it that has one; they are asked one after the other."""
    shown = [said.source["watermark"] and datetime.fromisoformat(said.source["watermark"]), said.mark]
    mark_s = said.metric("freshd_source_watermark_timestamp_seconds", source=said.source["name"])
    shown += [None if mark_s is None else datetime.fromtimestamp(mark_s, UTC)]
    return {mark for mark in shown if mark}


def assert_nobody_calls_it_fresh(
    one: Living, since_s: float, since: datetime, name: str = "docs", *, targets: float = 2.0
) -> Said:
    """Look from one target after it froze on, for another one; give what was said last.

    Args:
        one: In which something is frozen or broken.
        since_s: Since when, by the clock that nobody sets.
        since: The same instant by freshd's clock; later where the instant itself is not known any better.
        name: The source.
        targets: Until when, in targets of the source.

    """
    target_s, slack_s = one.source(name)["freshness_target_seconds"], (since - one.clock.at(since_s)).total_seconds()
    while True:
        while time.monotonic() <= since_s + target_s:
            time.sleep(0.02)
        is_last, asked_s = time.monotonic() > since_s + targets * target_s, time.monotonic()
        said = one.said(name)
        assert not claims_fresh(said), claims_fresh(said)
        assert all(mark <= since for mark in marks(said))
        stale_s = said.source["staleness_seconds"]
        assert stale_s is None or stale_s >= asked_s - since_s - slack_s - 0.001
        if is_last:
            assert said.status in ("error", "unknown")
            assert said.exit_code == 4
            assert said.source["reasons"]
            return said
