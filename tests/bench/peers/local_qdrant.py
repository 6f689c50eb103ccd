"""What peers over Qdrant's local mode share."""

from collections.abc import Iterator
from typing import Any

from qdrant_client import QdrantClient


def scrolled(client: QdrantClient, collection: str) -> Iterator[dict[str, Any]]:
    """Give the payload of every point."""
    if not client.collection_exists(collection):
        return
    offset = None
    while True:
        rows, offset = client.scroll(collection, limit=5_000, offset=offset, with_payload=True)
        yield from (row.payload or {} for row in rows)
        if offset is None:
            return
