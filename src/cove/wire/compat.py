"""Questions to the OSD map that no operation needs: which clients are old enough for it, and who is shut out by it.

Source: Ceph's OSDMap::get_features, get_min_compat_client, is_blocklisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from .address import EntityAddr
from .crush.map import BucketAlg, CrushMap, Op
from .osdmap import IN, OSDMap
from .pool import PoolFlag

ARGONAUT: Final = 1
DUMPLING: Final = 4
FIREFLY: Final = 6
HAMMER: Final = 8
JEWEL: Final = 10
LUMINOUS: Final = 12
_STABLE_STEPS = (Op.SET_CHOOSELEAF_STABLE,)
_VARY_STEPS = (Op.SET_CHOOSELEAF_VARY_R,)


def min_compat_client(osdmap: OSDMap) -> int:
    """Number of the oldest release whose clients understand all that the map makes use of: 12 is Luminous."""
    crush = osdmap.crush
    if osdmap.pg_upmap or osdmap.pg_upmap_items or osdmap.pg_upmap_primaries or crush.choose_args:
        return LUMINOUS
    tunables, steps = crush.tunables, _steps(crush)
    if tunables.chooseleaf_stable or steps.intersection(_STABLE_STEPS):
        return JEWEL
    if any(bucket.alg is BucketAlg.STRAW2 for bucket in crush.buckets.values()):
        return HAMMER
    if (
        any(affinity != IN for affinity in osdmap.primary_affinity)
        or tunables.chooseleaf_vary_r
        or steps.intersection(_VARY_STEPS)
        or any(pool.has_tier or pool.tiers or pool.tier_of >= 0 for pool in osdmap.pools.values())
    ):
        return FIREFLY
    if tunables.chooseleaf_descend_once or any(int(p.flags) & PoolFlag.HASHPSPOOL for p in osdmap.pools.values()):
        return DUMPLING
    return ARGONAUT


def _steps(crush: CrushMap) -> set[int]:
    return {step.op for rule in crush.rules if rule is not None for step in rule.steps}


def is_blocklisted(addr: EntityAddr, single: Mapping[EntityAddr, int], ranges: Mapping[EntityAddr, int]) -> bool:
    """Whether a client's address is shut out: itself, its whole host (port and nonce 0), or its network.

    The protocol of an address does not count.
    """
    if addr.is_blank:
        return False
    for entry in single:
        if entry.host == addr.host and (entry.port, entry.nonce) in ((addr.port, addr.nonce), (0, 0)):
            return True
    return any(_within(addr, network) for network in ranges)


def _within(addr: EntityAddr, network: EntityAddr) -> bool:
    """A network is an address whose nonce is the length of its prefix."""
    if network.family != addr.family or network.is_blank:
        return False
    ip, base = ip_address(addr.host), ip_address(network.host)
    unused = ip.max_prefixlen - network.nonce
    return unused >= 0 and int(ip) >> unused == int(base) >> unused
