"""How a command asks the daemon that has the state directory, instead of opening it itself.

Over the standard library's HTTP: what asks one address of one's own needs no more, and starts in half the time.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from freshd.errors import ConfigError, FreshdError, StoreUnavailable
from freshd.portions import portions
from freshd.redaction import printable
from freshd.shapes import (
    BackupReport,
    ChangeEntry,
    ChangesAnswer,
    ForgetReport,
    HeldDeletions,
    JobReport,
    PruneReport,
    ReindexReport,
    SearchAnswer,
    StatusReport,
    VerifyReport,
    WaitReport,
)
from freshd.state import DaemonRecord, StateDirectory

_ANSWER_S = 30.0
_SILENCE_S = 45.0
"""A stream of changes says something every 15 s: three times in a row is not chance."""

_LONGEST_TARGET = 60_000
"""Characters of an address; the daemon takes 64 KiB of it and the headers."""

_MOST_NAMED, _MOST_NAMED_BYTES = 1_000, 48_000
"""Documents in one order; the daemon takes 64 KiB."""

_STARTING_S = 3.0
"""Twice what a daemon takes to begin on 10,000 documents: a script may start it and ask at once."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
"""Between two looks at a job: short jobs are answered at once, long ones ask little."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the stream of changes.

    Attributes:
        place: Where to go on from.
        change: None where some were forgotten: whoever keeps copies lets go of all of them.

    """

    place: str
    change: ChangeEntry | None


class JobFailed(FreshdError):
    """The daemon could not do a job; it says itself how the command should end."""

    def __init__(self, report: JobReport) -> None:
        """Tell in the daemon's words."""
        super().__init__(report["error"] or "the daemon could not do it", hint=report["hint"] or "")
        self.exit_code = report["exit_code"] or 1  # type: ignore[misc]  # the daemon's own, for this one


class Client:
    """Asks one running daemon, over a connection for each question."""

    def __init__(self, record: DaemonRecord) -> None:
        """Ask at the address, and with the token, that the state directory tells."""
        self._address = record.address
        self._token = record.token
        self.pid = record.pid

    def status(self) -> StatusReport:
        """Ask how fresh each source is."""
        answer: StatusReport = self._ask("GET", "/status")
        return answer

    def search(self, query: str, k: int, sources: Sequence[str], path: str | None) -> SearchAnswer:
        """Ask for passages."""
        parameters: dict[str, Any] = {"q": query, "k": k, "source": list(sources)} | ({"path": path} if path else {})
        answer: SearchAnswer = self._ask("GET", "/search", params=parameters)
        return answer

    def reindex(self, sources: Sequence[str], *, full: bool, on_progress: Callable[[int, int], None]) -> ReindexReport:
        """Have sources looked at and wait until what is found is applied; `on_progress` hears done and total."""
        return cast(ReindexReport, self._job("/reindex", {"sources": list(sources), "full": full}, on_progress))

    def wait(self, documents: Sequence[str], timeout_s: float) -> WaitReport:
        """Wait until documents, or everything for none, are searchable as they are now."""
        order = {"documents": list(documents), "timeout_seconds": timeout_s}
        return cast(WaitReport, self._job("/wait", order, lambda *_: None))

    def verify(
        self,
        on_progress: Callable[[int, int], None],
        *,
        deep: bool = False,
        repair: bool = False,
        orphans: bool = False,
    ) -> VerifyReport:
        """Have the ledger held against the store, and mended if asked to; `on_progress` hears done and total."""
        order = {"deep": deep, "repair": repair, "orphans": orphans}
        return cast(VerifyReport, self._job("/verify", order, on_progress))

    def backup(self, directory: Path, on_progress: Callable[[int, int], None]) -> BackupReport:
        """Have everything copied into a folder; `on_progress` hears bytes done and in all."""
        return cast(BackupReport, self._job("/backup", {"directory": str(directory)}, on_progress))

    def forget(
        self, documents: Sequence[str], *, undo: bool, on_progress: Callable[[int, int], None] = lambda *_: None
    ) -> ForgetReport:
        """Have documents forgotten, or let in again; `on_progress` hears those done, and in all, of one order.

        Raises:
            FreshdError: An order was refused, which the rest of them end with, and the message says how many are done;
                or one failed, which has noted all that it names, so that the others were given nevertheless.

        """
        parts: list[ForgetReport] = []
        failed, n_done = None, 0
        for named in portions(documents, lambda name: len(json.dumps(name)) + 2, _MOST_NAMED, _MOST_NAMED_BYTES):
            try:
                order = {"documents": named, "undo": undo}
                parts.append(cast(ForgetReport, self._job("/forget", order, on_progress)))
            except FreshdError as error:
                if not isinstance(error, JobFailed) or error.exit_code == ConfigError.exit_code:
                    error.args = (f"{error}; the first {n_done:,} that were named are done",) if n_done else error.args
                    raise
                failed = failed or error
            n_done += len(named)
        if failed is not None:
            raise failed
        return {
            "documents": sum(part["documents"] for part in parts),
            "points": sum(part["points"] for part in parts),
            "vectors": sum(part["vectors"] for part in parts),
            "unknown": [name for part in parts for name in part["unknown"]],
            "readmitted": [name for part in parts for name in part["readmitted"]],
        }

    def prune(self, source: str, on_progress: Callable[[int, int], None]) -> PruneReport:
        """Have what is left of a source taken out that left the config; `on_progress` as above."""
        return cast(PruneReport, self._job("/prune", {"source": source}, on_progress))

    def changes(self, after: int, limit: int, source: str | None, document_id: str | None) -> ChangesAnswer:
        """Ask for applied changes after a sequence number; a negative one counts from the newest back."""
        parameters = {"after": after, "limit": limit, **_whose(source, document_id)}
        answer: ChangesAnswer = self._ask("GET", "/changes", params=parameters)
        return answer

    def follow(self, place: str, source: str | None, document_id: str | None) -> Iterator[Told]:
        """Hear of changes after a place as they are applied, until the stream ends or breaks off.

        Args:
            place: A sequence number, or where somebody was `Told` to go on from.
            source: Only of this source; None for all.
            document_id: Only of this document; needs `source`.

        Raises:
            StoreUnavailable: It could not begin.

        """
        has_begun = False
        headers = {"accept": "text/event-stream", "last-event-id": place}
        try:
            with self._asked("GET", _target("/changes", _whose(source, document_id)), headers, _SILENCE_S) as answer:
                has_begun = True
                yield from _told(line.decode().rstrip("\r\n") for line in answer)
        except (OSError, HTTPException) as error:
            if not has_begun:
                raise self._unreachable(error) from error

    def deletions(self, source: str, approve: bool | None) -> HeldDeletions:
        """Ask for the held deletions of a source, after approving or rejecting them if asked to."""
        if approve is None:
            answer: HeldDeletions = self._ask("GET", "/deletions", params={"source": source})
            return answer
        order = {"source": source, "verdict": "approve" if approve else "reject"}
        return cast(HeldDeletions, self._ask("POST", "/deletions", order=order))

    def _job(self, path: str, order: Mapping[str, Any], on_progress: Callable[[int, int], None]) -> Any:
        """Begin a job and see it to its end; give its result.

        Raises:
            JobFailed: It could not be done.

        """
        job: str = self._ask("POST", path, order=order)["job"]
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                report: JobReport = self._ask("GET", f"/jobs/{job}")
            except ConfigError as error:  # the only thing wrong with what is asked: nobody remembers it
                what = "the daemon was started anew meanwhile, and knows nothing of what it was asked before"
                raise StoreUnavailable(what, hint="ask again") from error
            on_progress(report["done"], report["total"])
            if report["state"] == "failed":
                raise JobFailed(report)
            if report["state"] == "done":
                return report["result"]
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _ask(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, order: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            target = _target(path, params or {})
            body = None if order is None else json.dumps(order, ensure_ascii=False).encode()
            headers = {} if body is None else {"content-type": "application/json"}
            with self._asked(method, target, headers, _ANSWER_S, body) as answer:
                return json.load(answer)
        except UnicodeEncodeError as error:  # bytes of a command line that are no UTF-8
            raise ConfigError(f"got '{printable(error.object)}', expected UTF-8 text") from error
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    @contextmanager
    def _asked(
        self, method: str, target: str, headers: Mapping[str, str], patience_s: float, body: bytes | None = None
    ) -> Iterator[HTTPResponse]:
        """Open a connection and ask; what answers is read from, as long as the context lasts.

        Raises:
            FreshdError: It was refused, in the daemon's own words.
            OSError, HTTPException: It is not there, or breaks off, or is silent for longer than that.

        """
        with closing(HTTPConnection(self._address, timeout=patience_s)) as connection:
            connection.request(method, target, body, {"authorization": f"Bearer {self._token}", **headers})
            answer = connection.getresponse()
            if answer.status >= 300:
                raise _refusal(answer.status, answer.read())
            yield answer

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(
            f"the daemon (process {self.pid}) at {self._address} does not answer: {error}",
            hint="look at its log; if it hangs, stop that process and start freshd run again",
        )


def connect(state: StateDirectory) -> Client | None:
    """Find the daemon that works in a state directory; None if none runs."""
    record = state.read_daemon()
    return None if record is None else Client(record)


def _whose(source: str | None, document_id: str | None) -> dict[str, str]:
    asked = {"source": source, "document": document_id}
    return {key: value for key, value in asked.items() if value is not None}


def _told(lines: Iterable[str]) -> Iterator[Told]:
    """Read server-sent events, the few fields of them that freshd sends."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
            continue
        if "data" in fields:
            is_change = fields["event"] == "change"
            yield Told(fields["id"], json.loads(fields["data"]) if is_change else None)
        fields = {}


def demand(state: StateDirectory, purpose: str) -> Client:
    """Find the daemon that works in a state directory; one that is just being started is waited for.

    Args:
        state: The directory.
        purpose: What only a daemon can be, such as `waited for`.

    Raises:
        FreshdError: None runs.

    """
    ends_s = time.monotonic() + _STARTING_S
    while (daemon := connect(state)) is None and time.monotonic() < ends_s:
        time.sleep(_LONGEST_PAUSE_S / 4)
    if daemon is None:
        what = f"no daemon runs over this state directory, and only one can be {purpose}"
        raise FreshdError(what, hint="freshd run")
    return daemon


def _target(path: str, params: Mapping[str, Any]) -> str:
    """Spell what is asked for as part of an address, which has an end."""
    target = f"{path}?{urlencode(params, doseq=True)}" if params else path
    if len(target) > _LONGEST_TARGET:
        raise ConfigError(f"got what no request can carry ({len(target):,} characters), expected a shorter name")
    return target


def _refusal(status: int, body: bytes) -> FreshdError:
    try:
        problem = json.loads(body)
        error, hint = str(problem["error"]), str(problem["try"] or "")
    except (ValueError, KeyError, TypeError):
        error, hint = f"the daemon answered {status}: {printable(body[:200].decode(errors='replace'))}", ""
    if hint.startswith("GET /"):  # meant for programs
        hint = "freshd --help"
    if status in (404, 422):
        return ConfigError(error, hint=hint)
    return StoreUnavailable(error, hint=hint) if status == 503 else FreshdError(error, hint=hint)
