"""Which error says that an object of a resource is not there."""

from __future__ import annotations

from cove.network.errors.agents import AgentNotFound
from cove.network.errors.base import NotFound
from cove.network.errors.networks import NetworkNotFound
from cove.network.errors.ports import PortNotFound
from cove.network.errors.projects import RbacPolicyNotFound
from cove.network.errors.security_groups import (
    DefaultSecurityGroupRuleNotFound,
    SecurityGroupNotFound,
    SecurityGroupRuleNotFound,
)
from cove.network.errors.subnetpools import AddressScopeNotFound, SubnetPoolNotFound
from cove.network.errors.subnets import SubnetNotFound

NOT_FOUND: dict[str, tuple[type[NotFound], str]] = {
    "subnetpool": (SubnetPoolNotFound, "subnetpool_id"),
    "address_scope": (AddressScopeNotFound, "address_scope_id"),
    "network": (NetworkNotFound, "network_id"),
    "subnet": (SubnetNotFound, "subnet_id"),
    "port": (PortNotFound, "port_id"),
    "security_group": (SecurityGroupNotFound, "id"),
    "security_group_rule": (SecurityGroupRuleNotFound, "id"),
    "default_security_group_rule": (DefaultSecurityGroupRuleNotFound, "id"),
    "rbac_policy": (RbacPolicyNotFound, "id"),
    "agent": (AgentNotFound, "id"),
}
"""Resource → the error for an id that is not there, or that the caller cannot see; what its sentence calls the id."""


def not_found(resource: str, item_id: str) -> NotFound:
    """The not-found error of a resource."""
    kind, key = NOT_FOUND[resource]
    return kind(**{key: item_id})
