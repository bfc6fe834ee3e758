"""The calls from the agent to the server, typed. Source: Neutron's DHCP RPC API, methods and versions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from cove.bus import Bus, Target
from cove.dhcp.errors import InvalidPayload
from cove.dhcp.models import NetworkInfo, PortInfo, decode_network, decode_port

log = structlog.get_logger(__name__)

PLUGIN = Target("q-plugin")
REPORTS = Target("q-reports-plugin")
REPORT_TIMEOUT_S = 30.0


class PluginApi:
    """The server, as seen from the agent of `host`. Every method raises BusError (RemoteError, CallTimeout, ...)."""

    def __init__(self, bus: Bus, host: str) -> None:
        self._bus = bus
        self._host = host

    async def get_active_networks_info(self) -> tuple[list[NetworkInfo], set[str]]:
        """All networks that this agent is to serve, and the ids of those among them that cannot be understood."""
        answer = await self._bus.call(
            PLUGIN,
            "get_active_networks_info",
            {"host": self._host, "enable_dhcp_filter": False},
            version="1.1",
        )
        networks: list[NetworkInfo] = []
        malformed: set[str] = set()
        for payload in answer or ():
            try:
                networks.append(_network(payload))
            except InvalidPayload as error:
                network_id = payload.get("id") if isinstance(payload, dict) else None
                log.error("network not understood: it stays as it is", network_id=network_id, error=str(error))
                malformed.add(str(network_id))
        return networks, malformed

    async def get_network_info(self, network_id: str) -> NetworkInfo | None:
        """One network, or None if it is gone. Raises also InvalidPayload."""
        payload = await self._bus.call(
            PLUGIN, "get_network_info", {"network_id": network_id, "host": self._host}, version="1.0"
        )
        return None if payload is None else _network(payload)

    async def create_dhcp_port(
        self, network_id: str, project_id: str, device_id: str, subnet_ids: Sequence[str]
    ) -> PortInfo | None:
        """Make the agent's port with an address in each subnet; None if network or subnet went away."""
        body = {
            "name": "",
            "admin_state_up": True,
            "device_id": device_id,
            "network_id": network_id,
            "project_id": project_id,
            "fixed_ips": [{"subnet_id": subnet_id} for subnet_id in subnet_ids],
        }
        payload = await self._bus.call(
            PLUGIN, "create_dhcp_port", {"port": {"port": body}, "host": self._host}, version="1.1"
        )
        return None if payload is None else decode_port(payload)

    async def update_dhcp_port(
        self, port_id: str, network_id: str, device_id: str, fixed_ips: Sequence[Mapping[str, str]]
    ) -> PortInfo | None:
        """Give the agent's port (or a reserved one, which becomes the agent's) these addresses; None if gone."""
        body = {"network_id": network_id, "device_id": device_id, "fixed_ips": [dict(item) for item in fixed_ips]}
        payload = await self._bus.call(
            PLUGIN,
            "update_dhcp_port",
            {"port_id": port_id, "port": {"port": body}, "host": self._host},
            version="1.1",
        )
        return None if payload is None else decode_port(payload)

    async def release_dhcp_port(self, network_id: str, device_id: str) -> None:
        """Have the agent's port deleted."""
        await self._bus.call(
            PLUGIN,
            "release_dhcp_port",
            {"network_id": network_id, "device_id": device_id, "host": self._host},
            version="1.0",
        )

    async def dhcp_ready_on_ports(self, port_ids: Sequence[str]) -> None:
        """Tell that the DHCP server answers for these ports (at most 64)."""
        await self._bus.call(PLUGIN, "dhcp_ready_on_ports", {"port_ids": list(port_ids)}, version="1.5")

    async def report_state(self, configurations: Mapping[str, Any], *, start: bool) -> str:
        """Report that the agent lives; the answer is "new", "alive" or "revived"."""
        state: dict[str, Any] = {
            "binary": "neutron-dhcp-agent",
            "host": self._host,
            "availability_zone": "nova",
            "topic": "dhcp_agent",
            "configurations": dict(configurations),
            "agent_type": "DHCP agent",
            "uuid": str(uuid.uuid4()),
        }
        if start:
            state["start_flag"] = True
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        answer = await self._bus.call(
            REPORTS,
            "report_state",
            {"agent_state": {"agent_state": state}, "time": now},
            version="1.4",
            timeout_s=REPORT_TIMEOUT_S,
        )
        return str(answer)


def _network(payload: Any) -> NetworkInfo:
    network, problems = decode_network(payload)
    for problem in problems:
        log.error("port left out", network_id=network.id, error=str(problem))
    return network
