"""Work that somebody asked the daemon for: it runs in threads of its own and is asked about by id."""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from freshd.errors import FreshdError
from freshd.logs import Event, get_logger
from freshd.ports import Clock
from freshd.shapes import JobReport, ReindexReport, WaitReport

_THREADS = 4
_REMEMBERED = 200


@dataclass(slots=True)
class Progress:
    """How far a job is, in documents; written by the job, read by whoever asks."""

    done: int = 0
    total: int = 0


Work = Callable[[Progress], tuple[ReindexReport | WaitReport, int]]
"""Does a job; gives its result and the exit code a command should end with."""


@dataclass(slots=True)
class _Job:
    began_s: float
    progress: Progress
    result: ReindexReport | WaitReport | None = None
    exit_code: int | None = None
    error: str | None = None
    hint: str | None = None


class Jobs:
    """Jobs under way and some that are over. Safe to call from several threads."""

    def __init__(self, clock: Clock) -> None:
        """Start with none."""
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")

    def begin(self, work: Work) -> str:
        """Begin a job; give its id."""
        job_id, job = uuid.uuid4().hex, _Job(self._clock.monotonic(), Progress())
        with self._lock:
            self._jobs[job_id] = job
            while len(self._jobs) > _REMEMBERED:
                self._jobs.popitem(last=False)
        self._threads.submit(self._run, job, work)
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
        """Begin nothing any more; what runs is told by whoever it waits for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, job: _Job, work: Work) -> None:
        try:
            job.result, job.exit_code = work(job.progress)
        except FreshdError as error:
            job.error, job.hint, job.exit_code = str(error), error.hint or None, error.exit_code
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this job, not the daemon
            get_logger().error(Event.JOB_FAILED, exc_info=error)
            job.error, job.exit_code = f"{type(error).__name__}: {error}", 1
