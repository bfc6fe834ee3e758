"""Class `lock`: advisory locks kept in the xattr `lock.NAME` of an object. Requests, replies and the stored state.

Source: Ceph's cls/lock (cls_lock_types.h, cls_lock_ops.h): names, layouts and meaning.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import ClassVar

from .encoding import Decoder, Encoder
from .errors import PeerError
from .names import ENTITY
from .structure import NOTHING, STR, U8, UTIME, ClassMethod, Codec, Structure, list_of
from .types import EntityName

XATTR_PREFIX = "lock."
RBD_LOCK_NAME = "rbd_lock"
"""The lock of an RBD header and of an object map."""


class LockType(IntEnum):
    """Who may hold the lock together."""

    NONE = 0
    EXCLUSIVE = 1
    SHARED = 2
    EXCLUSIVE_EPHEMERAL = 3


class LockFlag(IntFlag):
    """What a lock request does about a lock that the requester already holds."""

    MAY_RENEW = 1
    MUST_RENEW = 2


class AddressType(IntEnum):
    """Protocol of an address."""

    NONE = 0
    LEGACY = 1
    MSGR2 = 2
    ANY = 3


@dataclass(frozen=True, slots=True)
class EntityAddress:
    """Address of a daemon or client: `sockaddr` as in the structures of that name, family in little endian."""

    type: int = AddressType.NONE
    nonce: int = 0
    sockaddr: bytes = b""

    @staticmethod
    def ipv4(address: str, port: int, nonce: int, kind: AddressType = AddressType.LEGACY) -> EntityAddress:
        """An IPv4 address."""
        packed = ipaddress.IPv4Address(address).packed
        return EntityAddress(kind, nonce, struct.pack("<H", 2) + struct.pack(">H", port) + packed + bytes(8))

    def encode(self, encoder: Encoder) -> None:
        """Append the form with a type (feature ADDR2)."""
        encoder.u8(1)
        with encoder.versioned(1, 1):
            encoder.u32(self.type)
            encoder.u32(self.nonce)
            encoder.blob(self.sockaddr)

    @staticmethod
    def decode(decoder: Decoder) -> EntityAddress:
        """Read the form with a type, or the old one of fixed length."""
        marker = decoder.u8()
        if marker == 0:
            decoder.raw(3)
            return EntityAddress(AddressType.LEGACY, decoder.u32(), decoder.raw(128)[:16])
        if marker != 1:
            raise PeerError(f"an address begins with {marker}, 0 or 1 was expected")
        with decoder.versioned(1):
            return EntityAddress(decoder.u32(), decoder.u32(), decoder.blob())

    def __str__(self) -> str:
        """`address:port/nonce`: how a blocklist takes it."""
        family, port = self.sockaddr[:2], int.from_bytes(self.sockaddr[2:4], "big")
        if len(self.sockaddr) >= 8 and family == b"\x02\0":
            return f"{ipaddress.IPv4Address(self.sockaddr[4:8])}:{port}/{self.nonce}"
        if len(self.sockaddr) >= 24 and family == b"\x0a\0":
            return f"[{ipaddress.IPv6Address(self.sockaddr[8:24])}]:{port}/{self.nonce}"
        return f"-/{self.nonce}"


ADDRESS: Codec[EntityAddress] = Codec(lambda encoder, value: value.encode(encoder), EntityAddress.decode)


@dataclass(frozen=True, slots=True, order=True)
class LockerId(Structure):
    """Who holds a lock: a client and its cookie."""

    entity: EntityName
    cookie: str

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("entity", ENTITY), ("cookie", STR))


@dataclass(frozen=True, slots=True)
class LockerInfo(Structure):
    """Since a locker can be lost: until when it holds (ns since the epoch, 0 for ever), and where it is."""

    expiration_ns: int = 0
    address: EntityAddress = EntityAddress()
    description: str = ""

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("expiration_ns", UTIME), ("address", ADDRESS), ("description", STR))


def _encode_lockers(encoder: Encoder, lockers: dict[LockerId, LockerInfo]) -> None:
    encoder.u32(len(lockers))
    for locker in sorted(lockers, key=lambda held: (held.entity, held.cookie.encode("utf-8", "surrogateescape"))):
        locker.encode(encoder)
        lockers[locker].encode(encoder)


def _decode_lockers(decoder: Decoder) -> dict[LockerId, LockerInfo]:
    return decoder.map(lambda: LockerId.decode(decoder), lambda: LockerInfo.decode(decoder))


@dataclass(slots=True)
class LockInfo(Structure):
    """State of one lock: what the xattr holds and what get_info answers."""

    lockers: dict[LockerId, LockerInfo] = field(default_factory=dict)
    type: int = LockType.NONE
    tag: str = ""

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("lockers", Codec(_encode_lockers, _decode_lockers)), ("type", U8), ("tag", STR))


@dataclass(frozen=True, slots=True)
class LockRequest(Structure):
    """Input of `lock`. `duration_ns` 0: until unlocked."""

    name: str
    type: int
    cookie: str
    tag: str = ""
    description: str = ""
    duration_ns: int = 0
    flags: int = 0

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (
        ("name", STR),
        ("type", U8),
        ("cookie", STR),
        ("tag", STR),
        ("description", STR),
        ("duration_ns", UTIME),
        ("flags", U8),
    )


@dataclass(frozen=True, slots=True)
class UnlockRequest(Structure):
    """Input of `unlock`."""

    name: str
    cookie: str

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("name", STR), ("cookie", STR))


@dataclass(frozen=True, slots=True)
class BreakRequest(Structure):
    """Input of `break_lock`: whose lock to take away."""

    name: str
    locker: EntityName
    cookie: str

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("name", STR), ("locker", ENTITY), ("cookie", STR))


@dataclass(frozen=True, slots=True)
class InfoRequest(Structure):
    """Input of `get_info`."""

    name: str

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("name", STR),)


@dataclass(frozen=True, slots=True)
class AssertRequest(Structure):
    """Input of `assert_locked`."""

    name: str
    type: int
    cookie: str
    tag: str = ""

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("name", STR), ("type", U8), ("cookie", STR), ("tag", STR))


@dataclass(frozen=True, slots=True)
class SetCookieRequest(Structure):
    """Input of `set_cookie`."""

    name: str
    type: int
    cookie: str
    tag: str
    new_cookie: str

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("name", STR), ("type", U8), ("cookie", STR), ("tag", STR), ("new_cookie", STR))


@dataclass(frozen=True, slots=True)
class LockNames(Structure):
    """Output of `list_locks`."""

    names: list[str]

    FRAME: ClassVar = (1, 1)
    FIELDS: ClassVar = (("names", list_of(STR)),)


LOCK = ClassMethod("lock", "lock", LockRequest.codec(), NOTHING, writes=True)
UNLOCK = ClassMethod("lock", "unlock", UnlockRequest.codec(), NOTHING, writes=True)
BREAK_LOCK = ClassMethod("lock", "break_lock", BreakRequest.codec(), NOTHING, writes=True)
GET_INFO = ClassMethod("lock", "get_info", InfoRequest.codec(), LockInfo.codec())
LIST_LOCKS = ClassMethod("lock", "list_locks", NOTHING, LockNames.codec())
ASSERT_LOCKED = ClassMethod("lock", "assert_locked", AssertRequest.codec(), NOTHING)
SET_COOKIE = ClassMethod("lock", "set_cookie", SetCookieRequest.codec(), NOTHING, writes=True)
