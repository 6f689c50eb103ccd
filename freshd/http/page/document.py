"""Puts the pieces into one document that loads nothing, and says by which rules a browser may show it."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

from freshd.http.page.changes import changes_section
from freshd.http.page.comparison import comparison_section
from freshd.http.page.markup import line, plain
from freshd.http.page.source import source_article
from freshd.http.page.summary import facts, notices, overview, removed, verdict
from freshd.shapes import Dashboard

_ASSETS = files("freshd.http.page")
_STYLE = _ASSETS.joinpath("page.css").read_text("utf-8")
_SCRIPT = _ASSETS.joinpath("page.js").read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = "; ".join((
    "default-src 'none'",
    f"style-src {_hash(_STYLE)}",
    f"script-src {_hash(_SCRIPT)}",
    "connect-src 'self'",
    "img-src data:",  # the empty icon, without which browsers ask for one
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
))  # fmt: skip
"""Admits this document's own style and script, and questions to where it came from."""


def render(seen: Dashboard, troubles: Sequence[str] = ()) -> str:
    """Build the part that renews itself.

    Args:
        seen: What the daemon knows.
        troubles: What is wrong with the daemon as a whole, a line each.

    """
    report = seen["status"]
    now = datetime.fromisoformat(report["at"])
    sources = report["sources"]
    keys = [f"source-{n}" for n in range(1, len(sources) + 1)]
    articles = "".join(
        source_article(source, seen["trails"].get(source["name"], []), now, key)
        for key, source in zip(keys, sources, strict=True)
    )
    targets_s = {source["name"]: source["freshness_target_seconds"] for source in sources}
    daemon = f"process {report['daemon']}" if report["daemon"] else "no daemon"
    return (
        f'<main id="view" data-at="{plain(report["at"])}" data-status="{plain(report["status"])}">'
        f"{notices(troubles)}{verdict(report)}"
        f'<p class="note">As of <time id="as-of" datetime="{plain(report["at"])}">{now:%H:%M:%S} UTC</time>,'
        f" by freshd {plain(report['version'])}, {daemon}.</p>"
        f"{facts(report, now)}{overview(sources, keys)}"
        f'<section aria-labelledby="sources"><h2 id="sources">Sources</h2>{articles}'
        f"{removed(report['removed'], now)}</section>"
        f"{comparison_section(seen['comparison'], sources, now)}"
        f"{changes_section(seen['newest'], targets_s, now)}</main>"
    )


def absent(reason: str) -> str:
    """Build the part that renews itself, while there is nothing to show."""
    return f'<main id="view" data-at="" data-status="not yet"><p class="notice">{line(reason)}</p></main>'


def document(view: str, status: str) -> str:
    """Build the whole page around the part that renews itself."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        '<noscript><meta http-equiv="refresh" content="5"></noscript>'
        f"<title>{plain(status)} · freshd</title><style>{_STYLE}</style></head><body>"
        '<header id="top"><h1>freshd</h1><p class="note">an index as fresh as its sources, and the proof</p></header>'
        '<div id="silence" hidden><p id="trouble" role="alert"></p><p id="age"></p></div>'
        f"{view}"
        '<footer class="note"><p>Renews itself every <span id="every">5</span> s. The same as data:'
        ' <a href="status">status</a>, <a href="metrics">metrics</a>, <a href="openapi.json">all routes</a>.</p>'
        "</footer>"
        f"<script>{_SCRIPT}</script></body></html>"
    )
