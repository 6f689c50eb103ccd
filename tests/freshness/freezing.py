"""Freezes one thread of a live freshd at a call it makes, until the block ends."""

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from typing import Any
from unittest import mock

import httpx

from freshd.errors import DocumentUnreadable
from freshd.ledger.proofs import Proofs
from freshd.model import Document, DocumentRef, SourceName
from freshd.scheduler.lane import Lane
from tests.freshness.living import Living
from tests.scheduler.parts import eventually

Freezer = Callable[[Living], Any]
"""Makes the context in which something is frozen; it begins once the thread stands still."""

_ARRIVES_S = 60.0


class _Ice:
    """Where a thread stands still; whoever has come this far is counted."""

    def __init__(self) -> None:
        self.arrived, self._melted = threading.Event(), threading.Event()
        self.n_arrived = 0

    def stand(self) -> None:
        self.n_arrived += 1
        self.arrived.set()
        self._melted.wait()

    def melt(self) -> None:
        self._melted.set()


@contextmanager
def frozen_at(
    owner: object, name: str, thread: str | threading.Thread, stir: Callable[[], object] = lambda: None
) -> Iterator[_Ice]:
    """Freeze the thread, or all whose name begins so, when it next calls something.

    Args:
        owner: Whose method is called.
        name: The method.
        thread: Who is to stand still.
        stir: Makes it call.

    """
    ice, call = _Ice(), getattr(owner, name)

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        me = threading.current_thread()
        if me is thread or (isinstance(thread, str) and me.name.startswith(thread)):
            ice.stand()
        return call(*args, **kwargs)

    with mock.patch.object(owner, name, stand_in):
        try:
            stir()
            assert ice.arrived.wait(_ARRIVES_S), f"{thread} never called {name}"
            yield ice
        finally:
            ice.melt()


def lane(one: Living, name: str = "docs") -> Lane:
    return one.scheduler.lanes[SourceName(name)]


def edit(one: Living) -> Callable[[], object]:
    return lambda: one.write("stirs.md", f"# Stirs\n\nAt {one.clock.now()}.\n")


# What lies on the way from a change to a proof


def the_indexer(one: Living) -> Any:
    return frozen_at(one.whole.ledger, "take", "indexer")


def the_indexer_in_the_store(one: Living) -> Any:
    return frozen_at(one.whole.store, "ping", "indexer")


def the_indexer_in_the_model(one: Living) -> Any:
    return frozen_at(one.whole.recipe.embedder, "embed_passages", "indexer", edit(one))


def the_indexer_with_everything_written_but_the_ledger(one: Living) -> Any:
    return frozen_at(one.whole.ledger, "commit", "indexer", edit(one))


def the_clockwork(one: Living) -> Any:
    return frozen_at(one.scheduler._timetable._scheduler, "_process_jobs", "APScheduler")


def a_scan_in_its_source(one: Living) -> Any:
    return frozen_at(lane(one).target.connector, "list", "ThreadPoolExecutor-")


def a_look_in_its_source(one: Living) -> Any:
    return frozen_at(lane(one).target.connector, "list", "look_", edit(one))


def a_job_in_its_source(one: Living) -> Any:
    return frozen_at(lane(one).target.connector, "list", "job", lambda: one.live.reindex(["docs"], full=False))


@contextmanager
def the_process_of_the_store(one: Living) -> Iterator[None]:
    pid = eventually(lambda: one.whole.store.child_pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)  # not reaped while its owner waits for it


@contextmanager
def what_starts_the_store_and_the_store_is_killed(one: Living) -> Iterator[None]:
    with the_starter_of_the_store(one):
        os.kill(one.whole.store.child_pid, signal.SIGKILL)
        yield


@contextmanager
def the_disk_below_its_reserve(one: Living) -> Iterator[None]:
    with mock.patch.object(type(one.state), "free_bytes", return_value=-1):
        yield


@contextmanager
def the_ledger_in_the_hands_of_another(one: Living) -> Iterator[None]:
    with closing(sqlite3.connect(one.state.ledger_path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


@contextmanager
def the_shard_away(one: Living) -> Iterator[None]:
    shard = next(one.state.index_dir.glob("knowledge-*/shard"))
    away = shard.with_name("away")
    shard.rename(away)
    try:
        yield
    finally:
        shutil.rmtree(shard, ignore_errors=True)
        away.rename(shard)


@contextmanager
def the_store_killed_again_and_again(one: Living) -> Iterator[None]:
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.01):
            pid = one.whole.store.child_pid
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, name="killer")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextmanager
def unreadable(one: Living, *names: str) -> Iterator[threading.Event]:
    """Have reads of some documents fail, while their fingerprints stay what they are, until the event is set."""
    connector, is_mended = lane(one).target.connector, threading.Event()
    read = connector.read

    def failing(ref: DocumentRef) -> Document:
        if ref.document_id in names and not is_mended.is_set():
            raise DocumentUnreadable(f"{ref.document_id}: cannot be read")
        return read(ref)

    with mock.patch.object(connector, "read", failing):
        yield is_mended


# What does not


def the_lookout(one: Living) -> Any:
    return frozen_at(lane(one).hints, "next_due_s", "lookout", edit(one))


def a_look_before_its_source(one: Living) -> Any:
    return frozen_at(lane(one), "look", "look_", edit(one))


def the_watch_that_hands_out(one: Living) -> Any:
    watch = lane(one)._watch
    return frozen_at(watch, "dispatch", watch._observer, edit(one))


def the_watch_that_sorts(one: Living) -> Any:
    (emitter,) = lane(one)._watch._observer.emitters
    return frozen_at(emitter, "queue_event", emitter, edit(one))


def the_watch_that_reads(one: Living) -> Any:
    inotify = lane(one)._watch._inotify
    return frozen_at(inotify, "handle_event", inotify, edit(one))


@contextmanager
def the_main_thread(one: Living) -> Iterator[None]:
    one.ticks.clear()
    try:
        assert one.rests.wait(_ARRIVES_S)
        yield
    finally:
        one.ticks.set()


def a_verify_on_order(one: Living) -> Any:
    return frozen_at(Proofs, "claims", "job", lambda: one.live.verify(deep=False, repair=False, orphans=False))


@contextmanager
def the_starter_of_the_store(one: Living) -> Iterator[None]:
    ice = _Ice()
    done: Future[None] = one.whole.store._starter._thread.submit(ice.stand)
    assert ice.arrived.wait(_ARRIVES_S)
    try:
        yield
    finally:
        ice.melt()
        done.result()


def every_search(one: Living) -> Any:
    return frozen_at(one.live, "search", "freshd-http-search", lambda: asked_and_left(one, "/search?q=word"))


def asked_and_left(one: Living, path: str) -> None:
    url = f"http://{one.server.address}{path}"
    threading.Thread(target=_ask, args=(url,), name="asker", daemon=True).start()


def _ask(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(url, timeout=5, trust_env=False)
