"""Who asks: the caller of an API or RPC request, handed down from the edge to the core plugin."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

DEMO_PROJECT_ID = uuid.uuid5(uuid.NAMESPACE_DNS, "demo.project.cove").hex
"""The project that `cove up` makes for whoever uses the machine."""

ADMIN_ROLES = frozenset({"admin", "member", "reader", "service"})


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A caller: user, project and roles as its token says, and the id its request has in logs and answers.

    `is_admin` is decided once, at the edge, by the policy rule `context_is_admin`.
    """

    project_id: str = DEMO_PROJECT_ID
    is_admin: bool = True
    request_id: str = field(default_factory=lambda: f"req-{uuid.uuid4()}")
    user_id: str = ""
    roles: frozenset[str] = ADMIN_ROLES
    domain_id: str = ""
    """Domain of a domain-scoped token; empty for one that is scoped to a project."""
    system_scope: str = ""
    """"all" for a system-scoped token."""
    project_name: str = ""
    user_name: str = ""


def service_context() -> RequestContext:
    """The caller of what the service does by itself or for its agents."""
    return RequestContext(project_id="", is_admin=True)
