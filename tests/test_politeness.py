"""A host is asked by few of us at a time, and a slow one makes only its own sources wait. Catalogue row 113."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from freshd.errors import SourceUnavailable
from freshd.fetch import HttpxFetcher
from freshd.fetch.rests import MOST_HOSTS, HostRests
from freshd.fetch.turns import AT_ONCE, HostTurns
from freshd.model import SourceName
from freshd.scheduler.pace import LONGEST_BACKOFF, MAX_SPREAD, Pace, spread_of
from freshd.scheduler.turns import Turns
from tests.daemon.instance import FILES, eventually, instance
from tests.kit.clock import HandClock
from tests.kit.network import NOW, PUBLIC, DetourNetwork, FixedClock, resolving
from tests.scripted_server import Reply, Request, ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


# Requests


def test_two_requests_at_most_are_under_way_to_one_host_whoever_asks(server: ScriptedServer):
    """Twelve fetchers, as twelve sources have; all of them get their answer."""
    under_way, most, lock = 0, 0, threading.Lock()

    def answer(_: Request) -> Reply:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.03)
        with lock:
            under_way -= 1
        return Reply(200, b"hello")

    url, turns = server.on("/", answer), HostTurns()
    fetchers = [HttpxFetcher(FixedClock(), [server.host], turns=turns) for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda fetcher: fetcher.fetch(url).content, fetchers))
    assert answers == [b"hello"] * 12
    assert most == AT_ONCE


def test_a_busy_host_costs_others_nothing_and_those_who_wait_too_long_are_told(server: ScriptedServer):
    with ScriptedServer() as other:
        turns = HostTurns()
        hosts = [server.host, other.host]
        with turns.at(server.host, 1), turns.at(server.host, 1):
            began_s = time.monotonic()
            impatient = HttpxFetcher(FixedClock(), hosts, turns=turns, deadline_s=0.2)
            with pytest.raises(SourceUnavailable, match="kept its host busy"):
                impatient.fetch(server.on("/", Reply(200)))
            patient = HttpxFetcher(FixedClock(), hosts, turns=turns)
            assert patient.fetch(other.on("/", Reply(200, b"hello"))).content == b"hello"
            assert time.monotonic() - began_s < 25
        assert server.connections == 0


def test_a_turn_is_given_back_however_a_request_ends(server: ScriptedServer):
    turns = HostTurns()
    fetcher = HttpxFetcher(FixedClock(), [server.host], turns=turns, deadline_s=2)
    for reply in (
        Reply(500),
        Reply(200, b"x" * 99),
        Reply(reset=True),
        Reply(301, headers={"Location": "file:///"}),
    ) * 2:
        with pytest.raises(SourceUnavailable):
            fetcher.fetch(server.on("/", reply), max_bytes=9)
    assert turns._taken == {}, "and nothing is remembered of a host that nobody asks"


# Rests


def two_sources(server: ScriptedServer, clock: HandClock) -> tuple[HttpxFetcher, HttpxFetcher]:
    """What two sources have, to whom every name of the internet is a server on loopback."""
    shared = {
        "turns": HostTurns(),
        "rests": HostRests(),
        "resolve": resolving(busy_example=[PUBLIC], other_example=[PUBLIC]),
        "network": DetourNetwork(server.port),
    }
    return HttpxFetcher(clock, [server.host], **shared), HttpxFetcher(clock, [server.host], **shared)


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_wants_to_be_left_alone_is_left_alone_by_every_source(server: ScriptedServer, status: int):
    clock = HandClock()
    first, second = two_sources(server, clock)
    server.on("/first", Reply(status, headers={"Retry-After": "120"}), Reply(200))
    server.on("/second", Reply(200, b"hello"))
    with pytest.raises(SourceUnavailable, match=f"answered {status}"):
        first.fetch("http://busy.example/first")
    clock.advance(timedelta(seconds=100))
    for fetcher in (first, second):
        with pytest.raises(SourceUnavailable, match="left alone for another 20 s") as refused:
            fetcher.fetch("http://busy.example/second")
        assert refused.value.not_before == clock.now() + timedelta(seconds=20)
    assert server.asked("/second") == []
    assert second.fetch("http://other.example/second").content == b"hello"
    clock.advance(timedelta(seconds=21))
    assert second.fetch("http://busy.example/second").content == b"hello"


def test_a_private_host_that_wants_to_be_left_alone_says_so_of_one_source_only(server: ScriptedServer):
    """Many services may stand behind one name and port of the own network."""
    first, second = two_sources(server, HandClock())
    server.on("/first", Reply(503, headers={"Retry-After": "120"}))
    with pytest.raises(SourceUnavailable):
        first.fetch(server.url("/first"))
    assert second.fetch(server.on("/second", Reply(200, b"hello"))).content == b"hello"


def test_no_number_of_hosts_at_rest_fills_the_memory():
    rests = HostRests()
    for n in range(MOST_HOSTS + 100):
        rests.note(f"{n}.example:80", 0.0, 60.0)
    assert len(rests._ends_s) == MOST_HOSTS
    assert rests.left_s(f"{MOST_HOSTS + 99}.example:80", 10.0) == 50.0
    rests.note("one.example:80", 61.0, 60.0)
    assert len(rests._ends_s) == 1, "and what is over is forgotten"


# Looks


def test_looks_at_one_host_take_turns_in_the_order_they_came():
    turns = Turns(1)
    assert turns.take("a", SourceName("one"))
    assert turns.take("b", SourceName("elsewhere"))
    assert not turns.take("a", SourceName("two"))
    assert not turns.take("a", SourceName("three"))
    assert not turns.take("a", SourceName("two"))
    assert list(turns.give("a")) == ["two"]
    assert turns.take("a", SourceName("two"))
    assert list(turns.give("a")) == ["three"]
    assert turns.take("a", SourceName("three"))
    assert list(turns.give("a")) == []
    assert list(turns.give("b")) == []
    assert (turns._taken, turns._waiting) == ({}, {})


def feed(name: str, server: ScriptedServer, path: str) -> str:
    return (
        f'[[sources]]\nname = "{name}"\ntype = "feed"\nurl = "{server.url(path)}"\n'
        f'allow_private_hosts = ["{server.host}"]\nfreshness_target = "2s"\n'
    )


def test_twenty_feeds_of_a_host_that_hangs_delay_no_other_feed(server: ScriptedServer, tmp_path: Path):
    """More than there are threads to look: without turns, each of them would hang in one for half a minute."""
    with ScriptedServer() as slow:
        slow.on("/feed", Reply(delay_s=60))
        server.on("/feed", Reply(200, b'<rss version="2.0"><channel><title>N</title></channel></rss>'))
        hanging = "".join(feed(f"slow{n}", slow, "/feed") for n in range(20))
        with instance(tmp_path, hanging + FILES + feed("quick", server, "/feed")) as one:
            one.write("a.md", "# A\n\nThe firstword.\n")
            started_s = time.monotonic()
            one.start()
            one.settled("quick")
            one.settled("handbook")
            n_asked, began_s = len(server.asked("/feed")), time.monotonic()
            eventually(lambda: len(server.asked("/feed")) >= n_asked + 3)
            assert time.monotonic() - began_s < 25, "it is asked each second"
            n_turns = 1 + int((time.monotonic() - started_s) / 25)  # each hangs for half a minute
            assert 2 <= len(slow.asked("/feed")) <= 2 * n_turns


# Trying again


def test_sources_that_failed_together_are_not_all_tried_again_together():
    """Each always draws the same lot, so that a restart brings them no closer."""
    names = [f"feed{n}" for n in range(500)]
    pauses = [
        Pace(timedelta(minutes=2), spread=spread_of(name)).next_after(NOW, None, failures=20) - NOW for name in names
    ]
    assert min(pauses) >= LONGEST_BACKOFF
    assert max(pauses) <= LONGEST_BACKOFF * (1 + MAX_SPREAD)
    seconds = [pause.total_seconds() // 5 for pause in pauses]
    assert max(seconds.count(second) for second in seconds) < 80, "of 500 within any 5 of 75 seconds"
    assert pauses == [
        Pace(timedelta(minutes=2), spread=spread_of(name)).next_after(NOW, None, failures=20) - NOW for name in names
    ]


def test_one_that_answers_is_asked_as_if_it_had_never_failed():
    pace = Pace(timedelta(minutes=2), spread=0.2)
    assert pace.next_after(NOW, None) - NOW == timedelta(minutes=1)
