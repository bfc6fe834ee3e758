"""What runs on a connection of the control database: reads, and write transactions of the core plugin.

Everything that only looks takes a `Reading` as its first argument; everything that changes rows takes a `Transaction`
(which is a Reading too) and runs on the database's writer thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cove.network.context import RequestContext
from cove.network.rows import Row, now_text

if TYPE_CHECKING:
    from cove.network.policy import Policy

QUOTA_DEFAULTS: Mapping[str, int] = {
    "network": 100,
    "subnet": 100,
    "port": 500,
    "subnetpool": -1,
    "security_group": 10,
    "security_group_rule": 100,
    "rbac_policy": 10,
}
"""How many of each resource a project may have, unless its own quota says otherwise; -1 is no limit (Neutron's)."""


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """The settings that reads and transactions need."""

    policy: Policy
    server_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """This server process, among several on one database."""
    dns_domain: str = "openstacklocal"
    network_mtu: int = 1500
    agent_down_time_s: float = 75.0
    dhcp_agent_notification: bool = True
    dhcp_agent_scheduler: bool = True
    """Whether networks are scheduled to agents at all; if not, every notification is a fanout."""
    dhcp_agents_per_network: int = 1
    tenant_network_type: str = "local"
    physical_networks: tuple[str, ...] = ()
    """Names that flat and vlan networks may use; empty allows any."""
    quotas: Mapping[str, int] = field(default_factory=lambda: dict(QUOTA_DEFAULTS))


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One message to the DHCP agents: `host` is the agent's, None for all of them. `id` is its row's."""

    id: int
    network_id: str
    method: str
    host: str | None
    payload: dict[str, Any]


@dataclass(slots=True)
class Reading:
    """A connection on a snapshot, who asks, and the settings."""

    connection: sa.Connection
    context: RequestContext
    config: PluginConfig


@dataclass(slots=True)
class Transaction(Reading):
    """State of one write transaction. `entries` grows with each notification, in order."""

    now: float = field(default_factory=time.time)
    entries: list[OutboxEntry] = field(default_factory=list)
    networks: dict[str, Row] = field(default_factory=dict)
    """Rows read so far, so that a bulk request reads each once. Dropped when one changes."""
    subnets: dict[str, list[Row]] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)
    """(project, resource) → by how much this transaction changes the number of them."""
    memory: dict[Any, Any] = field(default_factory=dict)
    """What modules remember for the rest of the transaction, each under its own name."""

    @property
    def now_text(self) -> str:
        """The transaction's time as the API writes it."""
        return now_text(self.now)

    def forget(self, network_id: str) -> None:
        """A network or its subnets changed: read them again."""
        self.networks.pop(network_id, None)
        self.subnets.pop(network_id, None)

    def count(self, resource: str, project_id: str, change: int) -> None:
        """A resource was made (+1) or removed (-1): settled against the project's quota before the commit."""
        key = (project_id, resource)
        self.counted[key] = self.counted.get(key, 0) + change
