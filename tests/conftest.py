"""What every test run shares: a skip must have a reason that is known, or CI fails.

A test that quietly skips looks like one that passes, so each reason why a machine may lack what a test needs
is written down here once, and a new one has to be added on purpose.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.kit.histories import memory

# How long an example takes is the machine's affair; all else as Hypothesis chooses, which in CI is otherwise.
settings.register_profile("freshd", settings(), deadline=None)
settings.load_profile("freshd")

KNOWN_SKIPS = (
    "FRESHD_TEST_QDRANT_URL is not set",  # a real Qdrant server; none is a package of a registry
    "promtool is not installed",
    "prometheus is not installed",
    "systemd-analyze is not installed",
    "chromium is not installed",
    "strace is not installed",
    "mkfs.ext4 is not installed",
    "no loop device can be mounted",
    "not running as root",
    "the kernel cannot deny memory that is written and executed",  # before Linux 6.3
    "running as root",
    "torch is not installed",
    "the Django source distributions could not be fetched",
)
"""What a reason to skip may begin with."""


class SkipGuard:
    """Collects why tests skipped; in CI, fails the run for a reason that is not known."""

    def __init__(self) -> None:
        self.unknown: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "wasxfail"):
            self._look_at(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._look_at(report)

    def _look_at(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or not isinstance(report.longrepr, tuple):
            return
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(KNOWN_SKIPS):
            self.unknown.append((report.nodeid, reason))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self.unknown and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unknown:
            return
        terminalreporter.section("skipped for a reason that KNOWN_SKIPS in tests/conftest.py does not hold", red=True)
        for nodeid, reason in self.unknown:
            terminalreporter.line(f"{nodeid}: {reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Tests write where no sync waits for a disk; what a disk does to freshd is tested on disks made for it."""
    config.pluginmanager.register(SkipGuard(), "skip-guard")
    if (place := memory()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", place)
