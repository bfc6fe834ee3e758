"""Every command of `openstack` for networks and DHCP, with its options."""

from __future__ import annotations

from .network_topics import NETWORKS, PORTS, SUBNETS
from .project_topics import AGENTS, GROUPS, POOLS, QUOTAS, RBAC

TOPICS = (NETWORKS, SUBNETS, PORTS, POOLS, GROUPS, RBAC, AGENTS, QUOTAS)
