"""A large tree of small files, and a ledger that knows all of them: what an index of it would have left behind.

Files say little and hold no passage of their own, so the ledger is told at once what a first index would find,
through the same calls, and a million documents are there in minutes rather than in a day.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from freshd.compose import Whole
from freshd.model import Change, ChangeKind, Digest, DocumentRef, Outcome, OutcomeKind
from freshd.ports import Applied

FILES_A_FOLDER = 100
FOLDERS_AN_AREA = 50
_AT_ONCE = 2_000
_NOTHING = Digest(hashlib.sha256().hexdigest())


def grow(root: Path, n: int) -> None:
    """Make so many files, in folders of folders."""
    for first in range(0, n, FILES_A_FOLDER):
        area, topic = divmod(first // FILES_A_FOLDER, FOLDERS_AN_AREA)
        folder = root / f"area-{area:03d}" / f"topic-{topic:02d}"
        folder.mkdir(parents=True)
        fd = os.open(folder, os.O_RDONLY)
        for number in range(first, min(first + FILES_A_FOLDER, n)):
            file = os.open(f"note-{number:07d}.md", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
            os.write(file, b"# Note %d\n" % number)
            os.close(file)
        os.close(fd)


def learn(whole: Whole) -> int:
    """Have the ledger take everything that is there for indexed, and holding no passage; give how many documents."""
    (target,) = whole.targets
    listing = iter(target.connector.list())
    n = 0
    while refs := [DocumentRef.of(seen) for seen in islice(listing, _AT_ONCE)]:
        now = whole.clock.now()
        whole.ledger.record(
            [Change(target.name, ref.document_id, ChangeKind.ADDED, ref, now, now) for ref in refs], None
        )
        whole.ledger.commit(list(_applied(whole, _AT_ONCE)))
        n += len(refs)
    return n


def _applied(whole: Whole, limit: int) -> Iterator[Applied]:
    now = whole.clock.now()
    for pending in whole.ledger.take(now, limit):
        ref = pending.change.ref
        outcome = Outcome(pending.change, OutcomeKind.INDEXED, searchable_at=now)
        yield Applied(pending, outcome, ref, _NOTHING, whole.recipe.identity, _NOTHING, (), now)
