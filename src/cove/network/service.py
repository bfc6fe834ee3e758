"""NetworkService: the Networking service as one object with a start and an end.

It ties together the core plugin, the controllers that the API calls, the endpoints that agents call, and the
dispatcher that empties the outbox.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import structlog

from cove.bus import Bus, Subscription
from cove.config import Settings
from cove.db import Database
from cove.network.controller import Controller
from cove.network.outbox import Dispatcher
from cove.network.plugin import CorePlugin
from cove.network.resources import RESOURCES
from cove.network.rpc import TOPIC_PLUGIN, TOPIC_REPORTS, DhcpRpcEndpoint, StateReportEndpoint
from cove.network.transaction import PluginConfig
from cove.timeline import Timeline

log = structlog.get_logger(__name__)


class NetworkService:
    """Networks, subnets, ports and their DHCP agents. The database and the bus are started and closed by the caller."""

    def __init__(self, db: Database, bus: Bus, timeline: Timeline, settings: Settings) -> None:
        self._bus = bus
        self._server = settings.host
        self._dispatcher = Dispatcher(db, bus, timeline)
        self._subscriptions: list[Subscription] = []
        self.plugin = CorePlugin(
            db,
            self._dispatcher,
            timeline,
            PluginConfig(
                dns_domain=settings.dns_domain,
                network_mtu=settings.network_mtu,
                agent_down_time_s=settings.agent_down_time_s,
                dhcp_agent_notification=settings.dhcp_agent_notification,
            ),
        )
        self.controllers: Mapping[str, Controller] = {
            name: Controller(table, self.plugin, bus, timeline) for name, table in RESOURCES.items()
        }

    async def start(self) -> None:
        """Serve the agents and send what an earlier run did not."""
        self._subscriptions = [
            await self._bus.serve(TOPIC_PLUGIN, self._server, DhcpRpcEndpoint(self.plugin).handlers()),
            await self._bus.serve(
                TOPIC_REPORTS, self._server, StateReportEndpoint(self.plugin, time.time()).handlers()
            ),
        ]
        await self._dispatcher.start()

    async def stop(self) -> None:
        """Send what can be sent, and stop serving. May be called again."""
        await self._dispatcher.stop()
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    async def drained(self, timeout_s: float = 10.0) -> None:
        """Wait until all agents have been sent what was committed so far. Raises TimeoutError."""
        await self._dispatcher.drained(timeout_s)
