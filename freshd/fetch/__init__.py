"""Guarded HTTP: bounded in size, time and redirects, and only to addresses a source may reach.

    url ─▶ parse ─▶ resolve once ─▶ every address allowed? ─▶ connect to exactly those
             ▲                                                        │
             └────────── redirect: again from the start ◀─────────────┤
                                                                      ▼
                                      status, headers ─▶ bounded body ─▶ Fetched

Nothing outlives a call but which hosts want to be left alone: no pooled connection, no cookie;
no proxy is taken from the environment.
"""

from freshd.fetch.client import HttpxFetcher
from freshd.fetch.urls import display_url

__all__ = ["HttpxFetcher", "display_url"]
