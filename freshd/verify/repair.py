"""Makes divergent points as the ledger says again, and touches nothing else.

    payload proves what it was   ─▶ written whole again, vectors from the cache
    missing, or damaged beyond   ─▶ doubted: the pipeline writes them again, from the source
    orphaned                     ─▶ removed; where that is much of a source, only after another look at it,
                                    and what then is still more than the guard lets pass is held

Every step is done by the thread that writes, asks the ledger again first, and leaves nothing half done:
interrupted anywhere it goes on the next time.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from freshd import faults
from freshd.guard import Guard, Verdict
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.proofs import Proofs
from freshd.model import ChunkId, SourceName
from freshd.payload import stated
from freshd.ports import Clock, Store, StoredPoint
from freshd.verify.findings import Divergence, Finding, Kind, Tally, Verified, or_not_verified
from freshd.verify.verifier import PAGE, Verifier

_PACKED = 16
"""Bytes of a chunk id: a million of them are kept in so many megabytes."""

HELD = "held: more than [guard] lets pass"
_UNREAD = "its source did not show it"
_NOT_CONFIGURED = "its source is not in the config"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else goes on where a repair is done.

    Attributes:
        sources: Those that are configured, whose documents can be read again.
        between_batches: Has the thread that writes do some work.
        look_at: Looks at some sources and sees through whatever is found and pending.

    """

    sources: Collection[SourceName]
    between_batches: Callable[[Callable[[], None]], None]
    look_at: Callable[[Sequence[SourceName]], None]


@dataclass(slots=True)
class _Ids:
    """Chunk ids, packed."""

    packed: bytearray = field(default_factory=bytearray)

    def add(self, chunk_id: ChunkId) -> None:
        self.packed += UUID(chunk_id).bytes

    def pages(self) -> Iterator[list[ChunkId]]:
        step = PAGE * _PACKED
        for start in range(0, len(self.packed), step):
            part = bytes(self.packed[start : start + step])
            yield [ChunkId(str(UUID(bytes=part[at : at + _PACKED]))) for at in range(0, len(part), _PACKED)]


class Repair:
    """One repair. Used from one thread, once."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        ledger: SqliteLedger,
        proofs: Proofs,
        store: Store,
        guard: Guard,
        clock: Clock,
        surroundings: Surroundings,
        is_guarded: bool = True,
    ) -> None:
        """Prepare.

        Args:
            verifier: One that is to mend.
            ledger: Takes back what it claims of points that have to be written again.
            proofs: Tells what the ledger knows.
            store: Is mended.
            guard: Says how many orphans go without a person.
            clock: Says when.
            surroundings: Who else is concerned.
            is_guarded: False removes all orphans.

        """
        self._verifier = verifier
        self._ledger = ledger
        self._proofs = proofs
        self._store = store
        self._guard = guard
        self._clock = clock
        self._surroundings = surroundings
        self._is_guarded = is_guarded
        self._wrong, self._orphans = _Ids(), _Ids()
        self._doubted: set[SourceName] = set()

    def run(self) -> Verified:
        """Find what differs and mend it.

        Raises:
            NotVerified: The store did not answer; what was mended is.
            FreshdError: Nothing may be written now.

        """
        found = self._verifier.run(self._mend)
        if not sum(found.divergent.values()):
            return found
        with or_not_verified():
            if self._doubted:
                self._surroundings.look_at(sorted(self._doubted))
            held = self._clear() if self._orphans.packed else set()
            return self._judged(found, held)

    def _in_writer(self, work: Callable[[], None]) -> None:
        def do() -> None:
            self._verifier.expect_generation()
            self._store.ping()
            faults.hit("mid_repair")
            work()

        self._surroundings.between_batches(do)

    # Missing and damaged

    def _mend(self, findings: Sequence[Finding]) -> None:
        """Mend a page of what was found, but for orphans, which are judged all together."""
        proved = [finding for finding in findings if finding.point]
        doubtful = [f for f in findings if f.claim and not f.point and f.claim.source in self._surroundings.sources]
        if proved:
            self._in_writer(partial(self._write, proved))
        if doubtful:
            self._in_writer(partial(self._doubt, doubtful))
        for finding in findings:
            is_orphan = finding.divergence.kind is Kind.ORPHANED
            (self._orphans if is_orphan else self._wrong).add(finding.divergence.chunk_id)

    def _write(self, findings: Sequence[Finding]) -> None:
        """Write whole again what the ledger still says the same of, and nobody has touched meanwhile."""
        points = [finding.point for finding in self._standing(findings) if finding.point]
        if points:
            self._store.upsert(points)
            self._store.flush()

    def _doubt(self, findings: Sequence[Finding]) -> None:
        standing = self._standing(findings)
        self._ledger.doubt([finding.divergence.chunk_id for finding in standing], self._clock.now())
        self._doubted.update(finding.claim.source for finding in standing if finding.claim)

    def _standing(self, findings: Sequence[Finding]) -> list[Finding]:
        ids = [finding.divergence.chunk_id for finding in findings]
        claims = self._proofs.claims_of(ids)
        return [one for one in findings if claims.get(one.divergence.chunk_id) == one.claim]

    # Orphans

    def _clear(self) -> set[str]:
        """Remove orphans; give the sources whose orphans are held."""
        masses = self._masses() if self._is_guarded else set()
        again = sorted(masses & set(self._surroundings.sources))
        if again:
            self._surroundings.look_at([SourceName(name) for name in again])
            masses = self._masses()
        for page in self._orphans.pages():
            self._in_writer(partial(self._remove, page, masses))
        return masses

    def _masses(self) -> set[str]:
        """Find the sources of whose documents so many are orphaned that the guard would not let them go."""
        masses: set[str] = set()
        documents: dict[str, set[str]] = {}
        for page in self._orphans.pages():
            for point in self._strays(page):
                said = stated(point.payload)
                if said.source in masses:
                    continue
                own = documents.setdefault(said.source, set())
                own.add(said.document_id)
                of = self._proofs.documents_of(SourceName(said.source)) + len(own)
                if self._guard.judge(len(own), of) is not Verdict.PASS:
                    masses.add(said.source)
                    del documents[said.source]
        return masses

    def _remove(self, page: Sequence[ChunkId], masses: Collection[str]) -> None:
        strays = [p.chunk_id for p in self._strays(page) if stated(p.payload).source not in masses]
        if strays:
            self._store.remove(strays)
            self._store.flush()

    def _strays(self, page: Sequence[ChunkId]) -> list[StoredPoint]:
        """Give those points of freshd's that the ledger knows nothing of at this moment."""
        known = self._proofs.claims_of(page).keys() | self._proofs.unknown_among(page)
        unknown = [chunk_id for chunk_id in page if chunk_id not in known]
        return [point for point in self._store.retrieve(unknown) if stated(point.payload).is_ours] if unknown else []

    # What came of it

    def _judged(self, found: Verified, held: Collection[str]) -> Verified:
        """Look once more at everything that differed, and say why what is left could not be mended."""
        left, n_held = Tally(), 0
        for ids in (self._wrong, self._orphans):
            for page in ids.pages():
                findings = self._verifier.look_again(page)
                errors = self._proofs.errors_of([finding.divergence.chunk_id for finding in findings])
                for finding in findings:
                    one = finding.divergence
                    is_held = one.kind is Kind.ORPHANED and one.source in held
                    n_held += is_held
                    left.add(one._replace(what=HELD if is_held else self._said(one, errors.get(one.chunk_id))))
        elapsed = self._clock.now() - found.began_at
        return replace(
            found,
            elapsed=max(elapsed, found.elapsed),
            left=left.by_kind(),
            by_source=dict(left.by_source),
            examples=tuple(left.examples),
            held=n_held,
        )

    def _said(self, one: Divergence, error: str | None) -> str:
        is_readable = one.source in self._surroundings.sources
        reason = (error or _UNREAD) if is_readable else _NOT_CONFIGURED
        return ": ".join(filter(None, (one.what, reason)))
