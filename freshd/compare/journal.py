"""Keeps what a comparison saw, line by line, so that a run that was broken off goes on where it was.

    heading (setup, facts, mark) ─▶ training, mark … ─▶ records of one arm and seed ─▶ mark ─▶ records of the next …

A mark is written when a training is over or an arm is finished with a seed, and is on disk before the next begins.
What stands after the last mark is unfinished, torn or not: it counts for nothing, and is cut off when the run goes on.
"""

import fcntl
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType

from pydantic import TypeAdapter, ValidationError

from freshd.compare.records import Answer, Arm, Fact, Results, Setup, Training, Update
from freshd.errors import ConfigError, FreshdError, StateInUse, StateUnusable
from freshd.redaction import printable

_ANOTHER = "name another file, or none to begin anew"
_BEGINNING = b'{"record": "setup"'


@dataclass(frozen=True, slots=True)
class _Mark:
    """The end of what belongs together: of the heading, of a training, or of an arm with a seed."""

    arm: Arm | None = None
    seed: int | None = None


_Record = Setup | Fact | Training | Update | Answer | _Mark

_KINDS: dict[str, TypeAdapter[_Record]] = {
    kind.__name__.lower().strip("_"): TypeAdapter(kind) for kind in (Setup, Fact, Training, Update, Answer, _Mark)
}


class Journal:
    """An append-only file of one run; one process at a time writes to it.

    Every record is one line and one write, so that a process that is killed loses none;
    a machine that loses its power loses at most the arm it was at.
    """

    def __init__(self, path: Path, setup: Setup, facts: Sequence[Fact]) -> None:
        """Begin a journal, or go on with the one that is there.

        Args:
            path: Absent, empty, or a journal of the same setup and facts.
            setup: What this run is made with.
            facts: What this run asks.

        Raises:
            ConfigError: The file cannot be used, or is a journal of another setup.
            StateInUse: Another process writes to it.
            StateUnusable: It is damaged, or from a newer freshd.

        """
        self._path = path
        self._heading: tuple[_Record, ...] = ()
        self._file = _opened(path)
        try:
            self._results = self._resumed(setup, tuple(facts))
        except BaseException:
            self._file.close()
            raise
        self._unfinished: list[Update | Answer] = []
        seen: tuple[Update | Answer, ...] = (*self._results.updates, *self._results.answers)
        self._finished = {(one.arm, one.seed) for one in seen}

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def finished(self) -> frozenset[tuple[Arm, int]]:
        """Arms, each with a seed, that need not run again."""
        return frozenset(self._finished)

    @property
    def results(self) -> Results:
        """Everything that finished so far."""
        return self._results

    def keep(self, training: Training) -> None:
        """Keep a training; it counts at once, whatever becomes of the arm that needs it. On disk when this returns.

        Raises:
            FreshdError: It could not be written.

        """
        if self._unfinished:
            raise RuntimeError("an arm trains before it answers: a mark in its midst would make it look finished")
        self._write([training, _Mark()], is_boundary=True)
        self._results = replace(self._results, trainings=(*self._results.trainings, training))

    def append(self, record: Update | Answer) -> None:
        """Keep what an arm showed; it counts once the arm is finished.

        Raises:
            FreshdError: It could not be written.

        """
        self._write([record])
        self._unfinished.append(record)

    def finish(self, arm: Arm, seed: int) -> None:
        """Say that an arm is through with a seed: everything of it was appended. On disk when this returns.

        Raises:
            FreshdError: It could not be written.

        """
        self._write([_Mark(arm, seed)], is_boundary=True)
        before, new = self._results, self._unfinished
        self._results = replace(
            before,
            updates=(*before.updates, *(one for one in new if isinstance(one, Update))),
            answers=(*before.answers, *(one for one in new if isinstance(one, Answer))),
        )
        self._unfinished = []
        self._finished.add((arm, seed))

    def _resumed(self, setup: Setup, facts: tuple[Fact, ...]) -> Results:
        content = self._file.readall()
        # A disk may have been full before the heading was whole: then there is nothing to go on from.
        is_begun = content.startswith(_BEGINNING) and b"\n" + _line(_Mark()) not in content
        if is_begun or not content:
            self._file.truncate(0)
            self._heading = (setup, *facts, _Mark())
            return Results(setup, facts, (), ())
        results, end = _read(content, self._path)
        if differing := _differences(results, setup, facts):
            raise ConfigError(f"{_shown(self._path)}: journal of another run: {differing}", hint=_ANOTHER)
        self._file.truncate(end)
        return results

    def _write(self, records: Sequence[_Record], *, is_boundary: bool = False) -> None:
        """Write records, the heading before the first of them: a run that never began leaves nothing behind."""
        records, is_boundary = (*self._heading, *records), is_boundary or bool(self._heading)
        try:
            rest = b"".join(_line(record) for record in records)
            while rest:
                rest = rest[self._file.write(rest) :]
            if is_boundary:
                os.fsync(self._file.fileno())
            self._heading = ()
        except OSError as error:
            raise FreshdError(
                f"{_shown(self._path)}: got {error.strerror}, expected to write to it",
                hint="make room, then give the same command again: it goes on with the arm it was at",
            ) from error


def read(path: Path) -> Results:
    """Read a journal back, as far as it is finished; never writes.

    Raises:
        ConfigError: The file cannot be read, or is no journal.
        StateUnusable: It is damaged, or from a newer freshd.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{_shown(path)}: got {error.strerror}, expected a journal", hint=_ANOTHER) from error
    return _read(content, path)[0]


def _opened(path: Path) -> io.FileIO:
    try:
        file = io.FileIO(path, "a+")
    except OSError as error:
        raise ConfigError(
            f"{_shown(path)}: got {error.strerror}, expected a file to write to", hint=_ANOTHER
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StateInUse(f"{_shown(path)}: another process writes to this journal", hint=_ANOTHER) from error
    file.seek(0)
    return file


def _read(content: bytes, path: Path) -> tuple[Results, int]:
    """Give what is finished, and how many bytes that is."""
    setups, facts, trainings = list[Setup](), list[Fact](), list[Training]()
    updates, answers = list[Update](), list[Answer]()
    *whole, _ = content.split(b"\n")
    records = [_record(line) for line in whole]
    n_finished = max((n for n, record in enumerate(records, 1) if isinstance(record, _Mark)), default=0)
    for number, record in enumerate(records[:n_finished], 1):
        match record:
            case Setup():
                setups.append(record)
            case Fact():
                facts.append(record)
            case Training():
                trainings.append(record)
            case Update():
                updates.append(record)
            case Answer():
                answers.append(record)
            case None:
                got = f"line {number}: got no record that this freshd knows, expected one"
                raise StateUnusable(f"{_shown(path)}: {got}", hint=_ANOTHER)
    if len(setups) != 1:
        raise ConfigError(f"{_shown(path)}: got something else, expected a journal of a comparison", hint=_ANOTHER)
    results = Results(setups[0], tuple(facts), tuple(updates), tuple(answers), tuple(trainings))
    return results, sum(len(line) + 1 for line in whole[:n_finished])


def _line(record: _Record) -> bytes:
    name = type(record).__name__.lower().strip("_")
    return json.dumps({"record": name, **asdict(record)}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _record(line: bytes) -> _Record | None:
    """Read a line; None for what is torn or unknown."""
    try:
        read = json.loads(line.decode("utf-8", "surrogatepass"))
        return _KINDS[read.pop("record")].validate_python(read)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None


def _differences(results: Results, setup: Setup, facts: tuple[Fact, ...]) -> str:
    """Say in what a journal's run differs from this one; empty if in nothing."""
    told = [
        f"got {name} {got!r}, expected {wanted!r}"
        for field in fields(Setup)
        for name, got, wanted in _pairs(field.name, getattr(results.setup, field.name), getattr(setup, field.name))
        if got != wanted
    ]
    if results.facts != facts:
        told.append("got other facts")
    return printable("; ".join(told))


def _pairs(name: str, got: object, wanted: object) -> Iterator[tuple[str, object, object]]:
    """Give what is compared under which name: of settings each."""
    if isinstance(got, Mapping) and isinstance(wanted, Mapping):
        yield from ((str(key), got.get(key), wanted.get(key)) for key in {**got, **wanted})
    else:
        yield name, got, wanted


def _shown(path: Path) -> str:
    return printable(str(path))
