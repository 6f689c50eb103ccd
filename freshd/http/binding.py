"""Takes the endpoint's address before anything else is touched, so that a second daemon leaves at once.

In the main thread: a server that binds in its own thread has nobody to tell that the port is taken.
"""

import errno
import ipaddress
import socket

from freshd.config import Listen
from freshd.errors import AddressInUse, ConfigError, FreshdError

BACKLOG = 1_024
"""Connections the system keeps while the endpoint is busy or not yet started; beyond, each waits a second or more."""

_OTHER_PORT = "set another port in [http] listen"


def bind(listen: Listen) -> socket.socket:
    """Bind and listen; connections wait until a server takes the socket.

    Args:
        listen: A name that stands for several addresses gets its first IPv4 one, else its first; port 0 gets any.

    Raises:
        AddressInUse: Another program listens there.
        ConfigError: The address is not one of this machine's, cannot be resolved, or needs more rights.

    """
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot even be written as DNS has it
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        got = f'got "{listen}" ({reason}), expected a host that can be resolved'
        raise ConfigError(f"http.listen: {got}", hint=f'set [http] listen = "127.0.0.1:{listen.port}"') from error
    family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    try:
        return _listener(socket.socket(family, kind, protocol), address)
    except (OSError, OverflowError) as error:
        raise _refusal(listen, error) from error


def local_address(listener: socket.socket) -> str:
    """Give `host:port` as a program on this machine reaches the socket, IPv6 in brackets."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
    return str(Listen(host, port))


def _listener(listener: socket.socket, address: object) -> socket.socket:
    try:
        # Else a restart would be refused for a minute, while connections of the last run linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)  # type: ignore[arg-type] # as getaddrinfo gave it, for this very family
        listener.listen(BACKLOG)  # two that have bound one port are told apart only here
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _refusal(listen: Listen, error: OSError | OverflowError) -> FreshdError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        hint = f"`ss -ltnp 'sport = :{listen.port}'` shows which; stop it, or {_OTHER_PORT}"
        return AddressInUse(f"http.listen: {listen} is in use by another program, expected a free port", hint=hint)
    if number in (errno.EACCES, errno.EPERM):
        return ConfigError(
            f"http.listen: {listen} needs rights this process lacks, expected a port above 1023", hint=_OTHER_PORT
        )
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        got = f'got "{listen}", expected an address of this machine'
        return ConfigError(f"http.listen: {got}", hint=f'set [http] listen = "127.0.0.1:{listen.port}"')
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f"http.listen: {listen} cannot be listened on: {reason}", hint=_OTHER_PORT)
