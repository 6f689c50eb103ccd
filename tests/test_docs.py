"""What the documents say is there is there: commands, targets, configs, metrics."""

import re
from pathlib import Path

import pytest
import typer.main
from prometheus_client.parser import text_string_to_metric_families

from freshd.cli import app
from freshd.config import load
from freshd.freshness import Status
from tests.kit.metrics import every_metric

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "freshd/DESIGN.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy/README.md", ROOT / "connectors/README.md"]

NOT_BUILT: set[str] = set()
"""Second words of metrics that DESIGN agrees on and says are not built yet."""


def commands() -> dict[str, object]:
    return dict(typer.main.get_group(app).commands)


def test_the_readme_has_a_row_for_every_command():
    rows = set(re.findall(r"^\| `freshd (\w+)", README, re.MULTILINE))
    assert rows == set(commands())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_runs_exists(path):
    named = re.findall(r"(?:[$`]\s?|bin/)freshd ([a-z]+)", path.read_text())
    assert set(named) <= set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_says_what_it_does(name):
    assert commands()[name].help


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|\n)make ([a-z-]+)", README)) <= targets


def test_the_config_in_the_design_loads(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", DESIGN, re.DOTALL)
    (tmp_path / "freshd.toml").write_text(block)
    assert [source.name for source in load(tmp_path / "freshd.toml").sources] == ["handbook", "news"]


def test_the_design_lists_every_metric_and_every_one_that_is_not_there_is_said_not_to_be_built(tmp_path):
    families = text_string_to_metric_families(every_metric(tmp_path))
    there = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    listed = set(re.findall(r"`(freshd_\w+)", DESIGN))
    assert there <= listed
    assert {metric for metric in listed - there if metric.split("_")[1] not in NOT_BUILT} == set()


@pytest.mark.parametrize("status", Status)
def test_the_design_tells_when_each_status_holds(status):
    assert f"`{status.value}`" in DESIGN
