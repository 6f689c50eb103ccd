"""CI must not turn green by skipping: see `tests/conftest.py`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

KNOWN = 'import pytest\n@pytest.mark.skip(reason="promtool is not installed")\ndef test_it(): ...\n'
UNKNOWN = 'import pytest\ndef test_it(): pytest.skip("not today")\n'
UNKNOWN_MODULE = 'import pytest\npytest.importorskip("no_such_module")\ndef test_it(): ...\n'
EXPECTED_FAILURE = 'import pytest\n@pytest.mark.xfail(reason="not yet")\ndef test_it(): assert False\n'


def run_pytest(folder: Path, test: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_bytes(CONFTEST.read_bytes())
    (folder / "pytest.ini").write_text("[pytest]\n")  # or one of a folder above would count
    (folder / "test_it.py").write_text(test)
    (folder / "test_passing.py").write_text("def test_passing(): ...\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={n: v for n, v in os.environ.items() if n != "CI"} | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("test", [KNOWN, EXPECTED_FAILURE])
def test_a_known_reason_to_skip_passes_in_ci(tmp_path, test):
    assert run_pytest(tmp_path, test, CI="true").returncode == pytest.ExitCode.OK


@pytest.mark.parametrize("test", [UNKNOWN, UNKNOWN_MODULE])
def test_an_unknown_reason_to_skip_fails_in_ci_and_is_named(tmp_path, test):
    ran = run_pytest(tmp_path, test, CI="true")
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "KNOWN_SKIPS" in ran.stdout


def test_an_unknown_reason_to_skip_is_only_named_outside_ci(tmp_path):
    ran = run_pytest(tmp_path, UNKNOWN)
    assert ran.returncode == pytest.ExitCode.OK
    assert "not today" in ran.stdout
