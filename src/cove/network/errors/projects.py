"""What a project may have, and what it shares with others: quotas and RBAC policies."""

from __future__ import annotations

from cove.network.errors.base import BadRequest, Conflict, InvalidInput, NotFound


class InvalidActionForType(InvalidInput):
    """An RBAC policy whose action its kind of object does not know."""

    form = "action {action!r} is not for an object of type {object_type}; use {valid_actions}"


class QuotaMissingTenant(BadRequest):
    """The token is not scoped to a project."""

    form = "the token is not scoped to a project; use one that is"


class RbacPolicyNotFound(NotFound):
    """No such RBAC policy, or not visible to the caller."""

    form = "RBAC policy {id} could not be found"


class TenantQuotaNotFound(NotFound):
    """The project has no limits of its own."""

    form = "project {tenant_id} has no quota of its own; the defaults are in force for it"


class OverQuota(Conflict):
    """A project would have more than its quota allows."""

    form = "quota exceeded for resources: {overs}"


class RbacPolicyInUse(Conflict):
    """Others use what the policy gives them access to."""

    form = "the RBAC policy on object {object_id} is still needed: {details}"


class DuplicateRbacPolicy(Conflict):
    """The object is shared in that way already."""

    form = "object {object_id} has a policy {action} for {target} already"
