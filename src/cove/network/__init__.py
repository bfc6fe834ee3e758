"""Networks, subnets and ports: Networking v2.0 over the control database, with DHCP agents told through the bus.

Read in the order of a request: `controller` → `attributes`/`resources` → `plugin` → `networks`, `subnets`, `ports`,
`addresses`, `ipam` → `notifier` → `scheduler` → `outbox`. `rpc` is the agents' way in.
"""

from __future__ import annotations

from cove.network.context import DEMO_PROJECT_ID, RequestContext
from cove.network.service import NetworkService

__all__ = ["DEMO_PROJECT_ID", "NetworkService", "RequestContext"]
