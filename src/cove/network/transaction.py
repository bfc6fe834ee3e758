"""One write transaction of the core plugin: the connection, who asks, and what is to be told once it has committed.

Everything in `networks`, `subnets`, `ports`, `scheduler` and `notifier` that changes rows takes a Transaction as its
first argument and runs on the database's writer thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cove.network.context import RequestContext
from cove.network.rows import Row, now_text


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """The settings that transactions need."""

    dns_domain: str = "openstacklocal"
    network_mtu: int = 1500
    agent_down_time_s: float = 75.0
    dhcp_agent_notification: bool = True
    dhcp_agent_scheduler: bool = True
    """Whether networks are scheduled to agents at all; if not, every notification is a fanout."""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One message to the DHCP agents: `host` is the agent's, None for all of them. `id` is its row's."""

    id: int
    network_id: str
    method: str
    host: str | None
    payload: dict[str, Any]


@dataclass(slots=True)
class Transaction:
    """State of one transaction. `entries` grows with each notification, in order."""

    connection: sa.Connection
    context: RequestContext
    config: PluginConfig
    now: float = field(default_factory=time.time)
    entries: list[OutboxEntry] = field(default_factory=list)
    networks: dict[str, Row] = field(default_factory=dict)
    """Rows read so far, so that a bulk request reads each once. Dropped when one changes."""
    subnets: dict[str, list[Row]] = field(default_factory=dict)

    @property
    def now_text(self) -> str:
        """The transaction's time as the API writes it."""
        return now_text(self.now)

    def forget(self, network_id: str) -> None:
        """A network or its subnets changed: read them again."""
        self.networks.pop(network_id, None)
        self.subnets.pop(network_id, None)
