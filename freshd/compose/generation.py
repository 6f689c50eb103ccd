"""Opens generations: everything that belongs to one of them and to no other, in one piece."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from freshd.admission import Admission
from freshd.chunker import CHUNKER, ChunkLimits
from freshd.clock import SystemClock
from freshd.config import Config, Secrets, SourceConfig, check_store
from freshd.dryrun import NullStore
from freshd.embedder import lasting_name
from freshd.errors import ConfigError, FreshdError, StateUnusable
from freshd.generations import Generations, Means, PublicStore
from freshd.ledger.beside import BesideLedger, GenerationChunks
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.generations import Generation, Role, SqliteGenerations
from freshd.model import Digest, Outcome, Pending, SearchFilter, SourceName
from freshd.parsers import Parsers
from freshd.pipeline import MAX_BATCH_CHUNKS, Pipeline, Recipe
from freshd.pipeline.aside import Aside
from freshd.pipeline.filling import Filler, Origin
from freshd.pipeline.plan import Plan
from freshd.pipeline.writing import Writer
from freshd.ports import Connector, Embedder, Parser, Store, VectorCache
from freshd.search import Answer, Search, SearchProof
from freshd.state import StateDirectory
from freshd.stores.edge import EdgeStore

_MIN_TOKENS, _MAX_TOKENS = 24, 256
"""Larger chunks embed more again and find nothing more, since a hit is shown amid its neighbours.

`python -m tests.bench.retrieval --min-tokens 24 48` measures both.
"""

_NAMED_DIGITS = 8
"""Of a recipe's identity, in a collection's name."""


class KeptStore(PublicStore, Protocol):
    """A store that can be deleted, or be gone while another one stands in its place."""

    def instead(self, instance: str) -> list[str]:
        """Name collections of an instance that are there while this one is not; none where it is, or nobody knows."""
        ...

    def discard(self, instance: str) -> None:
        """Delete it; an absent one is no error."""
        ...


def recipe_of(embedder: Embedder, sources: Sequence[SourceConfig], parser: Parser | None = None) -> Recipe:
    """Say how documents become points with a model, as this freshd takes them apart.

    Raises:
        ConfigError: The model reads too little at once.

    """
    if embedder.max_tokens < 2 * _MIN_TOKENS:
        what = f"embedding.model: got one that reads {embedder.max_tokens} tokens, expected at least {2 * _MIN_TOKENS}"
        raise ConfigError(what, hint="name a model that reads more at once, or 'bundled'")
    parser, limits = parser or Parsers(), ChunkLimits(_MIN_TOKENS, min(_MAX_TOKENS, embedder.max_tokens))
    parts = [parser.identity, CHUNKER, str(limits), embedder.identity]
    # The config has a say in how bytes are taken apart; where it says nothing, the recipe is the one it always was.
    declared = {source.name: list(source.raw.get("media_types", {}).items()) for source in sources}
    parts += [json.dumps([name, kinds]) for name, kinds in sorted(declared.items()) if kinds]
    return Recipe(parser, limits, embedder, Digest(hashlib.sha256("\n".join(parts).encode()).hexdigest()))


@dataclass(frozen=True, slots=True, eq=False)
class OpenGeneration:
    """One generation and everything that is its own.

    Attributes:
        recipe: How what changes now becomes points of it.
        store: Where its points are.
        pipeline: Applies changes to it while it is the live one.
        proof: Reads back what is written; None where nothing is kept.

    """

    record: Generation
    recipe: Recipe
    store: KeptStore
    admission: Admission
    proof: SearchProof | None
    pipeline: Pipeline
    search: Search

    def close(self) -> None:
        """Let go of the store; idempotent."""
        self.store.close()


@dataclass(slots=True)
class News:
    """Who hears of the generation that is filled; set before anything is.

    Attributes:
        on_filled: Hears what became of documents.
        on_ready: Called when a document that had to be read from afar is at hand; None where nobody may wait for that.

    """

    on_filled: Callable[[Sequence[Outcome]], None] = lambda _: None
    on_ready: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Workshop:
    """Makes generations, over what they share.

    Attributes:
        parser: Takes documents apart for all of them.
        wanted_embedder: The one that the config names.
        open_model: Opens another one by its lasting name.
        search_of: Makes the search of a generation.
        aside: Does what may take long; None where it is waited for.
        is_kept: Whether anything is written at all.
        news: Who hears of what is filled in.
        proofs: Counts what was read back, in whichever generation.

    """

    config: Config
    secrets: Secrets
    clock: SystemClock
    database: Database
    ledger: SqliteLedger
    cache: VectorCache
    connectors: dict[SourceName, Connector]
    parser: Parser
    wanted_embedder: Embedder
    open_model: Callable[[str], Embedder]
    search_of: Callable[[Embedder, Store, Admission], Search]
    aside: Aside | None = None
    is_kept: bool = True
    news: News = field(default_factory=News)
    proofs: Counter[tuple[SourceName, str]] = field(default_factory=Counter)

    def generations(self) -> Generations[OpenGeneration]:
        """Open the live generation, and what leads to the one that the config asks for; nothing is begun yet."""
        records, wanted = SqliteGenerations(self.database), self._wanted()
        live = records.live
        if live is None:
            records.adopt(wanted)
        elif live.collection != wanted.collection:  # as if the index was lost: it is put back where it belongs now
            records.adopt(self._named(live))
        return Generations(
            records=records,
            books=BesideLedger(self.database),
            live=self.open(records.live or wanted),
            wanted=wanted,
            means=Means(self.open, self.store, self._filler, self._discard, self.is_kept),
            instance=self.ledger.instance,
            keep_for=self.config.generations.keep_for,
            clock=self.clock,
        )

    def open(self, record: Generation) -> OpenGeneration:
        """Make what works on a generation; nothing is touched yet.

        Raises:
            StateUnusable: Its model cannot be had any more.

        """
        embedder, store = self._embedder(record), self.store(record)
        # As it takes documents apart today; what it holds already is as it was when it was filled.
        recipe = replace(recipe_of(embedder, self.config.sources, self.parser), former=record.recipe, aside=self.aside)
        admission = Admission(GenerationChunks(self.database, record.name))
        proof = SearchProof(store, admission, embedder.dimension, self.proofs) if self.is_kept else None
        pipeline = Pipeline(
            connectors=self.connectors,
            recipe=recipe,
            cache=self.cache,
            store=store,
            ledger=self.ledger,
            admission=admission,
            clock=self.clock,
            proof=proof,
        )
        search = self.search_of(embedder, store, admission)
        return OpenGeneration(record, recipe, store, admission, proof, pipeline, search)

    def store(self, record: Generation) -> KeptStore:
        """Make the store of a generation; nothing is touched yet."""
        return self._store(record.name, record.dimension)

    def _store(self, name: str, dimension: int) -> KeptStore:
        config, secrets = self.config, self.secrets
        if not self.is_kept:
            return NullStore()
        if config.store.url is None:
            path = StateDirectory(config.state_dir).index_dir / name
            return EdgeStore(path, dimension, reserve_bytes=config.disk.reserve_bytes)
        from freshd.stores.server import ServerStore  # its client takes seconds to import

        check_store(config, secrets)
        key = secrets.qdrant_api_key.get_secret_value() if secrets.qdrant_api_key else None
        return ServerStore(str(config.store.url), name, dimension, alias=config.store.collection, api_key=key)

    def _wanted(self) -> Generation:
        embedder, config = self.wanted_embedder, self.config
        recipe, collection = recipe_of(embedder, config.sources).identity, config.store.collection
        model = lasting_name(config.embedding.model, config.base)
        record = Generation(
            "", collection, recipe, embedder.identity, model, embedder.dimension, self.clock.now(), Role.FILLING
        )
        return self._named(record)

    def _named(self, record: Generation) -> Generation:
        """Give a generation the name that it has under the config's name of the collection."""
        collection = self.config.store.collection
        return replace(record, name=f"{collection}-{record.recipe[:_NAMED_DIGITS]}", collection=collection)

    def _embedder(self, record: Generation) -> Embedder:
        if record.embedder == self.wanted_embedder.identity:
            return self.wanted_embedder
        try:
            embedder = self.open_model(record.model)
            if embedder.identity == record.embedder:
                return embedder
            why = f"it is another model by now, {embedder.identity[:12]} instead of {record.embedder[:12]}"
        except FreshdError as error:
            why = str(error)
        raise StateUnusable(
            f"generation {record.name}: made with model '{record.model}', which cannot be had: {why};"
            f" the config names '{self.config.embedding.model}'",
            hint=f"bring '{record.model}' back, for as long as the other one is not filled; or take another state_dir",
        )

    def _filler(self, live: OpenGeneration, beside: OpenGeneration) -> Filler:
        books = BesideLedger(self.database)

        def writer(put_off: Callable[[Plan, FreshdError], Outcome]) -> Writer:
            return Writer(
                recipe=beside.recipe,
                cache=self.cache,
                store=beside.store,
                books=books,
                admission=beside.admission,
                clock=self.clock,
                proof=beside.proof,
                put_off=put_off,
            )

        return Filler(
            origin=Origin(self.ledger.revision, live.store, live.recipe.limits),
            connectors=self.connectors,
            recipe=beside.recipe,
            books=books,
            writer=writer,
            clock=self.clock,
            on_filled=self.news.on_filled,
            on_ready=self.news.on_ready,
        )

    def _discard(self, name: str) -> None:
        with closing(self._store(name, 1)) as store:
            store.discard(self.ledger.instance)


class Current:
    """The live generation, whichever that is at the moment: what applies changes, answers, and proves to be there."""

    def __init__(self, generations: Generations[OpenGeneration]) -> None:
        """Ask these which one it is, every time."""
        self._generations = generations

    @property
    def in_hand(self) -> list[Pending]:
        """What a nested run must leave alone; see `Pipeline.in_hand`."""
        return self._generations.current.pipeline.in_hand

    def run(
        self,
        batch: Sequence[Pending],
        between: Callable[[], None] = lambda: None,
        *,
        max_chunks: int = MAX_BATCH_CHUNKS,
    ) -> list[Outcome]:
        """Apply a batch of changes; see `Pipeline.run`."""
        return self._generations.current.pipeline.run(batch, between, max_chunks=max_chunks)

    def search(self, query: str, k: int = 10, where: SearchFilter | None = None) -> Answer:
        """Find the best passages, all of one generation; see `Search.search`."""
        with self._generations.in_use() as generation:
            return generation.search.search(query, k, where)

    def ping(self) -> None:
        """Have its store prove that it is there, and that others find it; see `ports.Store`."""
        store = self._generations.current.store
        store.ping()
        store.publish()
