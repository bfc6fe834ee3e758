"""Ports inside a write transaction: create, update, delete, and the DHCP provisioning block.

A port that a DHCP server has to know of is created DOWN with the block set; it becomes ACTIVE when an agent says that
its server would answer (`dhcp_ready`). A port without an address in a DHCP subnet, and the network service's own
ports, have no block. A change of what DHCP serves for the port sets the block again. The agent's message names ports,
not revisions: one that answers for the state before a change may lift the block of the change a moment early.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cove.network import addresses, errors, notifier, queries
from cove.network.models import ports
from cove.network.rows import ACTIVE, DOWN, full_name, network_dict, port_dict
from cove.network.transaction import Transaction

MAC_BASE = "fa:16:3e"
OWNER_PREFIX_NETWORK = "network:"
DNS_NAME_LENGTH_MAX = 253
PROTECTED_OWNERS = (
    "network:router_interface",
    "network:router_gateway",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
    "network:router_centralized_snat",
    "network:floatingip",
)
"""Owners whose ports go with their router or floating IP, never by themselves."""

COLUMN_OF = {
    "binding:vnic_type": "binding_vnic_type",
    "binding:host_id": "binding_host_id",
    "binding:profile": "binding_profile",
}

_p = sa.bindparam
_insert = sa.insert(ports)
_mac_holder = sa.select(ports.c.id).where(ports.c.network_id == _p("network_id"), ports.c.mac_address == _p("mac"))
_delete = sa.delete(ports).where(ports.c.id == _p("port_id"))
_random = random.SystemRandom()


def random_mac() -> str:
    """An address under Cove's (and OpenStack's) prefix; uniqueness is the database's constraint."""
    tail = _random.getrandbits(24)
    return f"{MAC_BASE}:{tail >> 16:02x}:{tail >> 8 & 255:02x}:{tail & 255:02x}"


def create(tx: Transaction, port_id: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """Make a port with its addresses. Raises NetworkNotFound, MacAddressInUse, and what `addresses.allocate` raises.

    A collision of a random MAC shows as IntegrityError: the transaction is to be run again.
    """
    connection, network_id = tx.connection, attributes["network_id"]
    network_row = tx.networks.get(network_id)
    if network_row is None:
        network_row = tx.networks[network_id] = queries.network_row(connection, tx.context, network_id)
    mac = attributes.get("mac_address")
    if mac is not None:
        _refuse_used_mac(tx, network_id, mac)
    else:
        mac = random_mac()
    _check_dns_name(tx, attributes["dns_name"])
    owner = attributes["device_owner"]
    wanted = attributes.get("fixed_ips")
    row = {
        "id": port_id,
        "project_id": attributes["project_id"],
        "name": attributes["name"],
        "description": attributes["description"],
        "revision_number": 1,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
        "network_id": network_id,
        "mac_address": mac,
        "admin_state_up": attributes["admin_state_up"],
        "device_id": attributes["device_id"],
        "device_owner": owner,
        "binding_host_id": attributes["binding:host_id"],
        "binding_vnic_type": attributes["binding:vnic_type"],
        "binding_profile": attributes["binding:profile"],
        "extra_dhcp_opts": [o for o in attributes["extra_dhcp_opts"] if o["opt_value"] is not None],
        "allowed_address_pairs": _with_macs(attributes["allowed_address_pairs"], mac),
        "port_security_enabled": attributes.get("port_security_enabled", network_row["port_security_enabled"]),
        "dns_name": attributes["dns_name"],
        "ip_allocation": "none" if wanted == [] else "immediate",
    }
    subnets = addresses.subnets_of(tx, network_id)
    dhcp_subnets = {subnet["id"] for subnet in subnets if subnet["enable_dhcp"]}
    # The row must exist before its addresses, and its status depends on them: without a DHCP subnet nothing is
    # pending; with one, the rare port that gets no address in it is set right below.
    pending = bool(dhcp_subnets) and wanted != [] and not owner.startswith(OWNER_PREFIX_NETWORK)
    row["dhcp_pending"] = pending
    row["status"] = _status(row["admin_state_up"], pending)
    connection.execute(_insert, row)
    fixed_ips = addresses.allocate(tx, network_id, port_id, wanted)
    if pending and not any(entry["subnet_id"] in dhcp_subnets for entry in fixed_ips):
        row["dhcp_pending"], row["status"] = False, _status(row["admin_state_up"], pending=False)
        connection.execute(
            sa.update(ports).where(ports.c.id == port_id).values(dhcp_pending=False, status=row["status"])
        )
    port = port_dict(row, fixed_ips, tx.config.dns_domain)
    network = network_dict(network_row, [subnet["id"] for subnet in subnets])
    notifier.notify(tx, {"port": port, "network": network}, "port.create.end")
    return port


def update(tx: Transaction, port_id: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change a port. Raises PortNotFound, MacAddressInUse, PortBound, UnsupportedPortDeviceOwner, address errors.

    Agents are told only if what DHCP serves changed.
    """
    connection = tx.connection
    row = dict(queries.port_row(connection, tx.context, port_id))
    network_id = row["network_id"]
    fixed_ips = queries.port_fixed_ips(connection, port_id)
    before = port_dict(row, fixed_ips, tx.config.dns_domain)

    new = {COLUMN_OF.get(name, name): value for name, value in changes.items()}
    wanted = new.pop("fixed_ips", None)
    new = {name: value for name, value in new.items() if name in ports.c}
    if "extra_dhcp_opts" in new:
        new["extra_dhcp_opts"] = merge_dhcp_opts(row["extra_dhcp_opts"], new["extra_dhcp_opts"])
    if "allowed_address_pairs" in new:
        new["allowed_address_pairs"] = _with_macs(new["allowed_address_pairs"], row["mac_address"])
    new = {name: value for name, value in new.items() if row[name] != value}
    if "mac_address" in new:
        _check_mac_change(tx, row, new)
    _check_dns_name(tx, new.get("dns_name", ""))
    after_ips = fixed_ips
    if wanted is not None:
        after_ips = addresses.change(tx, network_id, port_id, fixed_ips, wanted)
        if after_ips != fixed_ips:
            new["ip_allocation"] = "immediate" if after_ips else "none"
    if not new and after_ips == fixed_ips:
        return before

    row |= new
    after = port_dict(row, after_ips, tx.config.dns_domain)
    relevant = notifier.dhcp_relevant_change(before, after)
    if relevant:
        dhcp_subnets = {s["id"] for s in addresses.subnets_of(tx, network_id) if s["enable_dhcp"]}
        row["dhcp_pending"] = any(entry["subnet_id"] in dhcp_subnets for entry in after_ips) and not row[
            "device_owner"
        ].startswith(OWNER_PREFIX_NETWORK)
    row["status"] = _status(row["admin_state_up"], row["dhcp_pending"])
    row["revision_number"] += 1
    row["updated_at"] = tx.now_text
    written = {*new, "dhcp_pending", "status", "revision_number", "updated_at"}
    connection.execute(sa.update(ports).where(ports.c.id == port_id).values({name: row[name] for name in written}))
    port = port_dict(row, after_ips, tx.config.dns_domain)
    if relevant:
        notifier.notify(tx, {"port": port}, "port.update.end")
    return port


def delete(tx: Transaction, port_id: str, *, protect: bool = True) -> dict[str, Any]:
    """Remove a port and give its addresses back. Raises PortNotFound, ServicePortInUse."""
    row = queries.port_row(tx.connection, tx.context, port_id)
    if protect and row["device_owner"] in PROTECTED_OWNERS:
        raise errors.ServicePortInUse(
            port_id=port_id,
            reason=f"its device_owner is {row['device_owner']}; remove it from its router, or change its device_owner",
        )
    fixed_ips = queries.port_fixed_ips(tx.connection, port_id)
    port = port_dict(row, fixed_ips, tx.config.dns_domain)
    addresses.release(tx, row["network_id"], port_id, fixed_ips)
    tx.connection.execute(_delete, {"port_id": port_id})
    notifier.notify(tx, {"port": port}, "port.delete.end")
    return port


def dhcp_ready(tx: Transaction, port_ids: Sequence[str]) -> list[str]:
    """Lift the DHCP block of ports; returns those that became ACTIVE by it. Unknown ports are ignored."""
    statement = (
        sa.update(ports)
        .where(ports.c.id.in_(list(port_ids)), ports.c.dhcp_pending == sa.true())
        .values(
            dhcp_pending=False,
            status=sa.case((ports.c.admin_state_up == sa.true(), ACTIVE), else_=DOWN),
            revision_number=ports.c.revision_number + 1,
            updated_at=tx.now_text,
        )
        .returning(ports.c.id, ports.c.status)
    )
    return [port_id for port_id, status in tx.connection.execute(statement) if status == ACTIVE]


def by_device(tx: Transaction, network_id: str, device_id: str) -> list[str]:
    """Ids of the ports of a network with that device id."""
    found = sa.select(ports.c.id).where(ports.c.device_id == device_id, ports.c.network_id == network_id)
    return list(tx.connection.execute(found).scalars())


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


def _status(admin_state_up: bool, pending: bool) -> str:
    return ACTIVE if admin_state_up and not pending else DOWN


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


def _check_mac_change(tx: Transaction, row: dict[str, Any], new: dict[str, Any]) -> None:
    owner = new.get("device_owner", row["device_owner"])
    if owner.startswith(OWNER_PREFIX_NETWORK):
        raise errors.UnsupportedPortDeviceOwner(
            operation="changing the MAC address", port_id=row["id"], device_owner=owner
        )
    host = new.get("binding_host_id", row["binding_host_id"])
    if host:
        raise errors.PortBound(port_id=row["id"], host=host, old_mac=row["mac_address"], new_mac=new["mac_address"])
    _refuse_used_mac(tx, row["network_id"], new["mac_address"])
