"""freshd as a process that can be killed: started afresh, under strace, or forked from one that has loaded it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_ENTRY = (sys.executable, "-m", "tests.torture.entry")
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
    """freshd in one folder; a context manager only where it forks."""

    def __init__(self, folder: Path, *, forks: bool = False) -> None:
        """Name the folder with the config.

        Args:
            folder: Where commands run.
            forks: Save every command the imports.

        """
        self._folder = folder
        self._server: subprocess.Popen[str] | None = None
        if forks:
            self._server = subprocess.Popen(
                [*_ENTRY, "--serve"],
                env=_environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def close(self) -> None:
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait(_LONGEST_S)
            if self._server.stdout is not None:
                self._server.stdout.close()

    def run(
        self,
        *arguments: str,
        strace: Sequence[str] = (),
        kill_after_s: float | None = None,
        within_s: float = _LONGEST_S,
        **environment: str,
    ) -> Ended:
        """Run a command to its end.

        Args:
            *arguments: The command and what follows it.
            strace: Options of the strace that it runs under; none without one.
            kill_after_s: When it is killed, unless it has ended by then.
            within_s: A command that takes longer hangs, which is an error.
            **environment: In addition.

        """
        began_s = time.monotonic()
        if self._server is None:
            return self._spawn(arguments, strace, kill_after_s, within_s, environment)
        with _Timer() as timer:
            pid = self._fork(arguments, environment, is_stopped=bool(strace))
            tracer = _attached(pid, strace) if strace else None
            timer.kill(pid, within_s if kill_after_s is None else kill_after_s)
            status = int(self._line())
            if tracer is not None:
                tracer.wait(within_s)
        took_s = time.monotonic() - began_s
        assert took_s < within_s, f"freshd {' '.join(arguments)} did not end within {within_s:g} s"
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, self._text("out"), self._text("err"), took_s)

    def _spawn(
        self,
        arguments: Sequence[str],
        strace: Sequence[str],
        kill_after_s: float | None,
        within_s: float,
        environment: dict[str, str],
    ) -> Ended:
        began_s = time.monotonic()
        process = subprocess.Popen(
            [*(["strace", *strace] if strace else []), *_ENTRY, *arguments],
            cwd=self._folder,
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            out, err = process.communicate(timeout=within_s if kill_after_s is None else kill_after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            assert kill_after_s is not None, f"freshd {' '.join(arguments)} did not end within {within_s:g} s: {err}"
        # strace, killed by the signal it gave its tracee, ends by it; a shell would say 128 + n.
        return Ended(process.returncode, out, err, time.monotonic() - began_s)

    def start(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start `freshd run` and return at once."""
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*_ENTRY, "run"],
                cwd=self._folder,
                env=_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _fork(self, arguments: Sequence[str], environment: dict[str, str], *, is_stopped: bool) -> int:
        assert self._server is not None
        assert self._server.stdin is not None
        order = {
            "arguments": list(arguments),
            "folder": str(self._folder),
            "environment": environment,
            "is_stopped": is_stopped,
            "out": str(self._folder / "out"),
            "err": str(self._folder / "err"),
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        assert self._server is not None
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, "what forks freshd is gone"
        return line

    def _text(self, name: str) -> str:
        return (self._folder / name).read_text(errors="replace")


class _Timer:
    """Kills a process when its time has come, unless the block ends before."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def kill(self, pid: int, after_s: float) -> None:
        self._thread = threading.Thread(target=self._wait, args=(pid, after_s), daemon=True)
        self._thread.start()

    def _wait(self, pid: int, after_s: float) -> None:
        if not self._is_over.wait(after_s):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> "_Timer":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()


def _attached(pid: int, options: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Have strace follow a process that stopped itself, and let it go on."""
    _wait_for(lambda: state_of(pid) == "T")
    tracer = subprocess.Popen(["strace", *options, f"--attach={pid}"], stdin=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/status")
    _wait_for(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text())
    os.kill(pid, signal.SIGCONT)
    return tracer


def _wait_for(question: Callable[[], bool]) -> None:
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


def _environment(more: dict[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(more or {})}
