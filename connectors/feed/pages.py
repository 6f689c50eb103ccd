"""The main text of a web page, without its menus and footers."""

import trafilatura

from freshd.model import Fetched

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})


def main_text(page: Fetched) -> tuple[bytes, str | None]:
    """Extract the main text of a page with its headings.

    Returns:
        HTML and its encoding; the whole page where no main text can be told from the rest.

    """
    try:
        found = trafilatura.extract(page.content, url=page.url, output_format="html", include_comments=False)
    except Exception:  # noqa: BLE001 - hostile markup raises whatever it trips over; the page itself is still there
        found = None
    return (found.encode("utf-8", "replace"), "utf-8") if found else (page.content, page.encoding)
