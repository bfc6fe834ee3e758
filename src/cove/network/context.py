"""Who asks: the caller of an API or RPC request, handed down from the edge to the core plugin."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

DEMO_PROJECT_ID = uuid.uuid5(uuid.NAMESPACE_DNS, "demo.project.cove").hex
"""The project of a request that names none, until there is an identity service."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A caller: its project, whether it is an admin, and the id its request has in logs and answers."""

    project_id: str = DEMO_PROJECT_ID
    is_admin: bool = True
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4()}")


def service_context() -> RequestContext:
    """The caller of what the service does by itself or for its agents."""
    return RequestContext(project_id="", is_admin=True)
