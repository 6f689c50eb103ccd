"""A Qdrant server behind a network that fails: each fault at each kind of call, and what an index makes of it.

Catalogue rows 41 to 47. Real sockets, real HTTP; the server is the stand-in, the network is a proxy in between.
"""

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from freshd.config import Secrets, check_store, load, load_secrets
from freshd.errors import CollectionMismatch, ConfigError, StoreUnavailable
from freshd.model import ChunkId, Point, Relabel, SearchFilter, SparseVector, Vector
from freshd.stores.server import ServerStore
from freshd.stores.wire import pack_dense
from tests.kit.certificates import Authority
from tests.kit.clock import ShiftedClock
from tests.kit.embedder import HashEmbedder
from tests.kit.proxy import Fault, Proxy, Slow, Status
from tests.kit.world import Index, Settings, assert_same_index
from tests.qdrant_standin import Standin, serving
from tests.scripted_server import Reply, ScriptedServer

COLLECTION = "knowledge"
VECTOR = Vector(pack_dense((1.0, 0.0, 0.0, 0.0)))
TERMS = SparseVector((7,), (1.0,))


def point(number: int) -> Point:
    payload = {"doc_id": "handbook/a.md", "source": "handbook", "freshd": {"document_id": "a.md"}, "line": 1}
    return Point(ChunkId(str(uuid.UUID(int=number))), VECTOR, TERMS, payload)


def relabel(store: ServerStore) -> None:
    store.relabel([Relabel((point(1).chunk_id,), {"line": 2})])


CALLS: dict[str, Callable[[ServerStore], object]] = {
    "open": lambda store: store.open("owner"),
    "ping": lambda store: store.ping(),
    "upsert": lambda store: store.upsert([point(1), point(2), point(3)]),
    "relabel": relabel,
    "remove": lambda store: store.remove([point(2).chunk_id]),
    "flush": lambda store: store.flush(),
    "search_dense": lambda store: len(store.search_dense(VECTOR, 5, SearchFilter(("handbook",)))),
    "search_sparse": lambda store: len(store.search_sparse(TERMS, 5, SearchFilter(("handbook",)))),
    "retrieve": lambda store: len(store.retrieve([point(1).chunk_id])),
    "scroll": lambda store: len(store.scroll(None, 10, with_vectors=True)),
    "count": lambda store: store.count(),
}

FAULTS: dict[str, Fault | Status] = {
    "refused": Fault.REFUSE,
    "reset in the request": Fault.RESET,
    "reply dropped after apply": Fault.DROP_REPLY,
    "half a reply": Fault.HALF_REPLY,
    "garbage": Fault.GARBAGE,
    "empty answer": Fault.EMPTY,
    "429": Status(429),
    "429 for 7 s": Status(429, "7"),
    "429 until a date": Status(429, "Fri, 31 Dec 9999 23:59:59 GMT"),
    "500": Status(500),
    "502": Status(502),
    "503": Status(503, "1"),
    "401": Status(401),
    "403": Status(403),
    "404": Status(404),
}


@pytest.fixture(scope="module")
def network() -> Iterator[tuple[Standin, Proxy]]:
    with serving() as server, Proxy(int(server.url.rpartition(":")[2])) as proxy:
        yield server, proxy


@pytest.fixture(scope="module")
def kept(network: tuple[Standin, Proxy]) -> Iterator[ServerStore]:
    made = ServerStore(network[1].url, "kept", 4, timeout_s=20)
    made.open("owner")
    yield made
    made.close()


@pytest.fixture
def store(kept: ServerStore, network: tuple[Standin, Proxy]) -> Iterator[ServerStore]:
    """One store for all, as it was: making one takes longer than asking it."""
    kept.upsert([point(1), point(2)])
    kept.remove([point(3).chunk_id])
    yield kept
    network[1].faults = []


@pytest.fixture
def lost(network: tuple[Standin, Proxy]) -> Iterator[ServerStore]:
    """A store whose collection was deleted."""
    server, proxy = network
    made = ServerStore(proxy.url, "lost", 4)
    made.open("owner")
    server.client.delete_collection("lost")
    yield made
    server.client.delete_collection("lost")
    made.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_fails_says_so_in_one_line_and_may_be_done_again(
    call: str, fault: str, store: ServerStore, network: tuple[Standin, Proxy]
):
    """What the server did is unknown; done again it comes out as if it had been done once."""
    proxy = network[1]
    proxy.faults = [FAULTS[fault]]
    with pytest.raises(StoreUnavailable) as failed:
        CALLS[call](store)
    said = f"{failed.value}{failed.value.hint}"
    assert said.isprintable()
    assert f"collection 'kept' at {proxy.url}" in said
    assert failed.value.retryable
    assert ("FRESHD_QDRANT_API_KEY" in failed.value.hint) == (fault in ("401", "403"))
    assert failed.value.wait_s == (7 if fault == "429 for 7 s" else 0)
    proxy.faults = []
    got = CALLS[call](store)
    left = {"upsert": 3, "remove": 1}.get(call, 2)
    assert store.count() == left
    assert got in (None, left, 1)


class Ticks:
    """A clock by which no time passes but what a test lets pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def hasty(network: tuple[Standin, Proxy], store: ServerStore, ticks: Ticks) -> Iterator[ServerStore]:
    """A store with a deadline of a second, over the collection of the other."""
    made = ServerStore(network[1].url, "kept", 4, timeout_s=1, monotonic=ticks)
    made.open("owner")
    yield made
    network[1].faults, network[1].always = [], None
    network[1].on_request = lambda *_: None
    made.close()


@pytest.mark.parametrize("slow", [Fault.SILENCE, Slow(drip_s=0.1)], ids=["silent", "dripping"])
@pytest.mark.parametrize("call", ["upsert", "search_dense", "count"])
def test_a_server_that_answers_too_late_is_given_up_at_the_deadline(
    call: str, slow: Fault | Slow, network: tuple[Standin, Proxy], hasty: ServerStore, ticks: Ticks
):
    """However busy it looks: dripped, the shortest answer takes twenty seconds, with a byte in each tenth of one."""
    network[1].faults = [slow]
    with pytest.raises(StoreUnavailable, match="no answer"):
        CALLS[call](hasty)
    ticks.now_s += 1
    CALLS[call](hasty)


def test_an_answer_that_is_late_and_in_time_is_one(network: tuple[Standin, Proxy], hasty: ServerStore):
    network[1].faults = [Slow(delay_s=0.2)]
    assert CALLS["search_dense"](hasty) == 2


def test_of_a_server_that_fell_silent_one_search_at_a_time_waits_and_the_others_are_told(
    network: tuple[Standin, Proxy], hasty: ServerStore, ticks: Ticks
):
    """Else every search would hold a thread until its deadline, and so would those of who asks again."""
    proxy = network[1]

    def is_told_at_once() -> bool:
        n_asked = len(proxy.asked)
        for call in ("search_dense", "search_sparse", "retrieve"):
            with pytest.raises(StoreUnavailable, match=r"no answer.*\(next try in \d+\.\d s\)"):
                CALLS[call](hasty)
        return len(proxy.asked) == n_asked

    proxy.always = Fault.SILENCE
    with pytest.raises(StoreUnavailable, match="no answer"):
        hasty.ping()
    assert is_told_at_once(), "what the thread that writes has found out, nobody has to find out again"
    ticks.now_s += 0.2
    arrived = threading.Event()
    proxy.on_request = lambda *_: arrived.set()

    def try_in_vain() -> None:
        with pytest.raises(StoreUnavailable):
            CALLS["search_dense"](hasty)

    trial = threading.Thread(target=try_in_vain)
    trial.start()
    assert arrived.wait(60)
    assert is_told_at_once(), "while the first one tries"
    trial.join()
    assert is_told_at_once(), "the pause is longer now"
    proxy.always = None
    hasty.ping()
    assert CALLS["search_dense"](hasty) == 2, "an answer to anybody ends it"


def test_what_fails_at_once_is_asked_again_at_once(network: tuple[Standin, Proxy], hasty: ServerStore):
    for fault in (Fault.REFUSE, Status(503), Status(429, "7")):
        network[1].faults = [fault]
        with pytest.raises(StoreUnavailable):
            CALLS["search_dense"](hasty)
        assert CALLS["search_dense"](hasty) == 2


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"open"}))
def test_a_collection_that_was_deleted_is_said_to_be_gone_and_not_made_anew(call: str, network, lost: ServerStore):
    with pytest.raises(CollectionMismatch, match="is gone") as gone:
        CALLS[call](lost)
    assert "freshd reindex" in gone.value.hint
    with pytest.raises(CollectionMismatch, match="is gone"):
        lost.open("owner")
    assert not network[0].client.collection_exists("lost")


def test_a_collection_that_was_swapped_is_noticed_before_anything_counts_as_durable(network, lost: ServerStore):
    """Under the same name stands another instance's, of the same shape: it takes writes like our own."""
    other = ServerStore(network[1].url, "lost", 4)
    other.open("somebody else")
    lost.upsert([point(1)])
    with pytest.raises(CollectionMismatch, match="belongs to instance somebody else"):
        lost.flush()
    other.close()


def test_every_write_waits_until_it_is_applied(network, store: ServerStore):
    """The stand-in refuses one that does not; this is the proof that it would have been noticed."""
    _, proxy = network
    seen: list[str] = []
    proxy.on_request = lambda method, path: seen.append(path) if "points" in path else None
    for call in ("upsert", "relabel", "remove"):
        CALLS[call](store)
    proxy.on_request = lambda *_: None
    assert len(seen) == 3
    assert all("wait=true" in path for path in seen)


# An index behind such a network


class World:
    """A folder, an index of it on a server behind a proxy, and a fresh one of it whenever it is asked for."""

    def __init__(self, base: Path, server: Standin, proxy: Proxy) -> None:
        self.docs, self.server, self.proxy = base / "docs", server, proxy
        self.docs.mkdir()
        self._base = base
        self._settings = Settings(self.docs, ShiftedClock(), HashEmbedder())
        self._stores = [ServerStore(proxy.url, COLLECTION, 32, timeout_s=20)]
        self.index = Index(self._settings, base / "state", self._stores[0])

    def write(self, name: str, *paragraphs: str) -> None:
        (self.docs / name).write_text("# Title\n\n" + "\n\n".join(paragraphs))

    def edit(self, n: int) -> None:
        """Add, change, rename and delete; the n-th time."""
        self.write("changed.md", f"The paragraph of time {n}.", "The paragraph that stays.")
        self.write(f"new{n}.md", f"A document of time {n}.")
        if n:
            (self.docs / f"new{n - 1}.md").rename(self.docs / f"moved{n - 1}.md")
        if n > 1:
            (self.docs / f"moved{n - 2}.md").unlink()

    def assert_as_from_scratch(self) -> None:
        name = f"scratch-{uuid.uuid4().hex}"
        store = ServerStore("local", name, 32, client=self.server.client)
        scratch = Index(self._settings, self._base / name, store)
        scratch.reindex()
        assert_same_index(self.index, scratch, ["paragraph", "document of time"])
        self.server.client.delete_collection(name)

    def close(self) -> None:
        self.proxy.faults, self.proxy.always = [], None
        self.index.close()
        if self.server.client.collection_exists(COLLECTION):
            self.server.client.delete_collection(COLLECTION)


@pytest.fixture
def world(tmp_path: Path, network: tuple[Standin, Proxy]) -> Iterator[World]:
    made = World(tmp_path, *network)
    yield made
    made.close()


AT_EVERY_REQUEST = ("reset in the request", "reply dropped after apply", "half a reply", "garbage", "429", "503", "404")


@pytest.mark.parametrize("fault", AT_EVERY_REQUEST)
def test_a_fault_at_any_request_of_a_run_leaves_nothing_wrong_behind(fault: str, world: World):
    """The first request fails, then the second, and so on, until a run comes through before its turn."""
    for n in range(100):
        world.edit(n)
        world.proxy.faults = [*[None] * n, FAULTS[fault]]
        try:
            world.index.reindex()
        except StoreUnavailable:
            world.proxy.faults = []
            world.index.reindex()
        if world.proxy.faults:
            break
        if n % 4 == 0:
            world.assert_as_from_scratch()
    assert n >= 4, "a run asks the server several times"
    world.proxy.faults = []
    world.assert_as_from_scratch()


@pytest.mark.parametrize("seed", range(3))
def test_a_network_that_loses_a_third_of_all_requests_or_replies_only_slows_things_down(seed: int, world: World):
    chance = random.Random(seed)
    n_failed = 0
    for n in range(6):
        world.edit(n)
        for _ in range(100):
            world.proxy.faults = [
                chance.choice([None, None, None, None, Fault.DROP_REPLY, Fault.RESET]) for _ in "1234567"
            ]
            try:
                world.index.reindex()
                break
            except StoreUnavailable:
                n_failed += 1
    assert n_failed > 0
    world.proxy.faults = []
    world.index.reindex()
    world.assert_as_from_scratch()


def test_what_was_written_into_a_swapped_collection_is_not_believed(world: World, network):
    world.edit(0)
    world.index.reindex()
    world.server.client.delete_collection(COLLECTION)
    other = ServerStore(world.server.url, COLLECTION, 32)
    other.open("somebody else")
    world.edit(1)
    with pytest.raises(CollectionMismatch, match="somebody else"):
        world.index.reindex()
    assert world.index.sources.state(world.index.target.name).pending > 0
    other.close()


def test_points_of_somebody_else_are_neither_found_nor_touched(world: World):
    world.edit(0)
    world.index.reindex()
    stranger = Point(
        ChunkId(str(uuid.uuid4())),
        Vector(pack_dense([1.0] + [0.0] * 31)),
        SparseVector(),
        {"page_content": "The paragraph of a stranger.", "source": "theirs", "freshd": {"document_id": "x"}},
    )
    world.index.store.upsert([stranger])
    world.edit(1)
    world.index.reindex()
    assert not any("stranger" in str(hit) for hit in world.index.hits("paragraph of a stranger"))
    assert [one.payload["source"] for one in world.index.store.retrieve([stranger.chunk_id])] == ["theirs"]


def test_points_of_somebody_else_that_bear_numbers_and_the_name_of_a_source_are_not_found_either(world: World):
    """No id of freshd's is a number, as most are in the examples of Qdrant."""
    world.edit(0)
    world.index.reindex()
    before = [hit[:3] for hit in world.index.hits("paragraph that stays")]
    payload = {"page_content": "The paragraph of a stranger.", "source": world.index.target.name}
    terms = models.SparseVector(indices=[1], values=[1.0])
    theirs = [models.PointStruct(id=n, vector={"": [1.0] * 32, "bm25": terms}, payload=payload) for n in range(300)]
    world.server.client.upsert(COLLECTION, theirs)
    assert [hit[:3] for hit in world.index.hits("paragraph that stays")] == before != []
    world.edit(1)
    world.index.reindex()
    world.server.client.delete(COLLECTION, models.PointIdsList(points=list(range(300))))
    world.assert_as_from_scratch()


# A server of another machine


CONFIG = '[[sources]]\nname = "handbook"\ntype = "files"\npath = "docs"\n'


KEY = load_secrets({"FRESHD_QDRANT_API_KEY": "c4nary-key"})
NO_KEY = Secrets()


def checked(base: Path, store: str, secrets: Secrets) -> None:
    (base / "freshd.toml").write_text(f"[store]\n{store}\n{CONFIG}")
    check_store(load(base / "freshd.toml"), secrets)


@pytest.mark.parametrize("secrets", [KEY, NO_KEY], ids=["key", "no key"])
@pytest.mark.parametrize(
    ("host", "https"),
    [
        ("qdrant:6333", "https://qdrant:6333"),
        ("10.0.0.7:6333", "https://10.0.0.7:6333"),
        ("[fd00::7]:6333", "https://[fd00::7]:6333"),
        ("localhost.example.org", "https://localhost.example.org"),
    ],
)
def test_a_key_leaves_the_machine_encrypted_or_not_at_all(host: str, https: str, secrets: Secrets, tmp_path: Path):
    """And neither do documents; the hint has both lines that mend it."""
    with pytest.raises(ConfigError, match="expected https") as refused:
        checked(tmp_path, f'url = "http://{host}"', secrets)
    line, _, unless = refused.value.hint.partition("; or, ")
    assert line.endswith(f'url = "{https}"')
    assert unless.endswith("plain_http = true")
    assert "c4nary" not in f"{refused.value}{refused.value.hint}{secrets!r}"
    checked(tmp_path, f'url = "{https}"', KEY)
    checked(tmp_path, f'url = "http://{host}"\nplain_http = true', secrets)


def test_a_server_of_another_machine_that_anybody_may_write_is_not_written(tmp_path: Path):
    store = 'url = "https://qdrant.example.org"'
    with pytest.raises(ConfigError, match="without a key") as refused:
        checked(tmp_path, store, NO_KEY)
    assert refused.value.hint.startswith("export FRESHD_QDRANT_API_KEY=")
    checked(tmp_path, store, KEY)
    checked(tmp_path, f"{store}\nplain_http = true", NO_KEY)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_key_is_shown_only_to_a_server_that_proves_who_it_is(
    is_trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = Authority(tmp_path)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with ScriptedServer(authority.server("localhost")) as server:
        for path, result in (("/aliases", '{"aliases": []}'), ("/collections/kept/exists", '{"exists": false}')):
            server.on(path, Reply(200, f'{{"result": {result}, "status": "ok", "time": 0.0}}'.encode()))
        store = ServerStore(f"https://localhost:{server.port}", "kept", 4, api_key="c4nary-key")
        if is_trusted:
            assert store.whose() is None
            assert [one.headers["api-key"] for one in server.requests] == 2 * ["c4nary-key"]
        else:
            with pytest.raises(StoreUnavailable, match="certificate verify failed"):
                store.whose()
            assert server.requests == []
        store.close()


@pytest.mark.parametrize("secrets", [KEY, NO_KEY], ids=["key", "no key"])
@pytest.mark.parametrize(
    "store", ["", *(f'url = "http://{host}:6333"' for host in ("localhost", "127.0.0.1", "[::1]", "127.8.9.1"))]
)
def test_the_index_of_this_machine_needs_neither(store: str, secrets: Secrets, tmp_path: Path):
    checked(tmp_path, store, secrets)
