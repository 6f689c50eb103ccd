"""What a start loads: who only asks must not wait for what only an index needs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.instance import Instance, eventually, instance

ROOT = Path(__file__).parent.parent

HEAVY = (
    "structlog",
    "httpx",
    "numpy",
    "fastembed",
    "onnxruntime",
    "qdrant_client",
    "qdrant_edge",
    "fastapi",
    "apscheduler",
)

PROGRAM = f"""
import atexit, runpy, sys
atexit.register(lambda: print("loaded:", *sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr))
sys.argv[0] = "freshd"
runpy.run_module("freshd", run_name="__main__")
""".replace(repr(HEAVY), repr(set(HEAVY)))


def start(one: Instance, *arguments: str) -> "subprocess.Popen[str]":
    """Run a command in a process of its own, which says at its end what it loaded."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=one.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def loaded(process: "subprocess.Popen[str]") -> set[str]:
    """Wait for its end, which must be a good one; give what it loaded."""
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    return set(said.splitlines()[-1].removeprefix("loaded:").split())


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with instance(tmp_path_factory.mktemp("start")) as started:
        started.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        yield started


@pytest.mark.parametrize("arguments", [("--help",), ("status", "--help"), ("status",), ("history",)], ids=" ".join)
def test_help_and_status_load_nothing_that_only_an_index_needs(one: Instance, arguments: tuple[str, ...]):
    assert loaded(start(one, *arguments)) == set()


def test_a_daemon_over_an_embedded_store_never_loads_the_client_of_a_server_and_answers_who_loads_nothing(
    one: Instance,
):
    daemon = start(one, "run")
    try:
        eventually(lambda: one.state.read_daemon())
        assert loaded(start(one, "status")) == set()
        assert loaded(start(one, "wait", "--all", "--timeout", "30s")) == set()
    finally:
        daemon.send_signal(signal.SIGTERM)
        has = loaded(daemon)
    assert "qdrant_client" not in has
    assert {"fastapi", "apscheduler", "onnxruntime"} <= has, "the yardstick sees what is loaded"
