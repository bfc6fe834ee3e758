"""DHCP agents and the networks that they serve."""

from __future__ import annotations

from cove.network.errors.base import Conflict, NotFound


class AgentNotFound(NotFound):
    """No such agent, or the caller is no admin."""

    form = "agent {id} could not be found"


class InvalidDHCPAgent(AgentNotFound):
    """An agent that cannot serve networks."""

    form = "agent {id} is no DHCP agent, or is administratively down"


class NetworkHostedByDHCPAgent(Conflict):
    """The agent serves the network already."""

    form = "network {network_id} is already served by DHCP agent {agent_id}"


class NetworkNotHostedByDhcpAgent(Conflict):
    """The agent does not serve the network."""

    form = "network {network_id} is not served by DHCP agent {agent_id}"
