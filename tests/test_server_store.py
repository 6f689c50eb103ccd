"""How a server's answers, and its silence, become errors that say what to do."""

import socket
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest

from freshd.errors import CollectionMismatch, StoreUnavailable
from freshd.model import ChunkId, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.stores.server import ServerStore
from freshd.stores.wire import pack_dense
from tests.qdrant_standin import Failure, Standin, serving

COLLECTION = "knowledge"
VECTOR = Vector(pack_dense((1.0, 0.0, 0.0, 0.0)))


def point(number: int) -> Point:
    return Point(ChunkId(str(uuid.UUID(int=number))), VECTOR, SparseVector((1,), (1.0,)), {"text": "x"})


def store_at(server: Standin, api_key: str | None = None, timeout_s: float = 30.0) -> ServerStore:
    return ServerStore(server.url, COLLECTION, 4, api_key=api_key, timeout_s=timeout_s)


@pytest.fixture
def server() -> Iterator[Standin]:
    with serving() as standin:
        yield standin


@pytest.fixture
def store(server: Standin) -> Iterator[ServerStore]:
    store = store_at(server)
    store.open("owner")
    yield store
    store.close()


def test_building_a_store_asks_nothing(server: Standin):
    store_at(server).close()
    assert server.requests == []


def test_indexes_are_made_before_any_data_and_only_once(server: Standin, store: ServerStore):
    store.upsert([point(1)])
    store.open("owner")
    routes = [path.rpartition(f"/{COLLECTION}")[2] for method, path in server.requests if method == "PUT"]
    assert routes == ["", "/index", "/index", "/index", "/points"]
    assert set(server.schema[COLLECTION]) == {"doc_id", "source", "freshd.document_id"}
    assert server.schema[COLLECTION]["freshd.document_id"]["params"]["prefix"] is True


def test_opening_that_was_cut_off_is_finished_by_the_next(server: Standin):
    store = store_at(server)
    server.failures = [*[Failure(status=500, applies=True)] * 2]
    with pytest.raises(StoreUnavailable):
        store.open("owner")
    server.failures = []
    store.open("owner")
    assert len(server.schema[COLLECTION]) == 3
    store.close()


@pytest.mark.parametrize("version", ["1.18.4", "1.9.7", "0.11.0"])
def test_on_a_server_that_is_too_old_nothing_is_made_until_it_is_new_enough(server: Standin, version: str):
    """It would pass over what says whose a collection is, which nobody would own from then on."""
    server.version = version
    store = store_at(server)
    with pytest.raises(StoreUnavailable, match=rf"got Qdrant {version[:-2]}, expected 1\.19 or newer") as refused:
        store.open("owner")
    assert refused.value.hint.startswith("run Qdrant 1.19 or newer")
    assert server.client.get_collections().collections == []
    server.version = "1.20.0"
    store.open("owner")
    store.close()


@pytest.mark.parametrize("version", ["1.19.0", "2.0.1", "1.100.0", "1.19.1-dev", "dev", ""])
def test_on_a_server_that_is_new_enough_or_does_not_say_a_collection_is_made(server: Standin, version: str):
    server.version = version
    store = store_at(server)
    store.open("owner")
    store.close()


def test_server_that_is_down_is_unavailable_with_a_hint():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = ServerStore(f"http://127.0.0.1:{unused.getsockname()[1]}", COLLECTION, 4)
        with pytest.raises(StoreUnavailable, match=COLLECTION) as refused:
            store.open("owner")
    assert "[store] url" in refused.value.hint
    assert "\n" not in str(refused.value)
    store.close()


def test_server_that_never_answers_is_given_up(server: Standin):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = ServerStore(f"http://127.0.0.1:{silent.getsockname()[1]}", COLLECTION, 4, timeout_s=1)
        with pytest.raises(StoreUnavailable, match="no answer"):
            store.ping()
        store.close()


def test_reply_lost_after_the_write_was_applied_leaves_it_unknown_and_harmless_to_redo(
    server: Standin, store: ServerStore
):
    server.failures = [Failure(applies=True)]
    with pytest.raises(StoreUnavailable):
        store.upsert([point(1), point(2)])
    store.upsert([point(1), point(2)])
    assert store.count() == 2


def test_what_stands_before_a_server_and_takes_little_at_a_time_is_given_little(server: Standin, store: ServerStore):
    """Nginx takes 1 MiB unless told otherwise; what it refused once is not tried as large again."""
    points = [replace(point(n), payload={**point(n).payload, "page_content": "x" * 1_000}) for n in range(600)]
    server.most_bytes = 50_000
    store.upsert(points)
    assert store.count() == 600
    assert 0 < server.refused < 6
    refused = server.refused
    store.upsert(points)
    labels = [Relabel(tuple(one.chunk_id for one in points), {"title": f"{n}" * 100}) for n in range(10)]
    store.relabel(labels)
    assert server.refused == refused
    assert {one.payload["title"] for one in store.retrieve([one.chunk_id for one in points])} == {"9" * 100}


def test_a_request_of_one_point_that_is_refused_for_its_size_tells_what_mends_it(server: Standin, store: ServerStore):
    server.most_bytes = 100
    with pytest.raises(StoreUnavailable, match="413") as refused:
        store.upsert([point(1), point(2)])
    assert "client_max_body_size" in refused.value.hint
    server.most_bytes = 10_000
    store.upsert([point(1), point(2)])
    assert store.count() == 2


@pytest.mark.parametrize("status", [400, 409, 422, 429, 500, 502, 503])
def test_status_that_may_pass_is_unavailable(server: Standin, store: ServerStore, status: int):
    server.failures = [Failure(status=status)]
    with pytest.raises(StoreUnavailable) as refused:
        store.search_dense(VECTOR, 1, SearchFilter())
    assert refused.value.retryable
    assert COLLECTION in str(refused.value)


def test_overloaded_server_is_unavailable(server: Standin, store: ServerStore):
    server.failures = [Failure(status=429, retry_after="3")]
    with pytest.raises(StoreUnavailable, match="overloaded"):
        store.count()


def test_answer_that_is_no_qdrant_is_unavailable_and_shown_in_one_line(server: Standin, store: ServerStore):
    server.failures = [Failure(status=502, body=b"<html>\r\n\x1b[31mBad gateway</html>"), Failure(200, body=b"<html>")]
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as refused:
            store.count()
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("key", [None, "wrong"])
def test_refused_key_names_the_variable_and_never_the_key(key: str | None):
    with serving(api_key="right") as server:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client's own remark on keys without TLS
            store = store_at(server, api_key=key)
            admitted = store_at(server, api_key="right")
        with pytest.raises(StoreUnavailable, match="API key") as refused:
            store.open("owner")
        assert "FRESHD_QDRANT_API_KEY" in refused.value.hint
        assert "wrong" not in f"{refused.value}{refused.value.hint}"
        admitted.open("owner")
        store.close()
        admitted.close()


def test_missing_point_is_not_taken_for_a_missing_collection(server: Standin, store: ServerStore):
    """A real server answers both with 404."""
    server.failures = [Failure(status=404)]
    with pytest.raises(StoreUnavailable, match="404"):
        store.count()


def test_collection_made_by_somebody_else_is_left_alone(server: Standin):
    from qdrant_client import models

    dense = models.VectorParams(size=4, distance=models.Distance.COSINE)
    server.client.create_collection(COLLECTION, vectors_config=dense)
    store = store_at(server)
    with pytest.raises(CollectionMismatch, match="belongs to no freshd"):
        store.open("owner")
    assert {method for method, _ in server.requests} == {"GET"}
    store.close()


@pytest.mark.parametrize("other", ["distance", "sparse", "named"])
def test_collection_of_another_shape_is_refused(server: Standin, other: str):
    from qdrant_client import models

    distance = models.Distance.DOT if other == "distance" else models.Distance.COSINE
    dense = models.VectorParams(size=4, distance=distance)
    modifier = None if other == "sparse" else models.Modifier.IDF
    server.client.create_collection(
        COLLECTION,
        vectors_config={"text": dense} if other == "named" else dense,
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=modifier)},
        metadata={"freshd": {"instance": "owner"}},
    )
    store = store_at(server)
    with pytest.raises(CollectionMismatch, match="expected 4-dimensional vectors"):
        store.open("owner")
    store.close()


def test_secrets_in_the_url_are_not_shown():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = ServerStore(f"http://user:hunter2@127.0.0.1:{unused.getsockname()[1]}", COLLECTION, 4)
        with pytest.raises(StoreUnavailable) as refused:
            store.ping()
    assert "hunter2" not in str(refused.value)
    store.close()


def test_langchain_finds_what_we_wrote():
    """The collection is one that LangChain's own vector store takes for its own."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    ours = ServerStore("local", COLLECTION, 4, client=client)
    ours.open("owner")
    payload = {"page_content": "the text", "metadata": {"uri": "file:///a.md"}}
    ours.upsert([Point(point(1).chunk_id, VECTOR, SparseVector((1,), (1.0,)), payload)])
    theirs = QdrantVectorStore(client, COLLECTION, DeterministicFakeEmbedding(size=4))
    (found,) = theirs.similarity_search("anything", k=1)
    assert (found.page_content, found.metadata["uri"]) == ("the text", "file:///a.md")
    client.close()
