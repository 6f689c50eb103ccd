"""A freshd of a benchmark's own: a folder with a config, the documents, and the state."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from freshd import compose
from freshd.chunker import chunk
from freshd.config import Secrets, load
from freshd.model import Chunk, DocumentRef
from freshd.ports import Embedder
from freshd.scheduler import Tally

_CONFIG = """
[http]
listen = "127.0.0.1:0"

[log]
level = "warning"

[[sources]]
name = "docs"
type = "files"
path = {docs}
freshness_target = "1m"
"""


class Instance:
    """One config over one folder of documents; opened as often as wanted."""

    def __init__(self, root: Path, docs: Path | None = None) -> None:
        """Write the config.

        Args:
            root: A folder; what is there from before is used again.
            docs: Where the documents lie; None for a folder in `root`.

        """
        self.docs = docs or root / "docs"
        root.mkdir(parents=True, exist_ok=True)
        self.docs.mkdir(parents=True, exist_ok=True)
        self.config = root / "freshd.toml"
        self.config.write_text(_CONFIG.format(docs=json.dumps(os.fspath(self.docs))))
        self.state_dir = root / ".freshd"

    @contextmanager
    def open(self, embedder: Embedder | None = None) -> Iterator[compose.Whole]:
        """Open everything.

        Args:
            embedder: In place of the one that the config names, where vectors do not matter.

        """
        with ExitStack() as stack:
            if embedder is not None:
                stack.enter_context(mock.patch.object(compose, "open_embedder", return_value=embedder))
            yield stack.enter_context(compose.open_whole(load(self.config), Secrets()))


def reindex(whole: compose.Whole) -> Tally:
    """Look once and apply everything; an index that is not whole afterwards would make every figure a lie."""
    (tally,) = whole.reindexer().run()
    if tally.errors or tally.documents["held"]:
        raise RuntimeError(f"the index is not up to date: {tally.errors or 'deletions are held'}")
    return tally


def chunks_of(whole: compose.Whole, document_id: str | None = None) -> Iterator[Chunk]:
    """Read, parse and chunk one document, or all for None, as freshd does, and leave the index alone."""
    (target,) = whole.targets
    recipe = whole.recipe
    for seen in target.connector.list(document_id):
        yield from chunk(
            recipe.parser.parse(target.connector.read(DocumentRef.of(seen))),
            source=target.name,
            document_id=seen.document_id,
            limits=recipe.limits,
            count_tokens=recipe.embedder.count_tokens,
        )
