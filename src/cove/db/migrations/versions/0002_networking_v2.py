"""Networking v2.0, whole: subnet pools, security groups, RBAC, quotas, tags, provider networks, IPv6.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from cove.db.migrations.tools import Added, change_columns, on_sqlite

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIGGEST = (1 << 63) - 1
"""The last offset that the older revision can store."""


def upgrade() -> None:
    """From 0001."""
    _create_tables()
    _networks_shared_by_rbac()
    change_columns(
        "networks",
        add=[
            Added(sa.Column("is_default", sa.Boolean(), nullable=False), "router_external", "false"),
            Added(sa.Column("availability_zone_hints", sa.Text(), nullable=False), "dns_domain", "'[]'"),
            Added(
                sa.Column("network_type", sa.String(length=32), nullable=False), "availability_zone_hints", "'local'"
            ),
            Added(sa.Column("physical_network", sa.String(length=64), nullable=True), "network_type"),
            Added(sa.Column("segmentation_id", sa.Integer(), nullable=True), "physical_network"),
        ],
        drop=["shared"],
    )
    change_columns(
        "subnets",
        add=[
            Added(sa.Column("ipv6_ra_mode", sa.String(length=16), nullable=True), "allocation_pools"),
            Added(sa.Column("ipv6_address_mode", sa.String(length=16), nullable=True), "ipv6_ra_mode"),
            Added(sa.Column("subnetpool_id", sa.String(length=36), nullable=True), "ipv6_address_mode"),
            Added(sa.Column("service_types", sa.Text(), nullable=False), "subnetpool_id", "'[]'"),
            Added(sa.Column("dns_publish_fixed_ip", sa.Boolean(), nullable=False), "service_types", "false"),
        ],
    )
    op.create_index("ix_subnets_project_id", "subnets", ["project_id"], unique=False)
    op.create_index("ix_subnets_subnetpool_id", "subnets", ["subnetpool_id"], unique=False)
    change_columns(
        "ports",
        add=[
            Added(sa.Column("dns_domain", sa.String(length=255), nullable=False), "dns_name", "''"),
            Added(sa.Column("propagate_uplink_status", sa.Boolean(), nullable=False), "dns_domain", "true"),
        ],
    )
    op.create_index("ix_ports_project_id_id", "ports", ["project_id", "id"], unique=False)
    op.create_index("ix_ports_network_id_project_id", "ports", ["network_id", "project_id"], unique=False)
    change_columns(
        "outbox",
        add=[Added(sa.Column("sender", sa.String(length=36), nullable=False), "method", "''")],
        sqlite_autoincrement=True,
    )
    _offsets_to_text()
    for resource in ("network", "subnet", "port"):
        op.execute(
            "INSERT INTO quota_usages (project_id, resource, used) "  # noqa: S608 (no stranger's text)
            f"SELECT project_id, '{resource}', count(*) FROM {resource}s GROUP BY project_id"
        )


def downgrade() -> None:
    """To 0001: what that revision does not know is gone; the rest stays."""
    op.drop_index("ix_ports_network_id_project_id", table_name="ports")
    op.drop_index("ix_ports_project_id_id", table_name="ports")
    op.drop_index("ix_subnets_subnetpool_id", table_name="subnets")
    op.drop_index("ix_subnets_project_id", table_name="subnets")
    change_columns("outbox", drop=["sender"], sqlite_autoincrement=True)
    change_columns("ports", drop=["propagate_uplink_status", "dns_domain"])
    change_columns(
        "subnets",
        drop=["dns_publish_fixed_ip", "service_types", "subnetpool_id", "ipv6_address_mode", "ipv6_ra_mode"],
    )
    change_columns(
        "networks",
        add=[Added(sa.Column("shared", sa.Boolean(), nullable=False), "status", "false")],
        drop=["segmentation_id", "physical_network", "network_type", "availability_zone_hints", "is_default"],
    )
    op.execute(
        "UPDATE networks SET shared = true WHERE id IN (SELECT object_id FROM rbac_policies "
        "WHERE object_type = 'network' AND action = 'access_as_shared' AND target_project = '*')"
    )
    _offsets_to_numbers()
    for table in reversed(TABLES):
        op.drop_table(table)


TABLES = (
    "segment_allocations",
    "address_scopes",
    "subnetpools",
    "security_groups",
    "default_security_groups",
    "security_group_rules",
    "default_security_group_rules",
    "port_security_groups",
    "rbac_policies",
    "tags",
    "quota_limits",
    "quota_usages",
)


def _networks_shared_by_rbac() -> None:
    """`shared` and the use of external networks are what a policy says that names everybody."""
    connection = op.get_bind()
    networks = sa.table("networks", sa.column("id"), sa.column("project_id"), *_flags("shared", "router_external"))
    policies = sa.table(
        "rbac_policies",
        *(sa.column(n) for n in ("id", "project_id", "object_type", "object_id", "action", "target_project")),
    )
    for flag, action in (("shared", "access_as_shared"), ("router_external", "access_as_external")):
        rows = [
            {
                "id": str(uuid.uuid4()),
                "project_id": project_id,
                "object_type": "network",
                "object_id": network_id,
                "action": action,
                "target_project": "*",
            }
            for network_id, project_id in connection.execute(
                sa.select(networks.c.id, networks.c.project_id).where(networks.c[flag] == sa.true())
            )
        ]
        if rows:
            connection.execute(sa.insert(policies), rows)


def _flags(*names: str) -> list[Any]:
    return [sa.column(name, sa.Boolean()) for name in names]


def _offsets_to_text() -> None:
    """Offsets of free ranges: from numbers of 64 bits to 32 hexadecimal digits."""
    if not on_sqlite():
        op.execute(
            "ALTER TABLE subnet_free_ranges "
            "ALTER COLUMN first TYPE VARCHAR(32) USING lpad(to_hex(first), 32, '0'), "
            "ALTER COLUMN last TYPE VARCHAR(32) USING lpad(to_hex(last), 32, '0')"
        )
        _set_key("last")
        return
    _create_free_ranges(sa.String(length=32), key="last")
    op.execute(
        "INSERT INTO new_free_ranges SELECT subnet_id, printf('%032x', first), printf('%032x', last) "
        "FROM subnet_free_ranges"
    )
    _replace_free_ranges()


def _offsets_to_numbers() -> None:
    """Back again. What lies beyond 64 bits (in IPv6 subnets, which the older revision does not serve) is cut off."""
    connection = op.get_bind()
    old = sa.table("subnet_free_ranges", sa.column("subnet_id"), sa.column("first"), sa.column("last"))
    rows = []
    for subnet_id, first, last in connection.execute(sa.select(old.c.subnet_id, old.c.first, old.c.last)):
        if int(first, 16) <= BIGGEST:
            rows.append({"subnet_id": subnet_id, "first": int(first, 16), "last": min(int(last, 16), BIGGEST)})
    if on_sqlite():
        _create_free_ranges(sa.BigInteger(), key="first")
        _replace_free_ranges()
    else:
        op.execute("DELETE FROM subnet_free_ranges")
        op.execute(
            "ALTER TABLE subnet_free_ranges "
            "ALTER COLUMN first TYPE BIGINT USING 0, ALTER COLUMN last TYPE BIGINT USING 0"
        )
        _set_key("first")
    op.create_index("ix_subnet_free_ranges_subnet_id_last", "subnet_free_ranges", ["subnet_id", "last"], unique=True)
    if rows:
        new = sa.table(
            "subnet_free_ranges",
            sa.column("subnet_id"),
            sa.column("first", sa.BigInteger()),
            sa.column("last", sa.BigInteger()),
        )
        connection.execute(sa.insert(new), rows)


def _set_key(column: str) -> None:
    """The end of a range is its key now, so that taking the first address of it changes no index."""
    if column == "last":
        op.drop_index("ix_subnet_free_ranges_subnet_id_last", table_name="subnet_free_ranges")
    op.drop_constraint("pk_subnet_free_ranges", "subnet_free_ranges", type_="primary")
    op.create_primary_key("pk_subnet_free_ranges", "subnet_free_ranges", ["subnet_id", column])


def _create_free_ranges(kind: sa.types.TypeEngine[Any], *, key: str) -> None:
    op.create_table(
        "new_free_ranges",
        sa.Column("subnet_id", sa.String(length=36), nullable=False),
        sa.Column("first", kind, autoincrement=False, nullable=False),
        sa.Column("last", kind, nullable=False),
        sa.ForeignKeyConstraint(
            ["subnet_id"], ["subnets.id"], name="fk_subnet_free_ranges_subnet_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("subnet_id", key, name="pk_subnet_free_ranges"),
        sqlite_with_rowid=False,
    )


def _replace_free_ranges() -> None:
    op.drop_table("subnet_free_ranges")
    op.rename_table("new_free_ranges", "subnet_free_ranges")


# --- the new tables --------------------------------------------------------------------------------------------------


def _named() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
    ]


def _standard(*, description_null: bool = False) -> list[sa.Column[Any]]:
    return [
        sa.Column("description", sa.String(length=255), nullable=description_null),
        sa.Column("revision_number", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.String(length=20), nullable=False),
        sa.Column("updated_at", sa.String(length=20), nullable=False),
    ]


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns), unique=False)


def _create_tables() -> None:
    op.create_table(
        "segment_allocations",
        sa.Column("network_type", sa.String(length=32), nullable=False),
        sa.Column("physical_network", sa.String(length=64), nullable=False),
        sa.Column("segmentation_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("network_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["network_id"], ["networks.id"], name="fk_segment_allocations_network_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("network_type", "physical_network", "segmentation_id", name="pk_segment_allocations"),
        sqlite_with_rowid=False,
    )
    _index("segment_allocations", "network_id")
    op.create_table(
        "address_scopes",
        *_named(),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_address_scopes"),
    )
    _index("address_scopes", "project_id")
    op.create_table(
        "subnetpools",
        *_named(),
        *_standard(),
        sa.Column("ip_version", sa.Integer(), nullable=False),
        sa.Column("prefixes", sa.Text(), nullable=False),
        sa.Column("default_prefixlen", sa.Integer(), nullable=False),
        sa.Column("min_prefixlen", sa.Integer(), nullable=False),
        sa.Column("max_prefixlen", sa.Integer(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("default_quota", sa.BigInteger(), nullable=True),
        sa.Column("address_scope_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(["address_scope_id"], ["address_scopes.id"], name="fk_subnetpools_address_scope_id"),
        sa.PrimaryKeyConstraint("id", name="pk_subnetpools"),
    )
    _index("subnetpools", "project_id")
    _index("subnetpools", "address_scope_id")
    _create_security_group_tables()
    op.create_table(
        "rbac_policies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("target_project", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rbac_policies"),
        sa.UniqueConstraint(
            "object_id", "action", "target_project", name="uq_rbac_policies_object_id_action_target_project"
        ),
    )
    op.create_index(
        "ix_rbac_policies_target_project",
        "rbac_policies",
        ["target_project", "object_type", "action"],
        unique=False,
    )
    _index("rbac_policies", "project_id")
    op.create_table(
        "tags",
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("resource_id", "tag", name="pk_tags"),
        sqlite_with_rowid=False,
    )
    _index("tags", "resource", "tag")
    for table, value in (
        ("quota_limits", sa.Column("limit", sa.Integer(), nullable=False)),
        ("quota_usages", sa.Column("used", sa.BigInteger(), nullable=False)),
    ):
        op.create_table(
            table,
            sa.Column("project_id", sa.String(length=255), nullable=False),
            sa.Column("resource", sa.String(length=32), nullable=False),
            value,
            sa.PrimaryKeyConstraint("project_id", "resource", name=f"pk_{table}"),
            sqlite_with_rowid=False,
        )


def _create_security_group_tables() -> None:
    op.create_table(
        "security_groups",
        *_named(),
        *_standard(),
        sa.Column("stateful", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_security_groups"),
    )
    _index("security_groups", "project_id")
    op.create_table(
        "default_security_groups",
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("security_group_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["security_group_id"],
            ["security_groups.id"],
            name="fk_default_security_groups_security_group_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", name="pk_default_security_groups"),
        sqlite_with_rowid=False,
    )
    _index("default_security_groups", "security_group_id")
    op.create_table(
        "security_group_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        *_standard(description_null=True),
        sa.Column("security_group_id", sa.String(length=36), nullable=False),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("ethertype", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.String(length=40), nullable=True),
        sa.Column("port_range_min", sa.Integer(), nullable=True),
        sa.Column("port_range_max", sa.Integer(), nullable=True),
        sa.Column("remote_ip_prefix", sa.String(length=64), nullable=True),
        sa.Column("normalized_cidr", sa.String(length=64), nullable=True),
        sa.Column("remote_group_id", sa.String(length=36), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [column], ["security_groups.id"], name=f"fk_security_group_rules_{column}", ondelete="CASCADE"
            )
            for column in ("security_group_id", "remote_group_id")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_security_group_rules"),
    )
    for column in ("security_group_id", "remote_group_id", "project_id"):
        _index("security_group_rules", column)
    _create_default_rules()
    op.create_table(
        "port_security_groups",
        sa.Column("port_id", sa.String(length=36), nullable=False),
        sa.Column("security_group_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(["port_id"], ["ports.id"], name="fk_port_security_groups_port_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["security_group_id"], ["security_groups.id"], name="fk_port_security_groups_security_group_id"
        ),
        sa.PrimaryKeyConstraint("port_id", "security_group_id", name="pk_port_security_groups"),
        sqlite_with_rowid=False,
    )
    _index("port_security_groups", "security_group_id")


def _create_default_rules() -> None:
    """What new groups start with: all may go out; a project's default group lets its own members in."""
    table = op.create_table(
        "default_security_group_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        *_standard(),
        sa.Column("direction", sa.String(length=8), nullable=False),
        sa.Column("ethertype", sa.String(length=8), nullable=False),
        sa.Column("protocol", sa.String(length=40), nullable=True),
        sa.Column("port_range_min", sa.Integer(), nullable=True),
        sa.Column("port_range_max", sa.Integer(), nullable=True),
        sa.Column("remote_ip_prefix", sa.String(length=64), nullable=True),
        sa.Column("remote_group_id", sa.String(length=36), nullable=True),
        sa.Column("used_in_default_sg", sa.Boolean(), nullable=False),
        sa.Column("used_in_non_default_sg", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_default_security_group_rules"),
    )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    op.bulk_insert(
        table,
        [
            {
                "id": str(uuid.uuid4()),
                # Word for word Neutron's, by which clients tell them from an operator's own.
                "description": f"Legacy default SG rule for {direction} traffic",
                "revision_number": 0,
                "created_at": now,
                "updated_at": now,
                "direction": direction,
                "ethertype": ethertype,
                "remote_group_id": remote_group,
                "used_in_default_sg": True,
                "used_in_non_default_sg": remote_group is None,
            }
            for direction, remote_group in (("egress", None), ("ingress", "PARENT"))
            for ethertype in ("IPv4", "IPv6")
        ],
    )
