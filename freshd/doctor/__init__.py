"""Looks at everything that freshd depends on, changes nothing, and says what mends what is not as it should be.

config ─▶ machine     disk, open files, watches, clock
       ─▶ remembered  state directory, daemon, ledger, cache, store, model
       ─▶ reached     sources, address
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from freshd.clock import SystemClock
from freshd.config import Config, load, load_secrets
from freshd.doctor import machine, reached, remembered
from freshd.doctor.findings import Finding, Verdict, looked_at, refused
from freshd.errors import ConfigError, FreshdError
from freshd.redaction import printable
from freshd.shapes import DoctorReport, StatusReport
from freshd.state import StateDirectory

_ORDER = (Verdict.PASS, Verdict.WARN, Verdict.ERROR)


def examine(path: Path, ask: Callable[[StateDirectory], StatusReport | None]) -> DoctorReport:
    """Look at everything, as far as the config can be read.

    Args:
        path: The config file.
        ask: Asks the daemon of a state directory how it is; None where none runs.

    """
    findings = [*looked_at("clock", lambda: machine.clock(SystemClock().now()))]
    findings += looked_at("open files", machine.open_files)
    try:
        config = load(path)
    except ConfigError as error:
        findings += [
            refused("config", line, "a config that can be used", error.hint) for line in str(error).splitlines()
        ]
    else:
        count = f"{len(config.sources)} source{'' if len(config.sources) == 1 else 's'}"
        findings.append(Finding("config", f"{printable(str(path))}: {count}"))
        findings += _under(config, ask)
    worst = max((one.verdict for one in findings), key=_ORDER.index)
    return {"status": worst.value, "checks": [one.told() for one in findings]}


def _under(config: Config, ask: Callable[[StateDirectory], StatusReport | None]) -> list[Finding]:
    state = StateDirectory(config.state_dir)
    try:
        secrets = load_secrets()
    except FreshdError as error:
        return [refused("secrets", error, "secrets that can be used")]
    findings = looked_at("state directory", lambda: remembered.directory(state))
    findings += looked_at("disk", lambda: machine.disk(config))
    findings += looked_at("daemon", lambda: remembered.daemon(state, lambda: ask(state)))
    findings += looked_at("ledger", lambda: remembered.ledger(state))
    findings += looked_at("vector cache", lambda: remembered.cache(state))
    findings += looked_at("store", lambda: remembered.store(config, secrets, state))
    findings += looked_at("model", lambda: remembered.model(config, state))
    findings += looked_at("watches", lambda: machine.watches(config.sources, config.base))
    findings += looked_at("listen", lambda: reached.address(config, secrets, state))
    for one in config.sources:
        findings += looked_at(f"source {one.name}", partial(reached.source, one, config))
    return findings


__all__ = ["examine"]
