"""What freshd reaches and is reached by: its sources, and the address of its endpoint."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from freshd.clock import SystemClock
from freshd.config import Config, Secrets, SourceConfig, check_listen
from freshd.doctor.findings import Finding, broken, refused, warning
from freshd.errors import FreshdError, SourceError
from freshd.http.binding import bind
from freshd.model import SourceName
from freshd.ports import Connector, ConnectorContext, Fetcher
from freshd.state import StateDirectory
from freshd.wording import unforeseen


def source(configured: SourceConfig, config: Config) -> Iterator[Finding]:
    """Tell whether a source shows something, as its connector begins to list it."""
    clock, name = SystemClock(), f"source {configured.name}"

    def fetcher(allow_private_hosts: Sequence[str], ca_file: Path | None) -> Fetcher:
        from freshd.fetch import HttpxFetcher  # only sources on the network pay for it

        return HttpxFetcher(clock, allow_private_hosts, ca_file=ca_file)

    context = ConnectorContext(SourceName(configured.name), config.base, clock, fetcher)
    try:
        connector: Connector = configured.connector(configured.options, context)
        with closing(connector):
            first = next(iter(connector.list()), None)
    except SourceError as error:
        hint = error.hint or "see that it is there, and that the user that runs freshd may read it"
        yield refused(name, error, "an answer", hint)
        return
    except FreshdError:
        raise
    except Exception as error:  # noqa: BLE001 - anybody may write a connector, and the other checks are worth as much
        yield broken(name, f"{unforeseen(error)} from its connector", "an answer", "tell whoever made the connector")
        return
    if first is None:
        yield warning(name, "answers, and shows nothing", "a document", "see that path and include name the documents")
    else:
        yield Finding(name, f"answers, shows {first.document_id}")


def address(config: Config, secrets: Secrets, state: StateDirectory) -> Iterator[Finding]:
    """Tell whether the endpoint may listen where the config says, and can, unless its daemon does already."""
    check_listen(config, secrets)
    listen = config.http.listen
    if state.read_daemon() is not None:
        yield Finding("listen", f"{listen}: the daemon's")
        return
    listener: socket.socket = bind(listen)
    listener.close()
    yield Finding("listen", f"{listen}: free")
