"""Whoever keeps copies of answers hears of every change, once and in order, however often it is cut off."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshd.client import Client
from freshd.errors import ConfigError, StoreUnavailable
from freshd.http import changes, connection, gatekeeper
from freshd.logs import Event
from freshd.state import DaemonRecord
from tests.http.daemon import TOKEN, Endpoint, eventually, serving

EVENTS = {"Accept": "text/event-stream"}


class Said(NamedTuple):
    """One block of a stream, as a browser reads it."""

    id: int | str | None
    event: str | None
    data: Any
    comments: tuple[str, ...]
    retry: int | None


class Listener:
    """One open stream."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer

    def block(self) -> Said | None:
        """Read the next block; None at the end of the stream."""
        lines = []
        while (line := self.answer.readline()) != b"\n":
            if not line:
                return None
            lines.append(line.decode().removesuffix("\n"))
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        return Said(
            _number(fields["id"]) if "id" in fields else None,
            fields.get("event"),
            json.loads(fields["data"]) if "data" in fields else None,
            tuple(line for line in lines if line.startswith(":")),
            int(fields["retry"]) if "retry" in fields else None,
        )

    def events(self, n: int) -> list[Said]:
        """Read the next `n` blocks that carry data."""
        found: list[Said] = []
        while len(found) < n:
            said = self.block()
            assert said is not None, f"ended after {found}"
            if said.data is not None:
                found.append(said)
        return found

    def numbers(self, n: int) -> list[int]:
        return [said.data["seq"] for said in self.events(n)]


def _number(place: str) -> int | str:
    return int(place) if place.isdecimal() else place


@contextmanager
def listening(endpoint: Endpoint, query: str = "", **headers: str) -> Iterator[Listener]:
    """Open a stream and read its greeting."""
    asking = http.client.HTTPConnection(*endpoint.place, timeout=60)
    with closing(asking):
        asking.request("GET", f"/changes{query}", headers={**EVENTS, **headers})
        answer = asking.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        with closing(answer):
            yield Listener(answer)


def n_pages(endpoint: Endpoint) -> int:
    """How often the history was read."""
    return sum(one[0] == "changes" for one in endpoint.daemon.asked)


# As JSON


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", (-100, 100, None, None, 0)),
        ("?limit=5", (-5, 5, None, None, 0)),
        ("?after=0", (0, 100, None, None, 0)),
        ("?after=0&gap=9", (0, 100, None, None, 9)),
        ("?after=-1000&limit=1000", (-1000, 1000, None, None, 0)),
        ("?after=7&limit=3&source=handbook&document=a%2Fb.md", (7, 3, "handbook", "a/b.md", 0)),
        ("?after=9223372036854775807", (2**63 - 1, 100, None, None, 0)),
    ],
)
def test_changes_are_passed_on_as_asked(endpoint: Endpoint, query: str, asked: tuple):
    answer = endpoint.get(f"/changes{query}")
    assert answer.json() == {"changes": [], "last_seq": 0, "is_gapless": True, "gap_seq": 0}
    assert endpoint.daemon.asked == [("changes", *asked)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?after=-1001", "after: got"),
        ("?after=9223372036854775808", "after: got"),
        ("?after=soon", "after: got"),
        ("?after=0&gap=-1", "gap: got"),
        ("?limit=0", "limit: got"),
        ("?limit=1001", "limit: got"),
        ("?source=", "source: "),
        ("?source=nobody", "nobody"),
        ("?document=leave.md", "document: expected the source along with it"),
        ("?source=handbook&document=", "document: "),
        ("?source=handbook&document=%00", "NUL"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_what_cannot_be_meant_is_refused_before_a_stream_begins(endpoint: Endpoint, query: str, says: str, accept: str):
    answer = endpoint.get(f"/changes{query}", accept=accept)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


def test_a_verify_is_a_job_like_any_other(endpoint: Endpoint):
    answer = endpoint.post("/verify")
    assert (answer.status_code, endpoint.daemon.asked) == (202, [("verify", False, False, False)])
    assert endpoint.get(answer.headers["location"]).json()["state"] == "running"
    assert endpoint.post("/verify", {"deep": True, "repair": True}).status_code == 202
    assert endpoint.daemon.asked[-1] == ("verify", True, True, False)
    for nonsense in ({"orphans": True}, {"repair": "yes"}, {"much": True}):
        assert endpoint.post("/verify", nonsense).status_code == 422
    assert endpoint.post("/verify", {}, headers={"Content-Type": "application/json"}).status_code == 401


# As events


def test_a_change_is_told_within_a_moment_with_its_number(endpoint: Endpoint):
    endpoint.daemon.apply()
    with listening(endpoint) as stream:
        greeting = stream.block()
        assert greeting == (1, None, None, (), changes._RETRY_MS)
        began, kept_alive_s = time.monotonic(), changes.KEEP_ALIVE_S
        endpoint.daemon.apply("news", "2")
        (said,) = stream.events(1)
        assert (said.id, said.event, said.data) == (2, "change", endpoint.daemon.history[1])
        assert time.monotonic() - began < kept_alive_s, "not only with the next sign of life"


@pytest.mark.parametrize(
    ("query", "headers", "numbers"),
    [
        ("?after=0", {}, [1, 2, 3, 4, 5]),
        ("?after=3", {}, [4, 5]),
        ("?after=-2", {}, [4, 5]),
        ("?after=0", {"Last-Event-ID": "4"}, [5]),
        ("", {"Last-Event-ID": "2"}, [3, 4, 5]),
        ("", {}, []),
        ("?after=0&source=news", {}, [2, 4]),
        ("?after=0&source=news&document=b", {}, [4]),
    ],
)
def test_a_stream_begins_where_it_is_told_to_and_goes_on(
    endpoint: Endpoint, query: str, headers: dict[str, str], numbers: list[int]
):
    for source, document in [("handbook", "a"), ("news", "a"), ("handbook", "b"), ("news", "b"), ("handbook", "a")]:
        endpoint.daemon.apply(source, document)
    with listening(endpoint, query, **headers) as stream:
        assert stream.numbers(len(numbers)) == numbers
        endpoint.daemon.apply("news", "b")
        assert stream.numbers(1) == [6]


@pytest.mark.parametrize("last", ["soon", "-1", "1.5", "", "1-", "1-2-3", "1" * 19])
def test_a_last_event_id_that_was_never_given_is_refused(endpoint: Endpoint, last: str):
    assert endpoint.get("/changes", **EVENTS, **{"Last-Event-ID": last}).status_code == 422


@pytest.mark.parametrize(("after", "kept_from"), [(0, 4), (2, 4), (2, 6)], ids=["from 0", "from 2", "nothing kept"])
def test_who_comes_back_too_late_is_told_to_let_go_of_everything(endpoint: Endpoint, after: int, kept_from: int):
    for _ in range(5):
        endpoint.daemon.apply()
    endpoint.daemon.forgotten = kept_from - 1
    with listening(endpoint, f"?after={after}") as stream:
        (gap,) = stream.events(1)
        assert (gap.event, gap.data) == ("gap", {"after": after, "last_seq": 5})
        endpoint.daemon.apply()
        assert stream.numbers(7 - kept_from) == list(range(kept_from, 7))
    with listening(endpoint, **{"Last-Event-ID": str(gap.id)}) as stream:
        assert stream.events(1)[0].event == "change"  # one gap, and no second one for whoever heard of it


@pytest.mark.parametrize("after", [0, 100])
@pytest.mark.parametrize("pause", [1, 3, 1000], ids=["after the gap", "after two changes", "never"])
def test_what_is_forgotten_on_purpose_is_told_once_also_to_who_is_cut_off_amid_what_follows(
    endpoint: Endpoint, after: int, pause: int
):
    for _ in range(250):
        endpoint.daemon.apply()
    endpoint.daemon.gap = 250
    heard, last = [], str(after)
    while last != "250":
        with listening(endpoint, **{"Last-Event-ID": last}) as stream:
            for said in stream.events(min(pause, 251 - after - len(heard))):
                heard.append("gap" if said.event == "gap" else said.data["seq"])
                last = str(said.id)
    assert heard == ["gap", *range(after + 1, 251)]


def test_what_is_forgotten_while_somebody_listens_is_told_once_and_again_when_there_is_more_of_it(endpoint: Endpoint):
    with listening(endpoint, "?after=0") as stream:
        assert stream.block().id == 0
        for n in range(1, 3):
            endpoint.daemon.gap = endpoint.daemon.apply()
            assert [(said.id, said.event) for said in stream.events(2)] == [(f"{n - 1}-{n}", "gap"), (n, "change")]
        endpoint.daemon.apply()
        assert stream.numbers(1) == [3]


def test_who_comes_for_the_newest_only_keeps_nothing_and_is_told_of_no_gap(endpoint: Endpoint):
    for _ in range(5):
        endpoint.daemon.apply()
    endpoint.daemon.gap = 5
    with listening(endpoint, "?after=-3") as stream:
        greeting = stream.block()
        assert greeting.id == "2-5"
        assert stream.numbers(1) == [3]
    with listening(endpoint, **{"Last-Event-ID": greeting.id}) as stream:
        assert stream.numbers(3) == [3, 4, 5]


def test_a_number_of_another_ledger_is_a_gap(endpoint: Endpoint):
    """The state directory was made anew: its numbers begin anew as well."""
    endpoint.daemon.apply()
    with listening(endpoint, **{"Last-Event-ID": "900"}) as stream:
        (gap,) = stream.events(1)
        assert (gap.id, gap.event, gap.data) == (1, "gap", {"after": 900, "last_seq": 1})
        endpoint.daemon.apply()
        assert stream.numbers(1) == [2]


def test_silence_is_broken_by_a_comment_that_moves_the_number_on(endpoint: Endpoint, monkeypatch):
    """Who listens to one document only would else come back with a number that was forgotten long ago."""
    monkeypatch.setattr(changes, "KEEP_ALIVE_S", 0.3)
    with listening(endpoint, "?source=news") as stream:
        assert stream.block().id == 0
        endpoint.daemon.apply("handbook")
        spoken = stream.block()
        while spoken.id == 0:
            spoken = stream.block()
        assert (spoken.id, spoken.data, len(spoken.comments)) == (1, None, 1)


def test_one_look_serves_all_streams_and_none_is_taken_for_nobody(endpoint: Endpoint):
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(endpoint)) for _ in range(8)]
        for stream in streams:
            stream.block()
        began, looks = time.monotonic(), endpoint.daemon.looks
        assert eventually(lambda: endpoint.daemon.looks >= looks + 5)
        n_looks, took = endpoint.daemon.looks - looks, time.monotonic() - began
        assert n_looks <= took / changes.POLL_S + 2
        pages = n_pages(endpoint)
        assert eventually(lambda: endpoint.daemon.looks >= looks + 10)
        assert n_pages(endpoint) == pages, "the history is read although nothing changed"
    assert eventually(lambda: not endpoint.tasks)

    def is_quiet() -> bool:
        looks = endpoint.daemon.looks
        time.sleep(3 * changes.POLL_S)  # in which somebody who listened would have caused three
        return endpoint.daemon.looks == looks

    assert eventually(is_quiet, 20)  # one look may still have been under way
    with listening(endpoint) as stream:
        endpoint.daemon.apply()
        assert stream.numbers(1) == [1]


def test_one_stream_too_many_is_told_to_come_later(endpoint: Endpoint):
    with ExitStack() as stack:
        streams = [stack.enter_context(listening(endpoint)) for _ in range(changes.MAX_STREAMS - 1)]
        with listening(endpoint):
            refused = endpoint.get("/changes", **EVENTS)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert set(refused.json()) == {"error", "try"}
            assert endpoint.get("/changes").status_code == 200
        assert eventually(lambda: len(endpoint.tasks) == changes.MAX_STREAMS - 1)
        with listening(endpoint) as another:
            endpoint.daemon.apply()
            assert [stream.numbers(1) for stream in (*streams, another)] == [[1]] * changes.MAX_STREAMS


def test_streams_leave_room_for_requests(endpoint: Endpoint, monkeypatch):
    monkeypatch.setattr(gatekeeper, "MAX_REQUESTS", 1)
    with listening(endpoint), listening(endpoint):
        assert endpoint.get("/status").status_code == 200
    assert eventually(lambda: not endpoint.tasks)
    assert endpoint.get("/status").status_code == 200


def test_a_head_of_a_stream_ends(endpoint: Endpoint):
    head = endpoint.client.head("/changes", headers=EVENTS)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert eventually(lambda: not endpoint.tasks)


def test_streams_end_when_the_endpoint_stops():
    """Cleanly: a client can tell an end from an answer that was torn."""
    with serving() as endpoint, ExitStack() as stack:
        streams = [stack.enter_context(listening(endpoint)) for _ in range(3)]
        began = time.monotonic()
        endpoint.server.stop()
        assert time.monotonic() - began < 30
        for stream in streams:
            assert stream.block().id == 0
            assert stream.block() is None


@pytest.mark.parametrize("is_reset", [False, True], ids=["closes", "resets"])
def test_a_listener_that_leaves_is_noticed(endpoint: Endpoint, is_reset: bool):
    with endpoint.connect() as leaving:
        leaving.sendall(b"GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        assert eventually(lambda: len(endpoint.tasks) == 1 and endpoint.daemon.looks > 1)
        if is_reset:
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert eventually(lambda: not endpoint.tasks)


def test_a_listener_that_never_reads_is_let_go_and_others_hear_on(monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE_S", 0.5)
    with serving() as endpoint, endpoint.connect() as deaf, listening(endpoint) as stream:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(b"GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        assert eventually(lambda: len(endpoint.tasks) == 2)
        for n in range(1, 9):
            endpoint.daemon.apply(document_id="x" * 1_000_000)
            assert stream.numbers(1) == [n]
        assert eventually(lambda: len(endpoint.tasks) == 1)
        endpoint.daemon.apply()
        assert stream.numbers(1) == [9]


def test_a_listener_whose_machine_vanished_is_given_up(endpoint: Endpoint):
    with listening(endpoint):
        for one in endpoint.connections:
            accepted = one.transport.get_extra_info("socket")
            option = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert option == connection.GONE_S * 1_000


def test_what_is_applied_while_the_history_is_read_is_told_as_well(endpoint: Endpoint):
    """The bell rings once for it, and must not be muffled by whoever comes back from reading."""

    def apply_another() -> None:
        if len(endpoint.daemon.history) == 1:
            endpoint.daemon.apply()
            looks = endpoint.daemon.looks
            assert eventually(lambda: endpoint.daemon.looks >= looks + 2)

    with listening(endpoint) as stream:
        assert stream.block().id == 0
        endpoint.daemon.after_changes = apply_another
        endpoint.daemon.apply()
        assert stream.numbers(2) == [1, 2]


def test_freshds_own_client_goes_on_where_it_was_and_ends_with_the_stream():
    with serving() as endpoint:
        for source in ("handbook", "news", "news", "handbook"):
            endpoint.daemon.apply(source)
        endpoint.daemon.forgotten = 1
        client = Client(DaemonRecord(endpoint.server.address, TOKEN, 1))
        endpoint.daemon.gap = 3
        following = client.follow("0", "news", None)
        told = [next(following) for _ in range(3)]
        heard = [(one.place, one.change and one.change["seq"]) for one in told]
        assert heard == [("1-3", None), ("2-3", 2), ("3", 3)]
        assert next(client.follow("1-3", "news", None)) == told[1]
        endpoint.server.stop()
        assert list(following) == []
        with pytest.raises(StoreUnavailable, match="does not answer"):
            next(client.follow("3", None, None))


def test_freshds_own_client_is_told_why_a_stream_cannot_begin(endpoint: Endpoint):
    client = Client(DaemonRecord(endpoint.server.address, TOKEN, 1))
    with pytest.raises(ConfigError, match="nobody"):
        next(client.follow("0", "nobody", None))
    with pytest.raises(ConfigError, match="nobody"):
        client.changes(0, 10, "nobody", None)


# When the daemon takes up another config, or has a fault


@pytest.mark.parametrize("when", ["before_look", "before_changes"])
def test_a_stream_outlives_a_reload_and_misses_nothing(endpoint: Endpoint, monkeypatch, when: str):
    monkeypatch.setattr(changes, "_PAUSE_S", 0.1)
    is_reloading = threading.Event()
    n_refused = 0

    def refuse() -> None:
        nonlocal n_refused
        if is_reloading.is_set():
            n_refused += 1
            raise StoreUnavailable("freshd is starting")

    with listening(endpoint) as stream:
        assert stream.block().id == 0
        setattr(endpoint.daemon, when, refuse)
        is_reloading.set()
        endpoint.daemon.apply()
        assert eventually(lambda: n_refused > 2)
        is_reloading.clear()
        assert stream.numbers(1) == [1]
    is_reloading.set()
    refused = endpoint.get("/changes", **EVENTS)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_a_stream_ends_when_its_source_leaves_the_config(endpoint: Endpoint, told):
    with listening(endpoint, "?source=news") as stream:
        assert stream.block().id == 0
        endpoint.daemon.before_changes = lambda: endpoint.daemon._check(["gone"])
        endpoint.daemon.apply()
        assert stream.block() is None
    assert endpoint.get("/changes?source=news", **EVENTS).status_code == 422
    assert told() == []


@pytest.mark.parametrize("where", ["before_look", "before_changes"])
def test_a_fault_of_ours_ends_streams_rather_than_leaving_them_deaf(endpoint: Endpoint, told, where: str):
    """A stream that says nothing looks like a source in which nothing changes."""

    def fail() -> None:
        raise RuntimeError("secret")

    with listening(endpoint) as stream:
        assert stream.block().id == 0
        setattr(endpoint.daemon, where, fail)
        endpoint.daemon.apply()
        with suppress(http.client.IncompleteRead, ConnectionError):
            while stream.block():
                pass
    assert eventually(lambda: not endpoint.tasks)
    assert Event.REQUEST_FAILED in {event["event"] for event in told()}
    setattr(endpoint.daemon, where, lambda: None)
    with listening(endpoint, "?after=0") as stream:
        assert stream.numbers(1) == [1]


# Whatever happens


@settings(max_examples=15)
@given(
    batches=st.lists(st.integers(1, 130), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 90), max_size=5),
    source=st.sampled_from([None, "handbook", "news"]),
)
def test_every_change_is_heard_once_and_in_order(running: Endpoint, batches: list[int], cuts: list[int], source: str):
    """Writes go on while the client reads, is cut off after some events, and comes back with the last id it saw."""
    running.daemon.reset()
    daemon = running.daemon

    def write() -> None:
        for n, size in enumerate(batches):
            for m in range(size):
                daemon.apply("news" if (n + m) % 3 == 0 else "handbook")
            time.sleep(0.002)

    sources = ["news" if (n + m) % 3 == 0 else "handbook" for n, size in enumerate(batches) for m in range(size)]
    due = [seq for seq, one in enumerate(sources, 1) if source in (None, one)]
    query = "" if source is None else f"?source={source}"
    heard, last = [], 0
    writer = threading.Thread(target=write)
    for n, cut in enumerate([*cuts, len(due)]):
        with listening(running, query, **{"Last-Event-ID": str(last)}) as stream:
            if n == 0:
                writer.start()
            for said in stream.events(min(cut, len(due) - len(heard))):
                heard.append(said.data["seq"])
                last = said.id
    writer.join()
    assert heard == due
