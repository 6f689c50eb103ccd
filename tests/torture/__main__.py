"""Tortures freshd: `python -m tests.torture [--kills N] [--cuts N] [--soak MINUTES]`; `--help` tells the rest."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from tests.bench.report import machine, say, show_machine
from tests.kit.histories import memory
from tests.torture import kills
from tests.torture.cuts import power_cuts
from tests.torture.disk import cannot_mount
from tests.torture.place import Diverged, Place, Tally, documents_for
from tests.torture.soak import soak

_SMALL = 500
"""Chunks up to which every comparison is with an index made anew as well; beyond, one in ten."""

_ENUMERATED_SHARE = 0.75
"""Most of the kills that are one after another at every point there is; all others are at random."""

_RECOVERIES = 50

Kind = Callable[[Place], Iterator[str]]

_AT_EVERY_POINT: dict[str, Kind] = {
    "fail points, edits": kills.at_fail_points,
    "fail points, first index": lambda place: kills.at_fail_points(place, is_first=True),
    "one recovery after another": lambda place: kills.in_recovery(place, _RECOVERIES),
    "lost index, opening": kills.in_opening,
    "system calls, edits": kills.at_syscalls,
    "system calls, first index": lambda place: kills.at_syscalls(place, is_first=True),
}
_AT_RANDOM: dict[str, Kind] = {"one-shots at random": kills.at_random, "daemons under churn": kills.under_churn}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description="Break freshd, and see what stands.")
    parser.add_argument(
        "--kills",
        type=int,
        metavar="N",
        default=0,
        help="kill it so many times, three in four at one point after another",
    )
    parser.add_argument("--cuts", type=int, metavar="N", default=0, help="cut the power so many times; needs root")
    parser.add_argument("--soak", type=float, metavar="MINUTES", default=0, help="edit for so long")
    parser.add_argument("--rate", type=float, metavar="R", default=10, help="edits a second of the soak (%(default)s)")
    parser.add_argument("--model", choices=("hash", "bundled"), default="hash", help="of the soak (%(default)s)")
    parser.add_argument("--chunks", type=int, metavar="C", default=120, help="size of the index killed (%(default)s)")
    parser.add_argument("--random", action="store_true", help="kill at random only, every command started afresh")
    parser.add_argument("--seed", type=int, metavar="S", default=1, help="what is done follows from it (%(default)s)")
    parser.add_argument("--where", metavar="DIR", help="for work directories; in memory when left out")
    arguments = parser.parse_args()
    if not (arguments.kills or arguments.cuts or arguments.soak):
        parser.error("expected --kills, --cuts or --soak")
    show_machine(machine())
    divergences = 0
    if arguments.kills:
        divergences += _kill(arguments)
    if arguments.cuts:
        divergences += _cut(arguments.cuts, arguments.seed)
    if arguments.soak:
        divergences += _soak(arguments)
    sys.exit(bool(divergences))


def _kill(arguments: argparse.Namespace) -> int:
    """Kill until there were enough; a divergence is told, and the next kind of kill begins in another place."""
    total, divergences, began_s = Tally(), 0, time.monotonic()
    kinds = _AT_RANDOM if arguments.random else _AT_EVERY_POINT | _AT_RANDOM
    for number, (name, kind) in enumerate(kinds.items()):
        share = _ENUMERATED_SHARE if name in _AT_EVERY_POINT else 1
        wanted = round(arguments.kills * share) - total.kills
        if name == "one-shots at random":
            wanted = (wanted + 1) // 2
        if wanted <= 0 or ("system calls" in name and not kills.has_strace()):
            say(f"{name}: left out")
            continue
        tally, diverged = _kill_so(kind, wanted, arguments, arguments.seed + number)
        if diverged:
            divergences += 1
            say(f"DIVERGED {name}: {diverged}")
        total.add(tally)
        say(f"{name}: {tally.kills:,} kills, {time.monotonic() - began_s:,.0f} s so far")
        for point in {**tally.reached, **tally.there}:
            say(f"  {point}: {_coverage(tally.reached[point], tally.there.get(point))}")
    say(
        f"{total.kills:,} kills (seed {arguments.seed}, about {arguments.chunks:,} chunks): {divergences} divergences,"
        f" 0 manual steps; {total.looks:,} looks before a recovery, {total.comparisons:,} comparisons after it"
    )
    say(f"recovery, from its start to everything applied: {_percentiles(total.recoveries_s)}")
    return divergences


def _kill_so(kind: Kind, wanted: int, arguments: argparse.Namespace, seed: int) -> tuple[Tally, str]:
    """Kill in one way so many times, or until there is no further point; give what was done, and what went wrong."""
    with Place(
        seed,
        documents=documents_for(arguments.chunks),
        forks=not arguments.random,
        scratch_every=1 if arguments.chunks <= _SMALL else 10,
        where=arguments.where,
    ) as place:
        place.settle("first index")
        place.tally.recoveries_s.clear()
        try:
            with closing(kind(place)) as each:
                for _ in each:
                    if place.tally.kills >= wanted:
                        break
        except Diverged as error:
            return place.tally, str(error)
        return place.tally, ""


def _coverage(reached: int, there: int | None) -> str:
    if there is None:
        return f"the first {reached}, then there were kills enough"
    if not there:
        return "not passed"
    return f"all {reached}" if reached >= there else f"{reached} of {there}"


def _percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds) or [0.0]
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {ordered[-1]:.2f} s of {len(seconds):,}"


def _cut(wanted: int, seed: int) -> int:
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        reason = cannot_mount(Path(folder))
    if reason is not None:
        say(f"power cuts: {reason}")
        return 1
    done, kept = 0, 0
    try:
        with closing(power_cuts(seed)) as each:
            while done < wanted:
                kept += next(each)
                done += 1
    except Diverged as error:
        say(f"DIVERGED after {done} power cuts: {error}")
        return 1
    say(f"{done:,} power cuts (seed {seed}): {kept:,} acknowledged edits looked for, 0 lost; 0 divergences")
    return 0


def _soak(arguments: argparse.Namespace) -> int:
    try:
        seen = soak(arguments.soak, arguments.rate, arguments.seed, has_model=arguments.model == "bundled")
    except Diverged as error:
        say(f"DIVERGED {error}")
        return 1
    say(
        f"soak, {arguments.model} embedder: {seen.changes:,} changes in {seen.minutes:g} min, 0 divergences;"
        f" all applied {seen.settled_s:.1f} s after the last; lag {seen.lag_s}"
    )
    for name, memory_of in (("freshd", seen.parent), ("store", seen.store)):
        say(
            f"memory of {name}: {memory_of.first_mib:.1f} → {memory_of.last_mib:.1f} MiB after the warm-up,"
            f" slope {memory_of.mib_per_hour:+.1f} ± {memory_of.give_or_take:.1f} MiB/h"
        )
    return int(any(one.grows for one in (seen.parent, seen.store)))


if __name__ == "__main__":
    main()
