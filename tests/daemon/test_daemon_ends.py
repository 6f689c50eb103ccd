"""What ends a daemon, with a code by which it is started again: a disk that fails, and a thread that dies or hangs."""

import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freshd.daemon.manager import tell
from tests.daemon.instance import FILES, Instance, eventually, instance

TICK_S = 1.0
"""A daemon that turns says so as often."""


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        yield made


def goes_on(one: Instance) -> None:
    """Start again; what was written meanwhile is found, and the index is whole."""
    one.start()
    eventually(lambda: one.get("/readyz").is_success)
    eventually(lambda: one.places("secondword") == {"b.md"})
    assert one.command("verify").returncode == 0
    assert one.stop() == 0


@contextmanager
def failing(one: Instance, call: str, file: str | None = None, error: str = "EIO") -> Iterator[None]:
    """Have system calls of the running daemon fail, whichever thread makes them; on one of its files, or on any."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    assert one.process is not None
    log, place = one.root / "trace", () if file is None else (f"--trace-path={one.state.path / file}",)
    injection = [*place, f"--trace={call}", f"--inject={call}:error={error}"]
    attached = ["--follow-forks", f"--output={log}", f"--attach={one.process.pid}"]
    tracer = subprocess.Popen(["strace", *injection, *attached], stderr=subprocess.DEVNULL)
    try:
        status = Path(f"/proc/{one.process.pid}/status")
        eventually(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text())
        yield
        assert "(INJECTED)" in log.read_text()
    finally:
        tracer.terminate()
        tracer.wait()


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_disk_that_fails_under_the_ledger_ends_the_daemon_which_then_goes_on_from_what_is_on_it(
    one: Instance, call: str
):
    one.start()
    one.settled()
    with failing(one, call, "ledger.db-wal"):
        one.write("b.md", "# B\n\nThe secondword.\n")
        assert one.ended() == 1
    (failed,) = one.events("ledger_failed")
    assert "disk I/O error (SQLITE_IOERR_" in failed["error"]
    assert "dmesg" in failed["hint"]
    goes_on(one)


def test_a_disk_that_fails_under_the_vector_cache_costs_vectors_and_is_told(one: Instance):
    one.start()
    one.settled()
    with failing(one, "pwrite64", "vectors.db-wal"):
        one.write("b.md", "# B\n\nThe secondword.\n")
        (failed,) = eventually(lambda: one.events("cache_failed"))
        eventually(lambda: one.places("secondword") == {"b.md"})
    assert "vectors.db: disk I/O error" in failed["error"]
    assert "remove it" in failed["hint"]
    assert one.stop() == 0
    goes_on(one)


def test_a_quota_that_is_used_up_is_waited_for_like_a_full_disk(one: Instance):
    """SQLite says of it what it says of a disk that fails."""
    one.configure(f'{FILES}poll_interval = "1s"\n')
    one.start()
    one.settled()
    with failing(one, "pwrite64,fallocate", error="EDQUOT"):
        one.write("b.md", "# B\n\nThe secondword.\n")
        (failed, *_) = eventually(lambda: one.events("source_failed"))
        assert one.get("/healthz").is_success
    assert "got a quota that is used up" in failed["error"]
    assert "quota -s" in failed["hint"]
    eventually(lambda: one.places("secondword") == {"b.md"})
    assert one.events("cache_failed") == one.events("ledger_failed") == []
    assert one.stop() == 0


@pytest.mark.parametrize(
    ("thread", "point"),
    [
        ("indexer", "before_intent"),
        ("lookout", "mid_lookout"),
        ("freshd-http", "mid_endpoint"),
        ("removing", "mid_removing"),
        ("verify", "mid_verify"),
        ("canary-handbook", "mid_canary"),
    ],
)
def test_a_thread_that_dies_ends_the_daemon_which_says_which(one: Instance, thread: str, point: str):
    one.configure(f'{FILES}canary_path = "canary.md"\n')
    one.launch(FRESHD_FAULTS=f"{point}:raise")
    assert one.ended() == 1
    (died,) = one.events("thread_died")
    assert died["thread"] == thread
    assert "injected by a fail point" in str(died)


# The service manager


class Manager:
    """Listens as systemd does for what a service says."""

    def __init__(self, address: str) -> None:
        """Bind a path, or a name that no file has where it begins with `@`."""
        self.address = address
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def hears(self, word: str) -> bool:
        """Take in all that was said; tell whether something was since the last time."""
        before = len(self.heard)
        while True:
            try:
                self.heard += self._socket.recv(4_096).decode().split("\n")
            except BlockingIOError:
                return word in self.heard[before:]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def nameless() -> Iterator[Manager]:
    made = Manager(f"@freshd-{uuid.uuid4()}")
    yield made
    made.close()


def test_a_service_manager_is_told_the_whole_life_of_a_daemon(one: Instance, nameless: Manager):
    manager = nameless
    one.start(NOTIFY_SOCKET=manager.address)
    eventually(lambda: manager.hears("WATCHDOG=1"))
    eventually(lambda: manager.hears("WATCHDOG=1"))
    assert manager.heard[0] == "READY=1"
    config = one.root / "freshd.toml"
    good = config.read_text()
    for text in (good, "nonsense"):
        manager.heard.clear()
        config.write_text(text)
        one.signal(signal.SIGHUP)
        eventually(lambda: manager.hears("WATCHDOG=1") and "READY=1" in manager.heard)
        said = [word for word in manager.heard if word != "WATCHDOG=1"]
        assert said[0] == "RELOADING=1"
        assert said[1].startswith("MONOTONIC_USEC=")
        assert said[2:] == ["READY=1"]
    assert one.stop() == 0
    assert manager.hears("STOPPING=1")
    assert manager.heard[-1] == "STOPPING=1"


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody", "vsock:2:1", ""])
def test_a_service_manager_that_does_not_listen_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell("READY=1")


def test_a_service_manager_that_reads_nothing_is_not_waited_for(manager: Manager, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    for _ in range(2_000):
        tell("WATCHDOG=1")
    assert manager.hears("WATCHDOG=1")
    assert len(manager.heard) < 2_000


@pytest.mark.parametrize(
    ("thread", "point"), [("indexer", "before_intent"), ("lookout", "mid_lookout"), ("freshd-http", "mid_endpoint")]
)
def test_a_thread_that_hangs_is_named_and_the_watchdog_hears_no_more(
    one: Instance, manager: Manager, thread: str, point: str
):
    """After the minute of the unit, systemd starts freshd again; its /healthz fails as well, if it can be asked."""
    one.module = "tests.daemon.impatient"
    one.launch(FRESHD_FAULTS=f"{point}:hang", NOTIFY_SOCKET=manager.address)
    eventually(lambda: thread in [event["thread"] for event in one.events("thread_stalled")])
    manager.hears("READY=1")
    manager.heard.clear()
    if thread == "freshd-http":
        time.sleep(2 * TICK_S)  # nobody can be asked how far it is
    else:
        one.record = one.state.read_daemon()
        eventually(lambda: one.get("/healthz").status_code == 503)
    one.signal(signal.SIGABRT)
    assert one.ended() == -signal.SIGABRT
    manager.hears("WATCHDOG=1")
    assert "WATCHDOG=1" not in manager.heard
    assert "most recent call first" in one.log_text(), "where every thread stood"
