"""The only room that knows all classes: builds a running whole from a config."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from freshd.admission import Admission
from freshd.clock import SystemClock
from freshd.compose.generation import Current, News, Workshop
from freshd.compose.recovering import open_ledger
from freshd.compose.whole import Whole, cannot_open, disk_shortage
from freshd.config import Config, Secrets, SourceConfig
from freshd.dryrun import MeasuringEmbedder, ReadOnlyCache, copy_ledger
from freshd.embedder import open_embedder
from freshd.errors import ConfigError, FreshdError, StateUnusable
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.proofs import Proofs
from freshd.ledger.sources import SqliteSources
from freshd.model import DocumentId, SourceName
from freshd.parsers import LimitedPages, LimitedParsers
from freshd.pipeline.aside import Aside
from freshd.pipeline.removal import Removal
from freshd.ports import Connector, ConnectorContext, Embedder, Fetcher, MainText, Remote, Store, VectorCache
from freshd.scheduler import Marks, ReadAhead, Target
from freshd.search import Search
from freshd.state import StateDirectory
from freshd.vectors import SqliteVectorCache, VectorCacheView
from freshd.verify import expect_points
from freshd.wording import unforeseen

__all__ = ["Whole", "cannot_open", "disk_shortage", "open_dry_run", "open_whole"]


@contextmanager
def open_whole(
    config: Config,
    secrets: Secrets,
    *,
    must_open_store: bool = True,
    must_have_room: bool = False,
    parses_aside: bool = False,
) -> Iterator[Whole]:
    """Open the state directory and everything in it; close it all at the end.

    Args:
        config: What to open.
        secrets: For the store.
        must_open_store: False leaves that to `open_store`, so that a daemon can begin while the store is down.
        must_have_room: Refuse, before anything but the directory itself is made, where the disk is almost full.
        parses_aside: What is slow to parse is come back for, so that nothing that is due meanwhile waits for it.

    Raises:
        StoreUnavailable: The store does not answer now, or there is too little room.
        StateInUse: Another process has it.
        StateUnusable: It is corrupt or from a newer freshd.
        CollectionMismatch: The index belongs to another instance.

    """
    clock, state = SystemClock(), StateDirectory(config.state_dir)
    with ExitStack() as stack:
        stack.enter_context(state.lock())
        shortage = disk_shortage(config) if must_have_room else None
        if shortage is not None:
            raise shortage
        database = stack.enter_context(open_ledger(state))
        embedder = _open_model(state.models_dir, config, config.embedding.model)
        cache = SqliteVectorCache(state.vectors_path, clock=clock, max_bytes=config.cache.max_bytes)
        stack.enter_context(closing(cache))
        open_model = partial(_open_model, state.models_dir, config)
        parts = Parts(config, secrets, clock, database, cache, embedder, open_model, parses_aside=parses_aside)
        whole = _connected(stack, parts)
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
        state.read_daemon()  # or be refused, where nothing of it may be read
        copy_ledger(state.ledger_path, scratch.ledger_path)
        try:
            database = stack.enter_context(closing(Database(scratch.ledger_path, may_create=not state.holds_index)))
        except StateUnusable as error:
            told = str(error).replace(str(scratch.ledger_path), str(state.ledger_path))
            raise StateUnusable(told, hint=error.hint) from error
        models_dir = state.models_dir if state.models_dir.exists() else scratch.models_dir
        embedders: list[MeasuringEmbedder] = []

        def measuring(model: str) -> MeasuringEmbedder:
            embedders.append(MeasuringEmbedder(_open_model(models_dir, config, model), clock))
            return embedders[-1]

        cache = ReadOnlyCache(VectorCacheView(state.vectors_path).get)
        wanted = measuring(config.embedding.model)
        parts = Parts(config, Secrets(), clock, database, cache, wanted, measuring, is_kept=False)
        whole = _connected(stack, parts)
        yield whole, lambda: timedelta(seconds=sum(embedder.estimated_seconds() for embedder in embedders))


def _open_model(models_dir: Path, config: Config, model: str) -> Embedder:
    return open_embedder(model, models_dir, config.base)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a whole is made of, open.

    Attributes:
        embedder: The one that the config names.
        open_model: Opens another one.
        is_kept: Whether anything is written at all.
        parses_aside: See `open_whole`.

    """

    config: Config
    secrets: Secrets
    clock: SystemClock
    database: Database
    cache: VectorCache
    embedder: Embedder
    open_model: Callable[[str], Embedder]
    is_kept: bool = True
    parses_aside: bool = False


def _connected(stack: ExitStack, parts: Parts) -> Whole:
    """Connect open parts; the connectors, parsers and stores it makes are closed with the stack."""
    config, clock, database = parts.config, parts.clock, parts.database
    ledger, sources, news = SqliteLedger(database), SqliteSources(database), News()
    pages = stack.enter_context(closing(LimitedPages()))
    targets = tuple(_target(source, config, clock, pages.main_text) for source in config.sources)
    for target in targets:
        stack.enter_context(closing(target.connector))
    canaries = frozenset(
        (SourceName(source.name), DocumentId(source.canary_path)) for source in config.sources if source.canary_path
    )

    def search_of(embedder: Embedder, store: Store, admission: Admission) -> Search:
        return Search(
            embedder=embedder,
            store=store,
            admission=admission,
            sources=[target.name for target in targets],
            watermark=lambda name: sources.state(name).watermark_at(clock.now(), marks.unproved_for(name)),
            canaries=canaries,
            is_alone=config.store.url is None and set(sources.names()) <= {target.name for target in targets},
        )

    aside = stack.enter_context(closing(Aside())) if parts.parses_aside else None
    workshop = Workshop(
        config=config,
        secrets=parts.secrets,
        clock=clock,
        database=database,
        ledger=ledger,
        cache=parts.cache,
        connectors={target.name: target.connector for target in targets},
        parser=stack.enter_context(closing(LimitedParsers())),
        aside=aside,
        wanted_embedder=parts.embedder,
        open_model=parts.open_model,
        search_of=search_of,
        is_kept=parts.is_kept,
        news=news,
    )
    generations = stack.enter_context(closing(workshop.generations()))
    current = Current(generations)

    def expect() -> None:
        if parts.is_kept:
            expect_points(Proofs(database), generations.current.store)

    marks = Marks(ledger=ledger, sources=sources, store=current, clock=clock, expect=expect)
    removal = Removal(
        forgetting=SqliteForgetting(database),
        stores=generations.stores,
        expunge=generations.expunge,
        cache=parts.cache,
    )
    return Whole(
        config, clock, database, ledger, sources, generations, news, current, marks, targets, canaries, removal
    )


def _target(source: SourceConfig, config: Config, clock: SystemClock, main_text: MainText) -> Target:
    def fetcher(allow_private_hosts: Sequence[str], ca_file: Path | None) -> Fetcher:
        from freshd.fetch import HttpxFetcher  # only sources on the network pay for it

        return HttpxFetcher(clock, allow_private_hosts, ca_file=ca_file)

    name = SourceName(source.name)
    context = ConnectorContext(name, config.base, clock, fetcher, main_text)
    try:
        connector: Connector = source.connector(source.options, context)
    except FreshdError:
        raise
    except Exception as error:  # anybody may write a connector, and a config that is read again is refused for it
        message = f"source {name}: got {unforeseen(error)} from its connector, expected it to begin"
        raise ConfigError(message, hint="tell whoever made the connector, or leave the source out") from error
    if isinstance(connector, Remote):
        connector = ReadAhead(connector)
    return Target(name, connector, source.freshness_target, source.poll_interval, source.keep_for)
