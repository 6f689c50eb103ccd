"""Which index is searched, which one is being filled beside it, and which one is kept to go back to."""

from freshd.config import Config
from freshd.generations import Filling
from freshd.ledger.database import Database
from freshd.ledger.generations import Role, SqliteGenerations
from freshd.payload import rfc3339
from freshd.redaction import printable
from freshd.shapes import FillingGeneration, GenerationStatus, RetiredGeneration


def generation_status(config: Config, database: Database, going_on: Filling | None) -> GenerationStatus:
    """Say it from the ledger, and from what a running daemon knows of the filling."""
    records = SqliteGenerations(database)
    live, beside, seen = records.live, records.beside, records.progress()
    filling: FillingGeneration | None = None
    retired: RetiredGeneration | None = None
    if beside is not None and beside.role is Role.FILLING:
        error, eta_s = (going_on.error, going_on.eta_s) if going_on else (None, None)
        filling = {
            "name": beside.name,
            "documents": seen.documents,
            "of": seen.of,
            "eta_seconds": None if eta_s is None else round(eta_s, 1),
            "failed": going_on.failed if going_on else 0,
            "error": None if error is None else printable(error),
        }
    elif beside is not None:
        retired = {"name": beside.name, "until": rfc3339(beside.since + config.generations.keep_for)}
    return {"live": live.name if live else None, "filling": filling, "retired": retired}
