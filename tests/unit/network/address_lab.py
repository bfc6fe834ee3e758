"""Networks, subnets and ports in a database of their own, made by the functions under test without HTTP or policy."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from cove.db.schema import metadata
from cove.network import address_scopes, addresses, subnetpools, subnets
from cove.network.context import RequestContext
from cove.network.models import ip_allocations, networks, ports, subnet_free_ranges
from cove.network.policy import Policy
from cove.network.resource import Object, Resource
from cove.network.rows import Row
from cove.network.transaction import PluginConfig, Reading, Transaction
from tests.unit.network.transactions import DATABASE_URL, TABLES

ADMIN = RequestContext(project_id="admin", is_admin=True)
_MEMBER = frozenset({"member", "reader"})
ALICE = RequestContext(project_id="alice", is_admin=False, roles=_MEMBER)
BOB = RequestContext(project_id="bob", is_admin=False, roles=_MEMBER)

CONFIG = PluginConfig(policy=Policy.load(), dhcp_agent_notification=False)


def _engine() -> sa.Engine:
    """An empty database: SQLite's in memory, or the one of the variable, whose tables are emptied."""
    url = os.environ.get(DATABASE_URL)
    if not url:
        return engine_in_memory()
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine, tables=TABLES)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in TABLES)} CASCADE")
    return engine


def engine_in_memory() -> sa.Engine:
    """All tables, empty, with foreign keys checked."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys=ON"))
    metadata.create_all(engine)
    return engine


class Lab:
    """One database. Each method is a transaction of its own, unless it is given one."""

    def __init__(self) -> None:
        self.engine = _engine()
        self.statements: list[str] = []
        self._macs = (f"fa:16:3e:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in itertools.count(1))
        sa.event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "advisory" not in statement:
            self.statements.append(statement)

    @contextmanager
    def tx(self, context: RequestContext = ALICE) -> Iterator[Transaction]:
        """A write transaction; what raises in it leaves nothing behind."""
        with self.engine.begin() as connection:
            yield Transaction(connection, context, CONFIG)

    @contextmanager
    def reading(self, context: RequestContext = ALICE) -> Iterator[Reading]:
        with self.engine.connect() as connection:
            yield Reading(connection, context, CONFIG)

    # --- objects -----------------------------------------------------------------------------------------------------

    def network(self, **columns: Any) -> str:
        network_id = str(uuid.uuid4())
        row = {
            "id": network_id,
            "project_id": "alice",
            "name": "",
            "description": "",
            "revision_number": 1,
            "created_at": "",
            "updated_at": "",
            "admin_state_up": True,
            "status": "ACTIVE",
            "mtu": 1500,
            "router_external": False,
            "is_default": False,
            "port_security_enabled": True,
            "dns_domain": "",
            "availability_zone_hints": [],
            "network_type": "local",
        }
        with self.engine.begin() as connection:
            connection.execute(sa.insert(networks), {**row, **columns})
        return network_id

    def create(self, resource: Resource, context: RequestContext = ALICE, **body: Any) -> Object:
        """What a POST of that body makes."""
        assert resource.create is not None
        values = resource.attributes.for_create(body, context)
        with self.tx(context) as tx:
            return resource.create(tx, str(uuid.uuid4()), values)

    def update(self, resource: Resource, item_id: str, context: RequestContext = ALICE, **body: Any) -> Object:
        """What a PUT of that body makes of it."""
        assert resource.update is not None
        changes = resource.attributes.for_update(body)
        with self.tx(context) as tx:
            return resource.update(tx, self.row(tx, resource, item_id), changes)

    def delete(self, resource: Resource, item_id: str, context: RequestContext = ALICE) -> Object:
        assert resource.delete is not None
        with self.tx(context) as tx:
            return resource.delete(tx, self.row(tx, resource, item_id))

    def show(self, resource: Resource, item_id: str, context: RequestContext = ALICE) -> Object:
        with self.reading(context) as reading:
            return resource.view(reading, [self.row(reading, resource, item_id)])[0]

    def visible(self, resource: Resource, context: RequestContext) -> set[str]:
        """Ids of what a caller sees."""
        with self.engine.connect() as connection:
            return set(connection.execute(sa.select(resource.table.c.id).where(resource.scope(context))).scalars())

    def row(self, reading: Reading, resource: Resource, item_id: str) -> Row:
        table = resource.table
        return reading.connection.execute(sa.select(table).where(table.c.id == item_id)).mappings().one()

    def subnet(self, network_id: str, cidr: str | None = None, context: RequestContext = ALICE, **body: Any) -> Object:
        """A subnet; its IP version follows from the CIDR."""
        if cidr is not None:
            body["cidr"] = cidr
            body.setdefault("ip_version", 6 if ":" in cidr else 4)
        return self.create(subnets.RESOURCE, context, network_id=network_id, **body)

    def pool(self, prefixes: Sequence[str], context: RequestContext = ALICE, **body: Any) -> Object:
        return self.create(subnetpools.RESOURCE, context, **{"name": "pool", "prefixes": list(prefixes), **body})

    def scope(self, ip_version: int = 4, context: RequestContext = ALICE, **body: Any) -> Object:
        return self.create(address_scopes.RESOURCE, context, ip_version=ip_version, **body)

    # --- ports -------------------------------------------------------------------------------------------------------

    def port_row(self, tx: Transaction, network_id: str, mac: str, owner: str = "", project: str = "alice") -> str:
        """A port without addresses."""
        port_id = str(uuid.uuid4())
        row = {
            "id": port_id,
            "project_id": project,
            "name": "",
            "description": "",
            "revision_number": 1,
            "created_at": "",
            "updated_at": "",
            "network_id": network_id,
            "mac_address": mac,
            "admin_state_up": True,
            "status": "ACTIVE",
            "dhcp_pending": False,
            "device_id": "",
            "device_owner": owner,
            "binding_host_id": "",
            "binding_vnic_type": "normal",
            "binding_profile": {},
            "extra_dhcp_opts": [],
            "allowed_address_pairs": [],
            "port_security_enabled": True,
            "dns_name": "",
            "dns_domain": "",
            "propagate_uplink_status": True,
            "ip_allocation": "immediate",
        }
        tx.connection.execute(sa.insert(ports), row)
        return port_id

    def port(
        self,
        network_id: str,
        wanted: Sequence[Mapping[str, str]] | None = None,
        *,
        owner: str = "",
        mac: str | None = None,
        context: RequestContext = ALICE,
    ) -> tuple[str, list[dict[str, str]]]:
        """A port with its addresses: its id and fixed_ips."""
        mac = mac or next(self._macs)
        with self.tx(context) as tx:
            port_id = self.port_row(tx, network_id, mac, owner)
            return port_id, addresses.allocate(tx, network_id, port_id, wanted, mac_address=mac, device_owner=owner)

    def addresses(self, network_id: str, wanted: Sequence[Mapping[str, str]] | None = None, **more: Any) -> list[str]:
        """The addresses that a new port gets."""
        return [entry["ip_address"] for entry in self.port(network_id, wanted, **more)[1]]

    def change(
        self, network_id: str, port_id: str, wanted: Sequence[Mapping[str, str]], *, mac: str = "", owner: str = ""
    ) -> list[dict[str, str]]:
        """What a PUT of fixed_ips makes of a port."""
        with self.tx() as tx:
            mac = mac or self._mac(tx, port_id)
            before = self.fixed_ips(port_id, tx)
            return addresses.change(tx, network_id, port_id, before, wanted, mac_address=mac, device_owner=owner)

    def release(self, network_id: str, port_id: str) -> None:
        """The port is deleted."""
        with self.tx() as tx:
            addresses.release(tx, network_id, port_id, self.fixed_ips(port_id, tx))
            tx.connection.execute(sa.delete(ports).where(ports.c.id == port_id))

    def _mac(self, tx: Transaction, port_id: str) -> str:
        return str(tx.connection.execute(sa.select(ports.c.mac_address).where(ports.c.id == port_id)).scalar_one())

    def fixed_ips(self, port_id: str, tx: Transaction | None = None) -> list[dict[str, str]]:
        """A port's addresses, as they are stored."""
        statement = (
            sa.select(ip_allocations.c.subnet_id, ip_allocations.c.ip_address)
            .where(ip_allocations.c.port_id == port_id)
            .order_by(ip_allocations.c.position)
        )
        with self.engine.connect() if tx is None else contextlib.nullcontext(tx.connection) as connection:
            found = connection.execute(statement).all()
        return [{"subnet_id": subnet_id, "ip_address": address} for subnet_id, address in found]

    def free(self, subnet_id: str) -> list[tuple[int, int]]:
        """The free ranges of a subnet, as offsets."""
        table = subnet_free_ranges
        with self.engine.connect() as connection:
            found = connection.execute(
                sa.select(table.c.first, table.c.last).where(table.c.subnet_id == subnet_id).order_by(table.c.first)
            )
            return [(int(first, 16), int(last, 16)) for first, last in found]

    def revision(self, table: sa.Table, item_id: str) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(sa.select(table.c.revision_number).where(table.c.id == item_id)).scalar_one())
