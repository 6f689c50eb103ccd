"""The contracts between rooms, as Protocols: counts, order and idempotence are part of each.

A pure step needs none of them; an adapter implements one; the pipeline is handed them.
"""

from freshd.ports.clock import Clock
from freshd.ports.control import Control
from freshd.ports.indexing import Embedder, Parser, Store, StoredPoint, VectorCache
from freshd.ports.ledger import CARRIED, Applied, Intent, Ledger, SourceState
from freshd.ports.proof import Expected, Proof
from freshd.ports.source import (
    Connector,
    ConnectorContext,
    ConnectorType,
    Fetcher,
    MainText,
    Remote,
    Watch,
    Watchable,
    Writable,
)

__all__ = [
    "CARRIED",
    "Applied",
    "Clock",
    "Connector",
    "ConnectorContext",
    "ConnectorType",
    "Control",
    "Embedder",
    "Expected",
    "Fetcher",
    "Intent",
    "Ledger",
    "MainText",
    "Parser",
    "Proof",
    "Remote",
    "SourceState",
    "Store",
    "StoredPoint",
    "VectorCache",
    "Watch",
    "Watchable",
    "Writable",
]
