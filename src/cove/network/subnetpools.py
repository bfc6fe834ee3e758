"""Subnet pools: prefixes that subnets are cut out of, by a length or by name, each address once.

What of a pool is taken follows from the subnets that name it; one transaction at a time cuts from a pool (a lock of
the database). In an address scope no two pools share an address, so that none of their subnets do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import sqlalchemy as sa

from cove.db import locks
from cove.network import address_scopes, errors, prefixes, queries, rbac_policies, tags
from cove.network.ipam import IPNetwork, Range, network_of
from cove.network.models import subnetpools, subnets
from cove.network.resource import Object, Resource
from cove.network.rows import Row, new_row, standard
from cove.network.tables.subnetpool import SUBNETPOOL
from cove.network.transaction import Reading, Transaction

MIN_PREFIX_LENGTH = {4: 8, 6: 64}
"""min_prefixlen of a pool that names none; it is also its default_prefixlen then."""
QUOTA_PREFIX_LENGTH = {4: 32, 6: 64}
"""What default_quota counts: IPv4 addresses, IPv6 networks of this length."""

_p = sa.bindparam
_insert = sa.insert(subnetpools)
_by_id = sa.select(subnetpools).where(subnetpools.c.id == _p("id"))
_default = sa.select(subnetpools).where(
    subnetpools.c.is_default == sa.true(), subnetpools.c.ip_version == _p("ip_version")
)
_cut = sa.select(subnets.c.cidr, subnets.c.project_id).where(subnets.c.subnetpool_id == _p("id"))
_used = sa.select(subnets.c.id).where(subnets.c.subnetpool_id == _p("id")).limit(1)
_delete = sa.delete(subnetpools).where(subnetpools.c.id == _p("id"))
_others_in_scope = sa.select(subnetpools.c.prefixes).where(
    subnetpools.c.address_scope_id == _p("scope"), subnetpools.c.id != _p("id")
)
_mixed_networks = (
    sa.select(subnets.c.network_id)
    .where(
        subnets.c.ip_version == _p("ip_version"),
        subnets.c.subnetpool_id.is_distinct_from(_p("id")),
        subnets.c.network_id.in_(sa.select(subnets.c.network_id).where(subnets.c.subnetpool_id == _p("id"))),
    )
    .limit(1)
)


# --- showing ---------------------------------------------------------------------------------------------------------


def subnetpool_dict(row: Row, shared: bool, tags: list[str]) -> Object:
    """A subnet pool as the API shows it. Prefix lengths are text there (so says Neutron)."""
    return {
        "id": row["id"],
        "name": row["name"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "prefixes": row["prefixes"],
        "default_quota": row["default_quota"],
        "ip_version": row["ip_version"],
        "default_prefixlen": str(row["default_prefixlen"]),
        "min_prefixlen": str(row["min_prefixlen"]),
        "max_prefixlen": str(row["max_prefixlen"]),
        "is_default": row["is_default"],
        "shared": shared,
        "address_scope_id": row["address_scope_id"],
        **standard(row, tags),
    }


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Subnet pools as the API shows them."""
    ids = [row["id"] for row in rows]
    sharing = rbac_policies.sharing_of(reading, "subnetpool", ids)
    tags_of = tags.of(reading, "subnetpool", ids)
    return [subnetpool_dict(row, sharing[row["id"]].shared, tags_of.get(row["id"], [])) for row in rows]


# --- rules -----------------------------------------------------------------------------------------------------------


def checked_prefixes(given: Sequence[str]) -> list[IPNetwork]:
    """The prefixes of a pool, the fewest that hold the same addresses.

    Raises EmptySubnetPoolPrefixList, PrefixVersionMismatch.
    """
    if not given:
        raise errors.EmptySubnetPoolPrefixList
    networks = [network_of(prefix) for prefix in given]
    if len({network.version for network in networks}) > 1:
        raise errors.PrefixVersionMismatch
    return prefixes.compact(networks)


def check_prefix_lengths(ip_version: int, values: Mapping[str, int]) -> None:
    """Refuse lengths that contradict each other. Raises IllegalSubnetPoolPrefixBounds."""
    low, high, default = (values[f"{which}_prefixlen"] for which in ("min", "max", "default"))
    bits = prefixes.BITS[ip_version]
    for wrong, name, value, other, bound in (
        (low > high, "min_prefixlen", low, "max_prefixlen", high),
        (high > bits, "max_prefixlen", high, "the most of the IP version,", bits),
        (default < low, "default_prefixlen", default, "min_prefixlen", low),
        (default > high, "default_prefixlen", default, "max_prefixlen", high),
    ):
        if wrong:
            raise errors.IllegalSubnetPoolPrefixBounds(
                prefix_type=name, prefixlen=value, base_prefix_type=other, base_prefixlen=bound
            )


def _check_default(tx: Transaction, ip_version: int) -> None:
    """There is one default pool at most for each IP version. Raises InvalidInput."""
    locks.lock(tx.connection, "subnetpool", f"default-{ip_version}")
    if tx.connection.execute(_default, {"ip_version": ip_version}).first() is not None:
        raise errors.InvalidInput(reason=f"there is a default subnet pool for IPv{ip_version} already")


def _check_address_scope(tx: Transaction, pool_id: str, row: Mapping[str, Any], *, moves: bool) -> None:
    """Whether a pool may be in its address scope, as it is (`row`).

    Raises AddressScopeNotFound, IllegalSubnetPoolIpVersionAssociationToAddressScope, NetworkAddressScopeAffinityError,
    AddressScopePrefixConflict.
    """
    scope_id = row["address_scope_id"]
    if scope_id is None:
        return
    found = queries.row(tx, address_scopes.RESOURCE, scope_id)
    if found["ip_version"] != row["ip_version"]:
        raise errors.IllegalSubnetPoolIpVersionAssociationToAddressScope(
            subnetpool_id=pool_id, address_scope_id=scope_id, ip_version=found["ip_version"]
        )
    mixed = {"ip_version": row["ip_version"], "id": pool_id}
    if moves and tx.connection.execute(_mixed_networks, mixed).first() is not None:
        raise errors.NetworkAddressScopeAffinityError(
            ip_version=row["ip_version"], reason="a network with subnets of this pool has others, too"
        )
    locks.lock(tx.connection, "address_scope", scope_id)
    others = tx.connection.execute(_others_in_scope, {"scope": scope_id, "id": pool_id}).scalars()
    taken = prefixes.ranges_of(network_of(prefix) for some in others for prefix in some)
    if prefixes.overlap(prefixes.ranges_of(map(network_of, row["prefixes"])), taken):
        raise errors.AddressScopePrefixConflict


# --- transactions ----------------------------------------------------------------------------------------------------


def create(tx: Transaction, pool_id: str, values: dict[str, Any]) -> Object:
    """Make a subnet pool. Raises InvalidInput and the errors of the rules above."""
    networks = checked_prefixes(values["prefixes"])
    version = networks[0].version
    row = new_row(SUBNETPOOL, subnetpools, pool_id, values, tx.now_text)
    row |= {"prefixes": [str(network) for network in networks], "ip_version": version}
    row.setdefault("min_prefixlen", MIN_PREFIX_LENGTH[version])
    row.setdefault("max_prefixlen", prefixes.BITS[version])
    row.setdefault("default_prefixlen", row["min_prefixlen"])
    check_prefix_lengths(version, row)
    if row["is_default"]:
        _check_default(tx, version)
    _check_address_scope(tx, pool_id, row, moves=False)
    tx.connection.execute(_insert, row)
    if values["shared"]:
        rbac_policies.set_shared(tx, "subnetpool", pool_id, row["project_id"], True)
    return subnetpool_dict(row, values["shared"], [])


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change a subnet pool. Raises IllegalSubnetPoolUpdate, IllegalSubnetPoolPrefixUpdate, and what `create` raises."""
    after = dict(row) | {column: changes[name] for name, column in SUBNETPOOL.columns if name in changes}
    if "prefixes" in changes:
        if not changes["prefixes"]:
            raise errors.IllegalSubnetPoolPrefixUpdate(msg="there would be none")
        networks = checked_prefixes(changes["prefixes"])
        before = prefixes.ranges_of(map(network_of, row["prefixes"]))
        if networks[0].version != row["ip_version"]:
            raise errors.PrefixVersionMismatch
        if prefixes.difference(before, prefixes.ranges_of(networks)):
            raise errors.IllegalSubnetPoolPrefixUpdate(
                msg=f"the prefixes must go on to hold all of {', '.join(row['prefixes'])}"
            )
        after["prefixes"] = [str(network) for network in networks]
    return write(tx, row, after)


def write(tx: Transaction, row: Row, after: dict[str, Any]) -> Object:
    """Check and store a pool as it is to be; returns it as the API shows it. Raises the errors of the rules above."""
    _refuse_foreign_scope(tx, row)
    changed = {name: value for name, value in after.items() if row[name] != value}
    if changed:
        check_prefix_lengths(after["ip_version"], after)
        if after["is_default"] and not row["is_default"]:
            _check_default(tx, after["ip_version"])
        if "prefixes" in changed or "address_scope_id" in changed:
            _check_address_scope(tx, row["id"], after, moves="address_scope_id" in changed)
        changed |= {"revision_number": row["revision_number"] + 1, "updated_at": tx.now_text}
        tx.connection.execute(sa.update(subnetpools).where(subnetpools.c.id == row["id"]).values(**changed))
    return view(tx, [after | changed])[0]


def _refuse_foreign_scope(tx: Transaction, row: Row) -> None:
    """What is in another project's address scope is changed by an admin only.

    Raises IllegalSubnetPoolUpdate, AddressScopeNotFound.
    """
    scope_id = row["address_scope_id"]
    if scope_id is None or tx.context.is_admin:
        return
    if queries.row(tx, address_scopes.RESOURCE, scope_id)["project_id"] != tx.context.project_id:
        raise errors.IllegalSubnetPoolUpdate(reason=f"it is in address scope {scope_id} of another project")


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a subnet pool. Raises SubnetPoolDeleteError."""
    locks.lock(tx.connection, "subnetpool", row["id"])
    if tx.connection.execute(_used, {"id": row["id"]}).first() is not None:
        raise errors.SubnetPoolDeleteError(reason="there are subnets from it")
    gone = view(tx, [row])[0]
    rbac_policies.remove_all(tx, [row["id"]])
    tags.remove(tx, [row["id"]])
    tx.connection.execute(_delete, {"id": row["id"]})
    return gone


# --- cutting subnets out of a pool -----------------------------------------------------------------------------------


def pool_for(tx: Transaction, values: Mapping[str, Any]) -> Row | None:
    """The pool that a new subnet is to come from: the one named, or the default one if asked for.

    Raises BadRequest, SubnetPoolNotFound. The pool is locked.
    """
    pool_id, use_default = values.get("subnetpool_id"), values.get("use_default_subnetpool")
    if pool_id and use_default:
        raise errors.BadRequest("subnetpool_id and use_default_subnetpool exclude each other; give one of them")
    if pool_id:
        locks.lock(tx.connection, "subnetpool", pool_id)
        pool = queries.row(tx, RESOURCE, pool_id)
    elif use_default:
        version = values["ip_version"]
        row = tx.connection.execute(_default, {"ip_version": version}).mappings().first()
        if row is None:
            raise errors.BadRequest(f"there is no default subnet pool for IPv{version}; name one, or give a cidr")
        locks.lock(tx.connection, "subnetpool", row["id"])
        pool = dict(tx.connection.execute(_by_id, {"id": row["id"]}).mappings().one())
    else:
        return None
    if pool["ip_version"] != values["ip_version"]:
        raise errors.BadRequest(
            f"subnet pool {pool['id']} has IPv{pool['ip_version']} prefixes, ip_version is {values['ip_version']}"
        )
    return pool


def cut(tx: Transaction, pool: Row, project_id: str, wanted: IPNetwork | int) -> IPNetwork:
    """A free prefix of a pool (which `pool_for` has locked): the one wanted, or one of the wanted length.

    Raises MinPrefixSubnetAllocationError, MaxPrefixSubnetAllocationError, SubnetPoolQuotaExceeded,
    SubnetAllocationError.
    """
    version = pool["ip_version"]
    length = wanted if isinstance(wanted, int) else wanted.prefixlen
    if length > pool["max_prefixlen"]:
        raise errors.MaxPrefixSubnetAllocationError(prefixlen=length, max_prefixlen=pool["max_prefixlen"])
    if length < pool["min_prefixlen"]:
        raise errors.MinPrefixSubnetAllocationError(prefixlen=length, min_prefixlen=pool["min_prefixlen"])
    rows = tx.connection.execute(_cut, {"id": pool["id"]}).all()
    if pool["default_quota"]:
        own = [ipaddress.ip_network(cidr).prefixlen for cidr, owner in rows if owner == project_id]
        _check_quota(version, pool["default_quota"], own, length)
    taken = prefixes.ranges_of(ipaddress.ip_network(cidr) for cidr, _ in rows)
    free = prefixes.difference(prefixes.ranges_of(map(network_of, pool["prefixes"])), taken)
    if isinstance(wanted, int):
        found = prefixes.first_fit(free, version, wanted)
        if found is None:
            raise errors.SubnetAllocationError(reason=f"there is no room for a /{wanted}")
        return found
    if not prefixes.contains(free, wanted):
        raise errors.SubnetAllocationError(reason=f"{wanted} is not in its prefixes, or a subnet is there already")
    return wanted


def _check_quota(ip_version: int, quota: int, lengths: Sequence[int], length: int) -> None:
    """A project's share of a pool. Smaller networks than the unit count as fractions of it."""
    unit = QUOTA_PREFIX_LENGTH[ip_version]
    used = sum((Fraction(2) ** (unit - each) for each in lengths), Fraction(0))
    wanted = Fraction(2) ** (unit - length)
    if used + wanted > quota:
        raise errors.SubnetPoolQuotaExceeded(
            used=f"{float(used):g}",
            wanted=f"{float(wanted):g}",
            quota=quota,
            unit="addresses" if ip_version == 4 else "/64 networks",
        )


def taken(tx: Transaction, pool_id: str) -> list[Range]:
    """The addresses of all subnets from a pool, which is locked first."""
    locks.lock(tx.connection, "subnetpool", pool_id)
    rows = tx.connection.execute(_cut, {"id": pool_id})
    return prefixes.ranges_of(ipaddress.ip_network(cidr) for cidr, _ in rows)


_FILTERS: Mapping[str, Any] = {"shared": rbac_policies.shared_filter("subnetpool"), **tags.filters(subnetpools)}

RESOURCE = Resource(
    attributes=SUBNETPOOL,
    table=subnetpools,
    view=view,
    scope=rbac_policies.own_or_shared("subnetpool"),
    create=create,
    update=update,
    delete=delete,
    filters=_FILTERS,
    tagged=True,
)
