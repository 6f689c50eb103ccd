"""One endpoint for all tests of a module; each test finds it at rest, and its daemon as new."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from freshd import logs
from tests.http.daemon import Endpoint, eventually, serving


@pytest.fixture(scope="module")
def running() -> Iterator[Endpoint]:
    with serving() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(running: Endpoint) -> Endpoint:
    running.daemon.reset()
    assert eventually(lambda: not running.tasks)
    return running


@pytest.fixture
def told() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Give what the operator was told so far."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    handlers, level, is_disabled = root.handlers[:], root.level, access.disabled
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    root.handlers[:], access.disabled = handlers, is_disabled
    root.setLevel(level)
