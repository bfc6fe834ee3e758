"""Ports: how they are shown, and creating, changing and deleting them inside a write transaction.

A port that a DHCP server has to know of is created DOWN with the provisioning block set; it becomes ACTIVE when an
agent says that its server would answer (`cove.network.provisioning`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cove.db.idlist import ids_parameter, in_ids
from cove.network import addresses, errors, networks, notifier, queries, security_groups, tags
from cove.network.context import RequestContext
from cove.network.models import ip_allocations, ports
from cove.network.models import networks as networks_table
from cove.network.provisioning import pending_after, status_of
from cove.network.resource import Filter, Object, Resource
from cove.network.rows import Row, new_row, standard
from cove.network.tables.port import PORT
from cove.network.transaction import Reading, Transaction

MAC_BASE = "fa:16:3e"
OWNER_PREFIX_NETWORK = "network:"
DNS_NAME_LENGTH_MAX = 253
MAC_OF_HARDWARE = frozenset({"baremetal", "direct-physical"})
"""Kinds of ports whose MAC address is that of a device, and changes with it even where the port is bound."""

VIF_UNBOUND = "unbound"
VIF_BRIDGE = "bridge"

_p = sa.bindparam
_insert = sa.insert(ports)
_mac_holder = sa.select(ports.c.id).where(ports.c.network_id == _p("network_id"), ports.c.mac_address == _p("mac"))
_delete = sa.delete(ports).where(ports.c.id == _p("port_id"))
_allocations = sa.select(ip_allocations.c.port_id, ip_allocations.c.subnet_id, ip_allocations.c.ip_address).order_by(
    ip_allocations.c.position
)
_allocations_of_many = _allocations.where(in_ids(ip_allocations.c.port_id, "ids"))
_macs_taken = sa.select(ports.c.mac_address).where(
    ports.c.network_id == _p("network_id"), in_ids(ports.c.mac_address, "ids")
)
_random = random.SystemRandom()
_MACS = "ports.macs"
MACS_DRAWN = 64
"""Random addresses that a bulk request looks up at once."""
MAC_DRAWS_MAX = 32


# --- showing ---------------------------------------------------------------------------------------------------------


def port_dict(row: Row, fixed_ips: list[dict[str, str]], groups: list[str], tags: list[str], dns_domain: str) -> Object:
    """A port as the API and the agents see it. `dns_domain`: the domain of the names handed out."""
    host = row["binding_host_id"]
    return {
        "id": row["id"],
        "name": row["name"],
        "network_id": row["network_id"],
        "project_id": row["project_id"],
        "tenant_id": row["project_id"],
        "mac_address": row["mac_address"],
        "admin_state_up": row["admin_state_up"],
        "status": row["status"],
        "device_id": row["device_id"],
        "device_owner": row["device_owner"],
        "fixed_ips": fixed_ips,
        "allowed_address_pairs": row["allowed_address_pairs"],
        "extra_dhcp_opts": row["extra_dhcp_opts"],
        "security_groups": groups,
        "port_security_enabled": row["port_security_enabled"],
        "dns_name": row["dns_name"],
        "dns_assignment": dns_assignment(row["dns_name"], fixed_ips, dns_domain),
        "dns_domain": row["dns_domain"],
        "binding:vnic_type": row["binding_vnic_type"],
        "binding:host_id": host,
        "binding:profile": row["binding_profile"],
        "binding:vif_type": VIF_BRIDGE if host else VIF_UNBOUND,
        "binding:vif_details": {"bridge_name": f"brq{row['network_id'][:11]}"} if host else {},
        "propagate_uplink_status": row["propagate_uplink_status"],
        "ip_allocation": row["ip_allocation"],
        **standard(row, tags),
    }


def dns_assignment(dns_name: str, fixed_ips: Sequence[Mapping[str, str]], dns_domain: str) -> list[dict[str, str]]:
    """The names of a port's addresses (Neutron: dns-integration); host-192-0-2-10 where the port has no name."""
    assignment = []
    for fixed_ip in fixed_ips:
        address = fixed_ip["ip_address"]
        name = dns_name or f"host-{address.replace('.', '-').replace(':', '-')}"
        fqdn = full_name(name, dns_domain)
        assignment.append({"ip_address": address, "hostname": name, "fqdn": fqdn})
    return assignment


def full_name(name: str, dns_domain: str) -> str:
    """The fully qualified name, with its last dot: in the domain, unless the name has its last dot itself."""
    domain = dns_domain.rstrip(".")
    if name.endswith("."):
        return name
    return f"{name}.{domain}." if domain else f"{name}."


def view(reading: Reading, rows: Sequence[Row]) -> list[Object]:
    """Ports as the API shows them."""
    ids = [row["id"] for row in rows]
    by_port: dict[str, list[dict[str, str]]] = {}
    for port_id, subnet_id, ip_address in reading.connection.execute(_allocations_of_many, {"ids": ids_parameter(ids)}):
        by_port.setdefault(port_id, []).append({"subnet_id": subnet_id, "ip_address": ip_address})
    groups_of = security_groups.of_ports(reading, ids)
    tags_of = tags.of(reading, "port", ids)
    domain = reading.config.dns_domain
    return [
        port_dict(row, by_port.get(row["id"], []), groups_of.get(row["id"], []), tags_of.get(row["id"], []), domain)
        for row in rows
    ]


def scope(context: RequestContext) -> sa.ColumnElement[bool]:
    """One's own ports, and all ports on one's own networks."""
    return sa.or_(_own(context), _on_own_networks(context))


def _own(context: RequestContext) -> sa.ColumnElement[bool]:
    return ports.c.project_id == context.project_id


def _on_own_networks(context: RequestContext) -> sa.ColumnElement[bool]:
    own_networks = sa.select(networks_table.c.id).where(networks_table.c.project_id == context.project_id)
    return ports.c.network_id.in_(own_networks)


def _of_projects_before(context: RequestContext) -> sa.ColumnElement[bool]:
    return sa.and_(_on_own_networks(context), ports.c.project_id < context.project_id)


def _of_projects_after(context: RequestContext) -> sa.ColumnElement[bool]:
    return sa.and_(_on_own_networks(context), ports.c.project_id > context.project_id)


def _with_fixed_ips(_reading: Reading, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Ports with an address that matches one value of every kind given (Networking v2.0: filter fixed_ips)."""
    conditions = []
    for key in {key for key, _ in values}:
        wanted = [value for k, value in values if k == key]
        column = ip_allocations.c.subnet_id if key == "subnet_id" else ip_allocations.c.ip_address
        match = (
            sa.or_(*(column.contains(value, autoescape=True) for value in wanted))
            if key == "ip_address_substr"
            else column.in_(wanted)
        )
        conditions.append(ports.c.id.in_(sa.select(ip_allocations.c.port_id).where(match)))
    return sa.and_(*conditions)


# --- transactions ----------------------------------------------------------------------------------------------------


def random_mac() -> str:
    """An address under Cove's (and OpenStack's) prefix; uniqueness is the database's constraint."""
    tail = _random.getrandbits(24)
    return f"{MAC_BASE}:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"


def new_mac(tx: Transaction, network_id: str) -> str:
    """A random address for another port of the network.

    The first of a transaction just takes its chance: a collision, which is rare, shows as IntegrityError, and the
    transaction is run again. For the many ports of a bulk request some would collide each time, so further addresses
    are looked up before, many at once.
    Raises MacAddressGenerationFailure.
    """
    ready: list[str] | None = tx.memory.get((_MACS, network_id))
    if ready is None:
        tx.memory[_MACS, network_id] = []
        return random_mac()
    for _ in range(MAC_DRAWS_MAX):
        if ready:
            return ready.pop()
        drawn = {random_mac() for _ in range(MACS_DRAWN)}
        taken = tx.connection.execute(_macs_taken, {"network_id": network_id, "ids": ids_parameter(drawn)}).scalars()
        ready += drawn.difference(taken)
    raise errors.MacAddressGenerationFailure(network_id=network_id)


def create(tx: Transaction, port_id: str, values: dict[str, Any]) -> Object:
    """Make a port with its addresses. Raises NetworkNotFound, MacAddressInUse, and what `addresses.allocate` raises.

    A collision of a random MAC shows as IntegrityError: the transaction is to be run again.
    """
    connection, network_id = tx.connection, values["network_id"]
    network_row = networks.row_for_use(tx, network_id)
    mac = values.get("mac_address")
    if mac is not None:
        _refuse_used_mac(tx, network_id, mac)
    else:
        mac = new_mac(tx, network_id)
    _check_dns_name(tx, values["dns_name"])
    owner, wanted = values["device_owner"], values.get("fixed_ips")
    secured = _secured(values, network_row["port_security_enabled"])
    pairs = values.get("allowed_address_pairs") or []
    security_groups.check_port_security(
        secured, groups=values.get("security_groups") or (), groups_given=True, pairs=pairs
    )
    groups = security_groups.for_port(
        tx,
        values["project_id"],
        values.get("security_groups"),
        port_security=secured,
        trusted_owner=owner.startswith(OWNER_PREFIX_NETWORK),
    )
    row = new_row(PORT, ports, port_id, values, tx.now_text) | {
        "mac_address": mac,
        "binding_host_id": values.get("binding:host_id") or "",
        "binding_profile": values.get("binding:profile") or {},
        "extra_dhcp_opts": [option for option in values["extra_dhcp_opts"] if option["opt_value"] is not None],
        "allowed_address_pairs": _with_macs(pairs, mac),
        "port_security_enabled": secured,
        "ip_allocation": "none" if wanted == [] else "immediate",
    }
    subnets = addresses.subnets_of(tx, network_id)
    # The row must exist before its addresses, and its status depends on them: without a DHCP subnet nothing is
    # pending; with one, the rare port that gets no address in it is set right below.
    pending = wanted != [] and pending_after(subnets, (subnet["id"] for subnet in subnets), owner)
    row["dhcp_pending"], row["status"] = pending, status_of(row["admin_state_up"], pending)
    connection.execute(_insert, row)
    fixed_ips = addresses.allocate(tx, network_id, port_id, wanted, mac_address=mac, device_owner=owner)
    if pending and not pending_after(subnets, (entry["subnet_id"] for entry in fixed_ips), owner):
        row["dhcp_pending"], row["status"] = False, status_of(row["admin_state_up"], pending=False)
        connection.execute(
            sa.update(ports).where(ports.c.id == port_id).values(dhcp_pending=False, status=row["status"])
        )
    if groups:
        security_groups.bind(tx, port_id, groups)
    tagged = tags.add(tx, "port", port_id, values.get("tags") or ())
    port = port_dict(row, fixed_ips, groups, tagged, tx.config.dns_domain)
    network = networks.network_for_agents(network_row, [subnet["id"] for subnet in subnets])
    notifier.notify(tx, {"port": port, "network": network}, "port.create.end")
    return port


def update(tx: Transaction, row: Row, changes: dict[str, Any]) -> Object:
    """Change a port. Raises MacAddressInUse, PortBound, UnsupportedPortDeviceOwner, address errors.

    Agents are told only if what DHCP serves changed.
    """
    connection, port_id, network_id = tx.connection, row["id"], row["network_id"]
    before = queries.view_one(tx, RESOURCE, row)
    new = {column: changes[name] for name, column in PORT.columns if name in changes}
    if new.get("mac_address", "") is None:
        new["mac_address"] = new_mac(tx, network_id)
    if new.get("binding_host_id", "") is None:
        new["binding_host_id"] = ""
    if "extra_dhcp_opts" in new:
        new["extra_dhcp_opts"] = merge_dhcp_opts(row["extra_dhcp_opts"], new["extra_dhcp_opts"])
    if "allowed_address_pairs" in new:
        new["allowed_address_pairs"] = _with_macs(
            new["allowed_address_pairs"] or [], new.get("mac_address") or row["mac_address"]
        )
    new = {name: value for name, value in new.items() if row[name] != value}
    if "mac_address" in new:
        _check_mac_change(tx, row, new)
    _check_dns_name(tx, new.get("dns_name", ""))
    owner = str(new.get("device_owner", row["device_owner"]))
    mac = str(new.get("mac_address", row["mac_address"]))
    groups = _update_groups(tx, row, new, before, changes)
    after_ips = before["fixed_ips"]
    if changes.get("fixed_ips") is not None:
        after_ips = addresses.change(
            tx, network_id, port_id, after_ips, changes["fixed_ips"], mac_address=mac, device_owner=owner
        )
    if "mac_address" in new:
        after_ips = addresses.mac_changed(tx, network_id, port_id, after_ips, mac)
    if after_ips != before["fixed_ips"]:
        new["ip_allocation"] = "immediate" if after_ips else "none"
    if not new and after_ips == before["fixed_ips"] and groups == before["security_groups"]:
        return before

    written = dict(row) | new
    after = port_dict(written, after_ips, groups, before["tags"], tx.config.dns_domain)
    relevant = notifier.dhcp_relevant_change(before, after)
    if relevant:
        written["dhcp_pending"] = pending_after(
            addresses.subnets_of(tx, network_id), (entry["subnet_id"] for entry in after_ips), owner
        )
    written["status"] = status_of(written["admin_state_up"], written["dhcp_pending"])
    written["revision_number"] += 1
    written["updated_at"] = tx.now_text
    names = {*new, "dhcp_pending", "status", "revision_number", "updated_at"}
    connection.execute(sa.update(ports).where(ports.c.id == port_id).values({name: written[name] for name in names}))
    port = port_dict(written, after_ips, groups, before["tags"], tx.config.dns_domain)
    if relevant:
        notifier.notify(tx, {"port": port}, "port.update.end")
    return port


def delete(tx: Transaction, row: Row) -> Object:
    """Remove a port, whatever it is for, and give its addresses back."""
    port = queries.view_one(tx, RESOURCE, row)
    addresses.release(tx, row["network_id"], row["id"], port["fixed_ips"])
    tx.connection.execute(_delete, {"port_id": row["id"]})
    if port["tags"]:
        tags.remove(tx, [row["id"]])
    notifier.notify(tx, {"port": port}, "port.delete.end")
    return port


def merge_dhcp_opts(current: Sequence[dict[str, Any]], changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Options of a port after an update: same name and version replaces, a null value removes, the rest stays."""
    merged = {(option["opt_name"], option["ip_version"]): option for option in current}
    for option in changes:
        key = (option["opt_name"], option["ip_version"])
        if option["opt_value"] is None:
            merged.pop(key, None)
        else:
            merged[key] = option
    return list(merged.values())


def _secured(values: Mapping[str, Any], network_default: bool) -> bool:
    """Whether the sender addresses of a new port are guarded (Neutron: port-security)."""
    if values["device_owner"].startswith(OWNER_PREFIX_NETWORK):
        return False
    wanted: bool | None = values.get("port_security_enabled")
    return network_default if wanted is None else wanted


def _update_groups(
    tx: Transaction, row: Row, new: Mapping[str, Any], before: Object, changes: Mapping[str, Any]
) -> list[str]:
    """The security groups of a port after an update, which are written. Raises the errors of port security."""
    secured = new.get("port_security_enabled", row["port_security_enabled"])
    groups: list[str] = before["security_groups"]
    wanted = changes.get("security_groups", groups)
    security_groups.check_port_security(
        secured,
        groups=wanted,
        groups_given="security_groups" in changes,
        pairs=new.get("allowed_address_pairs", row["allowed_address_pairs"]),
    )
    if "security_groups" in changes:
        owner = new.get("device_owner", row["device_owner"])
        groups = security_groups.for_port(
            tx,
            row["project_id"],
            wanted,
            port_security=secured,
            trusted_owner=owner.startswith(OWNER_PREFIX_NETWORK),
        )
        if set(groups) == set(before["security_groups"]):
            return list(before["security_groups"])
        security_groups.rebind(tx, row["id"], groups)
    return groups


def _with_macs(pairs: Sequence[dict[str, str]], mac: str) -> list[dict[str, str]]:
    """A pair without a MAC means the port's own."""
    return [pair if "mac_address" in pair else {**pair, "mac_address": mac} for pair in pairs]


def _check_dns_name(tx: Transaction, name: str) -> None:
    """Refuse a name that is too long once the domain is added (RFC 1035: 255 octets on the wire)."""
    full = full_name(name, tx.config.dns_domain) if name else ""
    if len(full.rstrip(".")) > DNS_NAME_LENGTH_MAX:
        raise errors.InvalidInput(
            reason=f"dns_name and the domain {tx.config.dns_domain} have {len(full)} characters together; "
            f"at most {DNS_NAME_LENGTH_MAX} are allowed"
        )


def _refuse_used_mac(tx: Transaction, network_id: str, mac: str) -> None:
    if tx.connection.execute(_mac_holder, {"network_id": network_id, "mac": mac}).first() is not None:
        raise errors.MacAddressInUse(mac=mac, network_id=network_id)


def _check_mac_change(tx: Transaction, row: Row, new: Mapping[str, Any]) -> None:
    owner = new.get("device_owner", row["device_owner"])
    if owner.startswith(OWNER_PREFIX_NETWORK):
        raise errors.UnsupportedPortDeviceOwner(
            operation="changing the MAC address", port_id=row["id"], device_owner=owner
        )
    host = row["binding_host_id"]
    if host and row["binding_vnic_type"] not in MAC_OF_HARDWARE:
        raise errors.PortBound(port_id=row["id"], host=host, old_mac=row["mac_address"], new_mac=new["mac_address"])
    _refuse_used_mac(tx, row["network_id"], new["mac_address"])


_FILTERS: Mapping[str, Filter] = {
    "fixed_ips": _with_fixed_ips,
    **security_groups.PORT_FILTERS,
    **tags.filters(ports),
}

RESOURCE = Resource(
    attributes=PORT,
    table=ports,
    view=view,
    scope=scope,
    scope_parts=(_own, _of_projects_before, _of_projects_after),
    create=create,
    update=update,
    delete=delete,
    filters=_FILTERS,
    parent=("network", "network_id"),
    tagged=True,
)
