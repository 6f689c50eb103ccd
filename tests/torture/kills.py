"""Kills and errors, one at a time; after each: a look, a recovery, a comparison. Each generator yields after one.

What is enumerated goes the way SQLite is tested: the first hit, the second, the third …, until a run is through
before its time has come. The tally keeps what was killed at, and how much there was.
"""

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from tests.kit.failpoints import STEPS
from tests.torture.daemon import Daemon
from tests.torture.place import Diverged, Place
from tests.torture.program import Ended
from tests.torture.traces import failures

SYSCALLS = {
    "freshd": ("fsync", "fdatasync", "pwrite64", "ftruncate", "/^rename", "/^unlink"),
    "store": ("fsync", "msync", "ftruncate", "/^rename", "/^unlink"),
}
"""System calls by which each process changes what a disk holds, as strace names them.

Writes of the engine through a mapping are none.
"""

ERRORS = (("fsync", "EIO"), ("fdatasync", "EIO"), ("msync", "EIO"), ("pwrite64", "ENOSPC"), ("/^rename", "EIO"))
_WITH_MARKS = ("--follow-forks", "--decode-fds=path")
_STEPS = ("after_detect", "mid_read", *STEPS)
_IS_KILLED = -1
_CALL = re.compile(r"^(\d*) *\w+\(", re.MULTILINE)
"""A call in strace's log, with the thread that made it where several are followed."""

_LONGEST_PAUSE_S = 0.3


def fail_points(place: Place) -> Counter[str]:
    """Pass every fail point once with something of everything to do; give how often each was passed."""
    log = place.root / "hits"
    log.unlink(missing_ok=True)
    place.churn()
    ended = place.run("reindex", FRESHD_FAULTS_LOG=str(log))
    assert ended.code == 0, ended.err
    return Counter(log.read_text().split())


def at_fail_points(place: Place, *, is_first: bool = False, names: Sequence[str] | None = None) -> Iterator[str]:
    """Kill at every hit of every fail point, in the process of freshd or in that of the store.

    Args:
        place: Indexed already, unless `is_first`.
        is_first: Each time the first index, with no state directory; else the edits of one round.
        names: Only these.

    """
    for name in names if names is not None else sorted(fail_points(place)):
        yield from _until_through(place, name, is_first, lambda n, name=name: _armed(place, name, n))


def at_syscalls(place: Place, *, is_first: bool = False, stride: int = 1) -> Iterator[str]:
    """Kill at every system call that changes the disk, of one process and then of the other; needs strace.

    It counts the calls of each thread by itself. Each process makes all of them in one thread, but for a few that the
    engine makes beside while it creates a shard: these are not reached, and the tally says how many they are.
    """
    for whom, names in SYSCALLS.items():
        for name in names:
            yield from _until_through(
                place, f"{name} of {whom}", is_first, lambda n, one=(name, whom): _killed(place, *one, n), stride
            )


def in_opening(place: Place, times: int = 2) -> Iterator[str]:
    """Kill what puts a lost index back, at each page that it looks through and as often; then leave it alone."""
    place.settle("before the index is lost")
    for n in range(1, times + 1):
        shutil.rmtree(place.state / "index")
        for _ in range(n):
            assert _armed(place, "mid_recovery", 1) == _IS_KILLED, "a lost index is looked for while freshd opens"
            place.tally.reached["mid_recovery"] += 1
            place.tally.there["mid_recovery"] += 1
        ended = place.run("reindex")  # says what was lost, as it should
        assert ended.code == 0, ended.err
        says = f"index lost, opening killed {n} times"
        place.compare(says)
        yield says


def errors(place: Place, *, stride: int = 1) -> Iterator[str]:
    """Have the n-th sync or write of either process fail, and every one from the n-th on; needs strace.

    The run says so and ends in vain, unless what failed is nothing that freshd has to tell of.
    """
    for (name, error), lasting in ((one, lasting) for one in ERRORS for lasting in ("", "+")):
        for n in count(1, stride):
            says = f"{name} fails with {error} at {n}{lasting}"
            place.churn()
            ended = _traced(place, f"{name},write", "freshd", f"{name}:error={error}:when={n}{lasting}", *_WITH_MARKS)
            failed = failures(place.root / "trace")
            if not failed:
                place.settle(says)
                break
            place.tally.errors += 1
            owed = {failure.owes for failure in failed} - {""}
            has_told = ended.code > 0 and any(line.startswith("error: ") for line in ended.err.splitlines())
            if not has_told and (owed or ended.code):
                raise Diverged(f"seed {place.seed}, {says}: ended with {ended.code}\n{failed[0].call}\n{ended.err}")
            place.tally.told.update(owed)
            _recovered(place, says)
            yield says


def at_random(place: Place) -> Iterator[str]:
    """Kill one-shots at any moment, and every third time the recovery as well, once or more."""
    place.settle("before the first kill")
    for n in count(1):
        place.churn()
        took_s = max(place.tally.recoveries_s[-1], 0.1)
        says = f"one-shot killed at random, {n}"
        place.run("reindex", kill_after_s=place.random.uniform(0, took_s))
        place.look(says)
        for again in range(place.random.choice((0, 0, 1, 2)) * (n % 3 == 0)):
            place.run("reindex", kill_after_s=place.random.uniform(0, took_s))
            place.look(f"{says}, recovery killed {again + 1} times")
        _recovered(place, says)
        yield says


def in_recovery(place: Place, times: int) -> Iterator[str]:
    """Kill one recovery after another, each at another fail point; left alone in the end, it converges."""
    place.settle("before the first kill")
    killed = 0
    while killed < times:
        if not place.run("reindex", FRESHD_FAULTS=f"{place.random.choice(_STEPS)}:kill").is_killed:
            place.churn()  # it came through, so there is nothing left to recover
            continue
        killed += 1
        place.look(f"recovery killed, {killed}")
        if killed == times:
            _recovered(place, f"recovery killed {killed} times")
        yield f"recovery killed, {killed}"


def under_churn(place: Place) -> Iterator[str]:
    """Kill daemons while people work: freshd with its store, freshd alone, or the store alone."""
    daemon = Daemon(place)
    try:
        daemon.start()
        daemon.settled()
        for n in count(1):
            whom = place.random.choice(("both", "freshd", "store"))
            says = f"daemon, {whom} killed under churn, {n}"
            place.churn()
            daemon.pause(place.random.uniform(0, _LONGEST_PAUSE_S))
            place.churn(2)
            place.tally.kills += 1
            daemon.kill(whom)
            if whom != "store":
                place.look(says)
                daemon.start()
            place.tally.recoveries_s.append(daemon.settled())
            daemon.stop()
            place.compare(says)
            yield says
            daemon.start()
            daemon.settled()
    finally:
        daemon.close()


def _until_through(
    place: Place, name: str, is_first: bool, run: Callable[[int], int], stride: int = 1
) -> Iterator[str]:
    """Kill at the first hit, the next …; `run` gives what `_outcome` does."""
    reached, there = place.tally.reached, place.tally.there
    for n in count(1, stride):
        says = f"{'first index' if is_first else 'edits'}, killed at {name} {n}"
        if is_first:
            shutil.rmtree(place.state, ignore_errors=True)
        place.churn()
        if (hits := run(n)) != _IS_KILLED:
            there[name] += hits
            return
        reached[name] += 1
        _recovered(place, says)
        yield says


def _recovered(place: Place, says: str) -> None:
    place.look(says)
    place.settle(says)
    place.compare(says)


def _armed(place: Place, name: str, n: int) -> int:
    """Kill at the n-th hit of a fail point."""
    log = place.root / "hits"
    log.unlink(missing_ok=True)
    ended = place.run("reindex", FRESHD_FAULTS=f"{name}:kill@{n}", FRESHD_FAULTS_LOG=str(log))
    hits = log.read_text().split().count(name)
    return _outcome(place, ended, hits, is_killed=hits >= n)


def _killed(place: Place, syscall: str, whom: str, n: int) -> int:
    """Kill a process at the n-th call of the thread that is first to make so many."""
    flags = ["--follow-forks"] if whom == "store" else []  # from freshd on these would lead to the store as well
    ended = _traced(place, syscall, whom, f"{syscall}:signal=SIGKILL:when={n}", *flags)
    calls = Counter(_CALL.findall((place.root / "trace").read_text(errors="replace")))
    return _outcome(place, ended, calls.total(), is_killed=max(calls.values(), default=0) >= n)


def _outcome(place: Place, ended: Ended, hits: int, *, is_killed: bool) -> int:
    """Tell that something was killed, or how many hits there are in a run that nothing was killed in."""
    if is_killed:
        place.tally.kills += not ended.is_killed  # of the store's process alone
        return _IS_KILLED
    assert ended.code == 0, ended.err
    return hits


def _traced(place: Place, syscalls: str, whom: str, injection: str, *flags: str) -> Ended:
    """Run with one process under strace, and what it starts with `--follow-forks`."""
    options = ["-qq", f"--output={place.root / 'trace'}", f"--trace={syscalls}", f"--inject={injection}"]
    return place.run("reindex", strace=[*options, *flags], traced=whom, FRESHD_FAULTS_LOG=str(place.root / "hits"))


def has_strace() -> bool:
    return shutil.which("strace") is not None
