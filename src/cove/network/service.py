"""NetworkService: the Networking service as one object with a start and an end.

It ties together the core plugin, the controllers that the API calls, the endpoints that agents call, and the
dispatcher that empties the outbox.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

import structlog

from cove.bus import Bus, Subscription
from cove.config import Settings
from cove.db import Database
from cove.errors import CoveError
from cove.network.controller import Controller
from cove.network.failover import DhcpFailover
from cove.network.outbox import Dispatcher
from cove.network.plugin import CorePlugin
from cove.network.policy import Policy
from cove.network.registry import RESOURCES
from cove.network.rpc import TOPIC_PLUGIN, TOPIC_REPORTS, DhcpRpcEndpoint, StateReportEndpoint
from cove.network.transaction import QUOTA_DEFAULTS, PluginConfig
from cove.timeline import Timeline

log = structlog.get_logger(__name__)


def _check(settings: Settings) -> None:
    """Refuse settings that name what is not there, or do not fit together. Raises CoveError."""
    unknown = sorted(settings.quotas.keys() - QUOTA_DEFAULTS.keys())
    if unknown:
        raise CoveError(f"setting quotas: {', '.join(unknown)} unknown; there are {', '.join(QUOTA_DEFAULTS)}")
    if settings.tenant_network_type == "vlan" and not settings.physical_networks:
        raise CoveError("setting tenant_network_type = vlan needs the setting physical_networks: name at least one")


class NetworkService:
    """Networks, subnets, ports and their DHCP agents. The database and the bus are started and closed by the caller."""

    def __init__(self, db: Database, bus: Bus, timeline: Timeline, settings: Settings) -> None:
        _check(settings)
        self._bus = bus
        self._server = settings.host
        server_id = str(uuid.uuid4())
        self._dispatcher = Dispatcher(db, bus, timeline, server_id)
        self._subscriptions: list[Subscription] = []
        self._timeline = timeline
        self.policy = Policy.load(
            settings.policy_file,
            attributes={name: tuple(resource.attributes.by_name) for name, resource in RESOURCES.items()},
        )
        self.plugin = CorePlugin(
            db,
            self._dispatcher,
            timeline,
            PluginConfig(
                policy=self.policy,
                server_id=server_id,
                dns_domain=settings.dns_domain,
                network_mtu=settings.network_mtu,
                agent_down_time_s=settings.agent_down_time_s,
                dhcp_agent_notification=settings.dhcp_agent_notification,
                dhcp_agents_per_network=settings.dhcp_agents_per_network,
                tenant_network_type=settings.tenant_network_type,
                physical_networks=tuple(settings.physical_networks),
                quotas={**QUOTA_DEFAULTS, **settings.quotas},
            ),
        )
        self._failover = DhcpFailover(self.plugin)
        self.controllers: Mapping[str, Controller] = {
            name: Controller(resource, self.plugin, bus, timeline) for name, resource in RESOURCES.items()
        }

    async def start(self) -> None:
        """Serve the agents and send what an earlier run did not."""
        self._subscriptions = [
            await self._bus.serve(TOPIC_PLUGIN, self._server, DhcpRpcEndpoint(self.plugin, self._timeline).handlers()),
            await self._bus.serve(
                TOPIC_REPORTS, self._server, StateReportEndpoint(self.plugin, time.time()).handlers()
            ),
        ]
        await self._dispatcher.start()
        await self._failover.start()

    async def stop(self) -> None:
        """Send what can be sent, and stop serving. May be called again."""
        await self._failover.stop()
        await self._dispatcher.stop()
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    async def drained(self, timeout_s: float = 10.0) -> None:
        """Wait until all agents have been sent what was committed so far. Raises TimeoutError."""
        await self._dispatcher.drained(timeout_s)
