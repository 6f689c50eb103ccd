"""Reads a config file into a `Config`, or says everything that is wrong with it at once.

file ─bytes─▶ text ─TOML─▶ table ─shape─▶ ConfigFile ─┐
                             └─ sources ─connectors──▶ Config
"""

import os
import stat
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from freshd.config.connectors import ConnectorTypes, Resolved, installed_connector_types, ready, resolve
from freshd.config.report import Fault, faults_of, got_but_expected
from freshd.config.schema import Config, ConfigFile
from freshd.config.values import duration_text
from freshd.errors import ConfigError
from freshd.redaction import printable

MAX_FILE_BYTES = 1 << 20
"""A thousand sources take some 200 KB; what is larger is another file."""

_DEFAULT_NAME = "freshd.toml"
_NAME_IT = "name the config: --config FILE"


def load(
    path: Path,
    connector_types: Callable[[], ConnectorTypes] = installed_connector_types,
    *,
    connectors: bool = True,
) -> Config:
    """Read a config and check all of it.

    Args:
        path: The file; relative paths in it start at its folder.
        connector_types: Lists the connectors there are; asked only when needed.
        connectors: Import the connectors in use and validate the sources' own keys.
            False is for those who look at no source: it is faster, and leaves `options` and `connector` None.

    Raises:
        ConfigError: The file cannot be read, or is wrong; one line for each fault.

    """
    table = _parse(path, _read_text(path))
    resolved = _resolve_all(table, connector_types) if connectors else []
    faults = [*_across_sources(table), *(fault for one in resolved for fault in one.faults)]
    try:
        file = ConfigFile.model_validate(table)
    except ValidationError as error:
        faults += faults_of(error, table, _known_keys())
        raise _refusal(path, faults) from error
    faults += _forgotten_too_early(file)
    if faults:
        raise _refusal(path, faults)
    return _whole(path.parent.resolve(), file, resolved)


def _whole(base: Path, file: ConfigFile, resolved: list[Resolved]) -> Config:
    resolved = resolved or [Resolved()] * len(file.sources)
    sources = tuple(ready(table, one) for table, one in zip(file.sources, resolved, strict=True))
    return Config(**{**dict(file), "base": base, "state_dir": base / file.state_dir, "sources": sources})


def _read_text(path: Path) -> str:
    try:
        # Non-blocking: a named pipe without a writer would hold us up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _unusable(path, "got something else than a file, expected a file", hint=_NAME_IT)
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise _unusable(path, f"got more than {MAX_FILE_BYTES:,} bytes, expected a config", hint=_NAME_IT)
        return content.decode("utf-8-sig")
    except IsADirectoryError as error:
        raise _unusable(path, "got a folder, expected a file", hint=_NAME_IT) from error
    except FileNotFoundError as error:
        raise _unusable(path, "got no such file, expected a config", hint=_write_one(path)) from error
    except UnicodeDecodeError as error:
        fault = f"got a byte that is not UTF-8 at offset {error.start:,}, expected UTF-8 text"
        raise _unusable(path, fault, hint=f"save {printable(str(path))} as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unusable(path, f"cannot be read: {reason}", hint=f"make {printable(str(path))} readable") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise _unusable(path, "got arrays nested too deeply, expected a config", hint=_mend(path)) from error
    except ValueError as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise _unusable(path, f"got no valid TOML: {printable(str(error))}", hint=_mend(path)) from error


def _resolve_all(table: dict[str, Any], connector_types: Callable[[], ConnectorTypes]) -> list[Resolved]:
    return [resolve(index, source, connector_types) for index, source in enumerate(_source_tables(table))]


def _source_tables(table: dict[str, Any]) -> list[Any]:
    sources = table.get("sources")
    return sources if isinstance(sources, list) else []


def _across_sources(table: dict[str, Any]) -> Iterable[Fault]:
    """Find what no source can see alone, in whatever state the rest is."""
    if table.get("sources", []) == []:
        yield Fault(("sources",), "got none, expected at least one [[sources]]")
    first_with: dict[str, int] = {}
    for index, source in enumerate(_source_tables(table)):
        name = source.get("name") if isinstance(source, dict) else None
        if not isinstance(name, str):
            continue
        first = first_with.setdefault(name, index)
        if first != index:
            message = got_but_expected(name, f"a name that sources[{first}] does not have")
            yield Fault(("sources", index, "name"), message)


def _forgotten_too_early(file: ConfigFile) -> Iterable[Fault]:
    """Find objectives over a longer time than finished changes are remembered for."""
    for index, source in enumerate(file.sources):
        if source.objective_window > file.history.keep_for:
            got, most = duration_text(source.objective_window), duration_text(file.history.keep_for)
            message = f'got "{got}", expected at most history.keep_for, "{most}"'
            yield Fault(("sources", index, "objective_window"), message)


def _known_keys() -> dict[tuple[str | int, ...], Iterable[str]]:
    sections: dict[tuple[str | int, ...], Iterable[str]] = {(): ConfigFile.model_fields}
    for key, field in ConfigFile.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections[(key,)] = field.annotation.model_fields
    return sections


def _refusal(path: Path, faults: list[Fault]) -> ConfigError:
    lines = dict.fromkeys(f"{printable(str(path))}: {fault}" for fault in sorted(faults, key=_source_of))
    return ConfigError("\n".join(lines), hint=_mend(path))


def _source_of(fault: Fault) -> int:
    """Order faults by source; those of no source come first."""
    match fault.place:
        case ("sources", int(index), *_):
            return index
        case _:
            return -1


def _unusable(path: Path, what: str, *, hint: str) -> ConfigError:
    return ConfigError(f"{printable(str(path))}: {what}", hint=hint)


def _write_one(path: Path) -> str:
    """Say how a config comes to be where none is."""
    folder = printable(str(path.parent))
    if not path.parent.is_dir():
        return f"{_NAME_IT}; there is no folder {folder}"
    init = "freshd init" if folder == "." else f"freshd init {folder}"
    if path.name == _DEFAULT_NAME:
        return f"{init}   (writes a commented {_DEFAULT_NAME})"
    return f"{_NAME_IT}; {init} writes {_DEFAULT_NAME}, to be renamed {printable(path.name)}"


def _mend(path: Path) -> str:
    return f"correct {printable(str(path))}, then run the command again"
