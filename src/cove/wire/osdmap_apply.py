"""The next epoch of the OSD map, from a map and an increment.

Nothing is changed in place: lists and dictionaries are copied when something in them changes, everything else, the
CRUSH map above all, is shared with the map before. The order of the steps is Ceph's, and matters: an OSD can go down
and come up in one epoch, and the CRUSH map comes last.

Source: Ceph's OSDMap::apply_incremental.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from .crush.map import CrushMap, decode_crush
from .errors import PeerError
from .intervals import difference, union
from .map_fields import OSDS_MAX
from .osdmap import IN, RELEASE_LUMINOUS, MapFlag, OsdInfo, OSDMap, OsdOnly, OsdState, OsdXInfo
from .osdmap_codec import decode_osdmap
from .osdmap_incremental import Incremental

_EXISTS = int(OsdState.EXISTS)
_UP = int(OsdState.UP)
_BOOTED = int(OsdState.EXISTS | OsdState.UP)
_CLEARED_BY_BOOT = ~int(OsdState.STOP)
_CLEARED_BY_IN = ~int(OsdState.AUTOOUT | OsdState.NEW)
_LEGACY_REQUIRE = int(MapFlag.REQUIRE_JEWEL | MapFlag.REQUIRE_KRAKEN | MapFlag.REQUIRE_LUMINOUS)
_RELEASE_NAUTILUS = 14
_RELEASES = range(128)
"""Above, the byte means: no change."""
_NOBODY = UUID(int=0)

_BLANKS: tuple[tuple[str, Any], ...] = (
    ("osd_state", 0),
    ("osd_weight", 0),
    ("client_addrs", ()),
    ("primary_affinity", IN),
    ("hb_back_addrs", ()),
    ("hb_front_addrs", ()),
    ("cluster_addrs", ()),
    ("osd_info", OsdInfo()),
    ("osd_xinfo", OsdXInfo()),
    ("osd_uuid", _NOBODY),
)
"""What an OSD that does not exist has in each vector."""


class _Draft:
    """A map or its OSD section while it is being changed: what has been replaced so far, over what was."""

    __slots__ = ("_base", "changes")

    def __init__(self, base: OSDMap | OsdOnly) -> None:
        self._base = base
        self.changes: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The present value, not to be changed."""
        return self.changes[name] if name in self.changes else getattr(self._base, name)

    def own(self, name: str) -> Any:
        """A list or dictionary that may be changed."""
        if name not in self.changes:
            self.changes[name] = getattr(self._base, name).copy()
        return self.changes[name]

    def update(self, name: str, new: Mapping[Any, Any]) -> None:
        """Set these entries."""
        if new:
            self.own(name).update(new)

    def remove(self, name: str, old: Iterable[Any]) -> None:
        """Remove these entries, where they are."""
        for key in old:
            if key in self.get(name):
                del self.own(name)[key]


def apply_incremental(osdmap: OSDMap, change: Incremental) -> OSDMap:
    """The map of the next epoch. Raises PeerError if the increment is none to this map, or contradicts itself."""
    if change.epoch != osdmap.epoch + 1:
        raise PeerError(f"an increment to epoch {change.epoch} came for a map of epoch {osdmap.epoch}")
    if change.fsid != osdmap.fsid and change.epoch != 1:
        raise PeerError(f"an increment of cluster {change.fsid} came for a map of {osdmap.fsid}")
    if change.fullmap:
        full = decode_osdmap(change.fullmap)
        if full.epoch != change.epoch or full.fsid != change.fsid:
            raise PeerError(f"the increment to epoch {change.epoch} holds a full map of epoch {full.epoch}")
        return full
    draft, osd_draft = _Draft(osdmap), _Draft(osdmap.osd_only)
    draft.changes.update(fsid=change.fsid, epoch=change.epoch, modified_ns=change.modified_ns)
    if change.new_flags >= 0:
        draft.changes["flags"] = change.new_flags
    if change.new_max_osd >= 0:
        _resize(draft, osd_draft, change.new_max_osd)
    _apply_pools(draft, osd_draft, change)
    _check_osds(draft.get("max_osd"), change)
    _apply_osds(draft, osd_draft, change)
    _apply_exceptions(draft, change)
    _apply_osd_section(draft, osd_draft, change)
    if change.crush:
        _apply_crush(draft, osd_draft, decode_crush(change.crush))
    if osd_draft.changes:
        draft.changes["osd_only"] = replace(osdmap.osd_only, **osd_draft.changes)
    return replace(osdmap, **draft.changes)


def _draft_of(name: str, draft: _Draft, osd_draft: _Draft) -> _Draft:
    return draft if name in OSDMap.__dataclass_fields__ else osd_draft


def _resize(draft: _Draft, osd_draft: _Draft, count: int) -> None:
    if count > OSDS_MAX:
        raise PeerError(f"an increment makes room for {count} OSDs; at most {OSDS_MAX} are taken")
    old = draft.get("max_osd")
    draft.changes["max_osd"] = count
    for name, blank in _BLANKS:
        holder = _draft_of(name, draft, osd_draft)
        if name == "primary_affinity" and not holder.get(name):
            continue
        vector = holder.own(name)
        del vector[count:]
        vector.extend([blank] * (count - old))


def _check_osds(max_osd: int, change: Incremental) -> None:
    """Every OSD that is spoken of has its place in the vectors."""
    for entries in (
        change.new_up_client,
        change.new_state,
        change.new_weight,
        change.new_primary_affinity,
        change.new_up_cluster,
        change.new_up_thru,
        change.new_last_clean_interval,
        change.new_lost,
        change.new_uuid,
        change.new_xinfo,
    ):
        for osd in entries:
            if not 0 <= osd < max_osd:
                raise PeerError(f"the increment to epoch {change.epoch} changes OSD {osd} of {max_osd}")


def _apply_pools(draft: _Draft, osd_draft: _Draft, change: Incremental) -> None:
    if change.new_pool_max != -1:
        draft.changes["pool_max"] = change.new_pool_max
    draft.update(
        "pools", {number: replace(pool, last_change=change.epoch) for number, pool in change.new_pools.items()}
    )
    # these are news of one epoch: they replace those of the epoch before
    draft.changes["new_removed_snaps"] = change.new_removed_snaps
    draft.changes["new_purged_snaps"] = change.new_purged_snaps
    for pool, runs in change.new_removed_snaps.items():
        queue = osd_draft.own("removed_snaps_queue")
        queue[pool] = union(queue.get(pool, ()), runs)
    for pool, runs in change.new_purged_snaps.items():
        queue = osd_draft.own("removed_snaps_queue")
        left = difference(queue.pop(pool, ()), runs)
        if left:
            queue[pool] = left
    if change.new_last_up_change_ns:
        draft.changes["last_up_change_ns"] = change.new_last_up_change_ns
    if change.new_last_in_change_ns:
        draft.changes["last_in_change_ns"] = change.new_last_in_change_ns
    draft.update("pool_names", change.new_pool_names)
    draft.remove("pools", change.old_pools)
    draft.remove("pool_names", change.old_pools)


def _apply_osds(draft: _Draft, osd_draft: _Draft, change: Incremental) -> None:
    for osd, weight in change.new_weight.items():
        draft.own("osd_weight")[osd] = weight
        if weight:
            states = draft.own("osd_state")
            states[osd] = (states[osd] | _EXISTS) & _CLEARED_BY_IN
            info = osd_draft.get("osd_xinfo")[osd]
            if info.old_weight:
                osd_draft.own("osd_xinfo")[osd] = info._replace(old_weight=0)
    for osd, affinity in change.new_primary_affinity.items():
        _affinities(draft)[osd] = affinity
    draft.remove("erasure_code_profiles", change.old_erasure_code_profiles)
    draft.update("erasure_code_profiles", change.new_erasure_code_profiles)
    for osd, bits in change.new_state.items():
        _toggle(draft, osd_draft, osd, bits or _UP, change)
    for osd, addrs in change.new_up_client.items():
        if osd not in change.new_hb_back_up or osd not in change.new_hb_front_up:
            raise PeerError(f"the increment to epoch {change.epoch} lets OSD {osd} come up without heartbeat addresses")
        states = draft.own("osd_state")
        states[osd] = (states[osd] | _BOOTED) & _CLEARED_BY_BOOT
        draft.own("client_addrs")[osd] = addrs
        osd_draft.own("hb_back_addrs")[osd] = change.new_hb_back_up[osd]
        osd_draft.own("hb_front_addrs")[osd] = change.new_hb_front_up[osd]
        infos = osd_draft.own("osd_info")
        infos[osd] = infos[osd]._replace(up_from=change.epoch)
    for osd, addrs in change.new_up_cluster.items():
        osd_draft.own("cluster_addrs")[osd] = addrs


def _affinities(draft: _Draft) -> list[int]:
    if not draft.get("primary_affinity"):
        draft.changes["primary_affinity"] = [IN] * draft.get("max_osd")
    affinities: list[int] = draft.own("primary_affinity")
    return affinities


def _toggle(draft: _Draft, osd_draft: _Draft, osd: int, bits: int, change: Incremental) -> None:
    """Change bits of an OSD's state; one that ceases to exist leaves nothing behind."""
    states = draft.own("osd_state")
    state = states[osd]
    if state & _UP & bits:
        infos, xinfos = osd_draft.own("osd_info"), osd_draft.own("osd_xinfo")
        infos[osd] = infos[osd]._replace(down_at=change.epoch)
        xinfos[osd] = xinfos[osd]._replace(down_stamp_ns=change.modified_ns)
    if not state & _EXISTS & bits:
        states[osd] = state ^ bits
        return
    _affinities(draft)
    for name, blank in _BLANKS:
        if name != "osd_weight":
            _draft_of(name, draft, osd_draft).own(name)[osd] = blank


def _apply_exceptions(draft: _Draft, change: Incremental) -> None:
    """Placement that is not CRUSH's choice: temporary sets, and the balancer's."""
    temps = change.new_pg_temp
    draft.update("pg_temp", {pg: osds for pg, osds in temps.items() if osds})
    draft.remove("pg_temp", [pg for pg, osds in temps.items() if not osds])
    primaries = change.new_primary_temp
    draft.update("primary_temp", {pg: osd for pg, osd in primaries.items() if osd != -1})
    draft.remove("primary_temp", [pg for pg, osd in primaries.items() if osd == -1])
    draft.update("pg_upmap", change.new_pg_upmap)
    draft.remove("pg_upmap", change.old_pg_upmap)
    draft.update("pg_upmap_items", change.new_pg_upmap_items)
    draft.remove("pg_upmap_items", change.old_pg_upmap_items)
    draft.update("pg_upmap_primaries", change.new_pg_upmap_primaries)
    draft.remove("pg_upmap_primaries", change.old_pg_upmap_primaries)


def _apply_osd_section(draft: _Draft, osd_draft: _Draft, change: Incremental) -> None:
    for name, values in (("up_thru", change.new_up_thru), ("lost_at", change.new_lost)):
        for osd, value in values.items():
            infos = osd_draft.own("osd_info")
            infos[osd] = infos[osd]._replace(**{name: value})
    for osd, (begin, end) in change.new_last_clean_interval.items():
        infos = osd_draft.own("osd_info")
        infos[osd] = infos[osd]._replace(last_clean_begin=begin, last_clean_end=end)
    for osd, info in change.new_xinfo.items():
        osd_draft.own("osd_xinfo")[osd] = info
    for osd, uuid in change.new_uuid.items():
        osd_draft.own("osd_uuid")[osd] = uuid
    for name, new, old in (
        ("blocklist", change.new_blocklist, change.old_blocklist),
        ("range_blocklist", change.new_range_blocklist, change.old_range_blocklist),
    ):
        # who is on the list already stays there as he is
        known = osd_draft.get(name)
        osd_draft.update(name, {addr: until for addr, until in new.items() if addr not in known})
        osd_draft.remove(name, old)
    for name, flags in (
        ("crush_node_flags", change.new_crush_node_flags),
        ("device_class_flags", change.new_device_class_flags),
    ):
        osd_draft.update(name, {item: bits for item, bits in flags.items() if bits})
        osd_draft.remove(name, [item for item, bits in flags.items() if not bits])
    if change.cluster_snapshot or osd_draft.get("cluster_snapshot_epoch"):
        osd_draft.changes["cluster_snapshot"] = change.cluster_snapshot
        osd_draft.changes["cluster_snapshot_epoch"] = change.epoch if change.cluster_snapshot else 0
    for name in ("nearfull_ratio", "full_ratio", "backfillfull_ratio"):
        ratio = getattr(change, "new_" + name)
        if ratio >= 0:
            osd_draft.changes[name] = ratio
    if change.new_require_min_compat_client in _RELEASES:
        osd_draft.changes["require_min_compat_client"] = change.new_require_min_compat_client
    if change.new_require_osd_release in _RELEASES:
        osd_draft.changes["require_osd_release"] = change.new_require_osd_release
        _require_release(draft, change.new_require_osd_release)
    if change.stretch.change:
        osd_draft.changes["stretch"] = change.stretch.mode
    if change.mutate_allow_crimson in (1, 2):
        osd_draft.changes["allow_crimson"] = change.mutate_allow_crimson == 1


def _require_release(draft: _Draft, release: int) -> None:
    """Releases imply flags."""
    if release >= RELEASE_LUMINOUS:
        draft.changes["flags"] = draft.get("flags") & ~_LEGACY_REQUIRE | MapFlag.RECOVERY_DELETES
    if release >= _RELEASE_NAUTILUS:
        draft.changes["flags"] = draft.get("flags") | int(MapFlag.PGLOG_HARDLIMIT)


def _apply_crush(draft: _Draft, osd_draft: _Draft, crush: CrushMap) -> None:
    # a monitor that removed a device still sends the old count, but counts anew when it reads its own increment
    devices = (item + 1 for bucket in crush.buckets.values() for item in bucket.items)
    crush.max_devices = max(0, max(devices, default=0), max(crush.names, default=-1) + 1)
    draft.changes["crush"] = crush
    if osd_draft.get("require_osd_release") >= RELEASE_LUMINOUS:
        draft.changes["crush_version"] = draft.get("crush_version") + 1
    classes = osd_draft.get("device_class_flags")
    osd_draft.remove("device_class_flags", [number for number in classes if number not in crush.class_names])
