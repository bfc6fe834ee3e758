"""Where the monitors are: the forms of `mon_host`, turned into typed entries.

    10.0.0.1                                         msgr2 on port 3300
    10.0.0.1:3300, v2:10.0.0.1:3300/0                the same; 6789 is the port of msgr1
    [v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]          one monitor with both
    [fd00::1]:3300  mon1.example.com  mon2:3300      IPv6, and names which the caller is to resolve

They are separated by commas, blanks or semicolons. Only msgr2 is spoken here.

Source: Ceph's doc/rados/configuration/msgr2, mon/MonMap.h (which port means what).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from ..wire.address import AddrType, EntityAddr
from ..wire.errors import UsageError
from .errors import InvalidArgument

MSGR2_PORT = 3300
MSGR1_PORT = 6789
_MONITORS_MAX = 256
_KINDS = {"v2:": AddrType.MSGR2, "v1:": AddrType.LEGACY, "any:": AddrType.ANY}


@dataclass(frozen=True, slots=True)
class MonHost:
    """One monitor: an address, or a host name to resolve (then `address` is None)."""

    text: str
    """As it was written."""
    address: EntityAddr | None = None
    host: str = ""
    port: int = MSGR2_PORT
    name: str = ""
    """The monitor's name, where the configuration says it ([mon.NAME])."""

    def resolved(self, ip: str) -> EntityAddr:
        """The address, `ip` being one of the host name's. Raises UsageError for what is no IP address."""
        return self.address or EntityAddr.of(ip, self.port)


def parse_mon_host(text: str, place: str = "mon_host", name: str = "") -> list[MonHost]:
    """The monitors that speak msgr2. Raises InvalidArgument for a malformed entry, or if only msgr1 remains.

    `place` says in messages where the text stands.
    """
    found: list[MonHost] = []
    legacy: list[str] = []
    for item in _split(text, place):
        members = list(_split(item[1:-1], place)) if _is_vector(item) else [item]
        speaking = [entry for member in members if (entry := _entry(member, place, name)) is not None]
        if speaking:
            # One process: its first msgr2 address is enough to reach it.
            found.append(speaking[0])
        else:
            legacy.append(item)
    if len(found) > _MONITORS_MAX:
        raise InvalidArgument(f"{place}: {len(found)} monitors; at most {_MONITORS_MAX} are taken")
    if legacy and not found:
        raise InvalidArgument(
            f"{place}: {', '.join(legacy)} speaks only the old protocol msgr1, which is not supported; "
            f"give the monitors' msgr2 addresses (port {MSGR2_PORT}; `ceph mon enable-msgr2` turns it on)"
        )
    return found


def _is_vector(item: str) -> bool:
    return item.startswith("[") and item.endswith("]") and item[1:].startswith(tuple(_KINDS))


def _split(text: str, place: str) -> Iterator[str]:
    """Cut at separators outside brackets."""
    depth, item = 0, ""
    for character in text:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth < 0:
            break
        if depth == 0 and (character in ",;" or character.isspace()):
            if item:
                yield item
            item = ""
        else:
            item += character
    if depth:
        raise InvalidArgument(f"{place}: brackets don't match in {text!r}")
    if item:
        yield item


def _entry(item: str, place: str, name: str) -> MonHost | None:
    """One address; None if it is one of msgr1."""
    kind, rest = AddrType.ANY, item
    for prefix, candidate in _KINDS.items():
        if item.startswith(prefix):
            kind, rest = candidate, item.removeprefix(prefix)
    host, port, nonce = _host_port_nonce(rest, item, place)
    if kind == AddrType.LEGACY or (kind == AddrType.ANY and port == MSGR1_PORT):
        return None
    port = port or MSGR2_PORT
    if "%" in host:
        raise InvalidArgument(f"{place}: {item!r}: maps have no place for an IPv6 zone; give a routed address")
    try:
        return MonHost(item, EntityAddr.of(host, port, nonce), host, port, name)
    except UsageError:
        pass
    if not all(label and label.replace("-", "a").replace("_", "a").isalnum() for label in host.rstrip(".").split(".")):
        raise InvalidArgument(f"{place}: {item!r} is neither an address nor a host name")
    if host.replace(".", "").isdecimal():
        raise InvalidArgument(f"{place}: {item!r} is no IP address")
    return MonHost(item, None, host, port, name)


def _host_port_nonce(rest: str, item: str, place: str) -> tuple[str, int, int]:
    rest, slash, nonce = rest.partition("/")
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        if port and not port.startswith(":"):
            raise InvalidArgument(f"{place}: {item!r} is no address; write [IPv6]:PORT")
        colon, port = port[:1], port[1:]
    elif is_ip(rest):
        host, colon, port = rest, "", ""
    else:
        host, colon, port = rest.partition(":")
    for number, is_given, limit in ((port, colon, 0xFFFF), (nonce, slash, 0xFFFFFFFF)):
        if is_given and not (
            number.isascii() and number.isdecimal() and int(number[-11:]) <= limit and len(number) < 11
        ):
            raise InvalidArgument(f"{place}: {number!r} in {item!r} is no number up to {limit}")
    return host, int(port or 0), int(nonce or 0)


def is_ip(text: str) -> bool:
    """Whether it is an address, IPv4 or IPv6, without a port."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
