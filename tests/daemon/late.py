"""freshd whose writer tells of each document a while after it was applied: `python -m tests.daemon.late COMMAND…`."""

import importlib
import time
from typing import Any

from freshd.daemon.reporter import Reporter

LATE_S = 0.05


def main() -> None:
    finished = Reporter.finished

    def late(self: Reporter, *told: Any) -> None:
        time.sleep(LATE_S)
        finished(self, *told)

    Reporter.finished = late  # type: ignore[method-assign]
    importlib.import_module("freshd.__main__").main()


if __name__ == "__main__":
    main()
