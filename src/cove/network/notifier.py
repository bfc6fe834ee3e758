"""DhcpAgentNotifier: from an API event to messages for the DHCP agents.

    <resource>.<action>.end event → notify → _notify_agents → outbox rows (cove.network.outbox casts them)

`notification_of` and `decide` are pure and hold the rules (Neutron: DHCP agent notifications); the notifier around
them asks who serves the network and writes the outbox, in the transaction of the change itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cove.network import outbox, scheduler
from cove.network.scheduler import RESERVED_DHCP_PORT as RESERVED_DHCP_PORT
from cove.network.scheduler import AgentRef
from cove.network.transaction import Transaction

RESOURCES = ("network", "subnet", "port")
METHODS = frozenset(f"{resource}.{action}.end" for resource in RESOURCES for action in ("create", "update", "delete"))

PRIORITY = {
    "network_create_end": 0,
    "network_update_end": 1,
    "network_delete_end": 2,
    "subnet_create_end": 3,
    "subnet_update_end": 3,
    "subnet_delete_end": 4,
    "port_create_end": 6,
    "port_update_end": 6,
    "port_delete_end": 6,
}
"""Lower is served first by an agent's queue."""

PRIORITY_PORT_CREATE_HIGH = 5
"""For one agent of the network, so that not all of them do the same port first."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What one event says to agents: RPC method, the network, and the payload without its priority."""

    method: str
    network_id: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a notification goes out: to everybody, or to each agent of the network, which may be scheduled first."""

    fanout: bool
    cast: bool
    schedule: bool


_FANOUT = Delivery(fanout=True, cast=False, schedule=False)
_NOTHING = Delivery(fanout=False, cast=False, schedule=False)
_CAST = Delivery(fanout=False, cast=True, schedule=False)
_SCHEDULE_AND_CAST = Delivery(fanout=False, cast=True, schedule=True)

DELIVERY: Mapping[str, Delivery] = {
    "network_create_end": _NOTHING,  # an admin may still bind it to an agent by hand
    "network_update_end": _CAST,
    "network_delete_end": _FANOUT,  # nobody knows who listens
    "subnet_create_end": _SCHEDULE_AND_CAST,
    "subnet_update_end": _CAST,
    "subnet_delete_end": _CAST,
    "port_create_end": _SCHEDULE_AND_CAST,
    "port_update_end": _CAST,
    "port_delete_end": _CAST,
}


def decide(method: str, *, reserved_dhcp_port: bool = False, scheduler_on: bool = True) -> Delivery:
    """The delivery of a method. A reserved DHCP port schedules nothing; without a scheduler all is fanned out."""
    if not scheduler_on:
        return _FANOUT
    if method == "port_create_end" and reserved_dhcp_port:
        return _CAST
    return DELIVERY[method]


def notification_of(data: Mapping[str, Any], method_name: str) -> Notification | None:
    """The notification for an event, or None if agents are not told of it.

    `data` has the object under its resource's name as first key ("network" may follow, with the network of a new
    subnet or port). Only the nine `<resource>.<action>.end` methods and objects with a network id are told. A delete
    carries ids only, everything else the object.
    """
    if method_name not in METHODS or not data:
        return None
    resource = next(iter(data))
    if resource not in RESOURCES:
        return None
    value = data[resource]
    network_id = value.get("id") if resource == "network" else value.get("network_id")
    if not network_id:
        return None
    method = method_name.replace(".", "_")
    if not method.endswith("_delete_end"):
        return Notification(method, network_id, dict(data))
    if "id" not in value:
        return None
    payload: dict[str, Any] = {f"{resource}_id": value["id"]}
    if resource != "network":
        payload["network_id"] = network_id
    if resource == "port":
        payload["fixed_ips"] = value["fixed_ips"]
    return Notification(method, network_id, payload)


def dhcp_relevant_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a port's update changes what a DHCP server serves; others are not told to agents.

    Of owners only one thing matters: whether the port is one of the network service's own, which are not served.
    """
    own_before, own_after = (str(port.get("device_owner") or "").startswith("network:") for port in (before, after))
    return own_before != own_after or any(before.get(name) != after.get(name) for name in DHCP_ATTRIBUTES)


DHCP_ATTRIBUTES = ("fixed_ips", "mac_address", "extra_dhcp_opts", "dns_name", "dns_assignment", "dns_domain")


def notify(tx: Transaction, data: Mapping[str, Any], method_name: str) -> None:
    """Put what the agents must hear of an event into the outbox of this transaction."""
    if not tx.config.dhcp_agent_notification:
        return
    notification = notification_of(data, method_name)
    if notification is not None:
        _notify_agents(tx, notification)


def _notify_agents(tx: Transaction, notification: Notification) -> None:
    method, network_id, payload = notification.method, notification.network_id, notification.payload
    port = payload.get("port")
    delivery = decide(
        method,
        reserved_dhcp_port=port is not None and port.get("device_id") == RESERVED_DHCP_PORT,
        scheduler_on=tx.config.dhcp_agent_scheduler,
    )
    priority = PRIORITY[method]
    if delivery.fanout:
        outbox.add(tx, network_id, method, None, {**payload, "priority": priority})
        return
    if not delivery.cast:
        return
    if delivery.schedule:
        hosting, new = scheduler.schedule_network(tx, network_id)
        for agent in new:
            network_added(tx, network_id, agent.host)
    else:
        hosting = scheduler.agents_hosting(tx.connection, network_id)
    enabled = [agent for agent in hosting if agent.admin_state_up]
    for agent, agent_priority in _priorities(method, enabled):
        outbox.add(tx, network_id, method, agent.host, {**payload, "priority": agent_priority})


def _priorities(method: str, enabled: list[AgentRef]) -> list[tuple[AgentRef, int]]:
    """A new port is urgent for one agent of the network, chosen at random; the rest is as the table says."""
    urgent = random.choice(enabled) if method == "port_create_end" and enabled else None  # noqa: S311 (no secret)
    return [(agent, PRIORITY_PORT_CREATE_HIGH if agent is urgent else PRIORITY[method]) for agent in enabled]


# --- to one agent ----------------------------------------------------------------------------------------------------


def network_added(tx: Transaction, network_id: str, host: str) -> None:
    """Tell the agent on `host` that it serves a network from now on."""
    payload = {"network": {"id": network_id}, "priority": PRIORITY["network_create_end"]}
    outbox.add(tx, network_id, "network_create_end", host, payload)


def network_removed(tx: Transaction, network_id: str, host: str) -> None:
    """Tell the agent on `host` that it does not serve a network any more."""
    payload = {"network_id": network_id, "priority": PRIORITY["network_delete_end"]}
    outbox.add(tx, network_id, "network_delete_end", host, payload)


def agent_updated(tx: Transaction, host: str, *, admin_state_up: bool) -> None:
    """Tell the agent on `host` that an admin has switched it on or off: it reads anew what to serve."""
    outbox.add(tx, "", "agent_updated", host, {"admin_state_up": admin_state_up})
