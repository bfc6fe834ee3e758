"""A bus that remembers what was sent, and can be told to fail or to wait; and the service put together around it."""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from cove.bus import BusError, Handler, NotificationCallback, Subscription, Target
from cove.config import Settings
from cove.db import Database
from cove.db.upgrade import to_head
from cove.network import NetworkService, RequestContext
from cove.timeline import Timeline

HOST = "node1"


class _Subscription:
    async def close(self) -> None:
        pass


@dataclass
class FakeBus:
    """Records (host or None for a fanout, method, payload) in `sent`, events in `notifications`."""

    sent: list[tuple[str | None, str, dict[str, Any]]] = field(default_factory=list)
    notifications: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    endpoints: dict[str, Mapping[str, Handler]] = field(default_factory=dict)
    failures: int = 0
    error: Exception = field(default_factory=lambda: BusError("not connected"))
    gate: asyncio.Event | None = None
    shared: bool = True

    def reaches(self, target: Target) -> bool:
        return True

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def call(
        self, target: Target, method: str, args: dict[str, Any], *, version: str = "1.0", timeout_s: float = 60.0
    ) -> Any:
        sent = msgspec.json.decode(msgspec.json.encode(args))
        return msgspec.json.decode(msgspec.json.encode(await self.endpoints[target.topic][method](**sent)))

    async def _send(self, host: str | None, method: str, args: dict[str, Any]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise self.error
        self.sent.append((host, method, msgspec.json.decode(msgspec.json.encode(args))["payload"]))

    async def cast(self, target: Target, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        assert target.topic == "dhcp_agent"
        assert target.server is not None
        await self._send(target.server, method, args)

    async def fanout(self, topic: str, method: str, args: dict[str, Any], *, version: str = "1.0") -> None:
        assert topic == "dhcp_agent"
        await self._send(None, method, args)

    async def serve(self, topic: str, server: str, endpoint: Mapping[str, Handler]) -> Subscription:
        self.endpoints[topic] = endpoint
        return _Subscription()

    async def notify(self, event_type: str, payload: dict[str, Any]) -> None:
        self.notifications.append((event_type, msgspec.json.decode(msgspec.json.encode(payload))))

    def subscribe_notifications(self, callback: NotificationCallback) -> Subscription:
        return _Subscription()

    def methods(self) -> list[str]:
        return [method for _, method, _ in self.sent]


@functools.cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "template.sqlite"
        path.touch()
        to_head(path)
        return path.read_bytes()


def new_database(directory: Path) -> Path:
    """An empty file with the newest schema; cheaper than running the revisions each time."""
    path = directory / "cove.sqlite"
    if not path.exists():
        path.write_bytes(_template())
    return path


@dataclass
class Cloud:
    """The service under test, with short ways to use it."""

    service: NetworkService
    bus: FakeBus
    db: Database
    timeline: Timeline
    settings: Settings
    context: RequestContext = field(default_factory=RequestContext)

    async def create(self, resource: str, **attributes: Any) -> dict[str, Any]:
        answer = await self.service.controllers[resource].create(self.context, {resource: attributes})
        result: dict[str, Any] = answer[resource]
        return result

    async def network(self, **attributes: Any) -> dict[str, Any]:
        return await self.create("network", **attributes)

    async def subnet(self, network: dict[str, Any], cidr: str = "192.0.2.0/24", **attributes: Any) -> dict[str, Any]:
        return await self.create("subnet", network_id=network["id"], ip_version=4, cidr=cidr, **attributes)

    async def port(self, network: dict[str, Any], **attributes: Any) -> dict[str, Any]:
        return await self.create("port", network_id=network["id"], **attributes)

    async def bulk(self, resource: str, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        controller = self.service.controllers[resource]
        answer = await controller.create(self.context, {controller.table.collection: items})
        result: list[dict[str, Any]] = answer[controller.table.collection]
        return result

    async def update(self, resource: str, item_id: str, **attributes: Any) -> dict[str, Any]:
        answer = await self.service.controllers[resource].update(self.context, item_id, {resource: attributes})
        result: dict[str, Any] = answer[resource]
        return result

    async def delete(self, resource: str, item_id: str) -> None:
        await self.service.controllers[resource].delete(self.context, item_id)

    async def get(self, resource: str, item_id: str) -> dict[str, Any]:
        result: dict[str, Any] = (await self.service.controllers[resource].get(self.context, item_id))[resource]
        return result

    async def find(self, resource: str, *arguments: tuple[str, str]) -> list[dict[str, Any]]:
        return (await self.service.controllers[resource].find(self.context, arguments)).items

    async def rpc(self, method: str, **args: Any) -> Any:
        topic = "q-reports-plugin" if method == "report_state" else "q-plugin"
        return await self.bus.call(Target(topic), method, args)

    async def report(self, host: str = HOST, **state: Any) -> str:
        report = {"binary": "neutron-dhcp-agent", "host": host, "topic": "dhcp_agent", "agent_type": "DHCP agent"}
        return str(await self.rpc("report_state", agent_state={"agent_state": {**report, **state}}, time=None))

    async def sent(self) -> list[tuple[str | None, str, dict[str, Any]]]:
        """What the agents were sent since the last look."""
        await self.service.drained()
        sent, self.bus.sent = self.bus.sent, []
        return sent

    async def free(self) -> list[tuple[int, int]]:
        """The free ranges of all subnets: first and last offset."""
        ranges = await self.rows("SELECT first, last FROM subnet_free_ranges ORDER BY subnet_id, first")
        return [(int(first, 16), int(last, 16)) for first, last in ranges]

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return await self.db.read(lambda connection: [tuple(row) for row in connection.exec_driver_sql(sql)])


@asynccontextmanager
async def cloud(directory: Path, **settings: Any) -> AsyncIterator[Cloud]:
    new_database(directory)
    made = Settings(state_dir=directory, run_dir=directory, host=HOST, **settings)
    db = Database(made.database_url)
    await db.start()
    bus, timeline = FakeBus(), Timeline()
    service = NetworkService(db, bus, timeline, made)
    await service.start()
    try:
        yield Cloud(service, bus, db, timeline, made)
    finally:
        await service.stop()
        await db.close()


def copy_database(source: Path, target: Path) -> None:
    """A copy of a database with its write-ahead log, as a crash would leave it."""
    for path in source.glob("cove.sqlite*"):
        shutil.copy(path, target / path.name)
