"""A whole process that stands still or is gone: nobody is told that all is well."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest
from typer.testing import CliRunner

from freshd import client
from freshd.cli import app
from freshd.config import load
from freshd.report import stored_status
from tests.daemon.instance import FILES, Instance, eventually, instance


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Instance]:
    with instance(tmp_path / "one", FILES.replace("1m", "1s") + "objective = 0.01\n") as made:
        made.write("a.md", "# A\n\nThe firstword.\n")
        made.start()
        made.settled()
        yield made


def check(one: Instance) -> int:
    """Give the exit code of `freshd status --check`, which gives up soon."""
    with mock.patch.object(client, "_ANSWER_S", 0.5):
        return CliRunner().invoke(app, ["status", "--check", "--config", str(one.root / "freshd.toml")]).exit_code


def test_a_process_that_stands_still_answers_nobody_and_goes_on_where_it_stood(one: Instance):
    eventually(lambda: check(one) == 0)
    one.signal(signal.SIGSTOP)
    try:
        assert one.record is not None
        for path in ("/metrics", "/status", "/healthz", "/"):
            with pytest.raises(httpx.TimeoutException):
                httpx.get(f"http://{one.record.address}{path}", timeout=0.3, trust_env=False)
        assert check(one) == 1
    finally:
        one.signal(signal.SIGCONT)
    eventually(lambda: check(one) == 0)


def test_what_a_killed_process_left_behind_grows_stale(one: Instance):
    """The commands read the ledger then, by the same rule."""
    one.signal(signal.SIGKILL)
    assert one.process is not None
    one.process.wait()
    killed_s, config = time.monotonic(), load(one.root / "freshd.toml", connectors=False)
    while time.monotonic() <= killed_s + 1:
        time.sleep(0.02)
    (source,) = stored_status(config)["sources"]
    assert source["status"] != "pass"
    assert source["staleness_seconds"] > 1
    while time.monotonic() <= killed_s + 2:
        time.sleep(0.02)
    assert check(one) == 4
