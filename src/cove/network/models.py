"""The tables of the Networking service (SQLAlchemy Core), on the MetaData shared by all packages.

Two uniqueness constraints carry the promise that no two ports of a network share an address: `(network_id,
mac_address)` on ports and `(network_id, ip_address)` on ip_allocations. Free addresses are kept as *ranges of offsets
from the subnet's first address*, so that the next free one is a single index look-up however many are taken (and so
that a /64 will fit in 64 bits).
"""

from __future__ import annotations

import sqlalchemy as sa

from cove.db.schema import Json, metadata


def _standard() -> list[sa.Column[object]]:
    """The columns that every resource has (Neutron: standard attributes)."""
    return [
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("revision_number", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.String(20), nullable=False),
        sa.Column("updated_at", sa.String(20), nullable=False),
    ]


networks = sa.Table(
    "networks",
    metadata,
    *_standard(),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("shared", sa.Boolean, nullable=False),
    sa.Column("mtu", sa.Integer, nullable=False),
    sa.Column("router_external", sa.Boolean, nullable=False),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False),
    sa.Column("dns_domain", sa.String(255), nullable=False),
    sa.Index("ix_networks_project_id", "project_id"),
)

subnets = sa.Table(
    "subnets",
    metadata,
    *_standard(),
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id"), nullable=False),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("cidr", sa.String(64), nullable=False),
    sa.Column("gateway_ip", sa.String(64), nullable=True),
    sa.Column("enable_dhcp", sa.Boolean, nullable=False),
    sa.Column("dns_nameservers", Json, nullable=False),
    sa.Column("host_routes", Json, nullable=False),
    sa.Column("allocation_pools", Json, nullable=False),
    # Their order on the network, which decides where automatic addresses come from; created_at is too coarse.
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Index("ix_subnets_network_id", "network_id"),
)

subnet_free_ranges = sa.Table(
    "subnet_free_ranges",
    metadata,
    sa.Column("subnet_id", sa.String(36), sa.ForeignKey("subnets.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Index("ix_subnet_free_ranges_subnet_id_last", "subnet_id", "last", unique=True),
    sqlite_with_rowid=False,
)

ports = sa.Table(
    "ports",
    metadata,
    *_standard(),
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id"), nullable=False),
    sa.Column("mac_address", sa.String(17), nullable=False),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    # The DHCP provisioning block: set until an agent says that it would answer for this port.
    sa.Column("dhcp_pending", sa.Boolean, nullable=False),
    sa.Column("device_id", sa.String(255), nullable=False),
    sa.Column("device_owner", sa.String(255), nullable=False),
    sa.Column("binding_host_id", sa.String(255), nullable=False),
    sa.Column("binding_vnic_type", sa.String(64), nullable=False),
    sa.Column("binding_profile", Json, nullable=False),
    sa.Column("extra_dhcp_opts", Json, nullable=False),
    sa.Column("allowed_address_pairs", Json, nullable=False),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False),
    sa.Column("dns_name", sa.String(255), nullable=False),
    sa.Column("ip_allocation", sa.String(16), nullable=False),
    sa.Index("uq_ports_network_id_mac_address", "network_id", "mac_address", unique=True),
    sa.Index("ix_ports_device_id", "device_id"),
)

ip_allocations = sa.Table(
    "ip_allocations",
    metadata,
    sa.Column("network_id", sa.String(36), primary_key=True),
    sa.Column("ip_address", sa.String(64), primary_key=True),
    sa.Column("subnet_id", sa.String(36), sa.ForeignKey("subnets.id"), nullable=False),
    sa.Column("port_id", sa.String(36), sa.ForeignKey("ports.id", ondelete="CASCADE"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Index("ix_ip_allocations_port_id", "port_id"),
    sa.Index("ix_ip_allocations_subnet_id", "subnet_id"),
    sqlite_with_rowid=False,
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("agent_type", sa.String(64), nullable=False),
    sa.Column("binary", sa.String(255), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("topic", sa.String(255), nullable=False),
    sa.Column("availability_zone", sa.String(255), nullable=False),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("configurations", Json, nullable=False),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("created_at", sa.String(20), nullable=False),
    # Seconds since the epoch. started_at is null until the first report.
    sa.Column("started_at", sa.Float, nullable=True),
    sa.Column("heartbeat_at", sa.Float, nullable=False),
    sa.UniqueConstraint("agent_type", "host"),
)

network_dhcp_agent_bindings = sa.Table(
    "network_dhcp_agent_bindings",
    metadata,
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("agent_id", sa.String(36), sa.ForeignKey("agents.id", ondelete="CASCADE"), primary_key=True),
    sa.Index("ix_network_dhcp_agent_bindings_agent_id", "agent_id"),
    sqlite_with_rowid=False,
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("network_id", sa.String(36), nullable=False),
    sa.Column("method", sa.String(64), nullable=False),
    # The agent's host, or null for a fanout.
    sa.Column("host", sa.String(255), nullable=True),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)
