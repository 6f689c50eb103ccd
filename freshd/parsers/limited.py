"""Has a child process take apart what may hang or explode; the rest is parsed here.

    PDF, office, HTML, anything large ─▶ child with limits (see `child.py`) ─▶ ParsedDocument, or a reason
    other text                        ─▶ here

A document that hangs costs its child at the deadline, one that explodes costs it at the limit;
the next document gets a fresh one. A child is also replaced after some documents, or when it has grown;
left alone for a while, it goes.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from freshd.children import Child, ChildFailed, Starter
from freshd.errors import ParseError, ParserDied
from freshd.model import Block, BlockKind, Document, ParsedDocument
from freshd.parsers.formats import Parsers, Recognised
from freshd.parsers.media import Format
from freshd.wording import unforeseen

DEADLINE_S: Final = 30.0
"""For one document, the start of the child included."""

_LARGE_BYTES: Final = 256 * 1024
_MOST_BYTES_HERE: Final = {Format.HTML: 0, Format.OFFICE: 0, Format.PDF: 0, Format.MARKDOWN: 32 * 1024}
"""Beyond that, or beyond `_LARGE_BYTES`, a document is parsed in the child. Measured, at most a second's work of
hostile text otherwise: Markdown of nothing but lazy lines below 20 quotes takes longest."""

_MOST_DOCUMENTS: Final = 2_000
_MOST_KIB: Final = 512 * 1024

_ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same bytes give the same blocks, in whichever process
    "PYTHONUTF8": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each of its threads takes address space, of which there is little
    "OMP_NUM_THREADS": "1",
}

_LEAVE_OUT: Final = "leave it out with `exclude`"
_ITS_OWN_FAULT: Final = frozenset({"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"})
"""Signals of which a process dies by what it does itself, and will again."""


class LimitedParsers:
    """`ports.Parser` over a child process. Safe to call from several threads, which take turns with the child."""

    identity: Final = Parsers.identity

    def __init__(self, *, deadline_s: float = DEADLINE_S, module: str = "freshd.parsers.child") -> None:
        """Start nothing yet.

        Args:
            deadline_s: For one document.
            module: What runs in the child; tests hand in one that misbehaves.

        """
        self._deadline_s = deadline_s
        self._module = module
        self._parsers = Parsers()
        self._turn = threading.Lock()
        self._starter: Starter | None = None
        self._child: Child | None = None
        self._n_documents = 0
        self._is_closed = False

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, for people who look; None while there is none."""
        child = self._child
        return None if child is None else child.pid

    def parse(self, document: Document) -> ParsedDocument:
        """Parse one document; see `Parsers.parse`.

        Raises:
            ParseError: It is bad, or too much for the limits; the same again another time.
            ParserDied: The child was killed, maybe by something else.

        """
        with _faults_told(document):
            recognised = self._parsers.recognise(document)
            if not _is_much(document, recognised):
                return self._parsers.take_apart(document, recognised)
        with self._turn:
            return _parsed(self._ask(document))

    def may_take_long(self, document: Document) -> bool:
        """Tell whether the child is asked, or more than a moment's work follows; see `ports.Parser`."""
        with _faults_told(document):
            return len(document.content) > _LARGE_BYTES or _is_much(document, self._parsers.recognise(document))

    def close(self) -> None:
        """End the child, whatever it is at; idempotent."""
        self._is_closed = True
        child = self._child
        if child is not None:
            child.interrupt()
        with self._turn:
            self._drop()
            if self._starter is not None:
                self._starter.close()
                self._starter = None

    def _ask(self, document: Document) -> list[Any]:
        """Have the child take a document apart."""
        request = [
            "parse",
            document.ref.document_id,
            document.media_type,
            document.encoding,
            document.title,
            document.content,
        ]
        try:
            verdict, *answer, peak_kib = self._answer(request, document)
        except ChildFailed as failure:
            raise _reason(document, failure, self._deadline_s) from failure
        self._n_documents += 1
        if self._n_documents >= _MOST_DOCUMENTS or peak_kib > _MOST_KIB:
            self._drop()
        if verdict == "refused":
            raise ParseError(answer[0], hint=answer[1])
        return answer

    def _answer(self, request: list[Any], document: Document) -> list[Any]:
        for _ in range(2):
            if self._is_closed:
                break
            child = self._child or self._start(document)
            try:
                answer: list[Any] = child.ask(request, self._deadline_s)
            except ChildFailed as failure:
                self._drop()
                if failure.exit_code != 0:
                    raise
                continue  # it left just now, because nobody had asked for long
            except BaseException:
                self._drop()
                raise
            return answer
        raise ChildFailed("leaves without an answer")

    def _start(self, document: Document) -> Child:
        if self._starter is None:
            environment = {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT}
            self._starter = Starter(self._module, "parser-child", environment)
        try:
            self._child = self._starter.start()
        except OSError as error:
            message = f"document {document.ref.document_id!r}: cannot start the process that parses it: {error}"
            raise ParserDied(message) from error
        self._n_documents = 0
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


def _is_much(document: Document, recognised: Recognised) -> bool:
    return len(document.content) > _MOST_BYTES_HERE.get(recognised.format, _LARGE_BYTES)


@contextmanager
def _faults_told(document: Document) -> Iterator[None]:
    """Have a fault of ours or of a library cost the document, not the thread that writes."""
    try:
        yield
    except (ParseError, MemoryError):
        raise
    except Exception as error:
        raise ParseError(
            f"document {document.ref.document_id!r}: got {unforeseen(error)} while parsing it,"
            " expected what can be taken apart",
            hint=_LEAVE_OUT,
        ) from error


def _reason(document: Document, failure: ChildFailed, deadline_s: float) -> ParseError:
    """Say what the end of the child means for the document."""
    place = f"document {document.ref.document_id!r}"
    if isinstance(failure.__cause__, TimeoutError):
        message = f"{place}: got no end of parsing it within {deadline_s:g} s, expected one; its process was killed"
        return ParseError(message, hint=f"simplify or split it, or {_LEAVE_OUT}")
    if failure.signal_name == "SIGXCPU":
        message = f"{place}: got no end of parsing it within its share of the processor; its process was killed"
        return ParseError(message, hint=f"simplify or split it, or {_LEAVE_OUT}")
    message = f"{place}: the process that parses it {failure}"
    if failure.signal_name in _ITS_OWN_FAULT:
        return ParseError(message, hint=_LEAVE_OUT)
    return ParserDied(message, hint=f"freshd tries again by itself; if it goes on to end so, {_LEAVE_OUT}")


def _parsed(answer: list[Any]) -> ParsedDocument:
    text, blocks, title, metadata = answer
    return ParsedDocument(
        text,
        tuple(
            Block(BlockKind(kind), start, end, start_line, end_line, tuple(path))
            for kind, start, end, start_line, end_line, path in blocks
        ),
        title,
        metadata,
    )
