"""One step of one peer, in a process of its own: `python -m tests.bench.peers.step PEER SOURCE STATE`, JSON out."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import cast

from tests.bench.peers import PEERS
from tests.bench.peers.contract import CountedEmbedder, Peer
from tests.bench.timing import cpu_s, peak_bytes
from tests.torture.program import children


def opened(name: str, source: Path, state: Path, embedder: CountedEmbedder) -> Peer:
    module, _, kind = PEERS[name].partition(":")
    return cast(Peer, getattr(import_module(module), kind)(source, state, embedder))


def main() -> None:
    name, source, state = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    embedder = CountedEmbedder(None)
    peer = opened(name, source, state, embedder)
    pids = (os.getpid(), *children(os.getpid()))  # freshd's store has a process of its own
    began_s, began_cpu_s = time.perf_counter(), sum(map(cpu_s, pids))
    peer.sync()
    seen = {
        "seconds": time.perf_counter() - began_s,
        "cpu_s": sum(map(cpu_s, pids)) - began_cpu_s,
        "texts": embedder.texts,
        "characters": embedder.characters,
        "peak_mib": sum(map(peak_bytes, pids)) / 2**20,
        "points": sorted(peer.points()),
    }
    print(f"\n{json.dumps(seen)}", flush=True)  # noqa: T201
    peer.close()
    os._exit(0)  # some leave threads behind


if __name__ == "__main__":
    main()
