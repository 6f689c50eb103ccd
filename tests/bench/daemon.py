"""A running `freshd run`, asked as anybody would ask it: over HTTP."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from freshd.state import DaemonRecord, StateDirectory
from tests.bench.instance import Instance
from tests.bench.timing import peak_bytes, until

_START_S = 60.0
_ANSWER_S = 30.0
_STOP_S = 30.0


class Daemon:
    """What a benchmark asks of the daemon."""

    def __init__(self, client: httpx.Client, pid: int) -> None:
        """Ask through a client that keeps its connection; and the kernel about the process."""
        self._client = client
        self.pid = pid

    def source(self) -> Any:
        """Give the status of the one source."""
        (source,) = self._get("/status")["sources"]
        return source

    def is_ready(self) -> bool:
        """Tell whether it has listed everything."""
        return self._client.get("/readyz").is_success

    def is_settled(self) -> bool:
        """Tell whether it knows of nothing left to do."""
        source = self.source()
        return source["watermark"] is not None and source["pending"] == 0

    def finds(self, phrase: str) -> bool:
        """Tell whether search shows a passage with the phrase."""
        return any(phrase in hit["text"] for hit in self._get("/search", q=phrase, k="5")["hits"])

    def answers(self, path: str) -> None:
        """Ask, and read the whole answer."""
        self._client.get(path).raise_for_status()

    def look_again(self) -> None:
        """Ask it to look at its sources now; it answers before it is through."""
        self._client.post("/reindex", json={}).raise_for_status()

    def peak_bytes(self) -> int:
        """Give the most memory that the process had, without its children: ever, or since `forget_peak`."""
        return peak_bytes(self.pid)

    def forget_peak(self) -> None:
        """Have the kernel begin to look for the peak anew: `clear_refs` in proc(5)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _get(self, path: str, **parameters: str) -> Any:
        return self._client.get(path, params=parameters).raise_for_status().json()


@contextmanager
def running(instance: Instance) -> Iterator[Daemon]:
    """Start the daemon as a process, wait until it has nothing to do, and end it at last."""
    with started(instance) as daemon:
        until(daemon.is_ready, "the daemon is ready", patience_s=_START_S)
        until(daemon.is_settled, "the daemon has nothing to do", patience_s=_START_S)
        yield daemon


@contextmanager
def started(instance: Instance) -> Iterator[Daemon]:
    """Start the daemon as a process, wait until it can be asked, and end it at last."""
    command = [sys.executable, "-m", "freshd", "run", "--config", os.fspath(instance.config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        record = _reached(instance, process)
        by_token = {"authorization": f"Bearer {record.token}"}
        with httpx.Client(base_url=f"http://{record.address}", headers=by_token, timeout=_ANSWER_S) as client:
            yield Daemon(client, record.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reached(instance: Instance, process: "subprocess.Popen[bytes]") -> DaemonRecord:
    state = StateDirectory(instance.state_dir)
    found: list[DaemonRecord] = []

    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended with {process.returncode}")
        record = state.read_daemon()
        found.extend([record] if record else [])
        return record is not None

    until(listens, "the daemon listens", patience_s=_START_S)
    return found[-1]
