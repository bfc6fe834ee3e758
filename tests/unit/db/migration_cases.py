"""What the revisions promise on every engine: run by tests/unit/db on SQLite and by tests/openstack on PostgreSQL.

A module that runs them imports * and has a fixture `url`: of a database without tables.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import cove
from cove.db import metadata
from cove.db.backend import Backend, backend_of
from cove.db.migrations import HEAD_REVISION
from cove.errors import CoveError

for module in pkgutil.walk_packages(cove.__path__, "cove."):
    if module.name.endswith(".models"):
        importlib.import_module(module.name)


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """A connection whose transaction commits at the end."""
    engine = backend_of(url).write_engine()
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def at(url: str, revision: str) -> Backend:
    """A database at a revision."""
    backend = backend_of(url)
    if hasattr(backend, "path"):
        backend.path.touch()
    backend.move(revision)
    return backend


def shape(url: str) -> dict[str, Any]:
    """Columns, keys and indexes of all tables, as the engine tells of them; the order of the columns apart."""
    with connected(url) as connection:
        looked = sa.inspect(connection)
        return {
            table: {
                "columns": {
                    column["name"]: (str(column["type"]), column["nullable"], str(column["default"]))
                    for column in looked.get_columns(table)
                },
                "primary key": looked.get_pk_constraint(table),
                "foreign keys": sorted(map(str, looked.get_foreign_keys(table))),
                "unique": sorted(map(str, looked.get_unique_constraints(table))),
                "indexes": sorted(
                    (i["name"], str(i["column_names"]), bool(i["unique"])) for i in looked.get_indexes(table)
                ),
            }
            for table in looked.get_table_names()
            if table != "alembic_version"
        }


NETWORK = {
    "description": "", "revision_number": 3, "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00Z", "admin_state_up": True, "status": "ACTIVE", "mtu": 1400,
    "port_security_enabled": True, "dns_domain": "x.example.",
}  # fmt: skip
SUBNET = {
    "project_id": "p1", "name": "s", "description": "d", "revision_number": 1, "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z", "network_id": "n1", "ip_version": 4, "cidr": "10.0.0.0/24",
    "gateway_ip": "10.0.0.1", "enable_dhcp": True, "dns_nameservers": "[]", "host_routes": "[]",
    "allocation_pools": '[{"start":"10.0.0.2","end":"10.0.0.254"}]', "created_ns": 17,
}  # fmt: skip
PORT = {
    "description": "", "revision_number": 2, "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z", "network_id": "n1", "admin_state_up": False, "status": "DOWN",
    "dhcp_pending": False, "device_id": "dev", "device_owner": "compute:nova", "binding_host_id": "h",
    "binding_vnic_type": "normal", "binding_profile": "{}", "extra_dhcp_opts": "[]", "allowed_address_pairs": "[]",
    "port_security_enabled": True, "dns_name": "vm", "ip_allocation": "immediate",
}  # fmt: skip
OLD_ROWS: dict[str, list[dict[str, Any]]] = {
    "networks": [
        {**NETWORK, "id": "n1", "project_id": "p1", "name": "plain", "shared": False, "router_external": False},
        {**NETWORK, "id": "n2", "project_id": "p1", "name": "shared", "shared": True, "router_external": False},
        {**NETWORK, "id": "n3", "project_id": "p2", "name": "both", "shared": True, "router_external": True},
    ],
    "agents": [
        {
            "id": "a1", "agent_type": "DHCP agent", "binary": "b", "host": "h", "topic": "dhcp_agent",
            "availability_zone": "nova", "admin_state_up": True, "configurations": "{}", "description": "",
            "created_at": "2026-01-01T00:00:00Z", "started_at": 1.5, "heartbeat_at": 2.5,
        }
    ],
    "network_dhcp_agent_bindings": [{"network_id": "n1", "agent_id": "a1"}],
    "subnets": [{**SUBNET, "id": "s1"}],
    "subnet_free_ranges": [
        {"subnet_id": "s1", "first": 4, "last": 9},
        {"subnet_id": "s1", "first": 16, "last": 254},
    ],
    "ports": [
        {**PORT, "id": f"port{i}", "project_id": project, "name": f"n{i}", "mac_address": f"fa:16:3e:00:00:0{i}"}
        for i, project in enumerate(("p1", "p1", "p2"))
    ],
    "ip_allocations": [
        {"network_id": "n1", "ip_address": "10.0.0.2", "subnet_id": "s1", "port_id": "port0", "position": 0},
        {"network_id": "n1", "ip_address": "10.0.0.3", "subnet_id": "s1", "port_id": "port1", "position": 0},
    ],
    "outbox": [
        {"id": 7, "network_id": "n1", "method": "port_create_end", "host": "h", "payload": "{}", "created_at": 1.0}
    ],
    "servers": [],
}  # fmt: skip


def fill(url: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    with connected(url) as connection:
        for name, several in rows.items():
            if several:
                connection.execute(sa.insert(sa.Table(name, sa.MetaData(), autoload_with=connection)), several)


def contents(url: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables that the oldest revision has."""
    with connected(url) as connection:
        found = {}
        for name in OLD_ROWS:
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            order = list(table.primary_key.columns)
            found[name] = [dict(row) for row in connection.execute(sa.select(table).order_by(*order)).mappings()]
        return found


def sql(url: str, statement: str) -> list[tuple[Any, ...]]:
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


def test_the_revisions_give_the_declared_tables(url: str) -> None:
    at(url, HEAD_REVISION)
    with connected(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_every_detail_is_as_declared(url: str) -> None:
    at(url, HEAD_REVISION)
    by_revisions = shape(url)
    with connected(url) as connection:
        # in reverse, as its own drop_all does, but for all there is
        metadata.drop_all(connection)
        metadata.create_all(connection)
    assert shape(url) == by_revisions
    assert set(by_revisions) == set(metadata.tables)


def test_one_that_was_upgraded_is_like_a_new_one(url: str) -> None:
    backend = at(url, "0001")
    fill(url, OLD_ROWS)
    backend.prepare()
    assert backend.revision() == HEAD_REVISION
    upgraded = shape(url)
    with connected(url) as connection:
        looked = sa.inspect(connection).get_table_names()
        everything = sa.MetaData()
        everything.reflect(connection)
        everything.drop_all(connection)
    assert "ports" in looked
    backend.prepare()
    assert shape(url) == upgraded


def test_up_down_up_keeps_what_both_know(url: str) -> None:
    backend = at(url, "0001")
    old_shape = shape(url)
    fill(url, OLD_ROWS)
    before = contents(url)
    backend.move("0002")
    _check_new(url)
    fill(url, {"tags": [{"resource_id": "port0", "tag": "t", "resource": "port"}]})
    steps = backend.move("0001")
    assert steps[0].startswith("-0002")
    assert shape(url) == old_shape
    assert contents(url) == before
    backend.move("0002")
    _check_new(url)
    assert sql(url, "SELECT * FROM tags") == []


def test_from_the_newest_to_the_oldest_and_back(url: str) -> None:
    backend = at(url, "0001")
    old_shape = shape(url)
    backend.prepare()
    new_shape = shape(url)
    backend.move("0001")
    assert shape(url) == old_shape
    backend.prepare()
    assert shape(url) == new_shape


def _check_new(url: str) -> None:
    networks = sql(
        url,
        "SELECT id, router_external, is_default, availability_zone_hints, network_type, physical_network, "
        "segmentation_id, mtu FROM networks ORDER BY id",
    )
    assert networks == [
        ("n1", False, False, "[]", "local", None, None, 1400),
        ("n2", False, False, "[]", "local", None, None, 1400),
        ("n3", True, False, "[]", "local", None, None, 1400),
    ]
    policies = sql(url, "SELECT object_id, action, target_project, project_id, object_type FROM rbac_policies")
    assert sorted(policies) == [
        ("n2", "access_as_shared", "*", "p1", "network"),
        ("n3", "access_as_external", "*", "p2", "network"),
        ("n3", "access_as_shared", "*", "p2", "network"),
    ]
    assert all(len(row[0]) == 36 for row in sql(url, "SELECT id FROM rbac_policies"))
    assert sql(url, "SELECT first, last FROM subnet_free_ranges ORDER BY first") == [
        (f"{4:032x}", f"{9:032x}"),
        (f"{16:032x}", f"{254:032x}"),
    ]
    assert sorted(sql(url, "SELECT project_id, resource, used FROM quota_usages")) == [
        ("p1", "network", 2), ("p1", "port", 2), ("p1", "subnet", 1), ("p2", "network", 1), ("p2", "port", 1),
    ]  # fmt: skip
    assert sql(url, "SELECT id, sender FROM outbox") == [(7, "")]
    assert sql(url, "SELECT DISTINCT dns_domain, propagate_uplink_status FROM ports") == [("", True)]
    subnets = "SELECT ipv6_ra_mode, ipv6_address_mode, subnetpool_id, service_types, dns_publish_fixed_ip FROM subnets"
    assert sql(url, subnets) == [(None, None, None, "[]", False)]
    rules = sql(
        url,
        "SELECT direction, ethertype, remote_group_id, used_in_default_sg, used_in_non_default_sg "
        "FROM default_security_group_rules",
    )
    assert sorted(rules, key=str) == [
        ("egress", "IPv4", None, True, True),
        ("egress", "IPv6", None, True, True),
        ("ingress", "IPv4", "PARENT", True, False),
        ("ingress", "IPv6", "PARENT", True, False),
    ]


def test_offsets_that_the_older_revision_cannot_store_are_cut_off(url: str) -> None:
    backend = at(url, "0001")
    fill(url, OLD_ROWS)
    backend.move("0002")
    far = [("f" * 32, "f" * 32), (f"{1 << 40:032x}", f"{(1 << 64) - 2:032x}")]
    fill(url, {"subnet_free_ranges": [{"subnet_id": "s1", "first": a, "last": b} for a, b in far]})
    backend.move("0001")
    assert sql(url, "SELECT first, last FROM subnet_free_ranges ORDER BY first") == [
        (4, 9),
        (16, 254),
        (1 << 40, (1 << 63) - 1),
    ]


def test_a_step_that_fails_leaves_all_as_it_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = at(url, "0001")
    fill(url, OLD_ROWS)
    before, old_shape = contents(url), shape(url)
    from alembic.operations import Operations

    def fails(self: Operations, *_: Any, **__: Any) -> None:
        raise RuntimeError("disk full")

    from alembic import op

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", lambda *a, **k: None if len(a[0]) < 30 else fails(vars(op)["_proxy"]))
        with pytest.raises(RuntimeError):
            backend.prepare()
    assert backend.revision() == "0001"
    assert shape(url) == old_shape
    assert contents(url) == before
    backend.prepare()
    assert backend.revision() == HEAD_REVISION


@pytest.mark.parametrize("target", ["9999", "0000", ""])
def test_a_revision_that_is_not_there(url: str, target: str) -> None:
    backend = at(url, HEAD_REVISION)
    with pytest.raises(CoveError, match=r"there is no schema revision .*0001, 0002"):
        backend.move(target)


def test_one_that_a_newer_cove_wrote_is_refused_with_the_remedy(url: str) -> None:
    backend = at(url, HEAD_REVISION)
    with connected(url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num='9999'"))
    with pytest.raises(CoveError, match=r"'9999'.*start it with the Cove that wrote it"):
        backend.prepare()
    with pytest.raises(CoveError, match=r"'9999'.*start it with the Cove that wrote it"):
        backend.move("0001")


def test_an_empty_database_has_no_revision(url: str) -> None:
    backend = backend_of(url)
    assert backend.revision() is None
    at(url, "0001")
    assert backend.revision() == "0001"
    assert backend.move("0001") == []
