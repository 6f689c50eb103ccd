"""The only room that knows all classes: builds a running whole from a config."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from freshd.admission import Admission
from freshd.chunker import CHUNKER, ChunkLimits
from freshd.clock import SystemClock
from freshd.config import Config, Secrets, SourceConfig
from freshd.embedder import open_embedder
from freshd.errors import CollectionMismatch
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.model import Digest, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from freshd.ports import ConnectorContext, Embedder, Fetcher, Store
from freshd.scheduler import Reindexer, Target
from freshd.search import Search
from freshd.state import StateDirectory
from freshd.stores.edge import EdgeStore
from freshd.vectors import SqliteVectorCache

_MIN_TOKENS, _MAX_TOKENS = 48, 256
"""Largest chunks that re-embed at most 1.6 × what changed between two releases of a large documentation tree."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything open and connected."""

    config: Config
    clock: SystemClock
    ledger: SqliteLedger
    sources: SqliteSources
    store: Store
    search: Search
    recipe: Recipe
    pipeline: Pipeline
    targets: tuple[Target, ...]

    def reindexer(self, names: Sequence[str] = ()) -> Reindexer:
        """Build a one-shot run over the named sources; over all for none."""
        self.ledger.invalidate(self.recipe.identity, self.clock.now())
        targets = [target for target in self.targets if not names or target.name in names]
        guard = Guard(self.config.guard.documents, self.config.guard.share)
        return Reindexer(
            targets=targets,
            ledger=self.ledger,
            sources=self.sources,
            pipeline=self.pipeline,
            guard=guard,
            clock=self.clock,
        )


@contextmanager
def open_whole(config: Config, secrets: Secrets) -> Iterator[Whole]:
    """Open the state directory and everything in it; close it all at the end.

    Raises:
        StateInUse: Another process has it.
        StateUnusable: It is corrupt or from a newer freshd.
        CollectionMismatch: The index belongs to another recipe or another instance.

    """
    clock, state = SystemClock(), StateDirectory(config.state_dir)
    with ExitStack() as stack:
        stack.enter_context(state.lock())
        database = stack.enter_context(closing(Database(state.ledger_path)))
        ledger, sources = SqliteLedger(database), SqliteSources(database)
        embedder = open_embedder(config.embedding.model, state.models_dir, config.base)
        _check_embedder(database, embedder)
        cache = stack.enter_context(
            closing(SqliteVectorCache(state.vectors_path, clock=clock, max_bytes=config.cache.max_bytes))
        )
        store = stack.enter_context(closing(_store(config, secrets, state, embedder)))
        store.open(ledger.instance)
        recipe = _recipe(embedder)
        targets = tuple(_target(source, config, clock) for source in config.sources)
        for target in targets:
            stack.enter_context(closing(target.connector))
        admission = Admission(ledger)
        pipeline = Pipeline(
            connectors={target.name: target.connector for target in targets},
            recipe=recipe,
            cache=cache,
            store=store,
            ledger=ledger,
            admission=admission,
            clock=clock,
        )
        search = Search(
            embedder=embedder,
            store=store,
            admission=admission,
            sources=[target.name for target in targets],
            watermark=lambda name: sources.state(name).watermark,
        )
        yield Whole(config, clock, ledger, sources, store, search, recipe, pipeline, targets)


def _recipe(embedder: Embedder) -> Recipe:
    parser, limits = Parsers(), ChunkLimits(_MIN_TOKENS, min(_MAX_TOKENS, embedder.max_tokens))
    parts = (parser.identity, CHUNKER, str(limits), embedder.identity)
    return Recipe(parser, limits, embedder, Digest(hashlib.sha256("\n".join(parts).encode()).hexdigest()))


def _check_embedder(database: Database, embedder: Embedder) -> None:
    """Refuse to mix two vector spaces in one index."""
    held = database.claim("embedder", embedder.identity)
    if held != embedder.identity:
        raise CollectionMismatch(
            f"index: made with embedder {held[:12]}, the config names {embedder.identity[:12]}",
            hint="name the former [embedding] model again, or another state_dir",
        )


def _store(config: Config, secrets: Secrets, state: StateDirectory, embedder: Embedder) -> Store:
    if config.store.url is None:
        return EdgeStore(state.index_dir / config.store.collection, embedder.dimension)
    from freshd.stores.server import ServerStore  # its client takes seconds to import

    key = secrets.qdrant_api_key.get_secret_value() if secrets.qdrant_api_key else None
    return ServerStore(str(config.store.url), config.store.collection, embedder.dimension, api_key=key)


def _target(source: SourceConfig, config: Config, clock: SystemClock) -> Target:
    def fetcher(allow_private_hosts: Sequence[str]) -> Fetcher:
        from freshd.fetch import HttpxFetcher  # only sources on the network pay for it

        return HttpxFetcher(clock, allow_private_hosts)

    name = SourceName(source.name)
    connector = source.connector(source.options, ConnectorContext(name, config.base, clock, fetcher))
    return Target(name, connector, source.freshness_target)
