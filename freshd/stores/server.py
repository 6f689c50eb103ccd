"""The store on a Qdrant server or cluster, over its HTTP interface.

Every write waits until it is applied; what the server has acknowledged is in its write-ahead log.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from freshd import faults
from freshd.errors import CollectionMismatch, StoreError, StoreUnavailable
from freshd.model import ChunkId, Match, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.ports import StoredPoint
from freshd.redaction import printable, without_url_secrets
from freshd.stores import aliases, intake, versions
from freshd.stores.pause import Pause
from freshd.stores.points import SPARSE, as_filter, as_operation, as_point, as_stored, json_bytes, label_bytes
from freshd.stores.requests import MOST_ITEMS, Portions, TooLarge
from freshd.stores.wire import unpack_dense

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

_LONG_S = 0.5
"""What fails sooner holds up nobody, and may be asked again at once."""

_PUT_BACK = "freshd reindex   (vectors come from the cache)"


class ServerStore:
    """Points in a collection of a Qdrant server; see `freshd.ports.Store` for the contract."""

    def __init__(
        self,
        url: str,
        collection: str,
        dimension: int,
        *,
        alias: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        client: QdrantClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: Of the server; without a port, 6333.
            collection: Name of a collection or of an alias.
            dimension: Length of every dense vector.
            alias: Name that `publish` has stand for the collection; None where nobody else has to find it.
            api_key: Sent with every request; never shown.
            timeout_s: Of one request as a whole, rounded up to whole seconds.
            client: Used instead of one made for `url`, for tests.
            monotonic: Clock of the pauses in which searches do not wait for a server that fell silent.

        """
        self._where = f"collection '{collection}' at {without_url_secrets(url)}"
        self._collection = collection
        self._alias = alias
        self._dimension = dimension
        self._instance = ""
        self._client = client or _connect(url, api_key, timeout_s)
        self._portions = Portions()
        self._silence = Pause(monotonic, trial_s=timeout_s)

    @property
    def openings(self) -> int:
        """Always 0: nobody tells when a server was started."""
        return 0

    def whose(self) -> tuple[str, str] | None:
        """Tell which collection the name stands for, and which instance it belongs to; None for one of nobody's."""
        with self._guarded():
            name = aliases.stands_for(self._client, self._collection) or self._collection
            if not self._client.collection_exists(name):
                return None
            owner = _owner(self._client.get_collection(name))
            return None if owner is None else (name, owner)

    def open(self, instance: str) -> None:
        """Open the collection, creating it when absent; idempotent."""
        with self._guarded():
            self._expect_alias(instance)
            # What this store has opened before is never made anew: it would be empty, and nobody would notice.
            if not self._instance and not self._client.collection_exists(self._collection):
                self._create(instance)
            info = self._client.get_collection(self._collection)
            self._expect(info, instance)
            self._create_indexes(info)
        self._instance = instance

    def publish(self) -> None:
        """Have the alias stand for this collection, from one moment to the next; idempotent.

        Raises:
            CollectionMismatch: Somebody else's collection has that name, or somebody else's alias.

        """
        if self._alias is not None:
            with self._guarded():
                self._expect_alias(self._instance)
                aliases.point(self._client, self._alias, self._collection)

    def compact(self) -> bool:
        """Do nothing: the server's optimiser does."""
        return False

    def expunge(self, occasion: str) -> int:
        """Do nothing: the server rewrites its files when its optimiser sees fit."""
        return 0

    def instead(self, instance: str) -> list[str]:
        """Name the instance's collection that the alias stands for, where this one is not there."""
        with self._guarded():
            if self._alias is None or self._client.collection_exists(self._collection):
                return []
            name = aliases.stands_for(self._client, self._alias)
            is_ours = name is not None and _owner(self._client.get_collection(name)) == instance
            return [name] if name is not None and is_ours else []

    def discard(self, instance: str) -> None:
        """Delete the collection; an absent one is no error.

        Raises:
            CollectionMismatch: It is another instance's.

        """
        with self._guarded():
            if not self._client.collection_exists(self._collection):
                return
            self._expect_owner(_owner(self._client.get_collection(self._collection)), instance)
            faults.hit("mid_discard")
            self._client.delete_collection(self._collection)

    def ping(self) -> None:
        """Prove that the server answers and that the collection is still ours."""
        with self._guarded():
            self._expect(self._client.get_collection(self._collection), self._instance)

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points whole, in portions a server takes."""

        def write(portion: list[intake.Admitted]) -> None:
            with self._guarded():
                self._client.upsert(self._collection, [as_point(point) for point in portion], wait=True)

        self._portions.send(intake.admit(points, self._dimension), json_bytes, write)

    def relabel(self, labels: Sequence[Relabel]) -> None:
        """Set payload fields of points that certainly exist."""

        def write(portion: list[intake.Label]) -> None:
            with self._guarded():
                self._client.batch_update_points(self._collection, list(map(as_operation, portion)), wait=True)

        self._portions.send(intake.check_labels(labels, MOST_ITEMS), label_bytes, write)

    def remove(self, chunk_ids: Sequence[ChunkId]) -> None:
        """Delete points by id; absent ones are no error.

        BM25's statistics count the deleted until the server's optimiser has swept its segments, of its own accord.
        """
        from qdrant_client import models

        intake.check_ids(chunk_ids)
        for ids in intake.in_runs(chunk_ids, MOST_ITEMS):
            with self._guarded():
                self._client.delete(self._collection, models.PointIdsList(points=list(ids)), wait=True)

    def flush(self) -> None:
        """Prove that what was written went into this collection; it is as durable as the server's settings make it.

        One that was deleted, or swapped for another, meanwhile would take writes all the same.
        """
        self.ping()

    def search_dense(self, vector: Vector, limit: int, where: SearchFilter) -> list[Match]:
        """Nearest points by cosine, best first."""
        intake.check_dense(vector, self._dimension)
        return self._search(unpack_dense(vector).tolist(), None, limit, intake.check_search(limit, where))

    def search_sparse(self, vector: SparseVector, limit: int, where: SearchFilter) -> list[Match]:
        """Best points by BM25, best first; none for an empty vector."""
        from qdrant_client import models

        indices, values = intake.check_sparse(vector)
        conditions = intake.check_search(limit, where)
        if not indices:
            return []
        return self._search(models.SparseVector(indices=indices, values=values), SPARSE, limit, conditions)

    def _search(self, query: Any, using: str | None, limit: int, conditions: list[intake.Condition]) -> list[Match]:
        self._silence.check()
        with self._guarded():
            where = as_filter(conditions)
            answer = self._client.query_points(
                self._collection, query, using=using, limit=limit, query_filter=where, with_payload=False
            )
        return [Match(ChunkId(str(hit.id)), hit.score) for hit in answer.points]

    def retrieve(self, chunk_ids: Sequence[ChunkId], *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read points by id; absent ones are left out."""
        intake.check_ids(chunk_ids)
        found: list[StoredPoint] = []
        for ids in intake.in_runs(chunk_ids, MOST_ITEMS):
            self._silence.check()
            with self._guarded():
                found += map(as_stored, self._client.retrieve(self._collection, ids, True, with_vectors))
        return found

    def scroll(self, after: ChunkId | None, limit: int, *, with_vectors: bool = False) -> list[StoredPoint]:
        """Read a page in id order; the server's own offset is inclusive, and may name a point that is gone.

        Points whose ids are numbers, which are not freshd's, come first.
        """
        intake.check_limit(limit)
        is_number = after is not None and after.isdecimal()
        intake.check_ids([] if after is None or is_number else [after])
        offset = int(after) if after is not None and is_number else after
        with self._guarded():
            records, _ = self._client.scroll(
                self._collection, limit=limit + 1, offset=offset, with_payload=True, with_vectors=with_vectors
            )
        return [as_stored(record) for record in records if str(record.id) != after][:limit]

    def count(self) -> int:
        """Exact number of points."""
        with self._guarded():
            return self._client.count(self._collection, exact=True).count

    def close(self) -> None:
        """Close pooled connections; idempotent."""
        self._client.close()

    def _create(self, instance: str) -> None:
        from qdrant_client import models

        versions.expect_new(self._client, self._where)
        self._client.create_collection(
            self._collection,
            vectors_config=models.VectorParams(size=self._dimension, distance=models.Distance.COSINE),
            sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            metadata={"freshd": {"instance": instance}},
        )

    def _create_indexes(self, info: models.CollectionInfo) -> None:
        """Create what is missing: all of them in a new collection, so before any data; none most times."""
        from qdrant_client import models

        for key, has_prefixes in intake.INDEXES:
            if key not in info.payload_schema:
                schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=has_prefixes)
                self._client.create_payload_index(self._collection, key, schema, wait=True)

    def _expect(self, info: models.CollectionInfo, instance: str) -> None:
        """Refuse a collection of another instance or shape; nothing has been written to it then."""
        self._expect_owner(_owner(info), instance)
        dense = info.config.params.vectors
        sparse = (info.config.params.sparse_vectors or {}).get(SPARSE)
        got = (getattr(dense, "size", None), getattr(dense, "distance", None), getattr(sparse, "modifier", None))
        expected = (self._dimension, "Cosine", "idf")
        if got != expected:
            raise CollectionMismatch(
                f"{self._where}: holds {_shape(*got)}, expected {_shape(*expected)}",
                hint=f"set another [store] collection, then: {_PUT_BACK}",
            )

    def _expect_owner(self, owner: str | None, instance: str) -> None:
        if owner != instance:
            whose = "no freshd" if owner is None else f"instance {owner}"
            raise AnothersCollection(
                f"{self._where}: belongs to {whose}, expected instance {instance}",
                hint="name another collection in [store], or bring back the state directory that this one came with"
                + ("; if that is lost: freshd ledger rebuild" if owner else ""),
            )

    def _expect_alias(self, instance: str) -> None:
        """Refuse a name that means something else on this server; nothing has been written then."""
        if self._alias is None:
            return
        held = aliases.stands_for(self._client, self._alias)
        if held is not None:
            self._expect_owner(_owner(self._client.get_collection(held)), instance)
        elif aliases.is_collection(self._client, self._alias):
            what = f"there is a collection '{self._alias}', expected that name to be free for an alias"
            raise CollectionMismatch(f"{self._where}: {what}", hint="name another collection in [store]")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Have searches pause after a call that was long and in vain, whose ever it was."""
        began_s = time.monotonic()
        try:
            with self._explained():
                yield
        except StoreError as error:
            if isinstance(error, StoreUnavailable) and time.monotonic() - began_s > _LONG_S:
                self._silence.begin(error)
            else:
                self._silence.end()
            raise
        self._silence.end()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever the client raises into our own errors."""
        from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

        try:
            yield
        except StoreError:
            raise
        except UnexpectedResponse as error:
            raise self._refused(error.status_code, _reason(error.content)) from error
        except ResourceExhaustedResponse as error:
            wait_s = max(0.0, float(error.retry_after_s))
            raise StoreUnavailable(f"{self._where}: is overloaded: {_line(error)}", wait_s=wait_s) from error
        except ResponseHandlingException as error:
            raise StoreUnavailable(
                f"{self._where}: no answer: {_line(error.source)}",
                hint="see that the server runs and that [store] url is right",
            ) from error
        except Exception as error:
            # What is not there, or a closed client, in local mode; a Retry-After that is a date; an answer without
            # a result, which fails an assertion: whatever it is, what the server did is unknown.
            raise self._refused(None, _line(error)) from error

    def _refused(self, status: int | None, reason: str) -> StoreError:
        said = f"refused with status {status}: {reason}" if status else reason
        if status in (401, 403):
            hint = "set FRESHD_QDRANT_API_KEY to a key that may write"
            return StoreUnavailable(f"{self._where}: {said}", hint=hint)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            hint = "have what stands before the server take larger requests, nginx by client_max_body_size 8m"
            return TooLarge(f"{self._where}: {said}", hint=hint)
        # A point that is not there is answered with 404 as well.
        if status in (404, None) and not self._is_there():
            hint = f"restore a snapshot of it; or stop freshd, then: {_PUT_BACK}"
            return CollectionMismatch(f"{self._where}: is gone", hint=hint)
        return StoreUnavailable(f"{self._where}: {said}")

    def _is_there(self) -> bool:
        """Whether the collection exists; taken to, if the server will not say."""
        try:
            return self._client.collection_exists(self._collection)
        except Exception:  # noqa: BLE001 - the first error is the one to tell
            return True


class AnothersCollection(CollectionMismatch):
    """It belongs to another ledger: to somebody else's, or to one that was lost here."""

    exit_code = 12


def _owner(info: models.CollectionInfo) -> str | None:
    owner = ((info.config.metadata or {}).get("freshd") or {}).get("instance")
    return owner if isinstance(owner, str) else None


def _connect(url: str, api_key: str | None, timeout_s: float) -> QdrantClient:
    from qdrant_client import QdrantClient

    from freshd.stores.bounded import BoundedTransport

    timeout_s = math.ceil(timeout_s)
    # On this machine a connection costs nothing, and none is kept that the server may just be closing.
    transport = BoundedTransport(timeout_s, keeps=urlsplit(url).hostname not in ("localhost", "127.0.0.1", "::1"))
    # The version check asks the server at once, in a thread, and warns on stderr; `open` asks soon enough.
    return QdrantClient(url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False, transport=transport)


def _shape(size: Any, distance: Any, modifier: Any) -> str:
    distance, modifier = getattr(distance, "value", distance), getattr(modifier, "value", modifier)
    return f"{size}-dimensional vectors ({distance}) with {SPARSE} ({modifier})"


def _reason(content: bytes) -> str:
    """Read what a server says of an error, in one short line."""
    try:
        return _short(str(json.loads(content)["status"]["error"]))
    except (ValueError, LookupError, TypeError):
        return _short(content.decode(errors="replace"))


def _line(error: Exception) -> str:
    return _short(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    return printable(without_url_secrets(" ".join(text.split())))[:200]
