"""What lies in a state directory, read from a copy of it: nothing that reads changes what is looked at."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdrant_edge import EdgeShard, ScrollRequest

from freshd.ledger.database import Database
from freshd.ledger.documents import SqliteLedger
from freshd.ledger.proofs import Proofs
from freshd.stores.wire import shard_of
from tests.kit.histories import memory

_PAGE = 1_000


@dataclass(frozen=True)
class Durable:
    """What a state directory holds while nobody works in it.

    Attributes:
        points: By id: payload, dense vector, BM25 weights.
        certain: Chunks of applied documents: source, document, digest of that one's bytes.
        unknown: Those that an attempt may have touched, so that the ledger is not sure of them.
        pending: Documents that are being written, whose standing chunks may have been told so already.

    """

    points: dict[str, dict[str, Any]]
    certain: dict[str, tuple[str, str, str]]
    unknown: set[str]
    pending: set[tuple[str, str]]

    def complaints(self) -> list[str]:
        """Say what is ahead of the store (I2), and what nobody would ever remove from it (I3)."""
        found = []
        for chunk_id in self.certain.keys() - self.unknown:
            source, document_id, digest = self.certain[chunk_id]
            point = self.points.get(chunk_id)
            if point is None:
                found.append(f"lost: {source}/{document_id} is applied, and its chunk {chunk_id} is not in the store")
            elif point["payload"]["content_sha256"] != digest and (source, document_id) not in self.pending:
                found.append(f"stale: {source}/{document_id} is applied, and its chunk {chunk_id} is of other bytes")
        strays = self.points.keys() - self.certain.keys() - self.unknown
        return found + [f"stray: nobody knows of point {chunk_id}" for chunk_id in strays]


def read_durable(state: Path) -> Durable:
    """Read a state directory, which may be what a killed process left, or not be there yet."""
    if not state.exists():
        return Durable({}, {}, set(), set())
    with _copied(state) as copy:
        if not (copy / "ledger.db").exists():
            return Durable(read_points(copy), {}, set(), set())
        with closing(Database(copy / "ledger.db")) as database:
            ledger, proofs = SqliteLedger(database), Proofs(database)
            certain: dict[str, tuple[str, str, str]] = {}
            last = None
            while page := proofs.claims(last, _PAGE):
                certain |= {chunk_id: (claim.source, claim.document_id, claim.digest) for chunk_id, claim in page}
                last = page[-1][0]
            points = read_points(copy)
            ids = sorted({*points, *certain})
            unknown = proofs.unknown_among(ids)
            documents = {(source, document) for source, document, _ in certain.values()}
            pending = {key for key in documents if ledger.pending_of(*key) is not None}
    return Durable(points, certain, unknown, pending)


def read_points(state: Path, generation: str = "*") -> dict[str, dict[str, Any]]:
    """Read every point of the one shard in a state directory that may be changed by it; none where none was made.

    Args:
        state: The state directory.
        generation: The one whose shard is meant, where there may be several.

    """
    shards = [path for one in (state / "index").glob(f"{generation}/") if (path := Path(shard_of(one))).is_dir()]
    assert len(shards) <= 1, shards
    points: dict[str, dict[str, Any]] = {}
    for path in shards:
        shard = EdgeShard.load(str(path))
        offset: Any = None
        while True:
            records, offset = shard.scroll(
                ScrollRequest(offset=offset, limit=_PAGE, with_payload=True, with_vector=True)
            )
            points |= {str(record.id): _point(record) for record in records}
            if offset is None:
                break
        shard.close()
    return points


def _point(record: Any) -> dict[str, Any]:
    sparse = record.vector["bm25"]
    weights = dict(zip(sparse.indices, sparse.values, strict=True))
    return {"payload": record.payload, "dense": list(record.vector[""]), "bm25": weights}


@contextmanager
def _copied(state: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="freshd-look-", dir=memory()) as folder:
        copy = Path(folder) / "state"
        copy_tree(state, copy)
        yield copy


def copy_tree(origin: Path, copy: Path) -> None:
    """Copy with times, rights and holes: the engine's files are a thousand times larger than full."""
    subprocess.run(["cp", "--archive", "--sparse=always", origin, copy], check=True)
