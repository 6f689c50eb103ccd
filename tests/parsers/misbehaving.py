"""What runs in a parser's child in tests: does whatever the document says, within the limits of the real one."""

import ctypes
import json
import os
import resource
import signal
import socket
import time
from collections.abc import Callable

from freshd.model import Document, ParsedDocument
from freshd.parsers import child


def hang() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(600)


def breed() -> None:
    os.fork()
    time.sleep(600)


def crash() -> None:
    ctypes.string_at(0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def abort() -> None:
    os.abort()


def leave() -> None:
    os._exit(7)


def eat() -> None:
    bytearray(2 << 30)


def fail() -> None:
    raise KeyError("no such part")


def nest() -> None:
    nest()


def ask_politely() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def write_a_file() -> None:
    os.write(os.open("/tmp", os.O_TMPFILE | os.O_RDWR), b"text")


def print_much() -> None:
    for _ in range(1000):
        os.write(1, b"to standard output\n")
        os.write(2, b"to standard error\n")


def grow() -> None:
    bytearray(600 << 20)[::4096] = b"x" * (600 << 20 >> 12)


ACTS: dict[str, Callable[[], None]] = {
    act.__name__: act
    for act in (
        hang,
        sleep,
        breed,
        crash,
        kill,
        abort,
        leave,
        eat,
        fail,
        nest,
        ask_politely,
        write_a_file,
        print_much,
        grow,
    )
}


def describe() -> str:
    """What the child has and may, as JSON."""
    names = ("AS", "CORE", "CPU", "FSIZE", "NOFILE")
    return json.dumps(
        {
            "environment": sorted(os.environ),
            "limits": {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names},
            "network": os.readlink("/proc/self/ns/net"),
            "umask": os.umask(0o077),
            "pid": os.getpid(),
        }
    )


def connects_to(port: int) -> str:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError as error:
        return type(error).__name__
    return "connected"


def parse(document: Document) -> ParsedDocument:
    order = document.content.decode().removeprefix("<html>")
    if order in ACTS:
        ACTS[order]()
    if order == "describe":
        return ParsedDocument(describe(), ())
    if order.startswith("connect "):
        return ParsedDocument(connects_to(int(order.split()[1])), ())
    return ParsedDocument(order, ())


if __name__ == "__main__":
    child.main(parse)
