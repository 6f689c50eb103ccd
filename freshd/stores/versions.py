"""Whether a Qdrant server is new enough: what an older one does not know of a request, it passes over.

Keyword prefixes came with 1.19, a collection's metadata, which says whose it is, with 1.16.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from freshd.errors import StoreUnavailable

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_LEAST = (1, 19)


def expect_new(client: QdrantClient, where: str) -> None:
    """Refuse a server that says it is too old; one that does not say which it is will do.

    Args:
        client: Asked once.
        where: Begins the message.

    Raises:
        StoreUnavailable: It is.

    """
    version = ""
    with suppress(Exception):  # a gateway need not let that question through
        version = client.info().version
    told = re.match(r"(\d+)\.(\d+)", version)
    if told and (int(told[1]), int(told[2])) < _LEAST:
        least = ".".join(map(str, _LEAST))
        what = f"{where}: got Qdrant {told[0]}, expected {least} or newer"
        raise StoreUnavailable(what, hint=f"run Qdrant {least} or newer there; freshd carries on by itself then")
