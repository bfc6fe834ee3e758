"""Who may do what in the Identity API: a table of actions, and the rules it names.

The actions and their rules are those of Keystone's default policy, but for what domain managers may change there: here
that takes the admin role. As in Keystone, who has the admin role anywhere is an admin of the whole service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cove.identity.errors import ActionForbidden


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the token says. Ids are empty where the token has no such scope."""

    user_id: str = ""
    roles: frozenset[str] = frozenset()
    project_id: str = ""
    domain_id: str = ""
    system: bool = False
    project_domain_id: str = ""
    token_hash: str = ""
    restricted: bool = False
    """Whether it came with an application credential that may not manage further ones."""

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return "admin" in self.roles


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked for: whose it is, where it lies. Empty where it does not apply, or where there is no such thing."""

    user_id: str = ""
    project_id: str = ""
    domain_id: str = ""


Rule = Callable[[Caller, Target], bool]


def admin(caller: Caller, _target: Target) -> bool:
    """The admin role."""
    return caller.is_admin


def system_reader(caller: Caller, _target: Target) -> bool:
    """The reader role on the system."""
    return caller.system and "reader" in caller.roles


def domain_reader(caller: Caller, target: Target) -> bool:
    """The reader role on the domain in which the thing lies."""
    return "reader" in caller.roles and bool(caller.domain_id) and caller.domain_id == target.domain_id


def owner(caller: Caller, target: Target) -> bool:
    """The user itself, or who has the thing."""
    return bool(caller.user_id) and caller.user_id == target.user_id


def own_project(caller: Caller, target: Target) -> bool:
    """A token for this project."""
    return bool(caller.project_id) and caller.project_id == target.project_id


def own_domain(caller: Caller, target: Target) -> bool:
    """A token for this domain, or for a project in it."""
    return bool(target.domain_id) and target.domain_id in (caller.domain_id, caller.project_domain_id)


def service(caller: Caller, _target: Target) -> bool:
    """Other services, which check their clients' tokens."""
    return "service" in caller.roles


READERS = (admin, system_reader)
DOMAIN_READERS = (*READERS, domain_reader)
ADMIN = (admin,)

RULES: dict[str, tuple[Rule, ...]] = {
    "get_domain": (*READERS, own_domain),
    "list_domains": DOMAIN_READERS,
    "get_project": (*DOMAIN_READERS, own_project),
    "list_projects": DOMAIN_READERS,
    "list_user_projects": (*DOMAIN_READERS, owner),
    "get_user": (*DOMAIN_READERS, owner),
    "list_users": DOMAIN_READERS,
    "list_groups": DOMAIN_READERS,
    "list_groups_for_user": (*DOMAIN_READERS, owner),
    "get_role": READERS,
    "list_roles": READERS,
    "list_role_inference_rules": READERS,
    "list_implied_roles": READERS,
    "check_implied_role": READERS,
    "list_role_assignments": DOMAIN_READERS,
    "list_grants": DOMAIN_READERS,
    "check_grant": DOMAIN_READERS,
    "list_system_grants_for_user": READERS,
    "check_system_grant_for_user": READERS,
    "get_application_credential": (*READERS, owner),
    "list_application_credentials": (*READERS, owner),
    "create_application_credential": (owner,),
    "delete_application_credential": (admin, owner),
    "list_access_rules": (*READERS, owner),
    "get_service": READERS,
    "list_services": READERS,
    "get_endpoint": READERS,
    "list_endpoints": READERS,
    "validate_token": (*READERS, service, owner),
    "revoke_token": (admin, owner),
    **dict.fromkeys(
        (
            *("create_domain", "update_domain", "delete_domain"),
            *("create_project", "update_project", "delete_project"),
            *("create_user", "update_user", "delete_user"),
            *("create_role", "update_role", "delete_role"),
            *("create_implied_role", "delete_implied_role"),
            *("create_grant", "revoke_grant"),
            *("create_system_grant_for_user", "revoke_system_grant_for_user"),
            *("create_service", "update_service", "delete_service"),
            *("create_endpoint", "update_endpoint", "delete_endpoint"),
            *("create_region", "update_region", "delete_region"),
        ),
        ADMIN,
    ),
}


def allowed(action: str, caller: Caller, target: Target) -> bool:
    """Whether one of the action's rules holds."""
    return any(rule(caller, target) for rule in RULES[action])


def require(action: str, caller: Caller, target: Target) -> None:
    """Raise ActionForbidden unless it is allowed."""
    if not allowed(action, caller, target):
        raise ActionForbidden(action)
