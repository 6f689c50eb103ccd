"""A daemon whose Qdrant server is behind a network that fails: what it goes on doing, what it says, how it recovers."""

import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import models

from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.kit.proxy import Fault, Proxy, Status
from tests.qdrant_standin import Standin, serving

QUICK = FILES.replace("1m", "2s")
"""A scan each second."""


class Behind(Instance):
    """An instance, the proxy it asks, and the server behind that."""

    proxy: Proxy
    server: Standin

    @property
    def collections(self) -> list[str]:
        """Names of what the server holds; an alias may lead to one."""
        return [one.name for one in self.server.client.get_collections().collections]

    def goes_on_without_the_store(self, reason: str) -> None:
        """Everything but searching is answered at once, with the reason."""
        eventually(lambda: reason in (self.status()["store"]["error"] or ""))
        began_s = time.monotonic()
        answer = self.get("/search", q="firstword")
        assert answer.status_code == 503
        assert answer.json()["error"]
        assert self.get("/healthz").status_code == 200
        assert reason in self.get("/readyz").json()["error"]
        assert self.metric("freshd_store_up") == 0
        assert time.monotonic() - began_s < 25

    def has_found(self, word: str, document_id: str) -> None:
        eventually(lambda: self.status()["store"]["error"] is None)
        eventually(lambda: self.get("/search", q=word).is_success and self.places(word) == {document_id})
        eventually(lambda: self.get("/readyz").status_code == 200)

    def leaves_points_of_somebody_else_alone(self) -> None:
        """They are not found, not touched, and reported."""
        stranger = str(uuid.uuid4())
        payload = {"page_content": "The strangeword.", "source": "handbook", "freshd": {"document_id": "x.md"}}
        point = models.PointStruct(id=stranger, vector={"": [0.1] * 384}, payload=payload)
        (collection,) = self.collections
        self.server.client.upsert(collection, [point])
        assert not self.places("strangeword")
        self.write("c.md", "# C\n\nThe thirdword.\n")
        self.has_found("thirdword", "c.md")
        assert self.command("verify").returncode == 1
        assert self.server.client.retrieve(collection, [stranger])

    def ends_while_a_call_hangs(self) -> None:
        """Within the time that systemd gives, and well."""
        self.proxy.always = Fault.SILENCE
        self.write("d.md", "# D\n\nThe fourthword.\n")
        eventually(lambda: self.source()["pending"])
        began_s = time.monotonic()
        self.signal(signal.SIGTERM)
        assert self.ended() == 0
        assert time.monotonic() - began_s < 28


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Behind]:
    with serving() as server, Proxy(int(server.url.rpartition(":")[2])) as proxy, instance(tmp_path / "one") as made:
        made.__class__ = Behind
        assert isinstance(made, Behind)
        made.proxy, made.server = proxy, server
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.configure(QUICK, f'[store]\nurl = "{proxy.url}"\n')
        made.start()
        made.settled()
        yield made


def test_whatever_the_network_does_is_said_waited_out_and_made_good(one: Behind):
    """One daemon through all of it; an edit is detected meanwhile and found afterwards."""
    faults = {"503": Status(503), "401": Status(401), "no answer": Fault.RESET, "overloaded": Status(429, "1")}
    for n, (reason, fault) in enumerate(faults.items()):
        one.proxy.always = fault
        one.write("b.md", f"# B\n\nThe laterword{n}.\n")
        one.goes_on_without_the_store(reason)
        eventually(lambda: one.source()["pending"])  # a file so young that it is looked at again may wait as well
        if reason == "401":
            eventually(lambda: "FRESHD_QDRANT_API_KEY" in str(one.events("store_lost")[-1:]))
        one.proxy.always = None
        one.has_found(f"laterword{n}", "b.md")
    one.proxy.always = Fault.DROP_REPLY
    one.write("b.md", "# B\n\nThe lastword.\n")
    eventually(lambda: one.status()["store"]["error"])
    one.proxy.always = None
    one.has_found("lastword", "b.md")
    one.settled()
    assert one.command("verify").returncode == 0
    one.leaves_points_of_somebody_else_alone()
    one.ends_while_a_call_hangs()


def test_a_collection_that_is_deleted_or_swapped_is_noticed_within_a_cycle_and_comes_back_from_the_cache(one: Behind):
    (collection,) = one.collections
    one.server.client.delete_collection(collection)
    one.goes_on_without_the_store("is gone")
    assert one.source()["documents"] == 1, "what the ledger knows is not taken for an empty index"
    assert one.collections == [], "nothing is made anew that nobody asked for"
    one.server.client.create_collection(
        collection,
        vectors_config=models.VectorParams(size=384, distance=models.Distance.COSINE),
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"freshd": {"instance": "somebody else"}},
    )
    one.goes_on_without_the_store("belongs to instance somebody else")
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.source()["pending"] == 1)
    assert one.server.client.count(collection).count == 0
    one.server.client.delete_collection(collection)
    assert one.stop() == 0
    one.start()
    one.has_found("firstword", "a.md")
    one.has_found("secondword", "b.md")
    one.settled()
    assert one.embedded() == 1, "what was there before comes from the cache"


@pytest.mark.slow
def test_a_config_read_again_while_a_call_hangs_waits_for_it_instead_of_ending(one: Behind):
    """The call's own deadline is half a minute."""
    one.proxy.always = Fault.SILENCE
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.source()["pending"] == 1)
    one.signal(signal.SIGHUP)
    eventually(lambda: one.events("config_reloaded"))
    assert one.get("/healthz").status_code == 200
    eventually(lambda: len(one.events("daemon_started")) == 2, 60)
    one.proxy.always = None
    # The first call under the new config hangs as well, for its half a minute.
    eventually(lambda: one.get("/status").is_success and one.status()["store"]["error"] is None, 60)
    one.has_found("secondword", "b.md")
    assert one.stop() == 0
