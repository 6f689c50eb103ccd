"""Reads of a far server begin early, one at a time, and what nobody wants any more is let go of."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from freshd.errors import DocumentUnreadable, SourceUnavailable
from freshd.model import DocumentRef
from freshd.scheduler import ReadAhead
from tests.kit.clock import HandClock
from tests.scheduler.parts import Gate, MemorySource, eventually


class RemoteSource(MemorySource):
    """Somebody else's server."""

    least_interval = timedelta(seconds=1)
    host = "example.org:80"


@pytest.fixture
def server() -> RemoteSource:
    made = RemoteSource(HandClock())
    for n in range(40):
        made.write(f"{n}.md")
    return made


@pytest.fixture
def ahead(server: RemoteSource) -> Iterator[ReadAhead]:
    made = ReadAhead(server)
    yield made
    made.close()


def begin(ahead: ReadAhead, ref: DocumentRef) -> threading.Event:
    read = threading.Event()
    ahead.begin(ref, read.set)
    return read


def test_a_source_nearby_is_not_read_ahead():
    with pytest.raises(TypeError):
        ReadAhead(MemorySource(HandClock()))


def test_what_was_begun_is_read_once(server: RemoteSource, ahead: ReadAhead):
    ref = server.ref("1.md")
    assert begin(ahead, ref).wait(60)
    assert begin(ahead, ref).wait(60)
    assert ahead.read(ref).content == b"# 1.md\n\nText of 1.md.\n"
    assert server.reads == ["1.md"]


def test_what_was_not_begun_is_read_when_it_is_wanted(server: RemoteSource, ahead: ReadAhead):
    assert ahead.read(server.ref("1.md")).content
    assert ahead.read(server.ref("1.md")).content
    assert server.reads == ["1.md", "1.md"]


@pytest.mark.parametrize("error", [DocumentUnreadable("no"), SourceUnavailable("away"), RuntimeError("a fault")])
def test_an_error_of_a_read_is_raised_where_it_is_wanted_and_then_forgotten(
    server: RemoteSource, ahead: ReadAhead, error: Exception
):
    def fail(_: DocumentRef) -> None:
        raise error

    server.before_read = fail
    ref = server.ref("1.md")
    assert begin(ahead, ref).wait(60)
    with pytest.raises(type(error)):
        ahead.read(ref)
    server.before_read = lambda _: None
    assert ahead.read(ref).content


def test_no_more_is_begun_than_is_soon_used(server: RemoteSource, ahead: ReadAhead):
    begun = 0
    while not ahead.is_full:
        begin(ahead, server.ref(f"{begun}.md"))
        begun += 1
    assert 1 < begun < 40
    ahead.read(server.ref("0.md"))
    assert not ahead.is_full


def test_what_may_wait_to_be_used_leaves_room_for_what_may_not(server: RemoteSource, ahead: ReadAhead):
    refs = [server.ref(f"{n}.md") for n in range(40)]
    may_wait = [ref for ref in refs[:30] if ahead.begin(ref, lambda: None, may_wait=True)]
    assert 1 < len(may_wait) < 30
    assert not ahead.has_room(may_wait=True)
    assert ahead.has_room(may_wait=False)
    assert ahead.begin(refs[-1], lambda: None)
    ahead.let_go(may_wait[0])
    assert ahead.has_room(may_wait=True)


def test_reads_of_states_that_passed_do_not_fill_it_up(server: RemoteSource, ahead: ReadAhead):
    """Entries are edited while a slow server is asked for them; only their newest state is wanted then."""
    for n in range(40):
        old = server.ref(f"{n}.md")
        server.write(f"{n}.md", f"# New\n\nNew text of {n}.\n")
        begin(ahead, old)
        assert begin(ahead, server.ref(f"{n}.md")).wait(5)
        assert f"New text of {n}".encode() in ahead.read(server.ref(f"{n}.md")).content
    assert not ahead.is_full


def test_what_nobody_wants_any_more_does_not_fill_it_up(server: RemoteSource, ahead: ReadAhead):
    refs = [server.ref(f"{n}.md") for n in range(40)]
    for ref in refs:
        assert begin(ahead, ref).wait(60)
        assert ahead.is_read(ref)
        ahead.let_go(ref)
        ahead.let_go(ref)
        assert not ahead.is_begun(ref)
    assert not ahead.is_full


def test_a_newer_state_is_read_although_an_older_one_is_let_go_of(server: RemoteSource, ahead: ReadAhead):
    old = server.ref("1.md")
    assert begin(ahead, old).wait(60)
    server.write("1.md")
    assert begin(ahead, server.ref("1.md")).wait(60)
    ahead.let_go(old)
    assert ahead.is_read(server.ref("1.md"))


def test_a_source_that_is_away_is_asked_for_what_was_begun_once_it_is_wanted_again(
    server: RemoteSource, ahead: ReadAhead
):
    gate = Gate()

    def refuse(_: DocumentRef) -> None:
        gate()
        raise SourceUnavailable("away")

    server.before_read = refuse
    refs = [server.ref(f"{n}.md") for n in range(16)]
    for ref in refs:
        begin(ahead, ref)
    gate.opened.set()
    with pytest.raises(SourceUnavailable):
        ahead.read(refs[0])
    assert not any(map(ahead.is_begun, refs))
    server.before_read = lambda _: None
    assert begin(ahead, refs[1]).wait(60)
    assert ahead.read(refs[1]).content


def test_a_hanging_read_keeps_nobody_from_listing_or_leaving(server: RemoteSource):
    ahead, gate = ReadAhead(server), Gate()
    server.before_read = gate
    begin(ahead, server.ref("1.md"))
    assert gate.arrived.wait(60)
    assert len(list(ahead.list())) == 40
    ahead.close()
    ahead.close()
    gate.opened.set()


def test_what_is_begun_after_the_end_hurts_nobody(server: RemoteSource):
    ahead = ReadAhead(server)
    read = begin(ahead, server.ref("1.md"))
    assert read.wait(60)
    ahead.close()
    assert ahead.read(server.ref("1.md")).content


def test_it_has_the_manners_of_what_it_wraps(server: RemoteSource, ahead: ReadAhead):
    assert ahead.least_interval == server.least_interval
    assert ahead.coverage is server.coverage
    assert not ahead.is_gone(server.ref("1.md").document_id)
    server.delete("1.md")
    eventually(lambda: ahead.is_gone(DocumentRef("1.md", "").document_id))  # type: ignore[arg-type]
