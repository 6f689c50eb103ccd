"""Finds the connector each source names, and lets it judge the source's own keys."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Protocol

from pydantic import BaseModel, ByteSize, ValidationError
from pydantic_core import PydanticCustomError

from freshd.config.report import Fault, Place, faults_of, got_but_expected
from freshd.config.schema import SourceConfig, SourceKeys, SourceTable
from freshd.config.values import parse_size
from freshd.model import Coverage
from freshd.redaction import printable, without_url_secrets

GROUP = "freshd.connectors"
"""Entry-point group in which distributions offer connectors."""


class ConnectorEntry(Protocol):
    """What an entry point can do, as far as it matters here."""

    @property
    def value(self) -> str:
        """Where the class is: `module:Class`."""
        ...

    def load(self) -> Any:
        """Import the class; whatever its module raises comes through."""
        ...


ConnectorTypes = Mapping[str, ConnectorEntry]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A source table's connector and options, or what is wrong with them."""

    connector: Any = None
    options: Any = None
    faults: tuple[Fault, ...] = ()


def installed_connector_types() -> ConnectorTypes:
    """List the connectors of every installed distribution by type name, importing none."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def resolve(index: int, table: object, types: Callable[[], ConnectorTypes]) -> Resolved:
    """Load the connector of `sources[index]` and validate the keys that are its own.

    A table whose `type` cannot be read resolves to nothing: its shape is somebody else's fault.
    """
    name = table.get("type") if isinstance(table, Mapping) else None
    if not isinstance(table, Mapping) or not isinstance(name, str):
        return Resolved()
    place = ("sources", index)
    entry = types().get(name)
    if entry is None:
        return Resolved(faults=(Fault((*place, "type"), _unknown_type(name, types())),))
    resolved = _load(entry, name, own_keys(table), place)
    faults = [Fault((*place, key), message) for key, message in _cannot(resolved.connector, name) if key in table]
    return replace(resolved, faults=(*resolved.faults, *faults))


def _cannot(connector: Any, name: str) -> Iterator[tuple[str, str]]:
    """Tell which of the keys that every source may have this connector can make nothing of."""
    if getattr(connector, "coverage", None) is Coverage.FULL:
        yield "keep_for", f'got one, expected none: documents of type "{printable(name)}" leave with their source'
    if connector is not None and not hasattr(connector, "write"):
        yield "canary_path", f'got one, expected none: nothing can be written to a source of type "{printable(name)}"'


def own_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys of a source table that belong to its connector."""
    return {key: value for key, value in table.items() if key not in SourceKeys.model_fields}


def ready(table: SourceTable, resolved: Resolved) -> SourceConfig:
    """Join what every source has with what its connector made of the rest."""
    common = {key: getattr(table, key) for key in SourceKeys.model_fields}
    return SourceConfig(**common, connector=resolved.connector, options=resolved.options, raw=table.model_extra or {})


def _load(entry: ConnectorEntry, name: str, raw: dict[str, Any], place: Place) -> Resolved:
    # Anybody's code runs here, and may raise anything; the reader of the config still deserves one plain line.
    try:
        connector = entry.load()
        options, faults = _validate(connector.Options, raw, place)
    except Exception as error:  # noqa: BLE001 - the caller reports it, with all else that is wrong
        reason = printable(without_url_secrets(f"{type(error).__name__}: {error}"))
        message = f'connector "{printable(name)}" ({printable(entry.value)}) cannot be used: {reason}'
        return Resolved(faults=(Fault((*place, "type"), message),))
    return Resolved(connector, options, faults)


def _validate(model: type[BaseModel], raw: dict[str, Any], place: Place) -> tuple[BaseModel | None, tuple[Fault, ...]]:
    sizes, faults = _sizes(model, raw)
    try:
        options = model.model_validate({**raw, **sizes})
    except ValidationError as error:
        options = None
        faults += faults_of(error, raw, {(): {*model.model_fields, *SourceKeys.model_fields}})
    return options, tuple(Fault((*place, *fault.place), fault.message) for fault in faults)


def _sizes(model: type[BaseModel], raw: Mapping[str, Any]) -> tuple[dict[str, int], list[Fault]]:
    """Read sizes as everywhere in the config, and say which are none: of "50,000,000" pydantic would take the 50."""
    sizes: dict[str, int] = {}
    faults: list[Fault] = []
    for key in (key for key, field in model.model_fields.items() if field.annotation is ByteSize and key in raw):
        try:
            sizes[key] = parse_size(raw[key])
        except PydanticCustomError as error:
            faults.append(Fault((key,), got_but_expected(raw[key], error.message())))
    return sizes, faults


def _unknown_type(name: str, types: ConnectorTypes) -> str:
    known = ", ".join(f'"{printable(known)}"' for known in sorted(types)) or "none is installed"
    near = get_close_matches(name, types, n=1)
    suggestion = f', did you mean "{near[0]}"?' if near else ""
    return got_but_expected(name, f"an installed connector ({known})") + suggestion
