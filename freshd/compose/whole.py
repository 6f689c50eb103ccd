"""Everything open and connected, and what is built of it for one run or for a daemon."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from freshd import faults
from freshd.clock import SystemClock
from freshd.compose import verifying
from freshd.compose.generation import Current, News, OpenGeneration
from freshd.compose.recovering import are_one, caught_up, expect_live, seal_anew
from freshd.compose.verifying import Manner
from freshd.config import Config
from freshd.embedder import missing_bytes
from freshd.errors import FreshdError, StoreError, StoreUnavailable
from freshd.generations import Generations, Upkeep
from freshd.guard import Guard
from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.forgetting import SqliteForgetting
from freshd.ledger.proofs import Proofs
from freshd.ledger.sources import SqliteSources
from freshd.logs import Event, get_logger
from freshd.model import ChunkId, DocumentId, Outcome, SourceName
from freshd.pipeline import Recipe
from freshd.pipeline.removal import Removal
from freshd.ports import Store
from freshd.scheduler import (
    BetweenBatches,
    Drain,
    Marks,
    Observer,
    Reindexer,
    Remover,
    Scan,
    Scanner,
    Scheduler,
    Tally,
    Target,
    at_once,
)
from freshd.scheduler.hints import LONGEST_S
from freshd.search import SearchProof
from freshd.state import RESERVED_FILES, StateDirectory
from freshd.verify import PointsLost, Surroundings, Verified, expect_points

T = TypeVar("T")

_PAGE = 256
"""Points asked for at once."""

_FREE_SOME = "free some disk space"

_LEAST_BYTES, _LEAST_FILES = 8 * 2**20, 20
"""Without which not even what is there can be opened: SQLite makes files of its own beside it."""

_BARE_BYTES = 2**20
"""Without which it can not whatever the config reserves: the embedded store loads no shard."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything open and connected.

    Attributes:
        generations: The live one, and what leads from it to the one that the config asks for.
        search: Of the live one, whichever that is.
        canaries: Documents that freshd writes itself.
        removal: Takes out what is forgotten, or of sources that left the config.

    """

    config: Config
    clock: SystemClock
    database: Database
    ledger: SqliteLedger
    sources: SqliteSources
    generations: Generations[OpenGeneration]
    news: News
    search: Current
    marks: Marks
    targets: tuple[Target, ...]
    canaries: frozenset[tuple[SourceName, DocumentId]]
    removal: Removal

    @property
    def store(self) -> Store:
        """Of the generation that is live at this moment, as all that follows."""
        return self.generations.current.store

    @property
    def recipe(self) -> Recipe:
        """How documents become its points."""
        return self.generations.current.recipe

    @property
    def proof(self) -> SearchProof | None:
        """What reads back what is written to it; None where nothing is kept."""
        return self.generations.current.proof

    def is_canary(self, source: str, document_id: str) -> bool:
        """Tell whether freshd writes this document itself, so that it counts nowhere."""
        return (source, document_id) in self.canaries

    def reindexer(
        self,
        names: Sequence[str] = (),
        *,
        full: bool = False,
        is_whole_run: bool = True,
        on_progress: Callable[[SourceName, int, int], None] = lambda *_: None,
    ) -> Reindexer:
        """Build a one-shot run over the named sources; over all for none.

        Args:
            names: Configured sources.
            full: Have every document read and parsed again, whatever its fingerprint says.
            is_whole_run: See a change of model or recipe through as well.
            on_progress: Hears source, documents done, documents in all.

        """
        self._catch_up()
        cannot_write = (lambda: disk_shortage(self.config)) if self.proof else (lambda: None)
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
                pipeline=self.search,
                clock=self.clock,
                on_progress=on_progress,
                cannot_write=cannot_write,
            ),
            on_scan=mark,
            clock=self.clock,
            afterwards=partial(self._change_generation, cannot_write, on_progress) if is_whole_run else lambda _: None,
        )

    def _change_generation(
        self,
        cannot_write: Callable[[], FreshdError | None],
        on_progress: Callable[[SourceName, int, int], None],
        tallies: Sequence[Tally],
    ) -> None:
        """Fill the generation that the config asks for, and search that from then on; give back room that it takes."""
        by_source = {tally.source: tally for tally in tallies}

        def count(outcomes: Sequence[Outcome]) -> None:
            for outcome in outcomes:
                if (tally := by_source.get(outcome.change.source)) is not None:
                    tally.fates += outcome.fates
                    tally.embedded_characters += outcome.embedded_characters

        self.news.on_filled = count
        self.generations.finish(cannot_write, on_progress)
        self._expunge(cannot_write)
        upkeep = Upkeep(self.generations, self.clock)
        while cannot_write() is None and upkeep.compact():
            pass

    def _expunge(self, cannot_write: Callable[[], FreshdError | None]) -> None:
        """Have what was forgotten leave the store's files, where a former process could not."""
        try:
            while cannot_write() is None and self.removal.expunge_some():
                pass
        except StoreError as error:
            get_logger().warning(Event.EXPUNGE_DELAYED, error=str(error), hint=error.hint or None)

    @property
    def is_one(self) -> bool:
        """Whether ledger and index were last used together; `open_store` makes them one."""
        return are_one(self)

    def seal_anew(self) -> None:
        """Have copies of ledger or index that were taken before be told apart; see `recovering.seal_anew`."""
        seal_anew(self)

    def open_store(self, *, finishes: bool = True) -> None:
        """Open the store and put right what it lost, where `open_whole` was told not to; idempotent.

        A ledger that was brought back from earlier without its index, or the reverse, believes the store.
        A store that holds less than the ledger says lost some of it, or was made anew:
        what is not there any more is put back, vectors from the cache, and its sources prove nothing before.

        Args:
            finishes: Take out what a former process began to forget; False where `Remover.scrub` does, piece by piece.

        Raises:
            StoreUnavailable: It does not answer now.
            CollectionMismatch: It belongs to another instance, or the ledger to another generation.

        """
        self.reach_store()
        self.generations.current.store.publish()
        if caught_up(self):
            self._put_back("ledger and index were not brought back together")
        try:
            expect_points(Proofs(self.database), self.store)
        except PointsLost as loss:
            self._put_back(str(loss))
        if finishes:
            self._finish_forgetting()

    def _finish_forgetting(self) -> None:
        """Take out what a former process began to forget; where that cannot be done now, nothing is shown of it."""
        try:
            if disk_shortage(self.config) is None:
                self.removal.finish()
        except StoreError as error:
            get_logger().warning(Event.EXPUNGE_DELAYED, error=str(error), hint=error.hint or None)

    def reach_store(self) -> None:
        """Open the store and nothing more, whatever it lost; idempotent. Raises as `open_store` does."""
        live = self.generations.current
        expect_live(self, live.record.name, live.store)
        live.store.open(self.ledger.instance)

    def _put_back(self, error: str) -> None:
        """Have everything written again that the store does not hold."""
        documents = sum(self.ledger.doubt(lost, self.clock.now()) for lost in self._lost())
        self.marks.begin_anew(self.ledger.last_seq())
        get_logger().warning(Event.STORE_DOUBTED, documents=documents, error=error)

    def _lost(self) -> Iterator[list[ChunkId]]:
        """Give, page by page, the chunks that the ledger is certain of and the store does not hold."""
        proofs, last = Proofs(self.database), None
        while page := [chunk_id for chunk_id, _ in proofs.claims(last, _PAGE)]:
            there = {point.chunk_id for point in self.store.retrieve(page)}
            faults.hit("mid_recovery")
            yield [chunk_id for chunk_id in page if chunk_id not in there]
            last = page[-1]

    def verify(self, manner: Manner | None = None) -> Verified:
        """Hold the ledger against the store, changing neither; see `verifying.verify`."""
        with self.generations.in_use() as generation:
            return verifying.verify(self, self._within(generation, manner or Manner()))

    def repair(self, manner: Manner, surroundings: Surroundings | None = None, *, is_guarded: bool = True) -> Verified:
        """Do that, and make the store as the ledger says again; without surroundings in a process that is alone."""

        def look_at(names: Sequence[SourceName]) -> None:
            self.reindexer(names, is_whole_run=False).run()

        names = frozenset(target.name for target in self.targets)
        around = surroundings or Surroundings(names, at_once, look_at)
        with self.generations.in_use() as generation:
            manner = self._within(generation, manner)

            def between_batches(work: Callable[[], None]) -> None:
                def checked() -> None:
                    manner.go_on()
                    work()

                around.between_batches(checked)

            guarded = replace(around, between_batches=between_batches)
            return verifying.repair(self, manner, guarded, is_guarded=is_guarded)

    def _within(self, generation: OpenGeneration, manner: Manner) -> Manner:
        """Have a look end when another generation takes over in its midst: ledger and store are two things then."""

        def go_on() -> None:
            manner.go_on()
            if not self.generations.is_live(generation):
                raise StoreUnavailable("store: another generation has taken over meanwhile", hint="freshd verify")

        return replace(manner, go_on=go_on)

    def remover(self, between_batches: BetweenBatches | None = None) -> Remover:
        """Build what forgets and prunes, by a scheduler's `between_batches`, or in the thread of a lone caller."""
        return Remover(
            forgetting=SqliteForgetting(self.database),
            removal=self.removal,
            between_batches=between_batches or self._once_open,
            configured=[target.name for target in self.targets],
            canaries=self.canaries,
            clock=self.clock,
        )

    def _once_open(self, work: Callable[[], T]) -> T:
        shortage = disk_shortage(self.config)
        if shortage is not None:
            raise shortage
        self.reach_store()  # a loss is no matter here
        return work()

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
            pipeline=self.search,
            beside=Upkeep(self.generations, self.clock),
            marks=self.marks,
            guard=self._guard,
            clock=self.clock,
            observer=observer,
            cannot_write=cannot_write,
        )
        self.news.on_ready = scheduler.wake
        lanes = scheduler.lanes.values()
        self.ledger.spare(lambda: [one for lane in lanes for one in lane.being_written()], timedelta(seconds=LONGEST_S))
        return scheduler

    def _catch_up(self) -> None:
        """Believe no clock that was set back, and note what follows from the config."""
        self.sources.disbelieve(self.clock.now())
        SqliteForgetting(self.database).note_configured([target.name for target in self.targets], self.clock.now())
        self.generations.settle()
        if not self.generations.is_under_way:  # documents that changed while another recipe was about to take over
            names = [target.name for target in self.targets]
            self.ledger.invalidate(self.recipe.identity, self.clock.now(), names)

    @property
    def _guard(self) -> Guard:
        return Guard(self.config.guard.documents, self.config.guard.share)

    def _scanner(self, target: Target) -> Scanner:
        return Scanner(target=target, ledger=self.ledger, sources=self.sources, guard=self._guard, clock=self.clock)


def cannot_open(config: Config) -> StoreUnavailable | None:
    """Say why nothing can be opened on a disk that is not only below the reserve, but as good as full."""
    state = StateDirectory(config.state_dir)
    try:
        if not state.path.exists():
            return None
        missing = missing_bytes(config.embedding.model, state.models_dir)
    except PermissionError:  # another user's: who opens it is told so
        return None
    free, free_files = state.free_bytes(), state.free_inodes()
    needed = max(_BARE_BYTES, min(_LEAST_BYTES, config.disk.reserve_bytes)) + missing
    if free >= needed and (free_files is None or free_files >= _LEAST_FILES):
        return None
    got = f"{free >> 20} MiB free, expected at least the {needed >> 20} MiB that opening it takes"
    return disk_shortage(config) or StoreUnavailable(f"{_place(config)}: {got}", hint=_FREE_SOME)


def disk_shortage(config: Config) -> StoreUnavailable | None:
    """Say why nothing may be written where less disk is free than the config reserves; None while there is enough."""
    state, reserve = StateDirectory(config.state_dir), config.disk.reserve_bytes
    free, free_files = state.free_bytes(), state.free_inodes()
    if free < reserve:
        got, hint = f"{free >> 20} MiB free", f"{_FREE_SOME}, or lower [disk] reserve_bytes"
        expected = f"at least the reserve of {reserve >> 20} MiB"
    elif free_files is not None and free_files < RESERVED_FILES:
        got, hint = f"room for {free_files} more files", "delete some files on that disk, or move state_dir"
        expected = f"room for {RESERVED_FILES}"
    else:
        return None
    return StoreUnavailable(f"{_place(config)}: {got}, expected {expected}", hint=hint)


def _place(config: Config) -> str:
    return f"state directory {config.state_dir}"
