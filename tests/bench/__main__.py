"""Runs the benchmarks: `python -m tests.bench [NAME…] [--json FILE]`."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import amplification, answers, compaction, curve, first_index, latency, pressure, rescan, start
from tests.bench.corpus import DjangoDocs
from tests.bench.report import Table, machine, say, show_machine

BENCHMARKS: dict[str, Callable[[DjangoDocs, Path], Table]] = {
    "first-index": first_index.run,
    "rescan": rescan.run,
    "amplification": amplification.run,
    "latency": latency.run,
    "answers": answers.run,
    "pressure": pressure.run,
    "start": start.run,
    "compaction": compaction.run,
    "curve": curve.run,
}


def main() -> None:
    """Run those that were named, all of them for none, and show what each saw."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure freshd beside baselines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}; all when left out")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures here as well: a line for the machine and each row"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"got {sorted(unknown)[0]!r}, expected one of: {', '.join(BENCHMARKS)}")
    facts = machine()
    show_machine(facts)
    if arguments.json:
        arguments.json.write_text(_line(facts))
    with tempfile.TemporaryDirectory(prefix="freshd-bench-") as folder:
        docs = DjangoDocs(Path(folder) / "corpus")
        for name in arguments.names or BENCHMARKS:
            began_s = time.perf_counter()
            table = BENCHMARKS[name](docs, Path(folder) / name)
            table.show()
            say(f"{name} took {time.perf_counter() - began_s:.0f} s\n")
            if arguments.json:  # after each, so that one that fails takes none of the others along
                with arguments.json.open("a") as lines:
                    lines.writelines(_line({"benchmark": name, **one}) for one in table.measurements())


def _line(values: dict[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
