"""All resources of the Networking API, by their singular name."""

from __future__ import annotations

from collections.abc import Mapping

from cove.network import (
    address_scopes,
    agents,
    networks,
    ports,
    rbac_policies,
    security_group_defaults,
    security_group_rules,
    security_groups,
    subnetpools,
    subnets,
)
from cove.network.resource import Resource

RESOURCES: Mapping[str, Resource] = {
    resource.name: resource
    for resource in (
        networks.RESOURCE,
        subnets.RESOURCE,
        ports.RESOURCE,
        subnetpools.RESOURCE,
        address_scopes.RESOURCE,
        security_groups.RESOURCE,
        security_group_rules.RESOURCE,
        security_group_defaults.RESOURCE,
        rbac_policies.RESOURCE,
        agents.RESOURCE,
    )
}
