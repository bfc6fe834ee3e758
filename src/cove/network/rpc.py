"""The server's side of the DHCP agents' RPC: topics q-plugin and q-reports-plugin (Neutron: DHCP RPC API 1.10).

Names, arguments and replies are the wire's: an agent that is not ours must find what it expects. Each method takes
exactly the arguments that the wire carries, and more are ignored where agents send more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from cove.bus import Handler
from cove.network import dhcp_ports, errors, networks, ports, provisioning, queries, scheduler, subnets
from cove.network.context import RequestContext, service_context
from cove.network.plugin import CorePlugin
from cove.network.queries import ListQuery
from cove.network.resource import Object, Resource
from cove.network.transaction import Reading
from cove.timeline import Timeline

log = structlog.get_logger(__name__)

TOPIC_PLUGIN = "q-plugin"
TOPIC_REPORTS = "q-reports-plugin"

GONE = (errors.NetworkNotFound, errors.SubnetNotFound, errors.InvalidInput, errors.InvalidIpForNetwork)
"""What a DHCP port's request meets when its network or subnet went away meanwhile: answered with null."""


class DhcpRpcEndpoint:
    """What DHCP agents ask and tell."""

    def __init__(self, plugin: CorePlugin, timeline: Timeline) -> None:
        self._plugin = plugin
        self._timeline = timeline

    def handlers(self) -> Mapping[str, Handler]:
        """Method name → handler."""
        names = (
            "get_active_networks_info",
            "get_network_info",
            "create_dhcp_port",
            "update_dhcp_port",
            "get_dhcp_port",
            "get_ports",
            "get_networks",
            "dhcp_ready_on_ports",
            "release_dhcp_port",
        )
        return {name: getattr(self, name) for name in names}

    async def get_active_networks_info(
        self, host: str, enable_dhcp_filter: bool = True, **_more: Any
    ) -> list[dict[str, Any]]:
        """Everything that the agent on `host` must serve; unserved networks are given to it here."""
        context = service_context()
        network_ids = await self._plugin.write(context, lambda tx: scheduler.auto_schedule(tx, host))
        infos = [await self._network_info(context, network_id, enable_dhcp_filter) for network_id in network_ids]
        return [info for info in infos if info is not None]

    async def get_network_info(self, network_id: str, host: str | None = None, **_more: Any) -> dict[str, Any] | None:
        """One network with its DHCP subnets and all its ports; null when it is gone."""
        return await self._network_info(service_context(), network_id, dhcp_only=True)

    async def create_dhcp_port(self, port: dict[str, Any], host: str, **_more: Any) -> dict[str, Any] | None:
        """The agent's own port on a network; asked twice, the same port. Null if network or subnet went away."""
        wanted = port["port"]
        if not wanted.get("device_id"):
            raise errors.InvalidInput(reason="a DHCP port needs a device_id")
        try:
            result, is_new = await self._plugin.write(service_context(), lambda tx: dhcp_ports.create(tx, wanted, host))
        except GONE as error:
            log.info("no DHCP port", network_id=wanted.get("network_id"), host=host, reason=str(error))
            return None
        log.info("DHCP port", port_id=result["id"], network_id=result["network_id"], host=host, new=is_new)
        return result

    async def update_dhcp_port(
        self, port_id: str, port: dict[str, Any], host: str, **_more: Any
    ) -> dict[str, Any] | None:
        """Change the agent's own port, or take over a reserved one. Null if it is gone or another agent's."""
        try:
            result = await self._plugin.write(
                service_context(), lambda tx: dhcp_ports.update(tx, port_id, port["port"], host)
            )
        except (*GONE, errors.PortNotFound) as error:
            log.info("DHCP port not updated", port_id=port_id, host=host, reason=str(error))
            return None
        if result is None:
            log.info("DHCP port belongs to another agent", port_id=port_id, host=host)
        return result

    async def get_dhcp_port(self, port_id: str, **_more: Any) -> dict[str, Any]:
        """One port. Raises PortNotFound."""
        return await self._plugin.get(service_context(), "port", port_id)

    async def get_ports(self, filters: dict[str, Any] | None = None, **_more: Any) -> list[dict[str, Any]]:
        """The ports that match filters of the form {attribute: [values]}."""
        return (await self._plugin.find(service_context(), "port", _query(ports.RESOURCE, filters))).items

    async def get_networks(
        self, filters: dict[str, Any] | None = None, fields: Sequence[str] | None = None, **_more: Any
    ) -> list[dict[str, Any]]:
        """The networks that match filters of the form {attribute: [values]}."""
        query = _query(networks.RESOURCE, filters)
        return (await self._plugin.find(service_context(), "network", query, fields or ())).items

    async def dhcp_ready_on_ports(self, port_ids: Sequence[str], **_more: Any) -> None:
        """The agent's server would answer for these ports now."""

        def mark(active: list[str]) -> None:
            for port_id in active:
                self._timeline.mark(port_id, "ready")

        await self._plugin.write(service_context(), lambda tx: provisioning.ready(tx, list(port_ids)), mark)

    async def release_dhcp_port(self, network_id: str, device_id: str, host: str | None = None, **_more: Any) -> None:
        """The agent does not serve the network any more: remove its port."""
        await self._plugin.write(service_context(), lambda tx: dhcp_ports.release(tx, network_id, device_id))

    async def _network_info(self, context: RequestContext, network_id: str, dhcp_only: bool) -> dict[str, Any] | None:
        def read(reading: Reading) -> Object:
            row = queries.row(reading, networks.RESOURCE, network_id)
            of_network = {"network_id": [network_id]}
            its_subnets = queries.find(reading, subnets.RESOURCE, ListQuery(filters=of_network))
            return {
                "id": network_id,
                "project_id": row["project_id"],
                "admin_state_up": row["admin_state_up"],
                "mtu": row["mtu"],
                "revision_number": row["revision_number"],
                # Sorted by id: agents number them by their place in the list.
                "subnets": [subnet for subnet in its_subnets if subnet["enable_dhcp"] or not dhcp_only],
                "non_local_subnets": [],
                "ports": queries.find(reading, ports.RESOURCE, ListQuery(filters=of_network)),
            }

        try:
            return await self._plugin.read(context, read)
        except errors.NetworkNotFound:
            return None


class StateReportEndpoint:
    """What agents report of themselves."""

    def __init__(self, plugin: CorePlugin, started_at: float) -> None:
        self._plugin = plugin
        self._started_at = started_at

    def handlers(self) -> Mapping[str, Handler]:
        """Method name → handler."""
        return {"report_state": self.report_state}

    async def report_state(self, agent_state: dict[str, Any], time: str | None = None, **_more: Any) -> str | None:
        """An agent lives. Answers "new", "alive" or "revived"; nothing to a report older than this server."""
        report = agent_state["agent_state"]
        if time is not None and _reported_at(time) < self._started_at - CLOCK_SLACK_S:
            log.info("report from before the start ignored", host=report.get("host"), reported_at=time)
            return None
        return await self._plugin.write(
            service_context(),
            lambda tx: scheduler.report_state(
                tx.connection, report, now=tx.now, agent_down_time_s=tx.config.agent_down_time_s
            ),
        )


CLOCK_SLACK_S = 1.0
"""Reports carry microseconds of another clock."""


def _reported_at(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise errors.InvalidInput(reason=f"time {text!r} of a report is not of the form 2026-11-21T21:44:15") from None


def _query(resource: Resource, filters: Mapping[str, Any] | None) -> ListQuery:
    pairs: list[tuple[str, Any]] = []
    for name, values in (filters or {}).items():
        if isinstance(values, dict):  # fixed_ips: {"subnet_id": [...]}
            pairs += [(name, f"{key}={value}") for key, several in values.items() for value in several]
        else:
            pairs += [(name, value) for value in (values if isinstance(values, list) else [values])]
    own = [name for name in resource.filters if name not in resource.attributes.by_name]
    return ListQuery(filters=resource.attributes.filters(pairs, (), own))
