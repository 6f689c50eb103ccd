"""One generation after the other: what is to be done next, and doing a bounded piece of it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Generic

from freshd import faults
from freshd.errors import EmbedderUnavailable, FreshdError, StoreError, StoreUnavailable
from freshd.generations.means import Filling, Fills, G, Means, Opened
from freshd.ledger.beside import BesideLedger
from freshd.ledger.generations import Generation, Role, SqliteGenerations
from freshd.logs import Event, get_logger
from freshd.model import ChunkId, SourceName
from freshd.ports import Clock, Store

_PAGE = 256
"""Points asked for at once."""

_IDLE_S = 5.0
"""A generation that is only kept is closed once nothing was taken out of it for so long."""

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0

_AGAIN = "run it again: it goes on where it was"

_PATIENCE = 20
"""So often a run that has to come to an end looks for something to do in vain."""


class Generations(Generic[G]):
    """The generations of one ledger. Everything but looking is done by the thread that writes."""

    def __init__(
        self,
        *,
        records: SqliteGenerations,
        books: BesideLedger,
        live: G,
        wanted: Generation,
        means: Means[G],
        instance: str,
        keep_for: timedelta,
        clock: Clock,
    ) -> None:
        """Work on what the ledger says.

        Args:
            records: Which generations there are.
            books: Of the one beside.
            live: The live one.
            wanted: What the config asks for.
            means: What leads there.
            instance: The ledger's.
            keep_for: How long a generation is kept that nobody searches any more.
            clock: Says what time it is.

        """
        self._records = records
        self._books = books
        self._live = live
        self._wanted = wanted
        self._means = means
        self._instance = instance
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._users: Counter[str] = Counter()
        self._beside: G | None = None
        self._filler: Fills | None = None
        self._former: list[G] = []
        self._aside: tuple[str, Store] | None = None
        self._aside_used_s = 0.0
        self._is_expunging = False
        self._is_cleared = False
        self._is_published = True
        self._trouble: FreshdError | None = None
        self._pause_s, self._paused_until_s = 0.0, 0.0
        self._began_s, self._first_left = 0.0, 0

    # The live one

    @property
    def current(self) -> G:
        """The live one, at this moment."""
        return self._live

    @contextmanager
    def in_use(self) -> Iterator[G]:
        """Give the live one, and keep it open until the block ends, whatever is live by then."""
        with self._lock:
            live = self._live
            self._users[live.record.name] += 1
        try:
            yield live
        finally:
            with self._lock:
                self._users[live.record.name] -= 1

    def stores(self) -> list[Store]:
        """Give every store that holds points of this ledger, open: a generation that is only kept, too.

        Raises:
            StoreUnavailable: One of them does not answer.

        """
        beside = self._records.beside
        if beside is None:
            return [self._live.store]
        for one in (self._beside, *self._former):
            if one is not None and one.record.name == beside.name:
                return [self._live.store, one.store]
        if self._aside is None:
            self._aside = (beside.name, self._means.store(beside))
        self._aside[1].open(self._instance)
        self._aside_used_s = self._clock.monotonic()
        return [self._live.store, self._aside[1]]

    def expunge(self, occasion: str) -> int:
        """Do a piece of having what was removed leave the files of every generation; give how many are left, about.

        Those of a further generation are counted once it is its turn.

        Args:
            occasion: See `ports.Store`.

        Raises:
            StoreUnavailable: It does not go on now.

        """
        self._close_former()
        if doomed := self._records.doomed:
            self._discard(doomed[0])
            return 1
        self._is_expunging = False
        left = next(filter(None, (store.expunge(occasion) for store in self.stores())), 0)
        self._is_expunging = left > 0
        return left

    def _close_aside(self) -> None:
        aside, self._aside = self._aside, None
        if aside is not None:
            _close(aside[1])

    def is_live(self, generation: G) -> bool:
        """Tell, by the ledger, whether a generation is still the live one."""
        live = self._records.live
        return live is not None and live.name == generation.record.name

    # What is to be done

    def settle(self) -> None:
        """Hold what the config wants against what there is, and note what follows; called before `advance`."""
        beside, wanted, now = self._records.beside, self._wanted, self._clock.now()
        if self._live.record.recipe == wanted.recipe:
            if beside is not None and beside.role is Role.FILLING:
                self._records.retire(now)
        elif beside is not None and beside.recipe != wanted.recipe:
            self._records.doom(beside.name)
        elif beside is not None and beside.role is Role.RETIRED:
            self._records.resume(now)

    @property
    def is_under_way(self) -> bool:
        """Whether the wanted generation is not the live one yet, or something is being discarded."""
        return self._live.record.recipe != self._wanted.recipe or bool(self._records.doomed)

    def advance(self, between: Callable[[], None]) -> bool:
        """Do a bounded piece of what is to be done; tell whether there was one.

        A store or model that does not answer costs a pause, and nobody else anything.

        Args:
            between: Called between pieces of it, before anything is written.

        """
        self._close_former()
        if self._clock.monotonic() < self._paused_until_s:
            return False
        try:
            has_worked = self._advance(between)
        except (StoreError, EmbedderUnavailable) as error:
            self._pause(error)
            self._close_beside()  # opened anew it is looked at anew, and made anew if need be
            return False
        self._trouble, self._pause_s = None, 0.0
        return has_worked

    def _advance(self, between: Callable[[], None]) -> bool:
        if not self._is_published:
            self._publish()
        doomed, beside = self._records.doomed, self._records.beside
        is_wanted = self._is_expunging or self._clock.monotonic() - self._aside_used_s < _IDLE_S
        if doomed or beside is None or beside.role is Role.FILLING or not is_wanted:
            self._close_aside()  # whoever works on it next opens it for themselves
        if doomed:
            self._discard(doomed[0])
        elif beside is None:
            return self._live.record.recipe != self._wanted.recipe and self._begin()
        elif beside.role is Role.FILLING:
            return self._fill(beside, between)
        elif beside.since + self._keep_for <= self._clock.now():
            self._records.doom(beside.name)
        else:
            return False
        return True

    def finish(
        self,
        cannot_write: Callable[[], FreshdError | None],
        on_progress: Callable[[SourceName, int, int], None] = lambda *_: None,
    ) -> None:
        """Do everything there is to do, in the caller's thread.

        Args:
            cannot_write: Asked before each piece; an error is a reason to write nothing.
            on_progress: Hears name, documents done, documents in all; the name is not a source's.

        Raises:
            FreshdError: It does not go on now; what was done stays, and the next run goes on.

        """
        n_idle = 0
        while self.is_under_way or not self._is_published:
            reason = cannot_write() or self._trouble
            if reason is None and n_idle > _PATIENCE:
                why = self._filler.error if self._filler else None
                reason = StoreUnavailable(f"generation {self._wanted.name}: {why or 'is not whole yet'}", hint=_AGAIN)
            if reason is not None:
                raise reason
            n_idle += not self.advance(lambda: None)
            if self._filler is not None:
                seen = self._records.progress()
                on_progress(SourceName(f"generation {self._wanted.name}"), seen.documents, seen.of)

    def filling(self) -> Filling:
        """Tell how the filling goes on; may be asked from any thread."""
        filler, trouble = self._filler, self._trouble
        if filler is None:
            return Filling(0, None, None if trouble is None else str(trouble))
        seen = self._records.progress()
        left = seen.of - seen.documents
        done_here, elapsed_s = self._first_left - left, self._clock.monotonic() - self._began_s
        eta_s = elapsed_s / done_here * left if done_here > 0 else None
        return Filling(filler.failed, eta_s, str(trouble) if trouble else filler.error)

    def close(self) -> None:
        """Let go of every generation, also where one of them cannot be closed well; idempotent."""
        self._let_go_of_filler()
        with ExitStack() as each:
            for one in (self._live, self._beside, *self._former):
                if one is not None:
                    each.callback(_close, one)
            each.callback(self._close_aside)

    # How

    def _begin(self) -> bool:
        """Begin the wanted one; what an earlier life left under its name is discarded first."""
        if not self._is_cleared:
            self._records.doom(self._wanted.name)
            self._is_cleared = True
        else:
            self._records.begin(self._wanted)
        return True

    def _fill(self, record: Generation, between: Callable[[], None]) -> bool:
        filler = self._filler or self._open(record)
        if filler.step(between):
            return True
        if not (filler.is_near and self._live.admission.is_settled and filler.catch_up()):
            return False
        if self._put_back():
            return True
        self._switch()
        return True

    def _open(self, record: Generation) -> Fills:
        """Open the generation that is filled, and see that it holds what it is said to hold."""
        beside = self._beside or self._means.open(record)
        self._beside = beside
        beside.store.open(self._instance)
        self._put_back()
        seen = self._records.progress()
        self._began_s, self._first_left = self._clock.monotonic(), seen.of - seen.documents
        self._filler = self._means.filler(self._live, beside)
        get_logger().info(
            Event.GENERATION_STARTED,
            generation=record.name,
            documents=self._first_left,
            chunks=seen.chunks,
            vectors="embedded anew" if record.embedder != self._live.record.embedder else "from the cache",
        )
        return self._filler

    def _put_back(self) -> bool:
        """Have written again what the store beside has lost; tell whether it has lost anything."""
        beside = self._beside
        if beside is None or not self._means.is_kept or beside.store.count() >= self._books.certain_chunks():
            return False
        last: ChunkId | None = None
        n_lost = 0
        while page := self._books.certain(last, _PAGE):
            there = {point.chunk_id for point in beside.store.retrieve(page)}
            lost = [chunk_id for chunk_id in page if chunk_id not in there]
            self._books.doubt(lost)
            n_lost += len(lost)
            last = page[-1]
        return bool(n_lost)

    def _switch(self) -> None:
        """Make the one beside live: for the ledger, for search, and for whoever else reads the store."""
        former, beside = self._live, self._beside
        if beside is None:
            raise RuntimeError("a generation that is not open cannot become the live one")
        faults.hit("before_switch")
        self._records.switch(self._clock.now())
        faults.hit("after_switch")
        with self._lock:
            self._live, self._beside, self._filler = beside, None, None
            self._former.append(former)
        get_logger().info(Event.GENERATION_SWITCHED, generation=beside.record.name, former=former.record.name)
        self._is_published = False
        self._publish()

    def _publish(self) -> None:
        self._live.store.publish()
        self._is_published = True

    def _close_former(self) -> None:
        """Close what nobody searches any more; a question that is under way is answered first."""
        with self._lock:
            idle = [one for one in self._former if not self._users[one.record.name]]
            self._former = [one for one in self._former if one not in idle]
        for one in idle:
            _close(one)

    def _discard(self, name: str) -> None:
        """Delete a collection that the ledger has let go of."""
        with self._lock:
            is_used = any(one.record.name == name for one in self._former)
        if is_used:
            raise StoreUnavailable(f"generation {name}: is still asked something")
        if self._beside is not None and self._beside.record.name == name:
            self._close_beside()
        self._close_aside()
        faults.hit("before_discard")
        self._means.discard(name)
        self._records.buried(name)
        if name != self._wanted.name:
            get_logger().info(Event.GENERATION_DISCARDED, generation=name)

    def _close_beside(self) -> None:
        self._let_go_of_filler()
        beside, self._beside = self._beside, None
        if beside is not None:
            _close(beside)

    def _let_go_of_filler(self) -> None:
        filler, self._filler = self._filler, None
        if filler is not None:
            filler.close()

    def _pause(self, error: FreshdError) -> None:
        if type(error) is not type(self._trouble):
            facts = {"hint": error.hint} if error.hint else {}
            get_logger().warning(Event.GENERATION_DELAYED, error=str(error), **facts)
        self._trouble = error
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._paused_until_s = self._clock.monotonic() + self._pause_s


def _close(one: Opened | Store) -> None:
    """Close one whose store may have died: what was not flushed was not applied either, and is done again."""
    try:
        one.close()
    except StoreUnavailable as error:
        get_logger().warning(Event.STORE_LOST, error=str(error), hint=error.hint)
