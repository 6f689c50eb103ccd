"""The alerts: each fires when it should and only then, and says what to do in words that hold."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from prometheus_client.parser import text_string_to_metric_families

from freshd.cli import app
from tests.kit.metrics import every_metric
from tests.prometheus.shipped import CONFIG, ROOT, RULES, alerts, metrics_in, panel_expressions, promtool, rules

CASES = Path(__file__).with_name("rules_test.yml")
PAGE = ROOT / "deploy/README.md"
GROUPS = yaml.safe_load(CASES.read_text())["tests"]
ALERTS = alerts()


def cases(alert: str) -> list[dict[str, Any]]:
    """Give what `rules_test.yml` asks of a firing alert, each time it does."""
    asked = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    return [case for group in GROUPS for case in group["promql_expr_test"] if case["expr"] == asked]


def commands() -> dict[str, Any]:
    return dict(typer.main.get_group(app).commands)


def test_prometheus_accepts_the_rules():
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_fires_when_it_should_and_only_then():
    tested = promtool("test", "rules", CASES)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet(alert):
    assert {bool(case["exp_samples"]) for case in cases(alert)} == {True, False}


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["for"]
    assert "\n" not in rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > len(rule["annotations"]["summary"])


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_every_command_that_an_alert_recommends_exists(alert):
    recommended = re.findall(r"`freshd (\w+)(?: (\w+))?", " ".join(ALERTS[alert]["annotations"].values()))
    for command, word in recommended:
        assert command in commands()
        if hasattr(commands()[command], "commands"):
            assert word in commands()[command].commands


@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_speaks_only_of_labels_that_it_has(alert):
    """A label that is not there is an empty word in the middle of a sentence, and nothing else would tell."""
    spoken = set(re.findall(r"\$labels\.(\w+)", " ".join(ALERTS[alert]["annotations"].values())))
    firing = [sample["labels"] for case in cases(alert) for sample in case["exp_samples"]]
    assert all(spoken <= set(re.findall(r"(\w+)=", labels)) for labels in firing)


def test_every_metric_that_an_alert_or_a_panel_asks_for_is_exported(tmp_path):
    families = text_string_to_metric_families(every_metric(tmp_path))
    exported = {sample.name for family in families for sample in family.samples}
    expressions = [rule["expr"] for rule in rules()] + panel_expressions()
    asked = {name for expression in expressions for name in metrics_in(expression)}
    assert len(asked) > 25
    assert asked - exported == set()


@pytest.mark.parametrize("is_off_loopback", [False, True])
def test_prometheus_accepts_the_example_config(tmp_path, is_off_loopback):
    text = CONFIG.read_text()
    if is_off_loopback:
        text = re.sub(r"(?m)^( *)# (?= *(- )?\w+:)", r"\1", text)
    shutil.copy(RULES, tmp_path)
    (tmp_path / "prometheus.yml").write_text(text)
    checked = promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (job,) = yaml.safe_load(text)["scrape_configs"]
    assert ("authorization" in job) == is_off_loopback
    assert all(f'job="{job["job_name"]}"' in ALERTS[name]["expr"] for name in ("FreshdAbsent", "FreshdDown"))


@pytest.mark.parametrize(("column", "severity"), [(2, "critical"), (3, "warning")])
def test_the_deploy_page_lists_every_alert_under_how_bad_it_is(column, severity):
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`Freshd" in line]
    listed = [name for row in rows for name in re.findall(r"`(Freshd\w+)`", row[column])]
    assert sorted(listed) == sorted(name for name, rule in ALERTS.items() if rule["labels"]["severity"] == severity)
