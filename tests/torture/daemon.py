"""`freshd run` over a place: started, asked, killed in part or whole, ended."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx

from freshd.state import StateDirectory
from tests.kit.forked import Forked
from tests.torture.place import Diverged, Place
from tests.torture.program import children, state_of

_LONGEST_S = 60.0
_POLL_S = 0.02


class Daemon:
    """One daemon at a time, whatever became of those before it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._client: httpx.Client | None = None
        self._doubted_s = time.monotonic()
        self._since = datetime.now(UTC)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, **environment: str) -> None:
        """Start, and return at once."""
        self.doubt()
        self._process = self._place.program.start(**environment)

    def doubt(self) -> None:
        """Have `settled` wait for a look at everything that begins from now on."""
        self._doubted_s, self._since = time.monotonic(), datetime.now(UTC)

    def pids(self) -> list[int]:
        """Give the ids of its own process and of the store's."""
        return [self.pid, *children(self.pid)]

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def settled(self, within_s: float = _LONGEST_S) -> float:
        """Wait until everything that was there when it was started, or broken, is applied; give the seconds since."""
        end_s = time.monotonic() + within_s
        while not self._is_settled():
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > end_s:
                log = (self._place.root / "log").read_text(errors="replace")[-3_000:]
                raise Diverged(f"the daemon did not settle; exit code {self._process.poll()}\n{log}")
            time.sleep(_POLL_S)
        return time.monotonic() - self._doubted_s

    def _is_settled(self) -> bool:
        status = self.status()
        if status is None or status["store"]["error"]:
            return False
        return all(
            source["last_complete_scan_at"]
            and datetime.fromisoformat(source["last_complete_scan_at"]) >= self._since
            and not (source["pending"] or source["held"] or source["quarantined"])
            for source in status["sources"]
        )

    def status(self) -> dict[str, Any] | None:
        """What it says of itself; None while it cannot be asked."""
        answer = self.ask("/status")
        return answer.json() if answer is not None and answer.is_success else None

    def ask(self, path: str, **parameters: Any) -> httpx.Response | None:
        """Ask its endpoint; None while it does not answer."""
        if self._client is None:
            record = StateDirectory(self._place.state).read_daemon()
            if record is None or record.pid != self.pid:
                return None
            headers = {"authorization": f"Bearer {record.token}"}
            self._client = httpx.Client(base_url=f"http://{record.address}", headers=headers, trust_env=False)
        try:
            return self._client.get(path, params=parameters)
        except httpx.TransportError:
            return None

    def kill(self, whom: str) -> None:
        """Kill `both` processes, `freshd` alone or the `store` alone."""
        pids = self.pids()
        for pid in {"both": pids, "freshd": pids[:1], "store": pids[1:]}[whom]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.doubt()
        if whom != "store":
            self._reap(pids)

    def stop(self) -> int:
        """End it in order; give its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(_LONGEST_S)
        self._forget()
        if code:
            raise Diverged(f"asked to end, the daemon ended with {code}")
        return code

    def ended(self) -> int:
        """Wait for its end; give its exit code."""
        assert self._process is not None
        self._forget()
        return self._process.wait(_LONGEST_S)

    def close(self) -> None:
        """End what still runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill("both")

    def _reap(self, pids: list[int]) -> None:
        """Wait for the end of all: whoever lives on could still write."""
        assert self._process is not None
        self._process.wait(_LONGEST_S)
        end_s = time.monotonic() + _LONGEST_S
        while any(state_of(pid) not in ("", "Z") for pid in pids):
            if time.monotonic() > end_s:
                raise Diverged("the store's process outlived freshd's")
            time.sleep(_POLL_S)
        self._forget()

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
