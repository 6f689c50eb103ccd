"""Feeds as sources: RSS 0.9x, 1.0 and 2.0, Atom, JSON Feed; every entry is a document.

    url ─▶ conditional GET ─▶ bytes ─▶ formats ─▶ entries ─▶ refs, in order of document id
                                                     │
                                  read: its own content, or the main text of the page it links to

A feed is a window on its newest entries: that one is absent means nothing.
"""

from connectors.feed.connector import FeedConnector
from connectors.feed.options import FeedOptions

__all__ = ["FeedConnector", "FeedOptions"]
