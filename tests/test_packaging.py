"""What installs and runs freshd keeps the promises of its own pages: locks, unit, image, compose file."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from freshd.config import Secrets, check_store, load

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

UID = "65532"


def requirements(lock: Path) -> list[str]:
    """Give each requirement of a lock with its hashes as one line."""
    return [line for line in lock.read_text().replace("\\\n", " ").splitlines() if line.strip()]


def name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")


def pins(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for requirement in requirements(lock):
        found.setdefault(name(requirement), set()).add(requirement.split()[0].partition("==")[2])
    return found


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def unit() -> list[str]:
    return (DEPLOY / "freshd.service").read_text().splitlines()


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """Give the instructions of the Dockerfile, continued lines joined as Docker joins them."""
    return (DEPLOY / "Dockerfile").read_text().replace("\\\n", "").splitlines()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_requirement_is_pinned_and_hashed(lock):
    found = requirements(lock)
    assert len(found) > len(PROJECT["project"]["dependencies"])
    assert [r for r in found if not re.match(r"^[a-z0-9.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", r)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_address_and_no_place_on_a_machine(lock):
    """It must install wherever pip finds its index, behind a mirror too; hashes are its only options."""
    assert re.search(r"://|--(?!hash=)| @ |(^|[ =])/", lock.read_text(), re.MULTILINE) is None


def test_every_dependency_is_in_the_runtime_lock():
    build = PROJECT["dependency-groups"]["build"] + PROJECT["build-system"]["requires"]
    wanted = {name(requirement) for requirement in PROJECT["project"]["dependencies"] + build}
    assert wanted - pins(LOCKS[0]).keys() == set()


def test_tests_run_with_the_versions_that_are_deployed():
    runtime, dev = map(pins, LOCKS)
    assert {
        package: (pinned, dev.get(package)) for package, pinned in runtime.items() if pinned != dev.get(package)
    } == {}


def test_no_lock_brings_a_second_model_runtime():
    """One model runtime is enough, and torch is larger than everything else together."""
    assert {"torch", "tensorflow", "transformers"} & (pins(LOCKS[0]).keys() | pins(LOCKS[1]).keys()) == set()


def test_what_is_installed_lacks_nothing():
    """The locks are installed without looking for dependencies, so nothing else would say that one is missing."""
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("config", ["freshd.toml", "freshd.compose.toml"])
def test_an_example_config_loads(config):
    loaded = load(DEPLOY / config)
    assert str(loaded.state_dir) == "/var/lib/freshd"
    assert [source.name for source in loaded.sources] == ["documents"]
    check_store(loaded, Secrets())


def test_the_example_config_loads_with_every_key_uncommented(tmp_path):
    text = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", (DEPLOY / "freshd.toml").read_text())
    (tmp_path / "freshd.toml").write_text(text)
    assert {source.type for source in load(tmp_path / "freshd.toml").sources} == {"files", "feed"}


def test_the_unit_runs_as_a_user_of_its_own_that_writes_only_its_state(unit):
    promised = {
        "DynamicUser=yes",
        "StateDirectory=freshd",
        "StateDirectoryMode=0700",
        "UMask=0077",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "MemoryDenyWriteExecute=yes",
        "RestartPreventExitStatus=2 12 13",
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        "LimitCORE=0",
        "ExecStart=/opt/freshd/bin/freshd run --config /etc/freshd/freshd.toml",
    }
    assert promised - set(unit) == set()
    assert [line for line in unit if line.startswith("ReadWritePaths")] == []


def test_the_unit_is_as_little_exposed_as_its_page_says():
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(DEPLOY / "freshd.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    rating = re.search(r"exposure level for freshd\.service: ([0-9.]+)", ran.stdout)
    assert rating, ran.stdout
    assert f"rates it {rating[1]}" in (DEPLOY / "README.md").read_text()


def test_the_image_runs_as_nobody_in_particular(dockerfile):
    final = dockerfile[max(n for n, line in enumerate(dockerfile) if line.startswith("FROM")) :]
    assert f"USER {UID}:{UID}" in final
    assert "VOLUME /var/lib/freshd" in final
    assert "EXPOSE 8377" in final
    assert [line for line in final if "pip install" in line] == []


def test_in_the_image_sqlite_has_room_for_a_copy_of_the_ledger(dockerfile, compose):
    """What is forgotten leaves the ledger's file by VACUUM, which puts a copy where SQLite finds it may write."""
    assert compose["services"]["freshd"]["tmpfs"] == ["/tmp:size=64m,mode=1777"]
    set_here = " ".join(line.removeprefix("ENV ") for line in dockerfile if line.startswith("ENV "))
    assert "SQLITE_TMPDIR=/var/lib/freshd" in set_here.split()


def test_the_image_installs_only_what_a_hash_covers(dockerfile):
    installs = [line for line in dockerfile if " install --no-deps" in line]
    assert [("--require-hashes" in line, "--no-build-isolation" in line) for line in installs] == [
        (True, False),
        (False, True),
    ]


def test_the_image_is_healthy_only_while_the_probe_is_answered(dockerfile):
    """Runs the image's own probe, on a machine where nothing answers."""
    line = next(line for line in dockerfile if line.startswith("HEALTHCHECK"))
    command = json.loads(line[line.index("[") :])
    assert command[0] == "/opt/freshd/bin/python"
    probe = command[2].replace("8377", "1")
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "ConnectionRefusedError" in ran.stderr


def test_everything_the_image_copies_is_in_its_build_context(dockerfile):
    copied = {
        path for line in dockerfile if line.startswith("COPY ") and "--from" not in line for path in line.split()[1:-1]
    }
    let_in = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == let_in
    assert {path for path in copied if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("service", ["freshd", "qdrant"])
def test_a_container_can_neither_write_its_root_nor_gain_a_privilege(compose, service):
    settings = compose["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert settings["tmpfs"]
    assert settings.get("user") == f"{UID}:{UID}" or settings["image"].endswith("-unprivileged")


def test_compose_publishes_one_port_on_loopback_and_holds_no_secret(compose):
    services = compose["services"]
    assert {name: service.get("ports") for name, service in services.items()} == {
        "freshd": ["127.0.0.1:8377:8377"],
        "qdrant": None,
    }
    assert compose["networks"]["index"]["internal"] is True
    secrets = {
        key: value
        for service in services.values()
        for key, value in service["environment"].items()
        if key.endswith(("TOKEN", "API_KEY"))
    }
    assert len(secrets) == 3
    assert all(value.startswith("${FRESHD_") for value in secrets.values())


def test_compose_pins_the_server(compose):
    assert re.search(r":v\d+\.\d+\.\d+", compose["services"]["qdrant"]["image"])
