"""freshd in a process of its own that need not import it: what `subprocess` does, through `tests.kit.forking`."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from tests.kit.forking import LONGEST_ORDER

ROOT = Path(__file__).resolve().parents[2]
_FRESHD = "freshd.__main__"
_LONGEST_START_S = 60.0


class Forked:
    """A process, as `subprocess.Popen` knows its own.

    Attributes:
        returncode: None while nobody asked after its end.

    """

    def __init__(self, told: socket.socket) -> None:
        """Wait until it is there.

        Args:
            told: What becomes of it.

        """
        self._told = told
        self._turn = threading.Lock()
        told.settimeout(_LONGEST_START_S)
        self.pid = int(told.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._turn:
            if self.returncode is None:
                self._told.settimeout(timeout)
                try:
                    said = self._told.recv(32)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(f"forked process {self.pid}", timeout or 0) from None
                self.returncode = os.waitstatus_to_exitcode(int(said))
                self._told.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: str,
    folder: Path,
    into: int = subprocess.DEVNULL,
    out: int = subprocess.DEVNULL,
    err: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    module: str = _FRESHD,
    is_stopped: bool = False,
) -> Forked:
    """Start a command and return once it is there.

    Args:
        *arguments: What follows the program's name.
        folder: Where it runs.
        into: Descriptor of its standard input.
        out: Descriptor of its standard output.
        err: Descriptor of its standard error.
        environment: Beside that of this process, which the program must not read while it is loaded.
        module: The program; freshd, or freshd in disguise.
        is_stopped: It has yet to be told to go on.

    """
    order = {
        "module": module,
        "arguments": arguments,
        "folder": str(folder),
        "environment": {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        "is_stopped": is_stopped,
    }
    message = json.dumps(order).encode("ascii")
    assert len(message) < LONGEST_ORDER
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    nowhere = os.open(os.devnull, os.O_RDWR)
    streams = [nowhere if one == subprocess.DEVNULL else one for one in (into, out, err)]
    try:
        with theirs:
            socket.send_fds(_orders(os.getpid()), [message], [*streams, theirs.fileno()])
    finally:
        os.close(nowhere)
    return Forked(ours)


def run(
    *arguments: str | bytes,
    folder: Path,
    out: int | None = None,
    err: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    module: str = _FRESHD,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; what it says is in the answer, unless it was to go elsewhere."""
    said = [os.fsdecode(one) for one in arguments]
    with tempfile.TemporaryFile() as own_out, tempfile.TemporaryFile() as own_err:
        streams = {"out": out or own_out.fileno(), "err": err or own_err.fileno()}
        process = start(*said, folder=folder, environment=environment, module=module, **streams)
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(said, code, *(text_of(file) for file in (own_out, own_err)))


def text_of(file: IO[bytes]) -> str:
    """Read what was written to a file from its start."""
    file.seek(0)
    return file.read().decode(errors="replace")


@cache
def _orders(_owner: int) -> socket.socket:
    """Have a process that forks, for each process that orders."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.forking"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
