"""Puts the rebuilding of a ledger together: what is left of the present one, the store as it lies there, the model.

present ledger ─▶ which generation was live ─┐
index, or server ─▶ whose the points are ────┼─▶ freshd.rebuild
model, cache ─▶ whether it made the vectors ─┘
"""

import json
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from freshd.clock import SystemClock
from freshd.compose.generation import recipe_of
from freshd.config import Config, Secrets, check_store
from freshd.embedder import lasting_name, open_embedder
from freshd.errors import ConfigError, FreshdError, StateUnusable
from freshd.ledger.database import Database
from freshd.ledger.generations import BESIDE, DOOMED, LIVE, Generation, SqliteGenerations, parsed
from freshd.ledger.inspection import inspect
from freshd.ledger.takeover import Taken
from freshd.ledger.troubles import LedgerDiskFull, LedgerLocked, LedgerNotWritable
from freshd.model import Digest
from freshd.ports import Embedder, Store
from freshd.rebuild import Place, Survey, check_model, rebuild
from freshd.redaction import printable
from freshd.shapes import RebuildReport
from freshd.state import StateDirectory
from freshd.stores.edge import EdgeStore
from freshd.vectors import VectorCacheView

MOST_TOKENS = 256
"""Of the limits that chunks are cut with, whatever the model reads; it bounds how a heading path may be cut short."""


@dataclass(frozen=True, slots=True)
class _Index:
    """The points as they lie there.

    Attributes:
        generation: Name of their collection.
        owner: Instance of the ledger that they belong to.

    """

    store: Store
    generation: str
    owner: str


def present_ledger(state: StateDirectory) -> str | None:
    """Say what is wrong with the ledger that is there, in one line; None where it is whole.

    Raises:
        StateError: It may well be whole, and cannot be looked at now.

    """
    try:
        with closing(Database(state.ledger_path, may_create=False)) as database:
            return database.damage()
    except (LedgerLocked, LedgerDiskFull, LedgerNotWritable):
        raise
    except FreshdError as error:
        return str(error)


def rebuild_ledger(
    config: Config,
    secrets: Secrets,
    *,
    generation: str | None = None,
    confirm: Callable[[str | None], None],
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> RebuildReport:
    """Make a new ledger from what the store says of itself, and set the present one aside.

    Args:
        config: Whose.
        secrets: For the store.
        generation: Name of the collection to take; None for the one that was live, or the only one.
        confirm: Told what is wrong with the present ledger, None for nothing; what it raises leaves all as it is.
        on_progress: Hears points looked at, and points in all, about.

    Raises:
        StateInUse: Another process works in the state directory, or keeps the ledger locked.
        StateUnusable: There is no index to make it from, or no saying whether the ledger is whole.
        ConfigError: There are several, or none of that name; or one was named, and the points are on a server.
        CollectionMismatch: The config names another model than the index was made with.

    """
    state, clock = StateDirectory(config.state_dir), SystemClock()
    with ExitStack() as stack:
        stack.enter_context(state.lock())
        began_s = clock.monotonic()
        confirm(present_ledger(state))
        place = Place(state.ledger_path, state.seal_path)
        place.take_up(clock.now())
        former = _Former.read(state)
        embedder = open_embedder(config.embedding.model, state.models_dir, config.base)
        index = _index(config, secrets, state, former, generation, embedder)
        stack.callback(index.store.close)
        index.store.open(index.owner)
        live = former.live if former.live is not None and former.live.name == index.generation else None
        if live is None:  # then nothing says any more which model made the vectors
            check_model(index.store, embedder, VectorCacheView(state.vectors_path).get, MOST_TOKENS)
            live = _named(index.generation, config, embedder, clock.now())

        def prepare(database: Database) -> None:
            records = SqliteGenerations(database)
            records.adopt(live)
            for name in {*former.others} - {live.name}:
                records.doom(name)

        survey = stack.enter_context(closing(Survey(index.store, MOST_TOKENS, state.path)))
        rebuilt, aside = rebuild(place, index.owner, prepare, survey, clock, on_progress=on_progress)
        return {
            "instance": index.owner,
            "generation": index.generation,
            "points": rebuilt.points,
            "documents": rebuilt.taken[Taken.APPLIED],
            "in_doubt": rebuilt.taken[Taken.UNKNOWN],
            "forgotten": rebuilt.taken[Taken.FORGOTTEN],
            "foreign": rebuilt.nameless,
            "former": None if aside is None else str(aside),
            "elapsed_seconds": round(clock.monotonic() - began_s, 3),
        }


@dataclass(frozen=True, slots=True)
class _Former:
    """What can still be read of the ledger that is there.

    Attributes:
        live: The generation that was live; None where nothing says so.
        others: Names of collections that it called its own, and that nobody needs without it.

    """

    live: Generation | None = None
    others: tuple[str, ...] = ()

    @classmethod
    def read(cls, state: StateDirectory) -> "_Former":
        """Read it, whatever is left of it."""
        if not state.ledger_path.exists():
            return cls()
        with suppress(OSError, ValueError, KeyError, TypeError):
            facts = inspect(state.ledger_path, is_in_use=False).facts
            live, beside = parsed(facts.get(LIVE)), parsed(facts.get(BESIDE))
            doomed: list[str] = json.loads(facts.get(DOOMED, "[]"))
            return cls(live, (*doomed, *([beside.name] if beside else [])))
        return cls()

    def dimension(self, name: str, embedder: Embedder) -> int:
        """Give the length of a generation's vectors; that of the config's model where nothing says so."""
        return self.live.dimension if self.live is not None and self.live.name == name else embedder.dimension


def _named(name: str, config: Config, embedder: Embedder, now: datetime) -> Generation:
    """Describe a generation of which nothing but the name is known, and the model that made it."""
    collection, _, made_by = name.rpartition("-")
    wanted = recipe_of(embedder, config.sources).identity
    # Of a recipe that is not today's the name tells the beginning: enough to tell it from others, and to name it again.
    recipe = wanted if wanted.startswith(made_by) else Digest(made_by)
    model = lasting_name(config.embedding.model, config.base)
    return Generation(name, collection or name, recipe, embedder.identity, model, embedder.dimension, now)


def _index(
    config: Config,
    secrets: Secrets,
    state: StateDirectory,
    former: _Former,
    generation: str | None,
    embedder: Embedder,
) -> _Index:
    if config.store.url is not None:
        if generation is not None:
            what = f"--generation: got '{printable(generation)}', expected none: on a server the alias names it"
            raise ConfigError(what, hint="freshd ledger rebuild")
        return _on_server(config, secrets, former, embedder)
    there = {path.parent.name: path for path in sorted(state.index_dir.glob("*/identity.json"))}
    if not there:
        what = f"state directory {printable(str(state.path))}: got no index, expected one to make a ledger from"
        raise StateUnusable(what, hint="restore a backup; or move the state directory away, then: freshd reindex")
    if generation is None and former.live is not None and former.live.name in there:
        generation = former.live.name
    if generation is None and len(there) > 1:
        names = ", ".join(map(printable, there))
        what = f"index: got {len(there)} generations and no ledger that says which one is live: {names}"
        raise ConfigError(what, hint="freshd ledger rebuild --generation NAME   (the others are left alone)")
    name = generation or next(iter(there))
    if name not in there:
        what = f"index: got no generation '{printable(name)}', expected one of: {', '.join(map(printable, there))}"
        raise ConfigError(what, hint="freshd ledger rebuild --generation NAME")
    identity = _identity(there[name].read_text(encoding="utf-8"), name)
    return _Index(EdgeStore(state.index_dir / name, former.dimension(name, embedder)), name, identity)


def _identity(text: str, name: str) -> str:
    with suppress(ValueError, KeyError, TypeError):
        said: Any = json.loads(text)["instance"]
        if isinstance(said, str) and said:
            return said
    what = f"index: generation '{printable(name)}' does not say whose it is, expected its identity.json to"
    raise StateUnusable(what, hint="restore a backup; or move the state directory away, then: freshd reindex")


def _on_server(config: Config, secrets: Secrets, former: _Former, embedder: Embedder) -> _Index:
    from freshd.stores.server import ServerStore  # its client takes seconds to import

    check_store(config, secrets)
    key = secrets.qdrant_api_key.get_secret_value() if secrets.qdrant_api_key else None
    url, alias = str(config.store.url), config.store.collection
    with closing(ServerStore(url, alias, embedder.dimension, api_key=key)) as server:
        found = server.whose()
    if found is None:
        what = f"collection '{alias}': got none of freshd's, expected one to make a ledger from"
        raise StateUnusable(what, hint="see that [store] url and collection are right, or: freshd reindex")
    name, owner = found
    return _Index(ServerStore(url, name, former.dimension(name, embedder), api_key=key), name, owner)
