"""The Grafana dashboard: it imports anywhere, and no panel is a riddle."""

import itertools
import re

import pytest
import yaml

from tests.prometheus.shipped import DASHBOARD, as_shown, dashboard, panel_expressions, promtool

PANELS = dashboard()["panels"]


def places(panel):
    """Give the cells of the grid that a panel covers."""
    grid = panel["gridPos"]
    return {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}


def test_every_datasource_is_the_one_that_was_chosen():
    uids = re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text())
    assert set(uids) - {dashboard()["uid"]} == {"${datasource}"}
    assert [v["query"] for v in dashboard()["templating"]["list"] if v["type"] == "datasource"] == ["prometheus"]


def test_it_belongs_to_no_grafana_in_particular():
    assert dashboard()["id"] is None
    assert "__inputs" not in dashboard()


def test_no_two_panels_share_an_id_or_a_title():
    for key in ("id", "title"):
        values = [panel[key] for panel in PANELS]
        assert len(values) == len(set(values))


def test_no_panel_lies_on_another_or_beside_the_grid():
    for one, other in itertools.combinations(PANELS, 2):
        assert not places(one) & places(other), (one["title"], other["title"])
    assert all(0 <= x < 24 for panel in PANELS for x, _ in places(panel))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_and_in_which_unit(panel):
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith(".")
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_every_variable_that_a_panel_uses_can_be_chosen():
    known = {variable["name"] for variable in dashboard()["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__all"} == known


def test_prometheus_can_read_every_expression(tmp_path):
    """As recording rules, which is how promtool can be asked."""
    expressions = [as_shown(expression) for expression in panel_expressions()]
    expressions += [annotation["expr"] for annotation in dashboard()["annotations"]["list"]]
    recorded = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    checked = promtool("check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(recorded)} rules found" in checked.stdout
