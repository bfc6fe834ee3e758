"""Server records: the table, the typed record over it, and the transactions on it.

`runtime` is JSON: what the steps of a boot have made, so that any later process can use or undo it. A record's status
decides what a start of Cove does with it: BUILD → undone, ACTIVE → adopted, SHUTOFF and ERROR → nothing runs.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cove.compute.addresses import Expected
from cove.compute.disks import POOL
from cove.compute.network_api import AddressPair, FixedIp
from cove.db import Database, metadata
from cove.errors import CoveError

servers = sa.Table(
    "servers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("project_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("image", sa.Text, nullable=True),
    sa.Column("network_id", sa.Text, nullable=False),
    sa.Column("port_id", sa.Text, nullable=True),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("disk_bytes", sa.BigInteger, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Text, nullable=False),
    sa.UniqueConstraint("project_id", "name"),
)


SERVERS_MAX = 1000
"""Records on one host."""


class Status(enum.StrEnum):
    """Nova's names of what a server is."""

    BUILD = "BUILD"
    ACTIVE = "ACTIVE"
    SHUTOFF = "SHUTOFF"
    ERROR = "ERROR"


class TaskState(enum.StrEnum):
    """Nova's names of what is being done to a server."""

    SPAWNING = "spawning"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    DELETING = "deleting"


class Fault(msgspec.Struct, frozen=True):
    """Why a server is in ERROR."""

    code: int
    message: str
    created: str


class Runtime(msgspec.Struct):
    """What was made for a server. Empty or None: not made."""

    uid: int | None = None
    mac_address: str = ""
    fixed_ips: list[FixedIp] = []
    address_pairs: list[AddressPair] = []
    expected: list[Expected] = []  # which of the addresses the guest comes to by itself
    port_security: bool = True
    port_given: bool = False  # the port was there before the server, and stays after it
    security_groups: list[str] = []  # ids, for a port that is made for the server
    fixed_ip_wanted: str | None = None
    network_name: str = ""
    mtu: int = 1500
    tap: str = ""
    bridge: str = ""
    disk_pool: str = POOL
    disk_name: str = ""
    disk_made: bool = False
    booted_before: bool = False
    deleting: bool = False
    launched_at: str | None = None
    fault: Fault | None = None


class Server(msgspec.Struct):
    """A server's record."""

    id: str
    name: str
    project_id: str
    status: Status
    image: str | None
    network_id: str
    port_id: str | None
    memory_mb: int
    disk_bytes: int
    runtime: Runtime
    created_at: str
    updated_at: str


class ServerNotFound(CoveError):
    """There is no such server."""


class NameInUse(CoveError):
    """The project has a server of that name already."""


class TooManyServers(CoveError):
    """There is no room for another."""


def now() -> str:
    """The time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _values(server: Server) -> dict[str, object]:
    values = msgspec.structs.asdict(server)
    values["status"] = server.status.value
    values["runtime"] = msgspec.json.encode(server.runtime).decode()
    return values


def _server(row: sa.Row[tuple[object, ...]]) -> Server:
    values = dict(row._mapping)
    values["status"] = Status(values["status"])
    values["runtime"] = msgspec.json.decode(values["runtime"], type=Runtime)
    return Server(**values)


class ServerRecords:
    """The transactions on the table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def insert(self, server: Server) -> None:
        """Make the record durable. Raises NameInUse, TooManyServers."""
        values = _values(server)

        def insert(connection: sa.Connection) -> None:
            if (connection.execute(sa.select(sa.func.count()).select_from(servers)).scalar() or 0) >= SERVERS_MAX:
                raise TooManyServers(f"there are {SERVERS_MAX} servers already: delete one")
            connection.execute(sa.insert(servers).values(**values))

        try:
            await self._db.write(insert)
        except IntegrityError:
            raise NameInUse(
                f"there is a server {server.name!r} already: take another name, or delete that server first"
            ) from None

    async def save(self, server: Server) -> None:
        """Make the record's present state durable. Raises ServerNotFound if it has been deleted."""
        server.updated_at = now()
        values = _values(server)

        def update(connection: sa.Connection) -> int:
            statement = sa.update(servers).where(servers.c.id == server.id).values(**values)
            return connection.execute(statement).rowcount

        if not await self._db.write(update):
            raise ServerNotFound(f"server {server.id} could not be found")

    async def delete(self, server_id: str) -> None:
        """Remove the record; one that is absent is no error."""

        def delete(connection: sa.Connection) -> None:
            connection.execute(sa.delete(servers).where(servers.c.id == server_id))

        await self._db.write(delete)

    async def get(self, server_id: str) -> Server:
        """Raises ServerNotFound."""

        def select(connection: sa.Connection) -> Server | None:
            row = connection.execute(sa.select(servers).where(servers.c.id == server_id)).one_or_none()
            return None if row is None else _server(row)

        found = await self._db.read(select)
        if found is None:
            raise ServerNotFound(f"server {server_id} could not be found")
        return found

    async def find(self, name: str, project_id: str) -> Server | None:
        """The project's server of that name."""

        def select(connection: sa.Connection) -> Server | None:
            where = (servers.c.name == name) & (servers.c.project_id == project_id)
            row = connection.execute(sa.select(servers).where(where)).one_or_none()
            return None if row is None else _server(row)

        return await self._db.read(select)

    async def list_all(self, project_id: str | None = None, name: str | None = None) -> list[Server]:
        """All servers, oldest first, or a project's, or those of a name."""

        def select(connection: sa.Connection) -> list[Server]:
            statement = sa.select(servers).order_by(servers.c.created_at, servers.c.id)
            if project_id is not None:
                statement = statement.where(servers.c.project_id == project_id)
            if name is not None:
                statement = statement.where(servers.c.name == name)
            return [_server(row) for row in connection.execute(statement)]

        return await self._db.read(select)
