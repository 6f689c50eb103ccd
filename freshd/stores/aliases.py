"""The name under which everybody else finds the live collection of a Qdrant server: an alias of freshd's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def stands_for(client: QdrantClient, alias: str) -> str | None:
    """Give the collection that an alias stands for; None where there is no such alias."""
    for one in client.get_aliases().aliases:
        if one.alias_name == alias:
            return str(one.collection_name)
    return None


def is_collection(client: QdrantClient, name: str) -> bool:
    """Tell whether a collection, not an alias, has a name."""
    return any(one.name == name for one in client.get_collections().collections)


def point(client: QdrantClient, alias: str, collection: str) -> None:
    """Have an alias stand for a collection, from one moment to the next; idempotent."""
    from qdrant_client import models

    before = stands_for(client, alias)
    if before == collection:
        return
    leave = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    arrive = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=collection, alias_name=alias))
    client.update_collection_aliases([leave, arrive] if before else [arrive])
