"""What freshd remembers: state directory, ledger, vector cache, store, model; looked at without a trace."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from freshd.config import Config, Secrets, check_store
from freshd.doctor.findings import Finding, broken, refused, warning
from freshd.embedder.inspecting import inspect_model
from freshd.errors import EmbedderUnavailable, FreshdError
from freshd.ledger.database import SCHEMA_VERSION
from freshd.ledger.forgetting import EXPUNGE
from freshd.ledger.generations import LIVE
from freshd.ledger.inspection import inspect
from freshd.redaction import printable
from freshd.shapes import StatusReport
from freshd.state import NETWORK_FILE_SYSTEMS, StateDirectory
from freshd.stores.wire import IDENTITY, shard_of

_REBUILD = "stop freshd, then: freshd ledger rebuild   (or restore a backup)"
_UNUSED = "not there yet: the first freshd reindex or freshd run makes it"


def directory(state: StateDirectory) -> Iterator[Finding]:
    """Tell whose the state directory is, who else may look into it, and what it lies on."""
    kind = state.file_system()
    if kind in NETWORK_FILE_SYSTEMS:
        yield broken("file system", kind, "a local disk: locks and memory maps hold only there", "move state_dir there")
    else:
        yield Finding("file system", kind or "not told")
    name, where = "state directory", printable(str(state.path))
    try:
        found = state.looked_at()
    except FileNotFoundError:
        yield Finding(name, f"{where}: {_UNUSED}")
        return
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        yield broken(name, f"{where}: a symbolic link", "a folder", f'state_dir = "{os.path.realpath(state.path)}"')
    elif not stat.S_ISDIR(found.st_mode):
        yield broken(name, f"{where}: a file", "a folder", "set state_dir to a folder, or to a new name")
    elif found.st_uid != os.geteuid():
        expected = f"user {os.geteuid()}, who asks"
        yield warning(name, f"{where}: of user {found.st_uid}", expected, "run as the user that runs freshd")
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield broken(name, f"{where}: mode {mode:04o}, others may write", "0700", f"chmod 700 {where}")
    elif mode & 0o077:
        yield warning(name, f"{where}: mode {mode:04o}, others may look", "0700", f"chmod 700 {where}")
    elif os.statvfs(state.path).f_flag & os.ST_RDONLY:
        yield broken(
            name, f"{where}: on a read-only file system", "one that can be written", f"mount -o remount,rw {where}"
        )
    else:
        yield Finding(name, f"{where}, mode {mode:04o}")


def daemon(state: StateDirectory, ask: Callable[[], StatusReport | None]) -> Iterator[Finding]:
    """Tell who works in the state directory, and whether a daemon there answers."""
    worker, status = state.worker(), ask()
    if status is None:
        idle = "none runs" if worker is None else f"none; process {worker or 'unknown'} works in the state directory"
        yield Finding("daemon", idle)
    elif (error := status["store"]["error"]) is not None:
        yield refused("daemon", f"process {worker}: {error}", "a store and a model that answer", "freshd status")
    else:
        yield Finding("daemon", f"process {worker} answers")


def ledger(state: StateDirectory) -> Iterator[Finding]:
    """Tell whether the ledger is whole, of this version, and there where there is an index."""
    path, name = state.ledger_path, "ledger"
    if not path.exists() or not path.stat().st_size:
        if state.holds_index:
            got = "is empty" if path.exists() else "is gone"
            yield broken(name, f"{path.name} {got}", "that of the index beside it", _REBUILD)
        else:
            yield Finding(name, _UNUSED)
        return
    found = inspect(path, is_in_use=state.worker() is not None)
    if found.damage is not None:
        yield broken(name, found.damage, "an intact SQLite database", _REBUILD)
    elif found.version != SCHEMA_VERSION:
        hint = "use the newer freshd that wrote it" if found.version > SCHEMA_VERSION else _REBUILD
        yield broken(name, f"schema version {found.version}", f"{SCHEMA_VERSION}", hint)
    elif "instance" not in found.facts:
        yield broken(name, "another program's database", "freshd's ledger", _REBUILD)
    else:
        yield Finding(name, f"intact, schema {found.version}, instance {found.facts['instance'][:8]}")


def cache(state: StateDirectory) -> Iterator[Finding]:
    """Tell whether remembered vectors can be read; losing them costs time and nothing else."""
    path = state.vectors_path
    if not path.exists():
        yield Finding("vector cache", _UNUSED)
        return
    found = inspect(path, is_in_use=state.worker() is not None)
    if found.damage is None:
        yield Finding("vector cache", f"intact, {path.stat().st_size >> 20:,} MiB")
    else:
        hint = "nothing: freshd begins a new one, and computes vectors again"
        yield warning("vector cache", found.damage, "an intact SQLite database", hint)


def store(config: Config, secrets: Secrets, state: StateDirectory) -> Iterator[Finding]:
    """Tell whose the points are; that they are all there and as they should be, only `freshd verify` tells."""
    facts = _facts(state)
    if config.store.url is not None:
        yield from _server(config, secrets, facts)
        return
    live = _live(facts).get("name")
    there = [live] if live else sorted(path.name for path in state.index_dir.glob("*") if path.is_dir())
    if not there:
        yield Finding("index", _UNUSED)
    for name in there:
        yield _shard(state.index_dir / name, facts.get("instance"))
    if EXPUNGE in facts:
        got, hint = "files of the index may still hold it", "freshd run, or: freshd reindex   (rewrites them)"
        yield warning("forgotten", got, "files that were rewritten since", hint)


def _shard(folder: Path, expected: str | None) -> Finding:
    name = "index"
    if not folder.exists():
        return broken(
            name, f"{folder.name} is gone", "what the ledger is about", "restore a backup; or: freshd reindex"
        )
    said = _identity(folder / IDENTITY), _identity(Path(shard_of(folder)) / IDENTITY)
    if None in said:
        what = "an identity.json in it and in its shard"
        return broken(name, f"{folder.name} does not say whose it is", what, _anew(folder))
    owner = expected or said[0]
    if set(said) != {owner}:
        other = next(one for one in said if one != owner)
        return broken(name, f"{folder.name} is of instance {other}", f"{owner}, the ledger's", _anew(folder))
    return Finding(name, f"{folder.name} of instance {str(owner)[:8]}; freshd verify proves its points")


def _server(config: Config, secrets: Secrets, facts: dict[str, str]) -> Iterator[Finding]:
    from freshd.stores.server import ServerStore  # its client takes seconds to import

    check_store(config, secrets)  # before anybody is asked: the key would cross the network
    key = secrets.qdrant_api_key.get_secret_value() if secrets.qdrant_api_key else None
    name, collection = "server", config.store.collection
    with closing(ServerStore(str(config.store.url), collection, 1, api_key=key, timeout_s=5.0)) as server:
        found = server.whose()
    collection, owner = found or (collection, "")
    if found is None:
        yield Finding(name, f"answers; collection '{collection}' is not there yet, or none of freshd's")
    elif facts.get("instance") not in (None, owner):
        expected = f"{facts['instance']}, the ledger's"
        hint = "name another collection in [store]; or, if its ledger is lost: freshd ledger rebuild"
        yield broken(name, f"collection '{collection}' is of instance {owner}", expected, hint)
    else:
        yield Finding(name, f"answers; collection '{collection}' is of instance {owner[:8]}")


def model(config: Config, state: StateDirectory) -> Iterator[Finding]:
    """Tell whether the model's files are those that they should be."""
    name = "model"
    try:
        seen = inspect_model(config.embedding.model, state.models_dir, config.base)
    except EmbedderUnavailable as error:
        yield refused(name, error)
        return
    made_by = _live(_facts(state)).get("embedder")
    if seen.identity is None:
        yield Finding(name, seen.told)
    elif made_by not in (None, seen.identity):
        got, expected = f"{seen.told}: {seen.identity[:12]}", f"{str(made_by)[:12]}, which the index was made with"
        yield warning(name, got, expected, "freshd reindex --dry-run   (tells what another model would cost)")
    else:
        yield Finding(name, f"{seen.told}: {seen.identity[:12]}")


def _anew(folder: Path) -> str:
    return f"restore a backup; or stop freshd, move {folder} away, then: freshd reindex"


def _facts(state: StateDirectory) -> dict[str, str]:
    with suppress(OSError, FreshdError):
        found = inspect(state.ledger_path, is_in_use=state.worker() is not None)
        return found.facts if found.damage is None else {}
    return {}


def _live(facts: dict[str, str]) -> dict[str, Any]:
    with suppress(KeyError, ValueError):
        live = json.loads(facts[LIVE])
        return live if isinstance(live, dict) else {}
    return {}


def _identity(path: Path) -> str | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(path.read_text(encoding="utf-8"))["instance"])
    return None
