"""A new ledger for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.books import Books, opened


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    with opened(tmp_path / "ledger.db") as books:
        yield books
