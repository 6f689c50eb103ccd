"""Nothing that becomes of its log holds up a daemon: closed, broken, full, or stalled. Catalogue rows 20 and 128."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.instance import FILES, Instance, eventually, instance


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one", FILES, settings='log.level = "debug"\n') as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        yield made


def start(one: Instance, **streams: Any) -> None:
    one.process = subprocess.Popen(
        [sys.executable, "-m", "freshd", "run"],
        cwd=one.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        **streams,
    )
    one.record = eventually(lambda: record_of(one))


def record_of(one: Instance) -> Any:
    assert one.process is not None
    assert one.process.poll() is None
    record = one.state.read_daemon()
    return record if record and record.pid == one.process.pid else None


def keeps_indexing(one: Instance, word: str, n: int = 1) -> None:
    for i in range(n):
        one.write(f"{word}{i}.md", f"# {word}\n\nThe {word}{i:04}.\n")
    eventually(lambda: one.places(f"{word}{n - 1:04}") == {f"{word}{n - 1}.md"})
    one.settled()


def test_a_reader_that_stalls_holds_up_neither_work_nor_the_end(one: Instance):
    """The pipe is made small, and every document is a line: it is full long before the last one."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4_096)
    start(one, stdout=write, stderr=write)
    os.close(write)
    keeps_indexing(one, "stalled", 60)
    assert one.get("/healthz").status_code == 200
    one.process.terminate()
    assert one.ended() == 0
    with os.fdopen(read, "rb") as reader:
        assert len(reader.readlines()) < 60


def test_streams_that_the_caller_closed_go_nowhere_and_never_into_a_file_of_ours(one: Instance):
    command = f'exec "{sys.executable}" -m freshd run >&- 2>&- <&-'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    one.process = subprocess.Popen(["sh", "-c", command], cwd=one.root, env=environment)
    one.record = eventually(lambda: record_of(one))
    assert {os.readlink(f"/proc/{one.process.pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
    keeps_indexing(one, "nowhere", 3)
    one.process.terminate()
    assert one.ended() == 0


def test_a_reader_that_leaves_costs_the_lines_and_nothing_else(one: Instance):
    """As when what the log is piped into dies: from then on every line is a broken pipe."""
    read, write = os.pipe()
    start(one, stdout=write, stderr=write)
    os.close(write)
    os.close(read)
    keeps_indexing(one, "unheard", 3)
    assert one.get("/healthz").status_code == 200
    one.process.terminate()
    assert one.ended() == 0
