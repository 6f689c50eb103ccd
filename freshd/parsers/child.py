"""What runs in the process that takes documents apart: `python -m freshd.parsers.child PARENT_PID`.

One document at a time comes over standard input, which is a socket, and its blocks go back the same way.
Whatever it is made to do, it has little: bounded memory and time, few files, none to write, no network where the
system lets it give that up, nothing of its parent's environment, no privileges to gain.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from select import select
from typing import Any, Final

from freshd.children import serving
from freshd.errors import ParseError
from freshd.model import Document, DocumentId, DocumentRef, ParsedDocument
from freshd.wording import unforeseen

MEMORY_BYTES: Final = 1 << 30
CPU_S: Final = 30
"""For one document."""
_OPEN_FILES: Final = 64
_IDLE_S: Final = 60.0
"""After which it makes room: with the readers of office documents loaded it takes 140 MB."""

_PR_SET_NO_NEW_PRIVS: Final = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

Parse = Callable[[Document], ParsedDocument]


def confine() -> None:
    """Give up what taking documents apart needs not."""
    os.umask(0o077)
    sys.dont_write_bytecode = True
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_AS, MEMORY_BYTES)
    if sys.platform == "linux":
        _give_up_network()


def _lower(which: int, most: int) -> None:
    _, hard = resource.getrlimit(which)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (allowed, allowed))


def _give_up_network() -> None:
    """Move to a network of its own, with nothing in it; where the system forbids that, it stays as it is."""
    import ctypes  # only here

    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _allow_time() -> None:
    """Allow the processor's time for one more document."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + CPU_S + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def answer(parse: Parse, request: list[Any]) -> list[Any]:
    """Take one document apart; every way to fail becomes a reply."""
    _, document_id, media_type, encoding, title, content = request
    ref = DocumentRef(DocumentId(document_id), "")
    try:
        parsed = parse(Document(ref, "", content, media_type, encoding, title))
        return ["parsed", parsed.text, _rows(parsed), parsed.title, dict(parsed.metadata)]
    except ParseError as error:
        return ["refused", str(error), error.hint]
    except MemoryError:
        said, expected = "a need for more memory", f"at most {MEMORY_BYTES >> 20} MiB"
    except Exception as error:  # noqa: BLE001 - libraries have a type for every cause, without a common root
        said, expected = unforeseen(error), "what can be taken apart"
    return [
        "refused",
        f"document {document_id!r}: got {said} while parsing it, expected {expected}",
        "leave it out with `exclude`, or split it",
    ]


def _rows(parsed: ParsedDocument) -> list[Any]:
    return [
        (str(block.kind), block.start, block.end, block.start_line, block.end_line, block.heading_path)
        for block in parsed.blocks
    ]


def serve(parse: Parse, stream: int) -> None:
    """Answer until the parent hangs up, or asks nothing for long."""
    while select([stream], [], [], _IDLE_S)[0]:
        request = serving.read(stream)
        if request is None:
            return
        _allow_time()
        reply = answer(parse, request)
        serving.write(stream, [*reply, _peak_kib()])


def _peak_kib() -> int:
    """Give the most that this program held in memory.

    Not what `getrusage` says: that counts what its parent held before the process became this program.
    """
    with open("/proc/self/status", "rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"VmHWM:"))


def main(parse: Parse | None = None) -> None:
    """Run until the parent is gone or done.

    Args:
        parse: What is done with a document; tests hand in what must not be.

    """
    stream = serving.settle_in()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    confine()
    if parse is None:
        from freshd.parsers.formats import Parsers  # within the limits already

        parse = Parsers().parse
    serve(parse, stream)
    os._exit(0)


if __name__ == "__main__":
    main()
