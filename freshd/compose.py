"""The only room that knows all classes: builds a running whole from a config."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from freshd.admission import Admission
from freshd.chunker import CHUNKER, ChunkLimits
from freshd.clock import SystemClock
from freshd.config import Config, Secrets, SourceConfig
from freshd.dryrun import MeasuringEmbedder, NullStore, ReadOnlyCache, copy_ledger
from freshd.embedder import open_embedder
from freshd.errors import CollectionMismatch, FreshdError, StateUnusable, StoreUnavailable
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.sources import SqliteSources
from freshd.logs import Event, get_logger
from freshd.model import ChunkId, Digest, DocumentId, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import Pipeline, Recipe
from freshd.ports import Connector, ConnectorContext, Embedder, Fetcher, Remote, Store, VectorCache
from freshd.scheduler import Drain, Marks, Observer, ReadAhead, Reindexer, Scan, Scanner, Scheduler, Target
from freshd.scheduler.hints import LONGEST_S
from freshd.search import Search, SearchProof
from freshd.state import StateDirectory
from freshd.stores.edge import EdgeStore
from freshd.vectors import SqliteVectorCache, VectorCacheView
from freshd.verify import Verified, Verifier

_PAGE = 256
"""Points asked for at once."""

_MIN_TOKENS, _MAX_TOKENS = 48, 256
"""Largest chunks that re-embed less than twice what changed between two releases of a large documentation tree."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything open and connected.

    Attributes:
        proof: Reads back what is written; None where nothing is kept.
        canaries: Documents that freshd writes itself.

    """

    config: Config
    clock: SystemClock
    database: Database
    ledger: SqliteLedger
    sources: SqliteSources
    store: Store
    search: Search
    proof: SearchProof | None
    marks: Marks
    recipe: Recipe
    pipeline: Pipeline
    targets: tuple[Target, ...]
    canaries: frozenset[tuple[SourceName, DocumentId]]

    def is_canary(self, source: str, document_id: str) -> bool:
        """Tell whether freshd writes this document itself, so that it counts nowhere."""
        return (source, document_id) in self.canaries

    def reindexer(
        self,
        names: Sequence[str] = (),
        *,
        full: bool = False,
        on_progress: Callable[[SourceName, int, int], None] = lambda *_: None,
    ) -> Reindexer:
        """Build a one-shot run over the named sources; over all for none.

        Args:
            names: Configured sources.
            full: Have every document read and parsed again, whatever its fingerprint says.
            on_progress: Hears source, documents done, documents in all.

        """
        self._catch_up()
        if full:
            chosen = [target.name for target in self.targets if not names or target.name in names]
            self.ledger.invalidate(None, self.clock.now(), chosen)

        def mark(scan: Scan) -> None:
            self.marks.put(scan)
            self.marks.release()

        return Reindexer(
            scanners=[self._scanner(target) for target in self.targets if not names or target.name in names],
            ledger=self.ledger,
            sources=self.sources,
            see_through=Drain(
                ledger=self.ledger,
                sources=self.sources,
                pipeline=self.pipeline,
                clock=self.clock,
                on_progress=on_progress,
                cannot_write=(lambda: disk_shortage(self.config)) if self.proof else (lambda: None),
            ),
            on_scan=mark,
            clock=self.clock,
        )

    def open_store(self) -> None:
        """Open the store, where `open_whole` was told not to; idempotent.

        One that holds less than the ledger says lost some of it, or was made anew:
        what is not there any more is put back, vectors from the cache, and its sources prove nothing before.

        Raises:
            StoreUnavailable: It does not answer now.
            CollectionMismatch: It belongs to another recipe or another instance.

        """
        self.store.open(self.ledger.instance)
        wanted, held = self.ledger.certain_chunks(), self.store.count()
        if held < wanted:
            documents = sum(self.ledger.doubt(lost, self.clock.now()) for lost in self._lost())
            self.marks.begin_anew(self.ledger.last_seq())
            get_logger().warning(Event.STORE_DOUBTED, documents=documents, points=held, expected=wanted)

    def _lost(self) -> Iterator[list[ChunkId]]:
        """Give, page by page, the chunks that the ledger is certain of and the store does not hold."""
        last: ChunkId | None = None
        while page := [chunk_id for chunk_id, *_ in self.ledger.certain(last, _PAGE)]:
            there = {point.chunk_id for point in self.store.retrieve(page)}
            yield [chunk_id for chunk_id in page if chunk_id not in there]
            last = page[-1]

    def verify(
        self,
        on_progress: Callable[[int, int], None] = lambda *_: None,
        *,
        go_on: Callable[[], None] = lambda: None,
        pause: Callable[[float], object] = lambda _: None,
    ) -> Verified:
        """Hold the ledger against the store, point by point, changing neither.

        Args:
            on_progress: Hears points looked at, and points in all, about.
            go_on: Called before every look; what it raises ends the run.
            pause: Waits some seconds after every answer, so that others get most of the store's time.

        Raises:
            StoreUnavailable: The store did not answer.

        """
        return Verifier(
            ledger=self.ledger, store=self.store, clock=self.clock, go_on=go_on, pause=pause, on_progress=on_progress
        ).run()

    def scheduler(self, observer: Observer, cannot_write: Callable[[], FreshdError | None]) -> Scheduler:
        """Build the engine of a daemon; it begins with `start`.

        Args:
            observer: Hears of everything.
            cannot_write: Asked before anything is written, for a reason not to.

        """
        self._catch_up()
        self.ledger.hurry()
        scheduler = Scheduler(
            targets=self.targets,
            ledger=self.ledger,
            sources=self.sources,
            pipeline=self.pipeline,
            marks=self.marks,
            guard=self._guard,
            clock=self.clock,
            observer=observer,
            cannot_write=cannot_write,
        )
        lanes = scheduler.lanes.values()
        self.ledger.spare(lambda: [one for lane in lanes for one in lane.being_written()], timedelta(seconds=LONGEST_S))
        return scheduler

    def _catch_up(self) -> None:
        """Believe no clock that was set back, and chunk documents of a former recipe again, vectors from the cache."""
        self.sources.disbelieve(self.clock.now())
        self.ledger.invalidate(self.recipe.identity, self.clock.now(), [target.name for target in self.targets])

    @property
    def _guard(self) -> Guard:
        return Guard(self.config.guard.documents, self.config.guard.share)

    def _scanner(self, target: Target) -> Scanner:
        return Scanner(target=target, ledger=self.ledger, sources=self.sources, guard=self._guard, clock=self.clock)


def disk_shortage(config: Config) -> StoreUnavailable | None:
    """Say why nothing may be written where less disk is free than the config reserves; None while there is enough."""
    free, reserve = StateDirectory(config.state_dir).free_bytes(), config.disk.reserve_bytes
    if free >= reserve:
        return None
    return StoreUnavailable(
        f"state directory {config.state_dir}: {free >> 20} MiB free, expected at least the reserve of"
        f" {reserve >> 20} MiB",
        hint="free some disk space, or lower [disk] reserve_bytes",
    )


@contextmanager
def open_whole(
    config: Config, secrets: Secrets, *, must_open_store: bool = True, must_have_room: bool = False
) -> Iterator[Whole]:
    """Open the state directory and everything in it; close it all at the end.

    Args:
        config: What to open.
        secrets: For the store.
        must_open_store: False leaves that to `open_store`, so that a daemon can begin while the store is down.
        must_have_room: Refuse, before anything but the directory itself is made, where the disk is almost full.

    Raises:
        StoreUnavailable: The store does not answer now, or there is too little room.
        StateInUse: Another process has it.
        StateUnusable: It is corrupt or from a newer freshd.
        CollectionMismatch: The index belongs to another recipe or another instance.

    """
    clock, state = SystemClock(), StateDirectory(config.state_dir)
    with ExitStack() as stack:
        stack.enter_context(state.lock())
        shortage = disk_shortage(config) if must_have_room else None
        if shortage is not None:
            raise shortage
        database = stack.enter_context(closing(Database(state.ledger_path)))
        embedder = open_embedder(config.embedding.model, state.models_dir, config.base)
        cache = SqliteVectorCache(state.vectors_path, clock=clock, max_bytes=config.cache.max_bytes)
        stack.enter_context(closing(cache))
        store = stack.enter_context(closing(_store(config, secrets, state, embedder)))
        whole = _connected(stack, config, clock, database, embedder, cache, store)
        if must_open_store:
            whole.open_store()
        yield whole


@contextmanager
def open_dry_run(config: Config) -> Iterator[tuple[Whole, Callable[[], timedelta]]]:
    """Open a copy of the ledger with a store that keeps nothing: what runs over it changes nothing.

    Yields:
        The whole, and what tells how long the embedding that was asked of it would take here.

    """
    clock, state = SystemClock(), StateDirectory(config.state_dir)
    with ExitStack() as stack:
        scratch = StateDirectory(Path(stack.enter_context(TemporaryDirectory(prefix="freshd-plan-"))))
        copy_ledger(state.ledger_path, scratch.ledger_path)
        try:
            database = stack.enter_context(closing(Database(scratch.ledger_path)))
        except StateUnusable as error:
            told = str(error).replace(str(scratch.ledger_path), str(state.ledger_path))
            raise StateUnusable(told, hint=error.hint) from error
        models_dir = state.models_dir if state.models_dir.exists() else scratch.models_dir
        embedder = MeasuringEmbedder(open_embedder(config.embedding.model, models_dir, config.base), clock)
        cache = ReadOnlyCache(VectorCacheView(state.vectors_path).get)
        whole = _connected(stack, config, clock, database, embedder, cache, NullStore(), is_kept=False)
        yield whole, lambda: timedelta(seconds=embedder.estimated_seconds())


def _connected(
    stack: ExitStack,
    config: Config,
    clock: SystemClock,
    database: Database,
    embedder: Embedder,
    cache: VectorCache,
    store: Store,
    *,
    is_kept: bool = True,
) -> Whole:
    """Connect open parts; the connectors it makes are closed with the stack."""
    _check_embedder(database, embedder)
    ledger, sources = SqliteLedger(database), SqliteSources(database)
    recipe, admission = _recipe(embedder, config.sources), Admission(ledger)
    targets = tuple(_target(source, config, clock) for source in config.sources)
    for target in targets:
        stack.enter_context(closing(target.connector))
    marks = Marks(ledger=ledger, sources=sources, store=store, clock=clock)
    proof = SearchProof(store, admission, embedder.dimension) if is_kept else None
    pipeline = Pipeline(
        connectors={target.name: target.connector for target in targets},
        recipe=recipe,
        cache=cache,
        store=store,
        ledger=ledger,
        admission=admission,
        clock=clock,
        proof=proof,
    )
    canaries = frozenset(
        (SourceName(source.name), DocumentId(source.canary_path)) for source in config.sources if source.canary_path
    )
    search = Search(
        embedder=embedder,
        store=store,
        admission=admission,
        sources=[target.name for target in targets],
        watermark=lambda name: sources.state(name).watermark_at(clock.now(), marks.unproved_for(name)),
        canaries=canaries,
    )
    return Whole(
        config, clock, database, ledger, sources, store, search, proof, marks, recipe, pipeline, targets, canaries
    )


def _recipe(embedder: Embedder, sources: Sequence[SourceConfig]) -> Recipe:
    parser, limits = Parsers(), ChunkLimits(_MIN_TOKENS, min(_MAX_TOKENS, embedder.max_tokens))
    parts = [parser.identity, CHUNKER, str(limits), embedder.identity]
    # The config has a say in how bytes are taken apart; where it says nothing, the recipe is the one it always was.
    declared = {source.name: list(source.raw.get("media_types", {}).items()) for source in sources}
    parts += [json.dumps([name, kinds]) for name, kinds in sorted(declared.items()) if kinds]
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
    connector: Connector = source.connector(source.options, ConnectorContext(name, config.base, clock, fetcher))
    if isinstance(connector, Remote):
        connector = ReadAhead(connector)
    return Target(name, connector, source.freshness_target, source.poll_interval, source.keep_for)
