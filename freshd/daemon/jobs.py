"""Work that somebody asked the daemon for: each job runs in a thread of its own and is asked about by id."""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from freshd.errors import FreshdError, StoreUnavailable
from freshd.logs import Event, get_logger
from freshd.ports import Clock
from freshd.shapes import JobReport, JobResult

_MOST = 64
_MOST_WAITS = 48
"""Waiting takes long and costs nothing; it never takes the room that other jobs need."""

_REMEMBERED = 200
"""More than may be under way, so that only jobs that are over are forgotten."""

_ENDED = "freshd stopped, or took up another config, while this was under way"
_ASK_AGAIN = "ask again in a moment; what was found stays pending and is applied"


@dataclass(slots=True)
class Progress:
    """How far a job is, in documents; written by the job, read by whoever asks."""

    done: int = 0
    total: int = 0

    def hear(self, done: int, total: int) -> None:
        """Say how much is done, and how much there is."""
        self.done, self.total = done, total

    def left(self, n: int) -> None:
        """Say how much is left; more than before means that more was found."""
        self.total = max(self.total, self.done + n)
        self.done = self.total - n


Work = Callable[[Progress], tuple[JobResult, int]]
"""Does a job; gives its result and the exit code a command should end with."""


@dataclass(slots=True)
class _Job:
    began_s: float
    progress: Progress
    result: JobResult | None = None
    exit_code: int | None = None
    error: str | None = None
    hint: str | None = None


class Jobs:
    """Jobs under way and some that are over. Safe to call from several threads."""

    def __init__(self, clock: Clock, former: "Jobs | None" = None) -> None:
        """Start with none, or remember those that were begun under a former config: whoever began one asks about it.

        Args:
            clock: Says how long a job runs.
            former: Closed.

        """
        self._clock = clock
        self._lock: threading.Lock = former._lock if former else threading.Lock()
        self._jobs: OrderedDict[str, _Job] = former._jobs if former else OrderedDict()
        self._own: list[_Job] = []
        self._is_closed = False

    def begin(self, work: Work, *, is_wait: bool = False) -> str:
        """Begin a job at once; give its id.

        Args:
            work: Done in a thread of its own.
            is_wait: It does little but wait for something, maybe for long.

        Raises:
            StoreUnavailable: Too many jobs are under way already, or freshd is stopping.

        """
        job_id, job = uuid.uuid4().hex, _Job(self._clock.monotonic(), Progress())
        with self._lock:
            self._refuse_beyond(_MOST_WAITS if is_wait else _MOST)
            self._jobs[job_id] = job
            self._own = [one for one in self._own if one.exit_code is None] + [job]
            if len(self._jobs) > _REMEMBERED:
                del self._jobs[next(one for one, job in self._jobs.items() if job.exit_code is not None)]
        threading.Thread(target=self._run, args=(job, work), name="job", daemon=True).start()
        return job_id

    def report(self, job_id: str) -> JobReport | None:
        """Tell how a job stands; None for one that never was or is forgotten."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            return None
        done, total = job.progress.done, job.progress.total
        elapsed_s = self._clock.monotonic() - job.began_s
        is_over = job.exit_code is not None
        return {
            "job": job_id,
            "state": "running" if not is_over else "failed" if job.error is not None else "done",
            "done": done,
            "total": total,
            "eta_seconds": round(elapsed_s / done * (total - done), 1) if done and not is_over else None,
            "result": job.result,
            "error": job.error,
            "hint": job.hint,
            "exit_code": job.exit_code,
        }

    def close(self) -> None:
        """Begin nothing any more, and answer for what still runs: what it works on is about to be closed."""
        with self._lock:
            self._is_closed = True
            for job in self._own:
                _end(job, 1, _ENDED, _ASK_AGAIN)

    def _refuse_beyond(self, most: int) -> None:
        if self._is_closed:
            raise StoreUnavailable("freshd is stopping", hint="start it again, then ask again")
        n_running = sum(job.exit_code is None for job in self._jobs.values())
        if n_running >= most:
            raise StoreUnavailable(
                f"jobs: {n_running} are under way, expected fewer than {most}",
                hint="ask again once one of them is done",
            )

    def _run(self, job: _Job, work: Work) -> None:
        try:
            result, exit_code = work(job.progress)
        except FreshdError as error:
            with self._lock:
                _end(job, error.exit_code, str(error), error.hint or None)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this job, not the daemon
            with self._lock:
                if not _end(job, 1, f"{type(error).__name__}: {error}"):
                    return  # it was given up, and what it worked on closed
            get_logger().error(Event.JOB_FAILED, exc_info=error)
        else:
            with self._lock:
                if job.exit_code is None:
                    job.result, job.exit_code = result, exit_code


def _end(job: _Job, exit_code: int, error: str, hint: str | None = None) -> bool:
    """Let a job end without a result; tell whether it had not ended before."""
    if job.exit_code is not None:
        return False
    job.error, job.hint, job.exit_code = error, hint, exit_code
    return True
