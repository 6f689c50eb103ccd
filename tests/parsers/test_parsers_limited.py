"""Whatever a document makes its parser do costs that document alone: a child dies, and the next one is fresh."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from freshd.errors import ParseError, ParserDied
from freshd.model import Document, DocumentId, DocumentRef
from freshd.parsers import LimitedParsers, Parsers
from freshd.parsers import limited as room
from freshd.parsers.child import MEMORY_BYTES
from tests.parsers.samples import samples

DEADLINE_S = 1.0
"""For a child that runs already."""


def document(content: bytes | str, name: str = "a.html") -> Document:
    data = content.encode() if isinstance(content, str) else content
    return Document(DocumentRef(DocumentId(name), ""), "", data)


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[LimitedParsers]:
    parsers = LimitedParsers(module="tests.parsers.misbehaving")
    yield parsers
    parsers.close()


@pytest.fixture(scope="module")
def limited() -> Iterator[LimitedParsers]:
    parsers = LimitedParsers()
    yield parsers
    parsers.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def of_session(leader: int) -> list[int]:
    """Processes that began under a leader of a session and still run."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                state, _, _, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] if int(session) == leader and state != "Z" else []
    return found


@pytest.mark.parametrize("act", ["hang", "sleep", "breed"])
def test_a_document_that_hangs_its_parser_is_refused_at_the_deadline_and_the_next_goes_on(
    misbehaving: LimitedParsers, act: str, monkeypatch: pytest.MonkeyPatch
):
    assert misbehaving.parse(document("<html>warm")).text == "warm"
    hung, since_s = misbehaving.child_pid, time.monotonic()
    with monkeypatch.context() as patched:
        patched.setattr(misbehaving, "_deadline_s", DEADLINE_S)
        with pytest.raises(ParseError, match=r"'a.html': got no end of parsing it within 1 s") as refused:
            misbehaving.parse(document(f"<html>{act}"))
    assert time.monotonic() - since_s < DEADLINE_S + 30
    assert not refused.value.retryable
    assert refused.value.hint
    assert hung is not None
    assert not is_alive(hung)
    ends_s = time.monotonic() + 60
    while of_session(hung) and time.monotonic() < ends_s:  # killed with it, each in its own time
        time.sleep(0.02)
    assert of_session(hung) == []
    assert misbehaving.parse(document("<html>next")).text == "next"
    assert misbehaving.child_pid != hung


@pytest.mark.parametrize(
    ("act", "how", "is_tried_again"),
    [
        ("crash", "died with SIGSEGV", False),
        ("abort", "died with SIGABRT", False),
        ("kill", "died with SIGKILL", True),
        ("leave", "exited with code 7", True),
    ],
)
def test_a_parser_that_dies_is_named_with_what_it_died_of_and_the_next_document_goes_on(
    misbehaving: LimitedParsers, act: str, how: str, is_tried_again: bool
):
    """Where somebody else may have killed it, the document is soon tried again."""
    with pytest.raises(ParseError, match=f"'a.html'.*{how}") as refused:
        misbehaving.parse(document(f"<html>{act}"))
    assert refused.value.retryable is is_tried_again
    assert misbehaving.parse(document("<html>next")).text == "next"


def test_a_document_that_needs_too_much_memory_is_refused_and_the_next_goes_on(misbehaving: LimitedParsers):
    with pytest.raises(ParseError, match=r"got a need for more memory.*at most 1024 MiB"):
        misbehaving.parse(document("<html>eat"))
    assert misbehaving.parse(document("<html>next")).text == "next"


@pytest.mark.parametrize(
    ("act", "what"), [("fail", "KeyError"), ("nest", "RecursionError"), ("write_a_file", "OSError")]
)
def test_an_error_that_nobody_foresaw_is_a_reason_in_words(misbehaving: LimitedParsers, act: str, what: str):
    with pytest.raises(ParseError, match=f"'a.html': got {what}.*expected what can be taken apart"):
        misbehaving.parse(document(f"<html>{act}"))


@pytest.mark.parametrize("act", ["ask_politely", "print_much"])
def test_polite_signals_and_printing_change_nothing(misbehaving: LimitedParsers, act: str):
    assert misbehaving.parse(document(f"<html>{act}")).text == act


def test_the_child_has_bounds_and_nothing_of_its_parents_environment(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("FRESHD_TOKEN", "canary-secret")
    parsers = LimitedParsers(module="tests.parsers.misbehaving")
    try:
        seen = json.loads(parsers.parse(document("<html>describe")).text)
    finally:
        parsers.close()
    assert {"PATH", "LANG", "PYTHONPATH"} <= set(seen["environment"])
    assert not [name for name in seen["environment"] if "FRESHD" in name or name in ("HOME", "USER", "HTTPS_PROXY")]
    assert seen["limits"]["AS"] == MEMORY_BYTES
    assert seen["limits"]["CORE"] == seen["limits"]["FSIZE"] == 0
    assert 0 < seen["limits"]["CPU"] < 60
    assert seen["limits"]["NOFILE"] <= 64
    assert seen["umask"] == 0o077
    assert seen["pid"] != os.getpid()


def may_have_a_network_of_its_own() -> bool:
    """Whether the system lets a process of this user give up the network."""
    code = "import ctypes, sys; unshare = ctypes.CDLL(None).unshare; sys.exit(unshare(1 << 30) and unshare(5 << 28))"
    return subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_child_reaches_no_network_where_the_system_lets_it_give_that_up(misbehaving: LimitedParsers):
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = misbehaving.parse(document(f"<html>connect {server.getsockname()[1]}")).text
    seen = json.loads(misbehaving.parse(document("<html>describe")).text)
    is_apart = seen["network"] != os.readlink("/proc/self/ns/net")
    assert is_apart is may_have_a_network_of_its_own()
    assert (answer != "connected") is is_apart


def test_a_child_is_replaced_after_some_documents(misbehaving: LimitedParsers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "_MOST_DOCUMENTS", 3)
    pids = []
    for n in range(7):
        pids.append(json.loads(misbehaving.parse(document("<html>describe")).text)["pid"])
        assert misbehaving.parse(document(f"<html>{n}")).text == str(n)
    assert len(set(pids)) >= 3


def test_a_child_that_has_grown_is_replaced(misbehaving: LimitedParsers):
    misbehaving.parse(document("<html>warm"))
    grown = misbehaving.child_pid
    assert misbehaving.parse(document("<html>grow")).text == "grow"
    assert grown is not None
    assert not is_alive(grown)


def test_a_child_that_left_because_nobody_asked_costs_no_document():
    """It goes after a minute without work; here after a third of a second."""
    parsers = LimitedParsers(module="tests.parsers.impatient")
    try:
        for n in range(4):
            assert parsers.parse(document(f"<html>{n}")).text == str(n)
            pid = parsers.child_pid
            assert pid is not None
            ends_s = time.monotonic() + 60
            while _runs(pid) and time.monotonic() < ends_s:
                time.sleep(0.02)
            assert not _runs(pid)
    finally:
        parsers.close()


def _runs(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_nothing_is_left_running_after_the_end():
    parsers = LimitedParsers()
    parsers.parse(document("<html><p>page"))
    pid = parsers.child_pid
    assert pid is not None
    parsers.close()
    assert not is_alive(pid)
    parsers.close()


def test_threads_take_turns_and_each_gets_its_own_document(limited: LimitedParsers):
    texts: dict[int, str] = {}

    def work(n: int) -> None:
        for _ in range(20):
            texts[n] = limited.parse(document(f"<html><p>page {n}")).text

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {n: f"page {n}" for n in range(6)}


@pytest.mark.parametrize("name", ["plan.docx", "plan.xlsx", "plan.pptx", "plan.pdf", "page.html", "large.md"])
def test_the_same_bytes_give_the_same_blocks_here_and_there_and_again(limited: LimitedParsers, name: str):
    page = b"<title>T</title><h1>A</h1><p>one</p><table><tr><td>1<td>2</table>"
    large = (b"# A\n\n" + b"Some *prose*. " * 20 + b"\n\n") * 1_000
    content = {**samples(), "page.html": page, "large.md": large}[name]
    here = Parsers().parse(document(content, name))
    assert limited.parse(document(content, name)) == here
    assert limited.parse(document(content, name)) == here
    assert here.blocks


def test_small_texts_need_no_child():
    parsers = LimitedParsers()
    for name in ("a.md", "a.rst", "a.txt", "a.py", "README"):
        assert parsers.parse(document("Title\n=====\n\nProse.\n", name)).text
    assert parsers.child_pid is None
    parsers.close()


@pytest.mark.parametrize(("name", "is_much"), [("a.md", True), ("a.rst", False), ("a.txt", False), ("a.py", False)])
def test_markdown_goes_to_the_child_sooner_than_other_text(name: str, is_much: bool):
    """Its constructs nest, and each level looks at every line again."""
    hostile = document(">" * 20 + "a\n" * 17_000, name)
    assert LimitedParsers().may_take_long(hostile) is is_much


def test_a_page_named_txt_is_taken_apart_in_the_child_as_well(limited: LimitedParsers):
    assert limited.parse(document("<!doctype html><p>page", "a.txt")).text == "page"


def test_a_system_that_starts_no_process_is_no_fault_of_the_document(monkeypatch: pytest.MonkeyPatch):
    parsers = LimitedParsers()
    monkeypatch.setattr("freshd.children.process.subprocess.Popen", _no_process)
    with pytest.raises(ParserDied, match="cannot start") as refused:
        parsers.parse(document("<html>page"))
    assert refused.value.retryable
    parsers.close()


def _no_process(*_: object, **__: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_this_process_never_loads_what_reads_office_documents_or_finds_main_texts():
    """It takes 130 MB, and a fault in it must not be a fault here."""
    code = (
        "import sys, freshd.compose; from freshd.parsers import LimitedPages, LimitedParsers;"
        " from tests.parsers.test_parsers_limited import document, samples; parsers = LimitedParsers();"
        " [parsers.parse(document(content, name)) for name, content in samples().items()]; parsers.close();"
        " pages = LimitedPages(); pages.main_text(document('<html><p>page')); pages.close();"
        " print(*sorted({'markitdown', 'mammoth', 'pdfminer', 'magika', 'trafilatura'} & set(sys.modules)))"
    )
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=100, check=True
    )
    assert ran.stdout.strip() == ""


def test_how_large_the_parent_is_makes_no_child_grown(misbehaving: LimitedParsers):
    """The kernel hands on, as the most a process ever held, what its parent held when it began it."""
    ballast = bytearray(700 << 20)
    ballast[::4096] = bytes(len(ballast[::4096]))
    misbehaving.parse(document("<html>warm"))
    first = misbehaving.child_pid
    misbehaving.parse(document("<html>again"))
    assert first is not None
    assert misbehaving.child_pid == first
