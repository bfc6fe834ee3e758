"""All scenarios."""

from __future__ import annotations

from . import networks, others, pools, port_addresses, ports, rbac, security, subnets

SCENARIOS = (
    *networks.SCENARIOS,
    *subnets.SCENARIOS,
    *ports.SCENARIOS,
    *port_addresses.SCENARIOS,
    *pools.SCENARIOS,
    *security.SCENARIOS,
    *rbac.SCENARIOS,
    *others.SCENARIOS,
)
