"""Network addresses as Ceph writes them: `v2:127.0.0.1:6800/4242`, one or several of them in an address vector.

An address has a type (which protocol is spoken there), a nonce (which incarnation of the process) and a socket
address. Two are equal only if all three are: a daemon that was started again on its port is another one.

Source: Ceph's msg/msg_types.h (`entity_addr_t`, `entity_addrvec_t`).
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from .encoding import Decoder, Encoder
from .errors import PeerError, UsageError
from .structure import Codec

_FAMILY_IPV4 = 2
_FAMILY_IPV6 = 10
_SOCKADDR_IPV4_BYTES = 16
_SOCKADDR_IPV6_BYTES = 28
_SOCKADDR_STORAGE_BYTES = 128
_MARKER_LEGACY, _MARKER_ADDR, _MARKER_VECTOR = 0, 1, 2
_ADDRESSES_MAX = 64
_NONCE_MAX = 0xFFFFFFFF


class AddrType(IntEnum):
    """Which protocol is spoken at an address."""

    NONE = 0
    LEGACY = 1
    MSGR2 = 2
    ANY = 3
    CIDR = 4


_PREFIXES: dict[int, str] = {
    AddrType.LEGACY: "v1:",
    AddrType.MSGR2: "v2:",
    AddrType.ANY: "any:",
    AddrType.CIDR: "cidr:",
}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(_NONCE_MAX))


class EntityAddr(NamedTuple):
    """`sockaddr` is Linux's layout: u16 family (little endian), then port and IP in network order."""

    type: int = AddrType.NONE
    nonce: int = 0
    sockaddr: bytes = b""

    @staticmethod
    def of(host: str, port: int, nonce: int = 0, type: int = AddrType.MSGR2) -> EntityAddr:
        """From an IP address as text. Raises UsageError."""
        try:
            ip = ip_address(host)
        except ValueError:
            raise UsageError(f"{host!r} is no IP address") from None
        if not 0 <= port <= 0xFFFF:
            raise UsageError(f"port {port} is not within 0 to 65535")
        if not 0 <= nonce <= _NONCE_MAX:
            raise UsageError(f"nonce {nonce} does not fit into 32 bits")
        if isinstance(ip, IPv4Address):
            sockaddr = _FAMILY_IPV4.to_bytes(2, "little") + port.to_bytes(2, "big") + ip.packed + bytes(8)
        else:
            sockaddr = _FAMILY_IPV6.to_bytes(2, "little") + port.to_bytes(2, "big") + bytes(4) + ip.packed + bytes(4)
        return EntityAddr(type, nonce, sockaddr)

    @staticmethod
    def parse(text: str) -> EntityAddr:
        """`[v1:|v2:|any:]IP:PORT[/NONCE]`, IPv6 in brackets; without a prefix it is v2. Raises UsageError."""
        kind, rest = int(AddrType.MSGR2), text
        for candidate, prefix in _PREFIXES.items():
            if text.startswith(prefix):
                kind, rest = candidate, text[len(prefix) :]
        rest, _, nonce = rest.partition("/")
        host, colon, port = rest.rpartition(":")
        if not colon or not _is_number(port) or (nonce and not _is_number(nonce)):
            raise UsageError(f"{text!r} is no address; write v2:IP:PORT/NONCE")
        return EntityAddr.of(host.removeprefix("[").removesuffix("]"), int(port), int(nonce or 0), kind)

    @property
    def family(self) -> int:
        """2 IPv4, 10 IPv6, 0 blank."""
        return int.from_bytes(self.sockaddr[:2], "little")

    @property
    def port(self) -> int:
        """TCP port; 0 if blank or not listening."""
        return int.from_bytes(self.sockaddr[2:4], "big") if self.family else 0

    @property
    def host(self) -> str:
        """The IP address as text, empty if blank."""
        if self.family == _FAMILY_IPV4:
            return str(IPv4Address(self.sockaddr[4:8]))
        if self.family == _FAMILY_IPV6:
            return str(IPv6Address(self.sockaddr[8:24]))
        return ""

    @property
    def is_blank(self) -> bool:
        """Whether there is no address at all."""
        return self.family == 0

    def __str__(self) -> str:
        if self.is_blank:
            return "-"
        host = f"[{self.host}]" if self.family == _FAMILY_IPV6 else self.host
        return f"{_PREFIXES.get(self.type, '')}{host}:{self.port}/{self.nonce}"


AddrVec = tuple[EntityAddr, ...]
"""The addresses of one process, e.g. its v2 and its v1 one."""

BLANK = EntityAddr(AddrType.NONE, 0, bytes(_SOCKADDR_IPV6_BYTES))
"""What real daemons write where there is no address."""


def plain_text(addrs: AddrVec) -> str:
    """Addresses as Ceph prints those of clients: without a prefix where any protocol is meant, one without brackets."""
    texts = [str(addr).removeprefix(_PREFIXES[AddrType.ANY]) for addr in addrs]
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def msgr2_address(addrs: AddrVec) -> EntityAddr | None:
    """The one that speaks msgr2."""
    return next((addr for addr in addrs if addr.type == AddrType.MSGR2 and not addr.is_blank), None)


def encode_addr(encoder: Encoder, addr: EntityAddr) -> None:
    """entity_addr_t in the form of peers with MSG_ADDR2 (all of them, inside msgr2)."""
    encoder.u8(_MARKER_ADDR)
    with encoder.versioned(1, 1):
        encoder.u32(addr.type)
        encoder.u32(addr.nonce)
        encoder.blob(addr.sockaddr)


def decode_addr(decoder: Decoder) -> EntityAddr:
    """entity_addr_t, today's form or the legacy one."""
    marker = decoder.u8()
    if marker == _MARKER_LEGACY:
        return _decode_legacy(decoder)
    if marker != _MARKER_ADDR:
        raise PeerError(f"an address begins with marker {marker}, not 0 or 1")
    return _decode_marked(decoder)


def _decode_marked(decoder: Decoder) -> EntityAddr:
    with decoder.versioned(1):
        kind, nonce, sockaddr = decoder.u32(), decoder.u32(), decoder.blob()
    if kind > AddrType.CIDR:
        raise PeerError(f"an address has type {kind}")
    needed = {_FAMILY_IPV4: _SOCKADDR_IPV4_BYTES, _FAMILY_IPV6: _SOCKADDR_IPV6_BYTES}
    family = int.from_bytes(sockaddr[:2], "little")
    if len(sockaddr) > _SOCKADDR_STORAGE_BYTES or len(sockaddr) < needed.get(family, 0):
        raise PeerError(f"an address of family {family} has {len(sockaddr)} bytes")
    return EntityAddr(kind, nonce, sockaddr)


def _decode_legacy(decoder: Decoder) -> EntityAddr:
    """Marker 0 has been read: padding, nonce, and a sockaddr_storage with its family in network order."""
    decoder.raw(3)
    nonce = decoder.u32()
    storage = decoder.raw(_SOCKADDR_STORAGE_BYTES)
    family = int.from_bytes(storage[:2], "big")
    size = _SOCKADDR_IPV4_BYTES if family == _FAMILY_IPV4 else _SOCKADDR_IPV6_BYTES
    sockaddr = family.to_bytes(2, "little") + storage[2:size]
    return EntityAddr(AddrType.LEGACY if family else AddrType.NONE, nonce, sockaddr)


def encode_addrvec(encoder: Encoder, addrs: AddrVec) -> None:
    """entity_addrvec_t."""
    encoder.u8(_MARKER_VECTOR)
    encoder.u32(len(addrs))
    for addr in addrs:
        encode_addr(encoder, addr)


def decode_addrvec(decoder: Decoder) -> AddrVec:
    """entity_addrvec_t; a single address in either form is taken for a vector of one."""
    marker = decoder.u8()
    if marker == _MARKER_LEGACY:
        return (_decode_legacy(decoder),)
    if marker == _MARKER_ADDR:
        return (_decode_marked(decoder),)
    if marker != _MARKER_VECTOR:
        raise PeerError(f"an address vector begins with marker {marker}, not 0, 1 or 2")
    count = decoder.u32()
    if count > _ADDRESSES_MAX:
        raise PeerError(f"an address vector of {count} addresses; at most {_ADDRESSES_MAX} are taken")
    return tuple(decode_addr(decoder) for _ in range(count))


ADDR: Codec[EntityAddr] = Codec(encode_addr, decode_addr)
ADDRVEC: Codec[AddrVec] = Codec(encode_addrvec, decode_addrvec)
