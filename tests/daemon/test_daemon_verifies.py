"""A store that somebody else empties, swaps or writes into: noticed within a scan, and mended where that is right."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import models

from tests import qdrant_standin
from tests.daemon.instance import FILES, Instance, eventually, instance

QUICK = FILES.replace('"1m"', '"2s"')
"""A scan every second."""


@pytest.fixture
def server() -> Iterator[qdrant_standin.Standin]:
    with qdrant_standin.serving() as made:
        yield made


@pytest.fixture
def one(tmp_path: Path, server: qdrant_standin.Standin) -> Iterator[Instance]:
    """A daemon over a server's collection, with a handful of documents in it."""
    settings = f'[store]\nurl = "{server.url}"\n[log]\nformat = "json"\n'
    with instance(tmp_path / "one", QUICK, settings=settings) as made:
        for n in range(6):
            made.write(f"{n}.md", f"# Document {n}\n\nThe word{n} stands here.\n")
        made.start()
        made.settled()
        yield made


def collection(server: qdrant_standin.Standin) -> str:
    (found,) = server.client.get_collections().collections
    return str(found.name)


def points(server: qdrant_standin.Standin) -> list[models.Record]:
    with server.lock:
        return server.client.scroll(collection(server), limit=99, with_payload=True, with_vectors=True)[0]


def remove(server: qdrant_standin.Standin, ids: list[Any]) -> None:
    with server.lock:
        server.client.delete(collection(server), models.PointIdsList(points=ids))


def put(server: qdrant_standin.Standin, record: models.Record, id_: Any, payload: dict[str, Any]) -> None:
    with server.lock:
        server.client.upsert(collection(server), [models.PointStruct(id=id_, vector=record.vector, payload=payload)])


def finds(one: Instance, word: str, name: str) -> bool:
    """Whether a word is found in its document and nowhere else; never while the store does not answer."""
    answer = one.get("/search", q=word, k=20)
    return answer.is_success and {hit["document_id"] for hit in answer.json()["hits"] if word in hit["text"]} == {name}


def whole(one: Instance) -> bool:
    """Whether every document is found again, and all is well."""
    is_settled = one.source()["watermark"] is not None and not one.source()["pending"]
    return is_settled and all(finds(one, f"word{n}", f"{n}.md") for n in range(6))


def verify(one: Instance, **order: bool) -> dict[str, Any]:
    """Have the daemon verify; give the job as it ended."""
    with one.http(60) as client:
        answer: dict[str, Any] = client.post("/verify?wait=50", json={"deep": True, **order}).json()
    return answer


def test_points_that_another_client_deletes_are_missed_within_a_scan_and_put_back(
    one: Instance, server: qdrant_standin.Standin
):
    """As many points of its own in their place do not hide the loss, and are left alone."""
    embedded, ours = one.embedded(), points(server)
    remove(server, [record.id for record in ours][:1])
    eventually(lambda: len(one.events("store_doubted")) == 1)
    eventually(lambda: whole(one))
    for n, record in enumerate(ours):
        put(server, record, n, {"text": f"theirs {n}"})
    remove(server, [record.id for record in ours])
    eventually(lambda: len(one.events("store_doubted")) == 2)
    eventually(lambda: whole(one))
    assert one.embedded() == embedded
    report = verify(one, repair=True)["result"]
    assert (report["checked"], report["foreign"], report["repaired"], report["examples"]) == (12, 6, 0, [])
    theirs = [record.payload["text"] for record in points(server) if "text" in record.payload]
    assert sorted(theirs) == [f"theirs {n}" for n in range(6)]


@pytest.mark.parametrize("swapped", [False, True], ids=["deleted", "swapped"])
def test_a_collection_that_is_gone_or_another_s_is_an_error_within_a_scan_and_never_no_documents(
    one: Instance, server: qdrant_standin.Standin, swapped: bool
):
    name = collection(server)
    with server.lock:
        config = server.client.get_collection(name).config.params
        server.client.delete_collection(name)
        if swapped:
            owner = {"freshd": {"instance": "somebody-else"}}
            server.client.create_collection(
                name,
                vectors_config=config.vectors,
                sparse_vectors_config=config.sparse_vectors,
                metadata=owner,
            )
    # A look that has begun may see that points are missing before it is asked whose the collection is.
    says = "somebody-else" if swapped else "gone"
    eventually(lambda: says in (one.status()["store"]["error"] or ""))
    assert one.source()["documents"] == 6
    assert one.get("/readyz").status_code == 503
    assert one.get("/healthz").status_code == 200
    assert one.metric("freshd_store_up") == 0
    assert verify(one)["exit_code"] == 3
    with server.lock:
        names = [found.name for found in server.client.get_collections().collections]
        assert not swapped or server.client.count(names[0]).count == 0


def test_the_daemon_mends_what_somebody_else_did_while_edits_go_on(one: Instance, server: qdrant_standin.Standin):
    first, second, third, *_ = points(server)
    put(server, first, first.id, {**first.payload, "page_content": "Nothing."})
    put(server, second, third.id, third.payload)
    put(server, first, "00000000-0000-0000-0000-000000000007", first.payload)
    one.write("new.md", "# New\n\nThe newword.\n")
    mended = verify(one, repair=True)
    report = mended["result"]
    assert (mended["exit_code"], report["damaged"], report["orphaned"], report["repaired"]) == (0, 2, 1, 3)
    eventually(lambda: one.events("verify_repaired"))
    eventually(lambda: finds(one, "newword", "new.md"))
    assert len(points(server)) == 7
    after = one.status()["verify"]
    assert (after["damaged"], after["orphaned"], after["repaired"]) == (0, 0, 0)
    # More orphans than the guard lets go.
    for n in range(30):
        stray = {**first.payload, "freshd": {**first.payload["freshd"], "document_id": f"stray{n}.md"}}
        put(server, first, f"00000000-0000-0000-0000-{n:012}", stray)
    held = one.command("verify", "--repair")
    assert held.returncode == 1
    assert held.stderr.endswith("try:   freshd verify --repair --orphans   (removes what no source shows any more)\n")
    assert len(points(server)) == 37
    assert one.source()["divergent"] == 30
    assert verify(one, repair=True, orphans=True)["exit_code"] == 0
    assert len(points(server)) == 7
    assert one.source()["divergent"] == 0


def empty(shard: Path) -> None:
    """Leave a shard of the same identity with nothing in it."""
    from qdrant_edge import EdgeShard, ScrollRequest, UpdateOperation  # only here: it holds the interpreter's lock

    opened = EdgeShard.load(str(shard))
    records, _ = opened.scroll(ScrollRequest(limit=99))
    opened.update(UpdateOperation.delete_points([record.id for record in records]))
    opened.flush()
    opened.close()


def test_a_shard_that_is_an_older_one_or_emptied_is_filled_again_and_embeds_nothing(tmp_path: Path):
    """Its identity is ours: only what it holds tells."""
    with instance(tmp_path / "one", QUICK, settings='[log]\nformat = "json"\n') as one:
        one.write("0.md", "# Zero\n\nThe word0.\n")
        one.start()
        one.settled()
        (shard,) = one.state.index_dir.glob("*/shard")
        shutil.copytree(shard, tmp_path / "copy")
        one.write("1.md", "# One\n\nThe word1.\n")
        eventually(lambda: finds(one, "word1", "1.md"))
        shutil.rmtree(shard)
        (tmp_path / "copy").rename(shard)
        eventually(lambda: one.events("store_lost"))
        eventually(lambda: one.events("store_doubted"))
        eventually(lambda: finds(one, "word1", "1.md") and one.source()["watermark"])
        assert verify(one)["exit_code"] == 0
        one.stop()
        empty(shard)
        one.start()
        eventually(lambda: len(one.events("store_doubted")) == 2)
        assert one.source()["documents"] == 2
        eventually(lambda: finds(one, "word0", "0.md") and finds(one, "word1", "1.md"))
        assert one.embedded() == 0
        one.stop()
