"""The shipped config and rules in a real Prometheus that scrapes a real daemon."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.daemon.instance import FILES, Instance, eventually, instance
from tests.prometheus.shipped import CONFIG, RULES, as_shown, panel_expressions, rules

HANDBOOK = FILES.replace("1m", "1s")
WIKI = HANDBOOK.replace("handbook", "wiki").replace("docs", "wiki")
BROKEN = {("FreshdSourceDown", "handbook"), ("FreshdSourceStale", "handbook")}


class Prometheus:
    """One that runs, and what it has to say."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log
        self._address = eventually(self._look_for_address)
        eventually(lambda: httpx.get(f"http://{self._address}/-/ready", trust_env=False).is_success)

    def _look_for_address(self) -> str | None:
        assert self._process.poll() is None, self._log.read_text()
        found = re.search(r'msg="Listening on".* address=(\S+)', self._log.read_text())
        return found[1] if found else None

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"http://{self._address}{path}", params=parameters, timeout=10, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def is_scraping(self) -> bool:
        return [target["health"] for target in self.get("/api/v1/targets")["activeTargets"]] == ["up"]

    def firing(self) -> dict[tuple[str, str], dict[str, str]]:
        """Give the annotations of what fires because of a source, by alert and source."""
        alerts = self.get("/api/v1/alerts")["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"]["source"]): alert["annotations"]
            for alert in alerts
            if alert["state"] == "firing" and "source" in alert["labels"]
        }


@contextmanager
def prometheus(folder: Path, daemon: Instance) -> Iterator[Prometheus]:
    """Run what is shipped, in a hurry: intervals of half a second, and every alert after a second."""
    assert daemon.record is not None
    config = CONFIG.read_text().replace("15s", "500ms").replace("127.0.0.1:8377", daemon.record.address)
    (folder / "prometheus.yml").write_text(config)
    (folder / "rules.yml").write_text(re.sub(r"(?m)^( +for:) \w+$", r"\1 1s", RULES.read_text()))
    options = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=logfmt",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *options], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield Prometheus(process, folder / "log")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    with instance(tmp_path_factory.mktemp("served"), HANDBOOK + WIKI) as one:
        one.write("leave.md", "# Leave\n\nEverybody has 28 days.\n")
        (one.root / "wiki").mkdir()
        one.start()
        one.settled("handbook")
        one.settled("wiki")
        yield one


@pytest.fixture(scope="module")
def watcher(daemon: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), daemon) as one:
        eventually(one.is_scraping)
        yield one


def test_every_rule_and_every_panel_can_be_computed_from_what_a_daemon_exports(watcher: Prometheus):
    """Whether the two sides of a comparison have the same labels shows only in data."""
    eventually(lambda: watcher.get("/api/v1/query", query="source:freshd_changes_late:increase1h")["result"])
    for expression in [rule["expr"] for rule in rules()] + panel_expressions():
        watcher.get("/api/v1/query", query=as_shown(expression))


def test_a_source_that_goes_away_is_alerted_on_until_it_returns(daemon: Instance, watcher: Prometheus):
    eventually(lambda: not watcher.firing())

    daemon.docs.rename(daemon.root / "elsewhere")
    eventually(lambda: watcher.firing().keys() >= BROKEN)
    assert {source for _, source in watcher.firing()} == {"handbook"}
    annotations = watcher.firing()["FreshdSourceDown", "handbook"]
    assert "Source handbook" in annotations["summary"]
    assert "`freshd reindex handbook`" in annotations["description"]

    (daemon.root / "elsewhere").rename(daemon.docs)
    eventually(lambda: not watcher.firing().keys() & BROKEN)  # the watch is begun anew a minute later
