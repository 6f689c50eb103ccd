"""What `deploy/` ships for Prometheus and Grafana, as tests read it, and the program that judges it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/freshd.json"


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return board


def panel_expressions() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


def as_shown(expression: str) -> str:
    """Give a panel's expression as Grafana asks it, with everything chosen."""
    return re.sub(r"\$(instance|source)\b", ".*", expression.replace("$__rate_interval", "1m"))


def metrics_in(expression: str) -> set[str]:
    """Give the names that freshd has to export; those that a rule records hold a colon."""
    return set(re.findall(r"(?<![:\w])freshd_\w+", expression))


def promtool(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
