"""The server's side of the DHCP agents' RPC: topics q-plugin and q-reports-plugin (Neutron: DHCP RPC API 1.10).

Names, arguments and replies are the wire's: an agent that is not ours must find what it expects. Each method takes
exactly the arguments that the wire carries, and more are ignored where agents send more.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from cove.bus import Handler
from cove.network import errors, queries
from cove.network.attributes import UNSET
from cove.network.context import RequestContext, service_context
from cove.network.networks import OWNER_DHCP
from cove.network.notifier import RESERVED_DHCP_PORT
from cove.network.plugin import CorePlugin
from cove.network.queries import ListQuery
from cove.network.resources import NETWORK, PORT
from cove.network.rows import subnet_dict

log = structlog.get_logger(__name__)

TOPIC_PLUGIN = "q-plugin"
TOPIC_REPORTS = "q-reports-plugin"

GONE = (errors.NetworkNotFound, errors.SubnetNotFound, errors.InvalidInput, errors.InvalidIpForNetwork)
"""What a DHCP port's request meets when its network or subnet went away meanwhile: answered with null."""


class DhcpRpcEndpoint:
    """What DHCP agents ask and tell."""

    def __init__(self, plugin: CorePlugin) -> None:
        self._plugin = plugin

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
        network_ids = await self._plugin.networks_to_serve(context, host)
        infos = [await self._network_info(context, network_id, enable_dhcp_filter) for network_id in network_ids]
        return [info for info in infos if info is not None]

    async def get_network_info(self, network_id: str, host: str | None = None, **_more: Any) -> dict[str, Any] | None:
        """One network with its DHCP subnets and all its ports; null when it is gone."""
        return await self._network_info(service_context(), network_id, dhcp_only=True)

    async def create_dhcp_port(self, port: dict[str, Any], host: str, **_more: Any) -> dict[str, Any] | None:
        """The agent's own port on a network; asked twice, the same port. Null if network or subnet went away."""
        context = service_context()
        wanted = port["port"]
        attributes = _port_attributes(wanted, host, context)
        if not attributes.get("device_id"):
            raise errors.InvalidInput(reason="a DHCP port needs a device_id")
        try:
            result, is_new = await self._plugin.create_device_port(context, str(uuid.uuid4()), attributes)
        except GONE as error:
            log.info("no DHCP port", network_id=wanted.get("network_id"), host=host, reason=str(error))
            return None
        log.info("DHCP port", port_id=result["id"], network_id=result["network_id"], host=host, new=is_new)
        return result

    async def update_dhcp_port(
        self, port_id: str, port: dict[str, Any], host: str, **_more: Any
    ) -> dict[str, Any] | None:
        """Change the agent's own port, or take over a reserved one. Null if it is gone or another agent's."""
        context = service_context()
        wanted = {**port["port"], "binding:host_id": host}
        try:
            current = await self._plugin.get(context, "port", port_id)
        except errors.PortNotFound:
            return None
        network_id = current["network_id"]
        if current["device_id"] not in (RESERVED_DHCP_PORT, dhcp_device_id(network_id, host)):
            log.info(
                "DHCP port belongs to another agent",
                port_id=port_id,
                host=host,
                device_id=current["device_id"],
            )
            return None
        changes = PORT.for_update({name: wanted[name] for name in wanted if PORT.by_name[name].put}, context)
        try:
            return await self._plugin.update(context, "port", port_id, changes)
        except (*GONE, errors.PortNotFound) as error:
            log.info("DHCP port not updated", port_id=port_id, host=host, reason=str(error))
            return None

    async def get_dhcp_port(self, port_id: str, **_more: Any) -> dict[str, Any]:
        """One port. Raises PortNotFound."""
        return await self._plugin.get(service_context(), "port", port_id)

    async def get_ports(self, filters: dict[str, Any] | None = None, **_more: Any) -> list[dict[str, Any]]:
        """The ports that match filters of the form {attribute: [values]}."""
        return await self._plugin.find(service_context(), "port", _query(PORT, filters))

    async def get_networks(
        self, filters: dict[str, Any] | None = None, fields: Sequence[str] | None = None, **_more: Any
    ) -> list[dict[str, Any]]:
        """The networks that match filters of the form {attribute: [values]}."""
        context = service_context()
        found = await self._plugin.find(context, "network", _query(NETWORK, filters))
        return [NETWORK.strip(network, context, fields or ()) for network in found]

    async def dhcp_ready_on_ports(self, port_ids: Sequence[str], **_more: Any) -> None:
        """The agent's server would answer for these ports now."""
        await self._plugin.dhcp_ready(service_context(), list(port_ids))

    async def release_dhcp_port(self, network_id: str, device_id: str, host: str | None = None, **_more: Any) -> None:
        """The agent does not serve the network any more: remove its port."""
        await self._plugin.delete_ports_of_device(service_context(), network_id, device_id)

    async def _network_info(self, context: RequestContext, network_id: str, dhcp_only: bool) -> dict[str, Any] | None:
        def read(connection: Any) -> dict[str, Any]:
            row = queries.network_row(connection, context, network_id)
            subnets = [subnet_dict(subnet) for subnet in queries.subnet_rows(connection, network_id)]
            if dhcp_only:
                subnets = [subnet for subnet in subnets if subnet["enable_dhcp"]]
            # By id: agents number them by their place in the list.
            subnets.sort(key=lambda subnet: subnet["id"])
            query = ListQuery(filters={"network_id": [network_id]})
            return {
                "id": network_id,
                "project_id": row["project_id"],
                "admin_state_up": row["admin_state_up"],
                "mtu": row["mtu"],
                "revision_number": row["revision_number"],
                "subnets": subnets,
                "non_local_subnets": [],
                "ports": queries.list_ports(connection, context, query, self._plugin.config.dns_domain),
            }

        try:
            return await self._plugin.read(read)
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
        return await self._plugin.report_state(report, _now())


CLOCK_SLACK_S = 1.0
"""Reports carry microseconds of another clock."""


def dhcp_device_id(network_id: str, host: str) -> str:
    """The device_id of the DHCP port of `host` on a network (Neutron: get_dhcp_agent_device_id)."""
    return f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, host.split('.')[0])}-{network_id}"


def _now() -> float:
    return time.time()


def _reported_at(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise errors.InvalidInput(reason=f"time {text!r} of a report is not of the form 2026-11-21T21:44:15") from None


def _port_attributes(wanted: Mapping[str, Any], host: str, context: RequestContext) -> dict[str, Any]:
    """A DHCP port's attributes: the agent's, with owner and host set by the server and defaults filled."""
    given = {name: value for name, value in wanted.items() if name in PORT.by_name and PORT.by_name[name].post}
    given |= {"device_owner": OWNER_DHCP, "binding:host_id": host}
    if not given.get("mac_address"):
        given.pop("mac_address", None)
    attributes = PORT.for_create(given, context)
    assert UNSET not in attributes.values()
    return attributes


def _query(table: Any, filters: Mapping[str, Any] | None) -> ListQuery:
    pairs: list[tuple[str, Any]] = []
    for name, values in (filters or {}).items():
        if isinstance(values, dict):  # fixed_ips: {"subnet_id": [...]}
            pairs += [(name, f"{key}={value}") for key, several in values.items() for value in several]
        else:
            pairs += [(name, value) for value in (values if isinstance(values, list) else [values])]
    return ListQuery(filters=table.filters(pairs, ()))
