"""Which addresses a source may reach, decided on addresses and never on names."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import httpx

from freshd.errors import SourceUnavailable
from freshd.fetch.urls import display_url, host_port, port_of

Resolver = Callable[[str, int], Sequence[str]]
"""Gives all addresses of a host name and port, best first, as text; OSError where there is none."""

_PUBLIC_PORTS = frozenset({80, 443})

# The tables are our own because `is_global` differs between Python 3.11 and 3.13,
# and calls multicast and 6to4 global.
# IANA IPv4 Special-Purpose Address Registry, what is not globally reachable, and multicast.
_NOT_PUBLIC_V4 = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also where some clouds keep their metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, yet every Azure machine's host answers there
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only 2000::/3 is handed out as global unicast, RFC 4291 section 2.4; these parts of it are not.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4 hides an IPv4 address
        "3fff::/20",
    )
)
# A network without IPv4 reaches every IPv4 host through this prefix, RFC 6052 section 2.1.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Tell whether an address belongs to the public internet; what is no address does not.

    IPv4 inside IPv6, mapped or behind NAT64, counts as the IPv4 address it is.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is None:
            return parsed in _GLOBAL_V6 and not any(parsed in block for block in _NOT_PUBLIC_V6)
        parsed = inner
    return not any(parsed in block for block in _NOT_PUBLIC_V4)


def resolve_host(host: str, port: int) -> list[str]:
    """Ask the system's resolver; also reads decimal, octal and hexadecimal addresses, as libc does."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class AddressGuard:
    """Turns a URL into the addresses that may be connected to, or refuses it."""

    def __init__(self, allow_private_hosts: Sequence[str], resolve: Resolver) -> None:
        """Admit the given `host:port` pairs at whatever address they have."""
        self._allowed = frozenset(entry.lower() for entry in allow_private_hosts)
        self._resolve = resolve

    def addresses(self, url: httpx.URL, within_s: float) -> tuple[str, ...]:
        """Resolve once and admit all answers or none.

        One private answer among public ones is an attack or a mistake, and which of them
        a client would have tried first is chance.

        Raises:
            SourceUnavailable: The port, the name or one of its addresses is refused, or the name is unknown.

        """
        shown = display_url(url)
        allowed = host_port(url) in self._allowed
        hint = f'if that is meant: allow_private_hosts = ["{host_port(url)}"]'
        if not allowed and port_of(url) not in _PUBLIC_PORTS:
            raise SourceUnavailable(f"{shown}: refused: got port {port_of(url)}, expected 80 or 443", hint=hint)
        found = self._look_up(url, within_s)
        if not allowed and not all(is_public(address) for address in found):
            raise SourceUnavailable(f"{shown}: refused: {url.host} is no public address", hint=hint)
        return found

    def _look_up(self, url: httpx.URL, within_s: float) -> tuple[str, ...]:
        shown = display_url(url)
        try:
            found = _within(within_s, self._resolve, url.raw_host.decode("ascii"), port_of(url))
        except TimeoutError as error:
            raise SourceUnavailable(f"{shown}: the name server did not answer in time") from error
        except (OSError, UnicodeError, ValueError) as error:
            hint = "check the spelling, and the name server"
            raise SourceUnavailable(f"{shown}: {url.host} has no address", hint=hint) from error
        if not found:
            raise SourceUnavailable(f"{shown}: {url.host} has no address")
        return tuple(found)


def _within(seconds: float, resolve: Resolver, host: str, port: int) -> Sequence[str]:
    """Resolve in a thread of its own: libc's resolver takes no deadline and cannot be interrupted."""
    answer: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            answer.set_result(resolve(host, port))
        except (OSError, UnicodeError, ValueError) as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="resolve", daemon=True).start()
    return answer.result(timeout=seconds)
