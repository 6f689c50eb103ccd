"""freshd as a process that can be killed: started afresh, or forked from one that has loaded it; under strace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit import forked

_HASHING, _REAL = "tests.torture.entry", "freshd.__main__"
_LONGEST_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; negative for the signal that ended it.
        took_s: From its start to its end.

    """

    code: int
    out: str
    err: str
    took_s: float

    @property
    def is_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    def report(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


class Program:
    """freshd in one folder."""

    def __init__(self, folder: Path, *, forks: bool = False, has_model: bool = False) -> None:
        """Name the folder with the config.

        Args:
            folder: Where commands run.
            forks: Save every command the imports.
            has_model: Embed with the bundled model, not with hashes.

        """
        self._folder = folder
        self._forks = forks
        self._module = _REAL if has_model else _HASHING

    def run(
        self,
        *arguments: str,
        strace: Sequence[str] = (),
        traced: str = "freshd",
        kill_after_s: float | None = None,
        within_s: float = _LONGEST_S,
        **environment: str,
    ) -> Ended:
        """Run a command to its end.

        Args:
            *arguments: The command and what follows it.
            strace: Options of the strace that it runs under, where it is forked; none without one.
            traced: Which process strace is attached to: `freshd`, or `store` before that opens anything.
            kill_after_s: When it is killed, unless it has ended by then.
            within_s: A command that takes longer hangs, which is an error.
            **environment: In addition.

        """
        began_s = time.monotonic()
        with (self._folder / "out").open("wb+") as out, (self._folder / "err").open("wb+") as err:
            is_store = bool(strace) and traced == "store"
            if is_store:
                environment["FRESHD_FAULTS"] = "store_before_open:stop"
            is_stopped = bool(strace) and not is_store
            process = self._start(arguments, out.fileno(), err.fileno(), environment, is_stopped=is_stopped)
            tracer = _attached(process.pid, strace, is_store=is_store) if strace else None
            code = _ended(process, within_s, kill_after_s)
            assert code is not None, f"freshd {' '.join(arguments)} did not end within {within_s:g} s"
            if tracer is not None:
                tracer.wait(within_s)
            took_s = time.monotonic() - began_s
            return Ended(code, forked.text_of(out), forked.text_of(err), took_s)

    def start(self, **environment: str) -> "subprocess.Popen[bytes] | forked.Forked":
        """Start `freshd run` and return at once."""
        with (self._folder / "log").open("ab") as log:
            return self._start(["run"], log.fileno(), log.fileno(), environment)

    def _start(
        self, arguments: Sequence[str], out: int, err: int, environment: dict[str, str], *, is_stopped: bool = False
    ) -> "subprocess.Popen[bytes] | forked.Forked":
        if self._forks:
            return forked.start(
                *arguments,
                module=self._module,
                folder=self._folder,
                out=out,
                err=err,
                environment=environment,
                is_stopped=is_stopped,
            )
        assert not is_stopped, "only what is forked can be told to wait for strace"
        return subprocess.Popen(
            [sys.executable, "-m", self._module, *arguments],
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(forked.ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def _ended(
    process: "subprocess.Popen[bytes] | forked.Forked", within_s: float, kill_after_s: float | None
) -> int | None:
    """Wait for an end, or bring it; None where that was not asked for."""
    try:
        return process.wait(within_s if kill_after_s is None else kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait(_LONGEST_S)
        return None if kill_after_s is None else code


def _attached(pid: int, options: Sequence[str], *, is_store: bool) -> "subprocess.Popen[bytes]":
    """Have strace follow a process that stopped itself, or the store that it started, and let that go on."""
    if is_store:
        _wait_for(lambda: _stopped_below(pid))
        (pid,) = _stopped_below(pid)
    _wait_for(lambda: state_of(pid) == "T")
    tracer = subprocess.Popen(["strace", *options, f"--attach={pid}"], stdin=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/status")
    _wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text())
    os.kill(pid, signal.SIGCONT)
    return tracer


def _stopped_below(pid: int) -> list[int]:
    return [one for one in children(pid) if state_of(one) == "T"]


def _wait_for(question: Callable[[], object]) -> None:
    end_s = time.monotonic() + _LONGEST_S
    while not question():
        assert time.monotonic() < end_s
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    """Processes that a process started, whichever of its threads it was; none where it is gone."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def state_of(pid: int) -> str:
    """One letter for what a process does, as in `/proc/PID/stat`; empty where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""
