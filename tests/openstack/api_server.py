"""Cove's API as a process of its own that needs no root: `python -m tests.openstack.api_server READY_FD`.

All from the HTTP request to the database is Cove's, put together as `cove up` does. In place of the DHCP agent is one
that only reports that it lives, makes DHCP ports (COVE_TEST_DHCP_PORTS=1), and says of every port that it is ready
(unless COVE_TEST_READY=0): dnsmasq and namespaces are the integration tests' business. Settings come from the
environment, as always.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from typing import Any

import uvicorn
import uvloop

from cove.api.app import create_app
from cove.bus import Bus
from cove.bus import connect as connect_bus
from cove.config import Settings
from cove.daemon.http_server import ApiServer, bind
from cove.daemon.logs import configure_logs
from cove.daemon.users import Users
from cove.db import Database
from cove.dhcp.plugin_api import PluginApi
from cove.dhcp.ready import ReadyReporter
from cove.network import NetworkService
from cove.timeline import Timeline

TOPIC = "dhcp_agent"
REPORT_INTERVAL_S = 20.0


class ReadyAgent:
    """A DHCP agent that serves nobody: whatever it is told of is ready at once."""

    def __init__(self, bus: Bus, host: str, *, makes_ports: bool, says_ready: bool) -> None:
        self._bus = bus
        self._host = host
        self._makes_ports = makes_ports
        self._says_ready = says_ready
        self._plugin = PluginApi(bus, host)
        self._ready = ReadyReporter(self._plugin.dhcp_ready_on_ports)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Report in and consume."""
        handlers = dict.fromkeys(
            (f"{what}_{how}_end" for what in ("network", "subnet", "port") for how in ("create", "update", "delete")),
            self._ignore,
        )
        handlers |= {"port_create_end": self._port, "port_update_end": self._port, "agent_updated": self._ignore}
        if self._makes_ports:
            handlers |= {"subnet_create_end": self._subnet, "network_create_end": self._network}
        self._subscription = await self._bus.serve(TOPIC, self._host, handlers)
        await self._plugin.report_state(CONFIGURATIONS, start=True)
        self._tasks = [asyncio.create_task(self._ready.run()), asyncio.create_task(self._report())]

    async def stop(self) -> None:
        """Consume no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._subscription.close()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            await self._plugin.report_state(CONFIGURATIONS, start=False)

    async def _ignore(self, payload: Mapping[str, Any]) -> None:
        """Nothing to do."""

    async def _port(self, payload: Mapping[str, Any]) -> None:
        if self._says_ready:
            self._ready.add([payload["port"]["id"]])

    async def _subnet(self, payload: Mapping[str, Any]) -> None:
        await self._own_port(payload["subnet"]["network_id"])

    async def _network(self, payload: Mapping[str, Any]) -> None:
        await self._own_port(payload["network"]["id"])

    async def _own_port(self, network_id: str) -> None:
        info = await self._plugin.get_network_info(network_id)
        subnets = [subnet.id for subnet in info.subnets if subnet.enable_dhcp] if info is not None else []
        if info is None or not subnets:
            return
        device_id = f"dhcp-{self._host}-{network_id}"
        own = [port for port in info.ports if port.device_id == device_id]
        if not own:
            await self._plugin.create_dhcp_port(network_id, info.project_id, device_id, subnets)
        else:
            await self._plugin.update_dhcp_port(own[0].id, network_id, device_id, [{"subnet_id": s} for s in subnets])


CONFIGURATIONS: Mapping[str, Any] = {"dhcp_driver": "dnsmasq", "dhcp_lease_duration": 86400}


async def serve(settings: Settings, ready_fd: int) -> None:
    """Serve until SIGTERM. Writes the API's URL to the descriptor once it answers."""
    for directory in (settings.state_dir, settings.run_dir):
        directory.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(32)
    async with contextlib.AsyncExitStack() as stack:
        listener = bind(settings.api_host, settings.api_port)
        stack.callback(listener.close)
        database = Database(settings.database_url)
        await database.start()
        stack.push_async_callback(database.close)
        users = Users(settings, database)
        await users.start()
        stack.push_async_callback(users.stop)
        bus = connect_bus(settings.bus_url)
        await bus.start()
        stack.push_async_callback(bus.close)
        network = NetworkService(database, bus, Timeline(), settings)
        await network.start()
        stack.push_async_callback(network.stop)
        agent = ReadyAgent(
            bus,
            settings.host,
            makes_ports=os.environ.get("COVE_TEST_DHCP_PORTS") == "1",
            says_ready=os.environ.get("COVE_TEST_READY") != "0",
        )
        await agent.start()
        stack.push_async_callback(agent.stop)
        app = create_app(
            settings,
            network,
            [],
            token,
            identity=users.identity,
            authenticator=users.authenticator,
            is_admin=network.policy.is_admin,
        )
        listener.listen(256)
        listener.setblocking(False)
        url = f"http://{settings.api_host}:{listener.getsockname()[1]}"
        server = ApiServer(
            uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None,
                           access_log=False, timeout_keep_alive=60, timeout_graceful_shutdown=2)
        )  # fmt: skip
        serving = asyncio.create_task(server._serve(sockets=[listener]))
        await asyncio.wait_for(server.listening.wait(), 10)
        users.write_clouds(url)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        gc.freeze()
        os.write(ready_fd, f"{url}\n".encode())
        await asyncio.wait({asyncio.create_task(stop.wait()), serving}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await asyncio.wait_for(serving, 15)


if __name__ == "__main__":
    os.umask(0o077)
    configure_logs()
    uvloop.run(serve(Settings(), int(sys.argv[1])))
