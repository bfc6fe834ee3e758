"""The small structures that every message is made of: names, versions, placement groups, locators, snap contexts.

Source: Ceph's include/rados.h, osd/osd_types.h, common/hobject.h (names and meaning).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

NOSNAP = 0xFFFFFFFFFFFFFFFE
"""Snap id of the head."""
SNAPDIR = 0xFFFFFFFFFFFFFFFF
"""Snap id that list_snaps reads at."""
MAXSNAP = 0xFFFFFFFFFFFFFFFD
ALL_NSPACES = "\x01"
"""As a namespace in a listing: every namespace."""


class EntityType(IntEnum):
    """Kinds of peers."""

    UNSET = 0
    MON = 1
    MDS = 2
    OSD = 4
    CLIENT = 8
    MGR = 16
    AUTH = 32
    ANY = 255


class EntityName(NamedTuple):
    """`client.4113`: the kind of a peer and its number (for clients: the global id of the session)."""

    type: EntityType
    number: int

    def __str__(self) -> str:
        return f"{self.type.name.lower()}.{self.number}"


class EVersion(NamedTuple):
    """A version in a PG's log: the map's epoch and a counter."""

    epoch: int
    version: int


class ReqId(NamedTuple):
    """Names one request for ever: who, which incarnation, which transaction. Duplicates are found by it."""

    name: EntityName
    inc: int
    tid: int


class PgId(NamedTuple):
    """A placement group: pool and seed (after stable_mod)."""

    pool: int
    seed: int

    def __str__(self) -> str:
        return f"{self.pool}.{self.seed:x}"


class SnapContext(NamedTuple):
    """What a write preserves: the newest snap id, and the ids of the snapshots that exist, descending."""

    seq: int = 0
    snaps: tuple[int, ...] = ()

    def is_valid(self) -> bool:
        """Strictly descending and not newer than `seq`."""
        ids = self.snaps
        return (not ids or ids[0] <= self.seq) and all(a > b for a, b in pairwise(ids))


@dataclass(frozen=True, slots=True)
class ObjectLocator:
    """Where an object is looked for: its pool, and what replaces or refines its name in the placement hash."""

    pool: int
    key: str = ""
    nspace: str = ""
    hash: int = -1


@dataclass(frozen=True, slots=True)
class HObject:
    """The full name of an object in the cluster; the order is the one in which listings run."""

    pool: int
    oid: str
    hash: int = 0
    key: str = ""
    nspace: str = ""
    snap: int = NOSNAP
    max: bool = False


HOBJECT_MIN = HObject(pool=-(2**63), oid="", snap=0)
HOBJECT_MAX = HObject(pool=-(2**63), oid="", snap=0, max=True)
