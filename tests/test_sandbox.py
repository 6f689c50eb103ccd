"""freshd under the memory rules of its systemd unit: the model and the engine load, and stay within what it allows."""

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.instance import Instance, eventually

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "deploy" / "freshd.service"

_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1
"""prctl(2): no memory may become executable that was writable; what MemoryDenyWriteExecute=yes asks for.

Inherited by every child, so that the store's process and the parsers' live under it too.
"""


def deny_write_execute() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel does not know the rule")


def is_known_to_the_kernel() -> bool:
    ran = subprocess.run([sys.executable, "-c", "pass"], preexec_fn=deny_write_execute, check=False)
    return ran.returncode == 0


def freshd(instance: Instance, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "freshd", *command],
        cwd=instance.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=deny_write_execute,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture
def instance(tmp_path):
    try:
        is_known = is_known_to_the_kernel()
    except subprocess.SubprocessError:
        is_known = False
    if not is_known:
        pytest.skip("the kernel cannot deny memory that is written and executed")
    made = Instance(tmp_path)
    made.write("kettle.md", "# Kettle\n\nThe kettle is blue.\n")
    made.write("page.html", "<html><body><h1>Samovar</h1><p>The samovar is green.</p></body></html>")
    return made


def test_the_rule_is_real(instance):
    """Without this, the tests below could pass because nothing was denied."""
    wants_both = "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)"
    ran = subprocess.run(
        [sys.executable, "-c", wants_both], preexec_fn=deny_write_execute, capture_output=True, text=True, check=False
    )
    assert "PermissionError" in ran.stderr
    assert subprocess.run([sys.executable, "-c", wants_both], check=False).returncode == 0


def test_model_engine_and_parsers_work_where_no_memory_is_both_written_and_executed(instance):
    assert "MemoryDenyWriteExecute=yes" in UNIT.read_text()
    indexed = freshd(instance, "reindex")
    assert indexed.returncode == 0, indexed.stderr
    for wanted in ("kettle", "samovar"):
        found = freshd(instance, "search", wanted, "-k", "1")
        assert found.returncode == 0, found.stderr
        assert f"The {wanted} is" in found.stdout


def test_what_the_daemon_and_its_children_took_at_most_fits_the_memory_of_the_unit(tmp_path):
    limit = re.search(r"(?m)^MemoryMax=(\d+)G$", UNIT.read_text())
    assert limit
    instance = Instance(tmp_path)
    for n in range(40):
        instance.write(f"{n}.md", f"# Page {n}\n\n" + "\n\n".join(f"Line {k} of page {n} is here." for k in range(40)))
    instance.write("page.html", "<html><body><p>The samovar is green.</p></body></html>")
    try:
        instance.start()
        eventually(lambda: instance.sources()[0]["documents"] == 41 and not instance.sources()[0]["pending"], 60.0)
        assert instance.process is not None
        peaks = [peak_bytes(pid) for pid in (instance.process.pid, *instance.children())]
    finally:
        instance.close()
    assert len(peaks) > 1
    assert sum(peaks) < int(limit[1]) << 30


def peak_bytes(pid: int) -> int:
    peak = re.search(r"(?m)^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text())
    assert peak
    return int(peak[1]) << 10
