"""What is noted down beside the ledger for a moment."""

from contextlib import closing
from pathlib import Path

from freshd.ledger.scratch import open_scratch


def test_what_goes_with_its_connection_waits_for_no_disk(tmp_path: Path):
    """It is written in thousands of pieces, all over the file: to sync each would take as long as reading the index."""
    with closing(open_scratch(tmp_path, "CREATE TABLE points (id TEXT PRIMARY KEY)")) as scratch:
        assert scratch.execute("PRAGMA synchronous").fetchone() == (0,)
        assert not list(tmp_path.iterdir())
