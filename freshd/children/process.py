"""A child process that answers one request at a time, or is killed: nothing it does can hang or kill its parent.

It knows how to start, ask, describe an end and reap; what is asked is none of its business.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import freshd
from freshd.children import frames

_EXIT_GRACE_S = 1.0
_PACKAGE_ROOT = str(Path(freshd.__file__).resolve().parent.parent)


class ChildFailed(Exception):  # not a FreshdError: whoever asked says what it means
    """The child died, fell silent or talked nonsense; it has been killed and reaped.

    Attributes:
        signal_name: What it died of, if it was not us who killed it; empty if none.
        exit_code: With which it left by itself; None if it did not.

    """

    def __init__(self, reason: str, signal_name: str = "", exit_code: int | None = None) -> None:
        """Keep the reason, which continues the sentence "the child process …"."""
        super().__init__(reason)
        self.signal_name = signal_name
        self.exit_code = exit_code


class Child:
    """One running child and the stream to it. Not thread-safe: its owner takes turns."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
        """Take over a process and our end of the stream."""
        self._process = process
        self._channel = channel

    @property
    def pid(self) -> int:
        """Process id, for people who look."""
        return self._process.pid

    def ask(self, request: Sequence[Any], deadline_s: float) -> Any:
        """Send a request and wait for its reply.

        Raises:
            ChildFailed: No reply in time, or none that makes sense; the child is gone for good.
            ValueError: The request cannot be sent as a message; nothing was sent.

        """
        message = frames.frame(request)
        ends_at = time.monotonic() + deadline_s
        try:
            self._channel.settimeout(deadline_s)
            self._channel.sendall(message)
            return frames.read_frame(lambda n_bytes: self._receive(n_bytes, ends_at))
        except TimeoutError as error:
            self.kill()
            raise ChildFailed(f"did not answer '{request[0]}' within {deadline_s:g} s and was killed") from error
        except (OSError, EOFError) as error:
            raise self._ended() from error
        except ValueError as error:
            self.kill()
            raise ChildFailed(f"sent what is no reply and was killed: {error}") from error
        except BaseException:
            # Interrupted in the middle of a message: the next reply would be taken for another's.
            self.kill()
            raise

    def _receive(self, n_bytes: int, ends_at: float) -> bytes:
        self._channel.settimeout(max(ends_at - time.monotonic(), 0.001))
        return self._channel.recv(min(n_bytes, 1 << 20))

    def _ended(self) -> ChildFailed:
        """Reap a child that closed the stream, and say how it ended."""
        try:
            code = self._process.wait(_EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        self.kill()
        if code is None:
            return ChildFailed("closed its stream and was killed")
        if code < 0:
            name = signal.Signals(-code).name
            return ChildFailed(f"died with {name}", name)
        return ChildFailed(f"exited with code {code}", exit_code=code)

    def interrupt(self) -> None:
        """Kill it from another thread than the one that asks, which then hears of its end."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it, with whatever it started, and reap; idempotent."""
        self._channel.close()
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


class Starter:
    """Starts children from one thread that lives as long as their owner.

    Linux sends the parent-death signal when the *thread* that started the child ends, not its process:
    started from a short-lived worker, a healthy child would be killed under its owner.
    """

    def __init__(self, module: str, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Name the module that runs in the child; its standard input is the stream.

        Args:
            module: Run as `python -m MODULE PARENT_PID`.
            name: Of the thread, for people who look.
            environment: All that the child has; with None it has the parent's, and the parent's standard error.

        """
        self._module = module
        self._environment = environment
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def start(self) -> Child:
        """Start a child.

        Raises:
            OSError: The system cannot start another process.

        """
        return self._thread.submit(self._start).result()

    def _start(self) -> Child:
        ours, theirs = socket.socketpair()
        # -P with our own root: the child runs the parent's code, whatever lies in the working directory.
        path = os.pathsep.join(filter(None, (_PACKAGE_ROOT, os.environ.get("PYTHONPATH"))))
        given = os.environ if self._environment is None else self._environment
        with theirs:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", self._module, str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=None if self._environment is None else subprocess.DEVNULL,
                    env={**given, "PYTHONPATH": path},
                    start_new_session=True,  # Ctrl-C in a terminal goes to the parent, which decides
                )
            except BaseException:
                ours.close()
                raise
        return Child(process, ours)

    def close(self) -> None:
        """End the thread, and with it any child left; idempotent."""
        self._thread.shutdown()
