"""What a point carries beside its vectors, written, brought up to date and read back."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.model import Chunk, ChunkId, Digest, DocumentId, Point, Relabel, SourceName, SparseVector, Vector
from freshd.payload import (
    KEYWORD_KEYS,
    DocumentFields,
    chunk_label,
    chunk_relabels,
    citation,
    document_relabels,
    point_payload,
    rfc3339,
)
from freshd.stores.edge import EdgeStore
from freshd.stores.wire import pack_dense

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

DOCUMENT = DocumentFields(
    SourceName("handbook"),
    DocumentId("leave/parents.md"),
    "file:///srv/handbook/leave/parents.md",
    "Leave",
    Digest("ab" * 32),
    NOON - timedelta(days=3),
)
CHUNK = Chunk(
    ChunkId(str(UUID(int=1))),
    ordinal=4,
    start=100,
    end=140,
    start_line=12,
    end_line=14,
    heading_path=("Leave", "Parents"),
    text="Parents have sixteen more weeks.",
    embedded_text="Leave > Parents\n\nParents have sixteen more weeks.",
    digest=Digest("cd" * 32),
)

lines = st.text(st.characters(codec="utf-8"), max_size=20)
instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5, minutes=30))]))
documents = st.builds(
    DocumentFields,
    source=lines.map(SourceName),
    document_id=lines.map(DocumentId),
    uri=lines,
    title=st.none() | lines,
    content_sha256=st.sampled_from([Digest("ab" * 32), Digest("ef" * 32)]),
    modified_at=st.none() | instants,
)
chunks = st.builds(
    replace,
    st.just(CHUNK),
    ordinal=st.integers(0, 10**6),
    start_line=st.integers(1, 10**6),
    end_line=st.integers(1, 10**6),
    heading_path=st.lists(lines, max_size=3).map(tuple),
    text=lines,
)


def relabelled(payload: Mapping[str, Any], labels: tuple[Relabel, ...]) -> dict[str, Any]:
    """Do what Qdrant does with a payload that is set: fields replace their namesakes, null removes them."""
    result = json.loads(json.dumps(payload))
    for label in labels:
        target = result if label.key is None else result[label.key]
        for name, value in label.payload.items():
            target.pop(name, None)
            if value is not None:
                target[name] = value
    return result


def test_the_payload_is_what_retrievers_and_filters_of_other_tools_read():
    payload = point_payload(DOCUMENT, CHUNK, NOON)
    assert payload["page_content"] == CHUNK.text
    assert payload["metadata"] == {
        "source": "handbook",
        "document_id": "leave/parents.md",
        "uri": "file:///srv/handbook/leave/parents.md",
        "title": "Leave",
        "heading_path": ["Leave", "Parents"],
        "start_line": 12,
        "end_line": 14,
        "source_modified_at": "2026-02-26T12:00:00Z",
        "indexed_at": "2026-03-01T12:00:00Z",
    }
    assert (payload["doc_id"], payload["source"]) == ("handbook/leave/parents.md", "handbook")
    assert (payload["last_modified"], payload["content_sha256"]) == ("2026-02-26T12:00:00Z", "ab" * 32)
    assert payload["freshd"] == {"document_id": "leave/parents.md", "ordinal": 4, "digest": "cd" * 32}


def test_every_key_that_has_an_index_is_in_the_payload():
    payload = point_payload(DOCUMENT, CHUNK, NOON)
    for key in KEYWORD_KEYS:
        value: Any = payload
        for part in key.split("."):
            value = value[part]
        assert isinstance(value, str)


@given(documents, chunks, instants)
def test_a_citation_says_what_the_payload_was_built_from(document: DocumentFields, chunk: Chunk, at: datetime):
    found = citation(json.loads(json.dumps(point_payload(document, chunk, at))))
    assert (found.text, found.heading_path) == (chunk.text, chunk.heading_path)
    assert (found.start_line, found.end_line) == (chunk.start_line, chunk.end_line)
    assert (found.source, found.document_id) == (document.source, document.document_id)
    assert (found.uri, found.title) == (document.uri, document.title)
    assert (found.modified_at, found.indexed_at) == (document.modified_at, at)


@given(documents, documents, chunks, chunks)
def test_a_kept_point_brought_up_to_date_equals_a_new_one(
    before: DocumentFields, after: DocumentFields, old: Chunk, new: Chunk
):
    """Same document, same text: only what its label covers may differ."""
    after = replace(after, source=before.source, document_id=before.document_id)
    new = replace(new, text=old.text)
    labels: tuple[Relabel, ...] = ()
    if chunk_label(old) != chunk_label(new):
        labels += chunk_relabels(new)
    if before.label() != after.label():
        labels += document_relabels(after, (new.chunk_id,), NOON)
    expected = point_payload(after, new, NOON)
    assert relabelled(point_payload(before, old, NOON), labels) == expected


@pytest.mark.parametrize(
    "changes",
    [{"uri": "file:///other"}, {"title": None}, {"content_sha256": Digest("00" * 32)}, {"modified_at": None}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_label_of_a_document_covers_every_field_that_its_points_share(changes: dict[str, Any]):
    assert replace(DOCUMENT, **changes).label() != DOCUMENT.label()


@pytest.mark.parametrize(
    "changes",
    [{"ordinal": 5}, {"start_line": 11}, {"end_line": 15}, {"heading_path": ("Leave > Parents",)}],
    ids=lambda changes: next(iter(changes)),
)
def test_the_label_of_a_chunk_covers_every_field_that_may_change_while_its_id_stays(changes: dict[str, Any]):
    assert chunk_label(replace(CHUNK, **changes)) != chunk_label(CHUNK)


def test_where_a_chunk_lies_in_the_parsed_text_is_no_part_of_its_label():
    """It is not in the payload either: a relabel for it would write what is there."""
    assert chunk_label(replace(CHUNK, start=0, end=40)) == chunk_label(CHUNK)


def test_nothing_unknown_is_written_as_null():
    payload = point_payload(replace(DOCUMENT, title=None, modified_at=None), CHUNK, NOON)
    assert "null" not in json.dumps(payload)
    assert "last_modified" not in payload
    assert {"title", "source_modified_at"}.isdisjoint(payload["metadata"])


def test_a_point_that_is_not_ours_is_no_citation():
    with pytest.raises(KeyError):
        citation({"page_content": "text", "metadata": {"source": "somewhere"}})


@pytest.mark.parametrize("title", [None, "Holidays"])
def test_a_relabelled_point_of_the_engine_is_read_like_a_new_one(tmp_path: Path, title: str | None):
    """The engine takes a null that is set for the wish to remove the field, and an absent title must still be read."""
    after = replace(DOCUMENT, title=title, modified_at=None)
    moved = replace(CHUNK, start_line=20, end_line=22, ordinal=7)
    store = EdgeStore(tmp_path / "index", 2)
    store.open(str(UUID(int=9)))
    try:
        vector = Vector(pack_dense((1.0, 0.0)))
        store.upsert([Point(CHUNK.chunk_id, vector, SparseVector((1,), (1.0,)), point_payload(DOCUMENT, CHUNK, NOON))])
        store.relabel([*chunk_relabels(moved), *document_relabels(after, (CHUNK.chunk_id,), NOON)])
        (found,) = store.retrieve([CHUNK.chunk_id])
    finally:
        store.close()
    assert found.payload == point_payload(after, moved, NOON)
    assert citation(found.payload).title == title


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (None, None),
        (NOON, "2026-03-01T12:00:00Z"),
        (NOON.replace(microsecond=7), "2026-03-01T12:00:00.000007Z"),
        (datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))), "2026-03-01T12:00:00Z"),
    ],
)
def test_instants_are_written_in_utc(instant: datetime | None, text: str | None):
    assert rfc3339(instant) == text
