"""Puts a ledger right that does not fit its index: lost, damaged, or brought back from earlier without it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from freshd.compose.generation import KeptStore
from freshd.compose.verifying import Parts
from freshd.errors import CollectionMismatch, StateError, StoreUnavailable
from freshd.ledger import history, seal
from freshd.ledger.database import Database
from freshd.ledger.takeover import Taken
from freshd.logs import Event, get_logger
from freshd.rebuild import Place, Survey, believe
from freshd.redaction import printable
from freshd.state import StateDirectory

_AT_HAND = "free some disk space, or see that freshd may open files and write there; it carries on by itself then"


class GenerationReplaced(CollectionMismatch):
    """What the ledger calls live is gone, and another generation of its instance is there: ledger or index is older."""

    exit_code = 12


def are_one(parts: Parts) -> bool:
    """Tell whether ledger and index were last used together.

    Raises:
        StoreUnavailable: What tells cannot be read now.

    """
    with _seal_of(parts) as path:
        return seal.fits(parts.database, path)


def expect_live(parts: Parts, live: str, store: KeptStore) -> None:
    """Refuse to make a live generation anew, empty, while another is there that its ledger knows nothing of.

    Raises:
        GenerationReplaced: The ledger is from before the index's last change of generation, or from after it.

    """
    if not are_one(parts) and (others := store.instead(parts.ledger.instance)):
        what = f"got {', '.join(map(printable, others))}, expected {printable(live)}, which the ledger calls live"
        raise GenerationReplaced(
            f"index: {what}: one of the two was brought back without the other",
            hint="bring back the other one too; or stop freshd, then: freshd ledger rebuild   (from what is there)",
        )


def caught_up(parts: Parts) -> bool:
    """Have a ledger believe the store where one of the two was brought back without the other; tell whether it was.

    Renews their seal, so that a copy of either that was taken before is told apart from now on.
    """
    is_one = are_one(parts)
    if not is_one:
        folder = StateDirectory(parts.config.state_dir).path
        with closing(Survey(parts.store, parts.recipe.limits.max_tokens, folder)) as survey:
            survey.read()
            believed = believe(parts.database, survey, parts.clock.now())
        get_logger().warning(
            Event.LEDGER_RECONCILED,
            points=believed.points,
            documents=believed.taken[Taken.APPLIED],
            in_doubt=believed.taken[Taken.UNKNOWN],
        )
    if not is_one or parts.database.recall(history.COPIED):
        history.part(parts.database, parts.clock.now())
    with _seal_of(parts) as path:
        seal.renew(parts.database, path)
    return not is_one


def seal_anew(parts: Parts) -> None:
    """Have a copy of either that was taken before be told apart from now on, where ledger and index are one.

    Raises:
        StoreUnavailable: It cannot be done now.

    """
    with _seal_of(parts) as path:
        if seal.fits(parts.database, path):
            seal.renew(parts.database, path)


@contextmanager
def _seal_of(parts: Parts) -> Iterator[Path]:
    """Give the file that is the seal; where it cannot be got at, for want of files or room, the store is not there."""
    path = StateDirectory(parts.config.state_dir).seal_path
    try:
        yield path
    except OSError as error:
        what = f"store: its seal {path} cannot be read or renewed: {error.strerror}"
        raise StoreUnavailable(what, hint=_AT_HAND) from error


@contextmanager
def open_ledger(state: StateDirectory) -> Iterator[Database]:
    """Open the ledger of a locked state directory, all of which is read once; close it at the end.

    Renews the seal at the end too, unless ledger and index were found not to fit and nobody could see to it.

    Raises:
        StateUnusable: It is damaged, anywhere, or lost beside an index; it is left as it was.

    """
    was_cut_off = Place(state.ledger_path, state.seal_path).was_cut_off  # a rebuild; on a server nothing else tells
    with closing(Database(state.ledger_path, may_create=not (state.holds_index or was_cut_off))) as database:
        database.expect_whole()
        try:
            yield database
        finally:
            with suppress(sqlite3.Error, StateError, OSError):  # it only tells less of copies taken meanwhile
                if state.seal_path.exists() and seal.fits(database, state.seal_path):
                    seal.renew(database, state.seal_path)
