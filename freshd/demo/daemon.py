"""The daemon that the demonstration watches: a real process, asked over its real endpoint."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from freshd.errors import FreshdError
from freshd.redaction import printable
from freshd.shapes import SearchHit, SourceStatus
from freshd.state import StateDirectory

POLL_S = 0.05
"""Between two looks at the daemon: an error of that size in what is measured, and little load."""

_START_S = 60.0
_STOP_S = 20.0
_ANSWER_S = 30.0
_LOG_LINES = 12


class Daemon:
    """A running `freshd run`."""

    def __init__(self, process: subprocess.Popen[bytes], state: StateDirectory, log: Path, http: httpx.Client) -> None:
        """Watch a process that was just started."""
        self._process = process
        self._state = state
        self._log = log
        self._http = http
        self.address = ""

    def wait_until_it_listens(self) -> None:
        """Find out its address.

        Raises:
            FreshdError: It ended, or does not listen in time.

        """
        give_up_at_s = time.monotonic() + _START_S
        while (record := self._state.read_daemon()) is None or record.pid != self._process.pid:
            self.check(None if time.monotonic() < give_up_at_s else f"does not listen after {_START_S:.0f} s")
            time.sleep(POLL_S)
        self.address = record.address

    def sources(self) -> dict[str, SourceStatus]:
        """Ask how each source stands."""
        answer = self._get("/status").json()
        return {source["name"]: source for source in answer["sources"]}

    def search(self, query: str, k: int = 10) -> list[SearchHit]:
        """Find passages, best first."""
        hits: list[SearchHit] = self._get("/search", q=query, k=k).json()["hits"]
        return hits

    def fates(self) -> Counter[str]:
        """Count chunks by what became of them since the daemon started, over all sources."""
        fates: Counter[str] = Counter()
        for family in text_string_to_metric_families(self._get("/metrics").text):
            for sample in family.samples:
                if sample.name == "freshd_chunks_total":
                    fates[sample.labels["fate"]] += int(sample.value)
        return fates

    def wait(self) -> None:
        """Wait for its end, however long.

        Raises:
            FreshdError: It has ended.

        """
        self._process.wait()
        self.check(None)

    def check(self, trouble: str | None) -> None:
        """Raise with the end of the daemon's log if there is trouble, or if the daemon has ended."""
        code = self._process.poll()
        if code is None and trouble is None:
            return
        what = f"ended with exit code {code}" if code is not None else trouble
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        log = [f"  {printable(line)}" for line in lines] or ["  (nothing)"]
        raise FreshdError("\n".join([f"demo: the daemon {what}; the end of its log:", *log]))

    def stop(self) -> None:
        """End it and wait until it has.

        Raises:
            FreshdError: It did not end by itself, or not well.

        """
        was_running = self._process.poll() is None
        self._process.terminate()
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise FreshdError(f"demo: the daemon did not stop within {_STOP_S:.0f} s of SIGTERM") from None
        finally:
            if self._process.poll() is None:  # it hangs, or a second Ctrl-C came
                self._process.kill()
                self._process.wait()
        if was_running and code != 0:
            self.check(None)

    def _get(self, path: str, **parameters: str | int) -> httpx.Response:
        try:
            answer = self._http.get(f"http://{self.address}{path}", params=parameters)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self.check(f"did not answer GET {path}: {error}")
            raise
        return answer


@contextmanager
def run_daemon(config: Path, state: StateDirectory, log: Path) -> Iterator[Daemon]:
    """Run a daemon until the block ends; what the block raises goes before what stopping it raises."""
    # In a session of its own, so that Ctrl-C reaches the demonstration, which then ends the daemon in order.
    with log.open("wb") as output, httpx.Client(timeout=_ANSWER_S, trust_env=False) as http:
        process = subprocess.Popen(
            [sys.executable, "-m", "freshd", "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        daemon = Daemon(process, state, log, http)
        try:
            daemon.wait_until_it_listens()
            yield daemon
        except BaseException:
            with suppress(FreshdError):
                daemon.stop()
            raise
        daemon.stop()
