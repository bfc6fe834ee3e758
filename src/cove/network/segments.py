"""The provider attributes of a network: how it is carried, and which segment is its own (extension provider).

Each (type, physical network, id) is given to one network at most: the primary key of `segment_allocations` decides.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cove.network import errors
from cove.network.models import segment_allocations as segments
from cove.network.tables.network import VLAN_ID_MAX, VLAN_ID_MIN, VXLAN_ID_MAX, VXLAN_ID_MIN
from cove.network.transaction import Transaction

TYPE, PHYSICAL, ID = "provider:network_type", "provider:physical_network", "provider:segmentation_id"
ATTRIBUTES = (TYPE, PHYSICAL, ID)
RANDOM_TRIES = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """What a network type needs: a physical network, and an id in a range (None: it has no id)."""

    physical: bool
    ids: tuple[int, int] | None
    in_use: type[errors.InUse]


KINDS: Mapping[str, Kind] = {
    "local": Kind(physical=False, ids=None, in_use=errors.NetworkInUse),
    "flat": Kind(physical=True, ids=None, in_use=errors.FlatNetworkInUse),
    "vlan": Kind(physical=True, ids=(VLAN_ID_MIN, VLAN_ID_MAX), in_use=errors.VlanIdInUse),
    "vxlan": Kind(physical=False, ids=(VXLAN_ID_MIN, VXLAN_ID_MAX), in_use=errors.TunnelIdInUse),
}

_insert = sa.insert(segments)
_holder = sa.select(segments.c.network_id).where(
    segments.c.network_type == sa.bindparam("network_type"),
    segments.c.physical_network == sa.bindparam("physical_network"),
    segments.c.segmentation_id == sa.bindparam("segmentation_id"),
)
_release = sa.delete(segments).where(segments.c.network_id == sa.bindparam("network"))


@dataclass(frozen=True, slots=True)
class Segment:
    """How a network is carried; the columns of its row."""

    network_type: str
    physical_network: str | None
    segmentation_id: int | None


def choose(tx: Transaction, values: Mapping[str, Any]) -> Segment:
    """The segment of a new network, from what the request says of it. Raises InvalidInput, …InUse.

    Nothing is written yet: `allocate` does, once the network's row is there.
    """
    given = {name: values[name] for name in ATTRIBUTES if values.get(name) is not None}
    network_type = given.get(TYPE)
    if network_type is None:
        if given:
            raise errors.InvalidInput(reason=f"{TYPE} is needed beside {', '.join(given)}")
        network_type = tx.config.tenant_network_type
        if KINDS[network_type].physical:
            given[PHYSICAL] = tx.config.physical_networks[0]
    kind = KINDS.get(network_type)
    if kind is None:
        raise errors.InvalidInput(reason=f"{TYPE} {network_type!r} is unknown; use one of {', '.join(KINDS)}")
    physical, wanted = given.get(PHYSICAL), given.get(ID)
    if kind.physical:
        _check_physical(tx, network_type, physical)
    elif physical is not None:
        raise errors.InvalidInput(reason=f"{PHYSICAL} cannot be given for a {network_type} network")
    if kind.ids is None:
        if wanted is not None:
            raise errors.InvalidInput(reason=f"{ID} cannot be given for a {network_type} network")
        if kind.physical and _taken(tx, network_type, physical, 0):
            raise kind.in_use(physical_network=physical)
        return Segment(network_type, physical, None)
    low, high = kind.ids
    if wanted is None:
        return Segment(network_type, physical, _free_id(tx, network_type, physical, low, high))
    _check_id(network_type, wanted, low, high)
    if _taken(tx, network_type, physical, wanted):
        raise kind.in_use(segmentation_id=wanted, physical_network=physical)
    return Segment(network_type, physical, wanted)


def change_id(tx: Transaction, row: Mapping[str, Any], values: Mapping[str, Any]) -> int | None:
    """The segmentation id after an update; nothing else of a segment can change. Raises InvalidInput, …InUse."""
    now = {TYPE: row["network_type"], PHYSICAL: row["physical_network"], ID: row["segmentation_id"]}
    changed = {name for name in ATTRIBUTES if name in values and values[name] != now[name]}
    if changed - {ID}:
        raise errors.InvalidInput(reason=f"{', '.join(sorted(changed - {ID}))} of a network cannot be changed")
    if not changed:
        return row["segmentation_id"]  # type: ignore[no-any-return]
    kind, wanted = KINDS[row["network_type"]], values[ID]
    if kind.ids is None or wanted is None:
        raise errors.InvalidInput(reason=f"{ID} of a {row['network_type']} network cannot be set to {wanted}")
    _check_id(row["network_type"], wanted, *kind.ids)
    if _taken(tx, row["network_type"], row["physical_network"], wanted):
        raise kind.in_use(segmentation_id=wanted, physical_network=row["physical_network"])
    tx.connection.execute(_release, {"network": row["id"]})
    allocate(tx, row["id"], Segment(row["network_type"], row["physical_network"], wanted))
    return int(wanted)


def allocate(tx: Transaction, network_id: str, segment: Segment) -> None:
    """Give the segment to the network. A network that took it meanwhile shows as IntegrityError: to be run again."""
    if segment.network_type != "local":
        tx.connection.execute(
            _insert,
            {
                "network_type": segment.network_type,
                "physical_network": segment.physical_network or "",
                "segmentation_id": segment.segmentation_id or 0,
                "network_id": network_id,
            },
        )


def _check_physical(tx: Transaction, network_type: str, physical: str | None) -> None:
    if not physical:
        raise errors.InvalidInput(reason=f"{PHYSICAL} is needed for a {network_type} network")
    known = tx.config.physical_networks
    if known and physical not in known:
        raise errors.InvalidInput(reason=f"{PHYSICAL} {physical!r} is unknown; use one of {', '.join(known)}")


def _check_id(network_type: str, wanted: int, low: int, high: int) -> None:
    if not low <= wanted <= high:
        raise errors.InvalidInput(reason=f"{ID} {wanted} of a {network_type} network is not in {low}-{high}")


def _taken(tx: Transaction, network_type: str, physical: str | None, segmentation_id: int) -> bool:
    key = {
        "network_type": network_type,
        "physical_network": physical or "",
        "segmentation_id": segmentation_id,
    }
    return tx.connection.execute(_holder, key).first() is not None


def _free_id(tx: Transaction, network_type: str, physical: str | None, low: int, high: int) -> int:
    """An id that is free: by chance while there are many, then the lowest. Raises NoNetworkAvailable."""
    for _ in range(RANDOM_TRIES):
        candidate = random.randint(low, high)  # noqa: S311 (no secret)
        if not _taken(tx, network_type, physical, candidate):
            return candidate
    taken = set(
        tx.connection.execute(
            sa.select(segments.c.segmentation_id).where(
                segments.c.network_type == network_type, segments.c.physical_network == (physical or "")
            )
        ).scalars()
    )
    for candidate in range(low, high + 1):
        if candidate not in taken:
            return candidate
    raise errors.NoNetworkAvailable()
