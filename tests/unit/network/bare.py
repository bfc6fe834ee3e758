"""Rows of the Networking tables made directly, in a database of their own: for tests below the core plugin."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from cove.db.schema import metadata
from cove.network import outbox, scheduler
from cove.network.context import RequestContext
from cove.network.models import agents as agents_table
from cove.network.models import ip_allocations, networks, ports, subnets
from cove.network.policy import Policy
from cove.network.rows import now_text
from cove.network.transaction import PluginConfig, Reading, Transaction
from tests.unit.network.transactions import DATABASE_URL

NOW = 1_800_000_000.0
CONFIG = PluginConfig(policy=Policy.load(), agent_down_time_s=75.0)
ADMIN = RequestContext(project_id="c" * 32, is_admin=True)


class Store:
    """One connection in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.config = CONFIG
        self.transactions: list[Transaction] = []

    def tx(self, now: float = NOW) -> Transaction:
        self.transactions.append(Transaction(self.connection, ADMIN, self.config, now=now))
        return self.transactions[-1]

    def reading(self, context: RequestContext = ADMIN) -> Reading:
        return Reading(self.connection, context, self.config)

    def insert(self, table: sa.Table, **values: Any) -> str:
        """A row with these values, and something empty wherever a column must have a value."""
        row: dict[str, Any] = {"id": str(uuid.uuid4())} if "id" in table.c else {}
        for column in table.c:
            if column.name in ("created_at", "updated_at"):
                row[column.name] = now_text(NOW)
            elif column.name not in row and not column.nullable:
                row[column.name] = _empty(column)
        row |= values
        self.connection.execute(sa.insert(table), row)
        return str(row.get("id", ""))

    def agent(self, host: str, *, heard_of: float = NOW, zone: str = "nova", up: bool = True, **more: Any) -> str:
        made = scheduler.agent_row(str(uuid.uuid4()), {"host": host, "availability_zone": zone}, heard_of)
        made |= {"admin_state_up": up, "started_at": NOW - 10_000, **more}
        self.connection.execute(sa.insert(agents_table), made)
        return str(made["id"])

    def network(self, *, hints: list[str] | None = None, dhcp: bool = True, up: bool = True, **more: Any) -> str:
        """A network with one subnet."""
        network_id = self.insert(networks, admin_state_up=up, availability_zone_hints=hints or [], **more)
        self.subnet(network_id, enable_dhcp=dhcp)
        return network_id

    def subnet(self, network_id: str, cidr: str = "192.0.2.0/24", **more: Any) -> str:
        version = 6 if ":" in cidr else 4
        return self.insert(subnets, network_id=network_id, cidr=cidr, ip_version=version, **more)

    def port(self, network_id: str, *addresses: tuple[str, str], **more: Any) -> str:
        """A port with (subnet, address) of each address."""
        mac = f"fa:16:3e:{uuid.uuid4().hex[:6]}"
        port_id = self.insert(ports, network_id=network_id, mac_address=mac, **more)
        for position, (subnet_id, address) in enumerate(addresses):
            self.insert(
                ip_allocations,
                network_id=network_id,
                ip_address=address,
                subnet_id=subnet_id,
                port_id=port_id,
                position=position,
            )
        return port_id

    def dhcp_port(self, network_id: str, host: str) -> str:
        device_id = scheduler.dhcp_device_id(network_id, host)
        return self.port(network_id, device_id=device_id, device_owner="network:dhcp")

    def hosts(self, network_id: str) -> list[str]:
        return [agent.host for agent in scheduler.agents_hosting(self.connection, network_id)]

    def sent(self) -> list[tuple[str, str | None]]:
        """(method, host) of what the transactions since the last look have to tell."""
        transactions, self.transactions = self.transactions, []
        for tx in transactions:
            outbox.flush(tx)
        return [(entry.method, entry.host) for tx in transactions for entry in tx.entries]


def _empty(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, sa.Boolean):
        return False
    if isinstance(column.type, (sa.Integer, sa.Float)):
        return 1
    return "" if isinstance(column.type, (sa.String, sa.Text)) else []


@contextmanager
def bare_store() -> Iterator[Store]:
    """Tables in a transaction that is undone at the end: in memory, or in the database that is named."""
    engine = sa.create_engine(os.environ.get(DATABASE_URL, "sqlite://"))
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        metadata.create_all(connection)
        yield Store(connection)
        connection.rollback()
    engine.dispose()
