"""Forgets documents and prunes sources that left the config, piece by piece in the thread that writes.

    forget ─▶ noted, out of search ─▶ piece · piece · … ─▶ no trace in store, ledger, history, cache ─▶ nor in any file
    prune  ─────────────────────────▶ piece · piece · …

What was begun to be forgotten is finished by the next start; what was begun to be pruned goes on when asked again.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from freshd import faults
from freshd.errors import ConfigError, StoreUnavailable
from freshd.ledger.forgetting import Removed, SqliteForgetting
from freshd.model import DocumentId, SourceName
from freshd.pipeline.removal import Removal, Taken
from freshd.ports import Clock
from freshd.redaction import printable
from freshd.scheduler.errands import BetweenBatches

KEPT_FOR = timedelta(days=7)
"""How long the documents of a source stay that left the config, so that a slip of the pen costs nothing."""

Named = tuple[SourceName, DocumentId | None]
"""A document, or a source with all that is known of it."""

OnProgress = Callable[[int, int], None]
"""Hears documents done, and documents in all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten.

    Attributes:
        unknown: Documents of which nothing was known; they stay out all the same, but not what lies below a folder.

    """

    taken: Taken
    unknown: tuple[str, ...] = ()


class Remover:
    """Takes documents out of the index because a person says so, or a config did long enough ago."""

    def __init__(
        self,
        *,
        forgetting: SqliteForgetting,
        removal: Removal,
        between_batches: BetweenBatches,
        configured: Sequence[SourceName],
        canaries: Collection[tuple[SourceName, DocumentId]],
        clock: Clock,
    ) -> None:
        """Work on open parts.

        Args:
            forgetting: Notes what is to go.
            removal: Takes it out.
            between_batches: Has work done while nothing else writes.
            configured: Sources of the config.
            canaries: Documents that freshd writes itself, which stay.
            clock: Says how long ago a source left.

        """
        self._forgetting = forgetting
        self._removal = removal
        self._between_batches = between_batches
        self._configured = tuple(configured)
        self._canaries = canaries
        self._clock = clock

    def forget(self, names: Sequence[Named], on_progress: OnProgress = lambda *_: None) -> Forgotten:
        """Take documents out of everything that freshd keeps, at once and unguarded, and keep them out.

        A name that ends with a slash, and is none of a document, means all that are known below it.

        Raises:
            ConfigError: A source is unknown, a document is a canary, or a folder is named without its slash;
                nothing was done.
            StoreUnavailable: It is noted and out of search; the store gives it up once it answers,
                or its files do once there is room on the disk.

        """
        for source, document_id in names:
            self._check(source, document_id)
        n_known, unknown = 0, []
        for source, document_id in names:
            if document_id is None:
                spare = next((canary for of, canary in self._canaries if of == source), None)
                n_known += self._forgetting.forget_source(source, spare=spare)
                continue
            below = self._below(source, document_id)
            if not (below or self._forgetting.is_known(source, document_id)):
                unknown.append(f"{source}/{document_id}")
            n_known += self._forgetting.forget(source, below or [document_id])
        faults.hit("after_forget_intent")
        return Forgotten(self._finish(n_known, on_progress), tuple(unknown))

    def _finish(self, n_known: int, on_progress: OnProgress) -> Taken:
        total = Taken()
        on_progress(0, n_known)
        try:
            for taken in self._pieces(self._removal.forget_some):
                total += taken
                on_progress(total.documents, max(n_known, total.documents))
            self._between_batches(self._removal.scrub)
        except StoreUnavailable as error:
            what = f"{error}; what was to be forgotten is out of search, and leaves the store once that answers"
            raise StoreUnavailable(what, hint=error.hint or "freshd run") from error
        self._expunge(total.documents, on_progress)
        return total

    def _expunge(self, n_done: int = 0, on_progress: OnProgress = lambda *_: None) -> None:
        """Have what was forgotten leave the store's files, piece by piece."""
        try:
            while left := self._between_batches(self._removal.expunge_some):
                n_done += 1
                on_progress(n_done, n_done + left)
        except StoreUnavailable as error:
            what = f"{error}; what was forgotten is out of search and store, and leaves the files of the index later"
            raise StoreUnavailable(what, hint=error.hint or "freshd run") from error

    def undo(self, names: Sequence[Named]) -> list[str]:
        """Let documents in again at the next scan; give those that were kept out.

        Raises:
            ConfigError: A whole source is named: which documents it had was forgotten as well.

        """
        for source, document_id in names:
            if document_id is None:
                raise ConfigError(
                    f"undo: got '{source}', expected SOURCE/ID: which documents it had was forgotten with them",
                    hint=f"freshd forget --undo {source}/ID",
                )
        pairs = [(source, document_id) for source, document_id in names if document_id is not None]
        return [f"{source}/{name}" for source, name in pairs if self._forgetting.undo(source, name)]

    def prune(self, source: SourceName, on_progress: OnProgress = lambda *_: None) -> Taken:
        """Take what is left of a source that left the config out of store and ledger; its history stays.

        Raises:
            ConfigError: It is in the config, or nothing is known of it.
            StoreUnavailable: Some of it may be left; ask again.

        """
        if source in self._configured:
            raise ConfigError(
                f"prune: source '{source}' is in the config, expected one that left it",
                hint=f"take it out of the config first, or: freshd forget {source}",
            )
        removed = {one.name: one for one in self.removed()}
        if source not in removed:
            known = f"one of: {', '.join(removed)}" if removed else "a source that left the config; there is none"
            raise ConfigError(f"prune: got '{printable(source)}', expected {known}", hint="freshd status")
        return self._prune(removed[source], on_progress)

    def prune_due(self) -> dict[SourceName, Taken]:
        """Prune every source that left the config long enough ago; give those, and what was taken out.

        Raises:
            StoreUnavailable: As above.

        """
        until = self._clock.now() - KEPT_FOR
        due = [one for one in self.removed() if one.since is not None and one.since <= until]
        return {one.name: self._prune(one, lambda *_: None) for one in due}

    def removed(self) -> list[Removed]:
        """List the sources that left the config."""
        return self._forgetting.removed(self._configured)

    def scrub(self) -> bool:
        """Finish what was begun to be forgotten, and try again to leave no trace of it, if there may be any.

        Returns:
            Whether the store's files held something, and hold nothing of it any more.

        Raises:
            StoreUnavailable: Nothing can be written now, or there is no room for it.

        """
        if self._forgetting.must_scrub:
            for _ in self._pieces(self._removal.forget_some):
                pass
            self._between_batches(self._removal.scrub)
        if self._forgetting.occasion is None:
            return False
        self._expunge()
        return True

    def _prune(self, removed: Removed, on_progress: OnProgress) -> Taken:
        total = Taken()
        for taken in self._pieces(lambda: self._removal.prune_some(removed.name)):
            total += taken
            on_progress(total.documents, max(removed.documents, total.documents))
        return total

    def _pieces(self, take_some: Callable[[], T | None]) -> Iterator[T]:
        while (taken := self._between_batches(take_some)) is not None:
            yield taken

    def _check(self, source: SourceName, document_id: DocumentId | None) -> None:
        if source not in self._configured and not self._forgetting.is_known(source):
            known = ", ".join([*self._configured, *(one.name for one in self.removed())])
            raise ConfigError(f"source: got '{printable(source)}', expected one of: {known}", hint="freshd status")
        if (source, document_id) in self._canaries:
            raise ConfigError(
                f"forget: {source}/{document_id} is the canary that freshd writes itself, expected another document",
                hint="take `canary_path` out of the source's config: it is deleted then",
            )
        if document_id is None or document_id.endswith("/") or self._forgetting.is_known(source, document_id):
            return
        below = self._forgetting.below(source, document_id)
        if below:  # they would stay, and the name of nothing be kept out
            name = printable(f"{source}/{document_id}")
            what = f"forget: got '{name}', expected a document: {len(below):,} of them lie below it"
            raise ConfigError(what, hint=f"freshd forget {name}/   (forgets those)")

    def _below(self, source: SourceName, document_id: DocumentId) -> list[DocumentId]:
        """List what a folder's name means; nothing for that of a document."""
        if not document_id.endswith("/") or self._forgetting.is_known(source, document_id):
            return []
        spared = {canary for of, canary in self._canaries if of == source}
        return [name for name in self._forgetting.below(source, document_id) if name not in spared]
