"""One bench for each test of the scheduler."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from freshd.scheduler import indexer as indexer_room
from tests.scheduler.parts import Bench


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is taken to be long because the machine stood still; where one is to be, a test says so."""
    monkeypatch.setattr(indexer_room, "_LONG_S", 600.0)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()
