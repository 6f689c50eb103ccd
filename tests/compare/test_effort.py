"""What work took, measured on this very process and on one it starts."""

import re
import subprocess
import sys
import time

import pytest

from freshd.compare.effort import Stopwatch, forget_peak, machine, peak_bytes

BUSY = "sum(range(20_000_000)); print('done', flush=True); input()"
MIB = 1 << 20


def test_blocks_add_up_and_what_lies_between_them_is_left_out():
    watch = Stopwatch()
    with watch:
        sum(range(1_000_000))
    first = watch.wall_s, watch.cpu_s
    assert min(first) > 0
    began = time.perf_counter()
    while time.perf_counter() - began < 0.05:
        pass
    assert (watch.wall_s, watch.cpu_s) == first
    with watch:
        sum(range(1_000_000))
    assert watch.wall_s > first[0]
    assert watch.cpu_s > first[1]


def test_a_process_that_works_for_this_one_counts():
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        alone, together = Stopwatch(), Stopwatch(lambda: (child.pid,))
        with alone, together:
            assert child.stdout.readline() == "done\n"
        child.communicate("\n", timeout=30)
    assert together.cpu_s > alone.cpu_s + 0.1


def test_a_process_that_is_gone_counts_for_nothing():
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    with (watch := Stopwatch(lambda: (int(child.stdout),))):
        pass
    assert watch.cpu_s < 1


def test_a_block_that_fails_counts_too():
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch:
        raise ZeroDivisionError
    assert watch.wall_s > 0


def test_the_peak_is_that_since_it_was_forgotten():
    forget_peak()
    before = peak_bytes()
    block = bytearray(200 * MIB)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert peak_bytes() > before + 150 * MIB
    forget_peak()
    assert peak_bytes() < before + 100 * MIB


def test_the_peak_of_a_process_that_works_for_this_one_is_added():
    grown = (
        f"block = bytearray({200 * MIB}); block[::4096] = b'x' * len(block[::4096]); del block; print(1, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"input(); {grown}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        forget_peak([child.pid])
        before = peak_bytes([child.pid])
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "1\n"
        assert peak_bytes([child.pid]) > before + 150 * MIB
        assert peak_bytes() < before + 100 * MIB
        forget_peak([child.pid])
        assert peak_bytes([child.pid]) < before + 100 * MIB
        child.communicate("\n", timeout=30)
    assert peak_bytes([child.pid]) < before + 100 * MIB, "a process that is gone counts for nothing"


def test_the_machine_is_described_in_one_line():
    assert re.fullmatch(r".+, \d+ cores, \d+ GiB of memory", machine())
