"""freshd that stands still in the middle of a first index, until `go-on` lies in its folder: see `Instance.module`."""

import importlib
import time
from pathlib import Path

GO_ON = "go-on"


def main() -> None:
    faults = importlib.import_module("freshd.faults")
    hit, n_batches = faults.hit, 0

    def stand_still(name: str) -> None:
        nonlocal n_batches
        hit(name)
        n_batches += name == "before_intent"
        while n_batches > 1 and name == "before_intent" and not Path(GO_ON).exists():
            time.sleep(0.02)

    setattr(faults, "hit", stand_still)  # noqa: B010 - a name that mypy knows as a function
    importlib.import_module("freshd.__main__").main()


if __name__ == "__main__":
    main()
