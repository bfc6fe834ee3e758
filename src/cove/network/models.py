"""The tables of the Networking service (SQLAlchemy Core), on the MetaData shared by all packages.

Two uniqueness constraints carry the promise that no two ports of a network share an address: `(network_id,
mac_address)` on ports and `(network_id, ip_address)` on ip_allocations. Free addresses are kept as *ranges of offsets
from the subnet's first address*, so that the next free one is a single index look-up however many are taken. Offsets
of an IPv6 subnet need up to 128 bits: they are text of 32 hexadecimal digits, which sorts as the numbers do.
"""

from __future__ import annotations

import sqlalchemy as sa

from cove.db.schema import Json, metadata


def _named() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
    ]


def _standard(*, description_null: bool = False) -> list[sa.Column[object]]:
    """The columns of Neutron's standard attributes; tags are in a table of their own."""
    return [
        sa.Column("description", sa.String(255), nullable=description_null),
        sa.Column("revision_number", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.String(20), nullable=False),
        sa.Column("updated_at", sa.String(20), nullable=False),
    ]


networks = sa.Table(
    "networks",
    metadata,
    *_named(),
    *_standard(),
    sa.Column("admin_state_up", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("mtu", sa.Integer, nullable=False),
    # Who may use it beside its project is in rbac_policies; this says that it leads outside.
    sa.Column("router_external", sa.Boolean, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("port_security_enabled", sa.Boolean, nullable=False),
    sa.Column("dns_domain", sa.String(255), nullable=False),
    sa.Column("availability_zone_hints", Json, nullable=False),
    sa.Column("network_type", sa.String(32), nullable=False),
    sa.Column("physical_network", sa.String(64), nullable=True),
    sa.Column("segmentation_id", sa.Integer, nullable=True),
    sa.Index("ix_networks_project_id", "project_id"),
)

segment_allocations = sa.Table(
    "segment_allocations",
    metadata,
    sa.Column("network_type", sa.String(32), primary_key=True),
    # Empty where the type has no physical network; segmentation_id is 0 for a flat network.
    sa.Column("physical_network", sa.String(64), primary_key=True),
    sa.Column("segmentation_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id", ondelete="CASCADE"), nullable=False),
    sa.Index("ix_segment_allocations_network_id", "network_id"),
    sqlite_with_rowid=False,
)

address_scopes = sa.Table(
    "address_scopes",
    metadata,
    *_named(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Index("ix_address_scopes_project_id", "project_id"),
)

subnetpools = sa.Table(
    "subnetpools",
    metadata,
    *_named(),
    *_standard(),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("prefixes", Json, nullable=False),
    sa.Column("default_prefixlen", sa.Integer, nullable=False),
    sa.Column("min_prefixlen", sa.Integer, nullable=False),
    sa.Column("max_prefixlen", sa.Integer, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("default_quota", sa.BigInteger, nullable=True),
    sa.Column("address_scope_id", sa.String(36), sa.ForeignKey("address_scopes.id"), nullable=True),
    sa.Index("ix_subnetpools_project_id", "project_id"),
    sa.Index("ix_subnetpools_address_scope_id", "address_scope_id"),
)

subnets = sa.Table(
    "subnets",
    metadata,
    *_named(),
    *_standard(),
    sa.Column("network_id", sa.String(36), sa.ForeignKey("networks.id"), nullable=False),
    sa.Column("ip_version", sa.Integer, nullable=False),
    sa.Column("cidr", sa.String(64), nullable=False),
    sa.Column("gateway_ip", sa.String(64), nullable=True),
    sa.Column("enable_dhcp", sa.Boolean, nullable=False),
    sa.Column("dns_nameservers", Json, nullable=False),
    sa.Column("host_routes", Json, nullable=False),
    sa.Column("allocation_pools", Json, nullable=False),
    sa.Column("ipv6_ra_mode", sa.String(16), nullable=True),
    sa.Column("ipv6_address_mode", sa.String(16), nullable=True),
    # Null, an id, or the word "prefix_delegation".
    sa.Column("subnetpool_id", sa.String(36), nullable=True),
    sa.Column("service_types", Json, nullable=False),
    sa.Column("dns_publish_fixed_ip", sa.Boolean, nullable=False),
    # Their order on the network, which decides where automatic addresses come from; created_at is too coarse.
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Index("ix_subnets_network_id", "network_id"),
    sa.Index("ix_subnets_project_id", "project_id"),
    sa.Index("ix_subnets_subnetpool_id", "subnetpool_id"),
)

subnet_free_ranges = sa.Table(
    "subnet_free_ranges",
    metadata,
    sa.Column("subnet_id", sa.String(36), sa.ForeignKey("subnets.id", ondelete="CASCADE"), primary_key=True),
    # In no index: taking the next address moves it, and in PostgreSQL each move would leave a dead entry behind.
    sa.Column("first", sa.String(32), nullable=False),
    sa.Column("last", sa.String(32), primary_key=True),
    sqlite_with_rowid=False,
)

ports = sa.Table(
    "ports",
    metadata,
    *_named(),
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
    sa.Column("dns_domain", sa.String(255), nullable=False),
    sa.Column("propagate_uplink_status", sa.Boolean, nullable=False),
    sa.Column("ip_allocation", sa.String(16), nullable=False),
    sa.Index("uq_ports_network_id_mac_address", "network_id", "mac_address", unique=True),
    sa.Index("ix_ports_device_id", "device_id"),
    # In the order of a list's pages: a project's ports, and those of others on a network.
    sa.Index("ix_ports_project_id_id", "project_id", "id"),
    sa.Index("ix_ports_network_id_project_id", "network_id", "project_id"),
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

security_groups = sa.Table(
    "security_groups",
    metadata,
    *_named(),
    *_standard(),
    sa.Column("stateful", sa.Boolean, nullable=False),
    sa.Index("ix_security_groups_project_id", "project_id"),
)

default_security_groups = sa.Table(
    "default_security_groups",
    metadata,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column(
        "security_group_id", sa.String(36), sa.ForeignKey("security_groups.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Index("ix_default_security_groups_security_group_id", "security_group_id"),
    sqlite_with_rowid=False,
)

security_group_rules = sa.Table(
    "security_group_rules",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(255), nullable=False),
    # Rules that a group began with have no description, not even an empty one.
    *_standard(description_null=True),
    sa.Column(
        "security_group_id", sa.String(36), sa.ForeignKey("security_groups.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("ethertype", sa.String(8), nullable=False),
    sa.Column("protocol", sa.String(40), nullable=True),
    sa.Column("port_range_min", sa.Integer, nullable=True),
    sa.Column("port_range_max", sa.Integer, nullable=True),
    # As the client wrote it, and without its host bits.
    sa.Column("remote_ip_prefix", sa.String(64), nullable=True),
    sa.Column("normalized_cidr", sa.String(64), nullable=True),
    sa.Column("remote_group_id", sa.String(36), sa.ForeignKey("security_groups.id", ondelete="CASCADE"), nullable=True),
    sa.Index("ix_security_group_rules_security_group_id", "security_group_id"),
    sa.Index("ix_security_group_rules_remote_group_id", "remote_group_id"),
    sa.Index("ix_security_group_rules_project_id", "project_id"),
)

default_security_group_rules = sa.Table(
    "default_security_group_rules",
    metadata,
    # What new groups start with. The migration that makes the table fills in the four that Neutron has.
    sa.Column("id", sa.String(36), primary_key=True),
    *_standard(),
    sa.Column("direction", sa.String(8), nullable=False),
    sa.Column("ethertype", sa.String(8), nullable=False),
    sa.Column("protocol", sa.String(40), nullable=True),
    sa.Column("port_range_min", sa.Integer, nullable=True),
    sa.Column("port_range_max", sa.Integer, nullable=True),
    sa.Column("remote_ip_prefix", sa.String(64), nullable=True),
    # A group's id, or the word "PARENT" for the group itself.
    sa.Column("remote_group_id", sa.String(36), nullable=True),
    sa.Column("used_in_default_sg", sa.Boolean, nullable=False),
    sa.Column("used_in_non_default_sg", sa.Boolean, nullable=False),
)

port_security_groups = sa.Table(
    "port_security_groups",
    metadata,
    sa.Column("port_id", sa.String(36), sa.ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("security_group_id", sa.String(36), sa.ForeignKey("security_groups.id"), primary_key=True),
    sa.Index("ix_port_security_groups_security_group_id", "security_group_id"),
    sqlite_with_rowid=False,
)

rbac_policies = sa.Table(
    "rbac_policies",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("project_id", sa.String(255), nullable=False),
    # network, subnetpool, address_scope, security_group
    sa.Column("object_type", sa.String(32), nullable=False),
    sa.Column("object_id", sa.String(36), nullable=False),
    # access_as_shared, access_as_external
    sa.Column("action", sa.String(32), nullable=False),
    # A project's id, or "*".
    sa.Column("target_project", sa.String(255), nullable=False),
    sa.UniqueConstraint("object_id", "action", "target_project"),
    sa.Index("ix_rbac_policies_target_project", "target_project", "object_type", "action"),
    sa.Index("ix_rbac_policies_project_id", "project_id"),
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("resource_id", sa.String(36), primary_key=True),
    sa.Column("tag", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(32), nullable=False),
    sa.Index("ix_tags_resource_tag", "resource", "tag"),
    sqlite_with_rowid=False,
)

quota_limits = sa.Table(
    "quota_limits",
    metadata,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(32), primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

quota_usages = sa.Table(
    "quota_usages",
    metadata,
    sa.Column("project_id", sa.String(255), primary_key=True),
    sa.Column("resource", sa.String(32), primary_key=True),
    sa.Column("used", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("network_id", sa.String(36), nullable=False),
    sa.Column("method", sa.String(64), nullable=False),
    # The server process that sends it, unless it dies before.
    sa.Column("sender", sa.String(36), nullable=False),
    # The agent's host, or null for a fanout.
    sa.Column("host", sa.String(255), nullable=True),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)
