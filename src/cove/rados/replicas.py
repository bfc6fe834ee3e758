"""Replica reads: which OSD of the acting set serves a read that need not go to the primary.

BALANCE_READS takes any of them, LOCALIZE_READS the one that is nearest to us in the CRUSH map (the primary, if none
is nearer). Only pure reads of replicated pools; an OSD that can't serve one answers EAGAIN, and the read then goes to
the primary. A read that is sent again keeps its OSD as long as the acting set stays the same.

Source: Ceph's Objecter::_calc_target, CrushWrapper::get_common_ancestor_distance; option crush_location.
"""

from __future__ import annotations

import random
import re
import socket

from ..wire.crush.map import CrushMap
from ..wire.osd_ops import RequestFlag
from ..wire.osdmap import OSDMap
from ..wire.types import PgId
from .errors import InvalidArgument
from .target import PgTarget

REPLICA_READS = int(RequestFlag.BALANCE_READS | RequestFlag.LOCALIZE_READS)
_BALANCE = int(RequestFlag.BALANCE_READS)
_WRITE = int(RequestFlag.WRITE)

CrushLocation = frozenset[tuple[str, str]]
"""Where we are: (kind of bucket, name), e.g. ("host", "a1"), ("rack", "a")."""

FAR = 1 << 30
"""The distance to an OSD with which we have no bucket in common."""


def parse_location(text: str) -> CrushLocation:
    """Words of the form `host=a1`, as in the option crush_location; empty: this host, in the root `default`.

    Raises InvalidArgument.
    """
    words = re.split(r"[\s,;]+", text.strip()) if text.strip() else []
    if not words:
        return frozenset((("root", "default"), ("host", socket.gethostname().partition(".")[0])))
    found = []
    for word in words:
        kind, equals, name = word.partition("=")
        if not (kind and equals and name):
            raise InvalidArgument(f"crush_location {text!r}: {word!r} must be KIND=NAME, e.g. host=a1 rack=a")
        found.append((kind, name))
    return frozenset(found)


class Replicas:
    """The choice of replicas by one epoch's map."""

    __slots__ = ("_distances", "_location", "_nearest", "_parents", "osdmap")

    def __init__(self, osdmap: OSDMap, location: CrushLocation) -> None:
        self.osdmap = osdmap
        self._location = location
        self._nearest: dict[PgId, int] = {}
        self._distances: dict[int, int] = {}
        self._parents: dict[int, int] | None = None

    def choose(self, target: PgTarget, old: PgTarget | None, flags: int) -> PgTarget:
        """The target of a read whose primary is `target`'s; `old` is where it went until now."""
        osdmap = self.osdmap
        if target.osd < 0 or target.shard >= 0:
            return target
        acting = osdmap.pg_to_osds(target.pg).acting
        able = [osd for osd in acting if osdmap.is_up(osd) and osdmap.is_reachable(osd)]
        if len(able) < 2:
            return target
        if old is not None and old.acting == acting and old.pg == target.pg and old.osd in able:
            osd = old.osd
        elif flags & _BALANCE:
            osd = random.choice(able)  # noqa: S311 - nothing to guess
        else:
            osd = self._nearest_of(target, able)
        return target._replace(osd=osd, acting=acting)

    def _nearest_of(self, target: PgTarget, able: list[int]) -> int:
        osd = self._nearest.get(target.pg)
        if osd is None:
            # of equals the primary, as its answer is the surest
            osd = min(able, key=lambda osd: (self.distance(osd), osd != target.osd))
            self._nearest[target.pg] = osd
        return osd

    def distance(self, osd: int) -> int:
        """The number of the lowest kind of bucket that we have in common with an OSD: 1 is its host; `FAR`: none."""
        found = self._distances.get(osd)
        if found is None:
            found = self._distances[osd] = self._find_distance(osd)
        return found

    def _find_distance(self, osd: int) -> int:
        crush = self.osdmap.crush
        parents = self._parents
        if parents is None:
            parents = self._parents = _parents_of(crush)
        item = parents.get(osd)
        while item is not None:
            number = crush.buckets[item].type
            if (crush.types.get(number, ""), crush.names.get(item, "")) in self._location:
                return number
            item = parents.get(item)
        return FAR


def _parents_of(crush: CrushMap) -> dict[int, int]:
    """Item → the bucket that holds it; without the buckets that repeat others for one class of devices."""
    shadows = {shadow for by_class in crush.shadows.values() for shadow in by_class.values()}
    return {item: bucket.id for bucket in crush.buckets.values() if bucket.id not in shadows for item in bucket.items}


class ReplicaReads:
    """The choice of replicas for one client, whatever the map."""

    __slots__ = ("_location", "_replicas", "_where")

    def __init__(self, where: str) -> None:
        """`where` is the option crush_location; it is looked at when the first such read comes."""
        self._where = where
        self._location: CrushLocation | None = None
        self._replicas: Replicas | None = None

    def target_of(self, osdmap: OSDMap, target: PgTarget, old: PgTarget | None, flags: int) -> PgTarget:
        """The target of an operation with one of the flags `REPLICA_READS`; that of one that writes is unchanged."""
        if flags & _WRITE:
            return target
        replicas = self._replicas
        if replicas is None or replicas.osdmap is not osdmap:
            if self._location is None:
                self._location = parse_location(self._where)
            replicas = self._replicas = Replicas(osdmap, self._location)
        return replicas.choose(target, old, flags)
