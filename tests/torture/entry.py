"""freshd as a program of its own whose model costs nothing: `python -m tests.torture.entry COMMAND…`.

Everything but the vectors is what `freshd COMMAND…` runs. With `--serve` in place of a command it loads all of freshd
once and then forks a process for each line of JSON on its standard input, which saves each the half second of imports:

    ▶ {"arguments": […], "folder": …, "environment": {…}, "is_stopped": false, "out": FILE, "err": FILE}
    ◀ its process id, and when it has ended what `waitpid` said
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections import deque

import freshd.embedder
from tests.kit.embedder import HashEmbedder

DIMENSION = 384
_PRELOADED = ("freshd.__main__", "freshd.compose", "connectors.files", "connectors.feed", "freshd.fetch", "httpx")


def main() -> None:
    freshd.embedder.open_embedder = _open_embedder
    if sys.argv[1:] == ["--serve"]:
        _serve()
    else:
        importlib.import_module("freshd.__main__").main()


def _open_embedder(*_: object) -> HashEmbedder:
    embedder = HashEmbedder(DIMENSION)
    embedder.passages = deque(maxlen=0)  # it would remember all it was ever asked, for hours
    return embedder


def _serve() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(order)
        _say(pid)
        _say(os.waitpid(pid, 0)[1])


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(order: dict[str, object]) -> None:
    """Be the process that was asked for; never returns."""
    code = 70
    try:
        os.chdir(str(order["folder"]))
        os.environ.update(order["environment"])
        sys.argv[1:] = order["arguments"]
        for descriptor, name in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
            flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            opened = os.open(str(name), flags, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        if order["is_stopped"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        importlib.reload(importlib.import_module("freshd.faults"))  # it reads the environment once
        importlib.import_module("freshd.__main__").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - what the interpreter would show at its end
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
