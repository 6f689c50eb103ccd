"""freshd whose threads are taken to hang after two seconds: `python -m tests.daemon.impatient COMMAND…`."""

import importlib
from datetime import timedelta

PATIENCE_S = 2.0


def main() -> None:
    for module, name in (
        ("freshd.scheduler.engine", "_TURN_PATIENCE_S"),
        ("freshd.scheduler.timetable", "_PATIENCE_S"),
        ("freshd.scheduler.indexer", "_PATIENCE_S"),
        ("freshd.http.server", "_PATIENCE_S"),
    ):
        _set(module, name, PATIENCE_S)
    _set("freshd.scheduler.engine", "_TURN_S", 0.1)
    _set("freshd.scheduler.timetable", "_BEAT_S", 0.1)
    _set("freshd.daemon.control", "_PATIENCE", timedelta(seconds=PATIENCE_S))
    importlib.import_module("freshd.__main__").main()


def _set(module: str, name: str, value: object) -> None:
    there = importlib.import_module(module)
    assert hasattr(there, name)
    setattr(there, name, value)


if __name__ == "__main__":
    main()
