"""What ends a daemon, with a code by which it is started again: a disk that fails, and a thread that dies or hangs."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.instance import Instance, eventually, instance


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        yield made


@contextmanager
def failing(one: Instance, call: str, file: str) -> Iterator[None]:
    """Have a system call of the running daemon on one of its files fail with EIO, whichever thread makes it."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    assert one.process is not None
    log, place = one.root / "trace", one.state.path / file
    injection = [f"--trace-path={place}", f"--trace={call}", f"--inject={call}:error=EIO"]
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
        assert one.ended(30) == 1
    (failed,) = one.events("ledger_failed")
    assert "disk I/O error (SQLITE_IOERR_" in failed["error"]
    assert "dmesg" in failed["hint"]
    one.start()
    one.settled()
    assert one.places("secondword") == {"b.md"}
    assert one.command("verify").returncode == 0
    assert one.stop() == 0


def test_a_disk_that_fails_under_the_vector_cache_ends_the_daemon_which_then_goes_on_from_what_is_on_it(one: Instance):
    one.start()
    one.settled()
    with failing(one, "pwrite64", "vectors.db-wal"):
        one.write("b.md", "# B\n\nThe secondword.\n")
        assert one.ended(30) == 1
    (died,) = one.events("thread_died")
    assert "vectors.db: disk I/O error" in str(died)
    one.start()
    one.settled()
    assert one.places("secondword") == {"b.md"}
    assert one.command("verify").returncode == 0
    assert one.stop() == 0
