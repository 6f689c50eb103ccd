"""Puts a ledger right that does not fit its index: lost, damaged, or brought back from earlier without it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from freshd.compose.verifying import Parts
from freshd.errors import StateError
from freshd.ledger import history, seal
from freshd.ledger.database import Database
from freshd.ledger.takeover import Taken
from freshd.logs import Event, get_logger
from freshd.rebuild import Survey, believe
from freshd.state import StateDirectory


def caught_up(parts: Parts) -> bool:
    """Have a ledger believe the store where one of the two was brought back without the other; tell whether it was.

    Renews their seal, so that a copy of either that was taken before is told apart from now on.
    """
    path = StateDirectory(parts.config.state_dir).seal_path
    fits = seal.fits(parts.database, path)
    if not fits:
        with closing(Survey(parts.store, parts.recipe.limits.max_tokens)) as survey:
            survey.read()
            believed = believe(parts.database, survey, parts.clock.now())
        get_logger().warning(
            Event.LEDGER_RECONCILED,
            points=believed.points,
            documents=believed.taken[Taken.APPLIED],
            in_doubt=believed.taken[Taken.UNKNOWN],
        )
    if not fits or parts.database.recall(history.COPIED):
        history.part(parts.database, parts.clock.now())
    seal.renew(parts.database, path)
    return not fits


@contextmanager
def open_ledger(state: StateDirectory) -> Iterator[Database]:
    """Open the ledger of a locked state directory, all of which is read once; close it at the end.

    Renews the seal at the end too, unless ledger and index were found not to fit and nobody could see to it.

    Raises:
        StateUnusable: It is damaged, anywhere, or lost beside an index; it is left as it was.

    """
    with closing(Database(state.ledger_path, may_create=not state.holds_index)) as database:
        database.expect_whole()
        try:
            yield database
        finally:
            with suppress(sqlite3.Error, StateError, OSError):  # it only tells less of copies taken meanwhile
                if state.seal_path.exists() and seal.fits(database, state.seal_path):
                    seal.renew(database, state.seal_path)
