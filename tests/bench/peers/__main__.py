"""Runs the comparison with peers: `python -m tests.bench.peers [releases] [live] [--peer NAME]…`."""

import argparse
import tempfile
from pathlib import Path

from tests.bench.corpus import DjangoDocs
from tests.bench.peers import LIVE, PEERS, live, releases
from tests.bench.report import machine, show_machine

_PARTS = {"releases": (releases.run, tuple(PEERS)), "live": (live.run, LIVE)}


def main() -> None:
    """Run the parts that were named, all of them for none."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description="Measure freshd beside its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(_PARTS)}; all when left out")
    parser.add_argument("--peer", action="append", metavar="NAME", help=f"of: {'; '.join(PEERS)}; all when left out")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - _PARTS.keys():
        parser.error(f"got {sorted(unknown)[0]!r}, expected one of: {', '.join(_PARTS)}")
    if unknown := set(arguments.peer or ()) - PEERS.keys():
        parser.error(f"got {sorted(unknown)[0]!r}, expected one of: {'; '.join(PEERS)}")
    show_machine(machine())
    with tempfile.TemporaryDirectory(prefix="freshd-peers-") as folder:
        docs = DjangoDocs(Path(folder) / "corpus")
        for part in arguments.parts or _PARTS:
            run, names = _PARTS[part]
            run(docs, Path(folder) / part, [name for name in names if name in (arguments.peer or names)]).show()


if __name__ == "__main__":
    main()
