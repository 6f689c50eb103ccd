"""One process works in a state directory; whether one does is told by the kernel, not by a file it left."""

import fcntl
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from freshd.clock import SystemClock
from freshd.compose import cannot_open, open_dry_run, open_whole
from freshd.config import Config, Secrets, load
from freshd.errors import ConfigError, StateInUse, StateUnusable
from freshd.ports import Clock
from freshd.state import StateDirectory
from tests.kit.nobody import nobody

NOBODY = 65_534

HOLDER = """
import sys
from pathlib import Path
from freshd.state import StateDirectory
state = StateDirectory(Path(sys.argv[1]))
with state.lock():
    if len(sys.argv) > 2:
        state.publish_daemon(sys.argv[2], "a-token")
    print("locked", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@contextmanager
def other_process(state: StateDirectory, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(state.path), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# ── what it looks like ───────────────────────────────────────────────────────────────────────────


def test_everything_in_it_is_its_owners_only(state: StateDirectory):
    old = os.umask(0o022)
    try:
        with state.lock():
            state.publish_daemon("127.0.0.1:8377", "a-token")
            state.ledger_path.write_text("")
            state.index_dir.mkdir()
            modes = {path.name: mode_of(path) for path in state.path.iterdir()}
        assert mode_of(state.path) == 0o700
        assert modes == {"lock": 0o600, "daemon.json": 0o600, "ledger.db": 0o600, "index": 0o700}
    finally:
        assert os.umask(old) == 0o022  # put back as it was


def test_naming_it_and_asking_for_the_daemon_create_nothing(state: StateDirectory):
    assert state.read_daemon() is None
    assert not state.path.exists()


def test_places_in_it_have_fixed_names(state: StateDirectory):
    places = state.ledger_path, state.vectors_path, state.index_dir, state.models_dir, state.daemon_path
    assert [place.name for place in places] == ["ledger.db", "vectors.db", "index", "models", "daemon.json"]
    assert {place.parent for place in places} == {state.path}


def test_missing_parents_are_made(tmp_path: Path):
    state = StateDirectory(tmp_path / "a" / "b" / "state")
    with state.lock():
        assert mode_of(state.path) == 0o700


def test_free_room_is_what_the_file_system_says(state: StateDirectory):
    with state.lock():
        status = os.statvfs(state.path)
        # Others write to the same disk while we look.
        assert abs(state.free_bytes() - status.f_bavail * status.f_frsize) < 2**30
        inodes = state.free_inodes()
        assert inodes is None if not status.f_files else inodes > 0


# ── the lock ─────────────────────────────────────────────────────────────────────────────────────


def test_second_process_is_told_at_once_who_is_there(state: StateDirectory):
    with other_process(state) as holder:
        began_s = time.monotonic()
        with pytest.raises(StateInUse, match=f"in use by process {holder.pid}$") as caught, state.lock():
            pass
        assert time.monotonic() - began_s < 30
        assert caught.value.hint.startswith("wait until that process is done")
        assert caught.value.exit_code == 11
        assert holder.poll() is None


def test_lock_is_free_again_after_work_after_an_error_and_after_kill_9(state: StateDirectory):
    with pytest.raises(ZeroDivisionError), state.lock():
        raise ZeroDivisionError
    with other_process(state, "127.0.0.1:1") as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    with state.lock():
        pass
    with state.lock():
        pass


def test_pid_in_the_message_is_never_one_of_an_earlier_holder(state: StateDirectory):
    with state.lock():
        (state.path / "lock").write_text("99999999999999999999 and more")
    with other_process(state) as holder, pytest.raises(StateInUse, match=f"process {holder.pid}$"), state.lock():
        pass


def test_lock_without_a_readable_pid_still_keeps_others_out(state: StateDirectory):
    with state.lock():
        (state.path / "lock").write_text("")
        with pytest.raises(StateInUse, match="in use by another process"), StateDirectory(state.path).lock():
            pass


def test_glance_of_another_process_does_not_keep_the_daemon_from_starting(state: StateDirectory, monkeypatch):
    """`freshd status` takes the lock for an instant to learn whether anybody has it."""
    with state.lock():
        pass
    glance = os.open(state.path / "lock", os.O_RDONLY)
    fcntl.flock(glance, fcntl.LOCK_SH)
    waits: list[float] = []

    def glance_ends(seconds: float) -> None:
        waits.append(seconds)
        os.close(glance)

    monkeypatch.setattr("freshd.state.time.sleep", glance_ends)
    with state.lock():
        assert len(waits) == 1


def test_lock_file_removed_under_its_holder_is_no_lock_for_the_next(state: StateDirectory, monkeypatch):
    """Between opening and locking somebody may remove the file: a lock on a nameless file keeps nobody out."""
    real, calls = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not calls:
            (state.path / "lock").unlink()
        calls.append(operation)
        real(descriptor, operation)

    monkeypatch.setattr("freshd.state.fcntl.flock", flock)
    with state.lock():
        assert len(calls) == 2
        with pytest.raises(StateInUse), StateDirectory(state.path).lock():
            pass


# ── directories that cannot be trusted ───────────────────────────────────────────────────────────


def symlink(path: Path) -> str:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent / "elsewhere")
    if os.geteuid() == 0:
        os.lchown(path, NOBODY, NOBODY)
    return "got a symbolic link, expected a folder"


def dangling_symlink(path: Path) -> str:
    path.symlink_to(path.parent / "nowhere")
    if os.geteuid() == 0:
        return "cannot be written: "
    return "got a symbolic link, expected a folder"


def file(path: Path) -> str:
    path.write_text("")
    return "got a file, expected a folder"


def below_a_file(path: Path) -> str:
    path.parent.rmdir()
    path.parent.write_text("")
    return "cannot be written: "


def world_writable(path: Path) -> str:
    path.mkdir()
    path.chmod(0o1777)
    return "got mode 1777, which lets everybody write"


def lock_is_a_folder(path: Path) -> str:
    (path / "lock").mkdir(parents=True)
    return "cannot be written: Is a directory"


def lock_is_a_symlink(path: Path) -> str:
    path.mkdir()
    (path / "lock").symlink_to(path.parent / "victim")
    return "cannot be written: Too many levels of symbolic links"


@pytest.mark.parametrize(
    "spoil",
    [symlink, dangling_symlink, file, below_a_file, world_writable, lock_is_a_folder, lock_is_a_symlink],
)
def test_directory_that_cannot_be_trusted_is_refused(spoil, tmp_path: Path):
    path = tmp_path / "parent" / "state"
    path.parent.mkdir()
    message = spoil(path)
    with pytest.raises((StateUnusable, ConfigError)) as caught, StateDirectory(path).lock():
        pass
    assert str(caught.value).startswith(f"state directory {path}: {message}")
    assert caught.value.hint
    assert caught.value.exit_code == (2 if "expected a folder" in message else 12), "only the config mends the first"
    assert not (tmp_path / "parent" / "victim").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="not running as root")
def test_a_link_that_root_made_is_followed_to_a_folder_that_can_be_trusted(tmp_path: Path):
    """As systemd does for the state of a service whose user it makes up."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(folder)
    with StateDirectory(tmp_path / "state").lock():
        assert (folder / "lock").exists()
    folder.chmod(0o777)
    with pytest.raises(StateUnusable, match="lets everybody write"), StateDirectory(tmp_path / "state").lock():
        pass


def test_directory_of_another_user_is_refused(tmp_path: Path):
    path = Path("/usr")
    if os.geteuid() == 0:
        path = tmp_path / "state"
        path.mkdir(mode=0o700)
        os.chown(path, NOBODY, NOBODY)
    whose = f"got a folder of user {path.stat().st_uid}, expected one of user {os.geteuid()}"
    with pytest.raises(StateUnusable, match=whose), StateDirectory(path).lock():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="not running as root")
def test_what_mends_the_owner_of_a_folder_behind_a_link_mends_it(tmp_path: Path):
    """As where root looks at what a service left whose user systemd made up."""
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    (tmp_path / "state").symlink_to(folder)
    with pytest.raises(StateUnusable) as caught, StateDirectory(tmp_path / "state").lock():
        pass
    subprocess.run(shlex.split(caught.value.hint.partition("or: ")[2]), check=True)
    with StateDirectory(tmp_path / "state").lock():
        assert (folder / "lock").exists()


def run_begins(config: Config) -> None:
    assert cannot_open(config) is None  # the disk is not what is in the way
    with open_whole(config, Secrets()):
        pass


def a_plan_is_made(config: Config) -> None:
    with open_dry_run(config):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="not running as root")
@pytest.mark.parametrize("state_dir", ["state", "state/below"])
@pytest.mark.parametrize("command", [run_begins, a_plan_is_made])
def test_whoever_may_not_look_into_a_state_directory_is_told_so(command: Callable[[Config], None], state_dir: str):
    # Not below tmp_path: its parents are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "state").mkdir(mode=0o700)
        (Path(folder) / "freshd.toml").write_text(
            f'state_dir = "{state_dir}"\n[[sources]]\nname = "docs"\ntype = "files"\npath = "docs"\n'
        )
        config = load(Path(folder) / "freshd.toml")
        with nobody(), pytest.raises(StateUnusable, match="state directory"):
            command(config)


@contextmanager
def as_ordinary_user(path: Path) -> Iterator[None]:
    """Be somebody to whom things can be forbidden, and own the path."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_directory_that_cannot_be_written_or_read_is_refused():
    # Not below tmp_path: its parents are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        state = StateDirectory(Path(folder) / "state")
        state.path.mkdir()
        state.path.chmod(0o500)
        with as_ordinary_user(state.path):
            with pytest.raises(StateUnusable, match="cannot be written: Permission denied"), state.lock():
                pass
            state.path.chmod(0o000)
            with pytest.raises(StateUnusable, match="cannot be read: Permission denied"):
                state.read_daemon()


# ── the running daemon ───────────────────────────────────────────────────────────────────────────


def test_running_daemon_can_be_reached(state: StateDirectory):
    with other_process(state, "127.0.0.1:4242") as holder:
        record = state.read_daemon()
        assert (record.address, record.token, record.pid) == ("127.0.0.1:4242", "a-token", holder.pid)
        assert "a-token" not in repr(record)
        assert sorted(json.loads(state.daemon_path.read_text())) == ["address", "pid", "token"]
        assert mode_of(state.daemon_path) == 0o600


def test_record_left_by_kill_9_counts_for_nothing(state: StateDirectory):
    with other_process(state, "127.0.0.1:4242") as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert state.daemon_path.exists()
    assert state.read_daemon() is None


def test_one_shot_after_kill_9_is_not_taken_for_the_daemon_that_died(state: StateDirectory):
    with other_process(state, "127.0.0.1:4242"):
        pass
    assert state.daemon_path.exists()
    with other_process(state):
        assert state.read_daemon() is None


def test_record_goes_when_the_daemon_stops(state: StateDirectory):
    with state.lock():
        state.publish_daemon("127.0.0.1:1", "a-token")
        state.publish_daemon("127.0.0.1:2", "a-token")
        assert state.read_daemon().address == "127.0.0.1:2"
    assert not state.daemon_path.exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"address": 1, "token": "t", "pid": 1}', '{"pid": 1}', "\udcff"]
)
def test_record_that_makes_no_sense_is_no_record(content: str, state: StateDirectory):
    with state.lock():
        state.daemon_path.write_bytes(content.encode("utf-8", "surrogateescape"))
        assert state.read_daemon() is None


def test_record_that_is_a_symlink_is_refused(state: StateDirectory, tmp_path: Path):
    """Following it would send whatever it says to whomever it names."""
    with state.lock():
        state.daemon_path.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StateUnusable, match="cannot be read"):
            state.read_daemon()


# ── the clock ────────────────────────────────────────────────────────────────────────────────────


def test_system_clock_tells_aware_utc_and_never_goes_back():
    clock: Clock = SystemClock()
    assert clock.now().utcoffset().total_seconds() == 0
    assert clock.monotonic() <= clock.monotonic()
