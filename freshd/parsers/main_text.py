"""What runs in the process that finds the main text of web pages: `python -m freshd.parsers.main_text PARENT_PID`.

To find it, the page is taken apart, copied and compared several times over: that may hang or explode on any page,
so it has the limits of `child.py`, and never happens in the process that writes the index.
"""

from freshd.model import Document, ParsedDocument
from freshd.parsers import child
from freshd.parsers.encoding import decode


def main_text(page: Document) -> ParsedDocument:
    """Give, as HTML, a page's main text with its headings; nothing where none can be told from the rest."""
    import trafilatura  # within the limits already

    try:
        # Of bytes it guesses the charset, whatever their server says.
        text = decode(page.content, page.encoding, is_html=True)
        found = trafilatura.extract(text, output_format="html", include_comments=False)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - hostile markup raises whatever it trips over; the page itself is still there
        found = None
    return ParsedDocument((found or "").encode("utf-8", "replace").decode(), ())


if __name__ == "__main__":
    child.main(main_text)
