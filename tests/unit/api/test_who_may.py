"""Every route of the whole application: who gets in, with real tokens. A route that no line below names fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from cove.identity import passwords
from tests.unit.api.everything import Everything, everything, filled

PEOPLE = ("nobody", "forger", "stranger", "reader", "member", "boss", "machine")
"""No token, a made-up one, a user without any role, a reader, a member and an admin of a project, the machine's own."""

IN = "in"
ANYBODY: Sequence[int | str] = (IN,) * 7
WHO_HAS_A_TOKEN = (401, 401, IN, IN, IN, IN, IN)
MEMBERS = (401, 401, 403, 403, IN, IN, IN)
ADMINS = (401, 401, 403, 403, 403, IN, IN)
THE_MACHINE = (401, 401, 403, 403, 403, 403, IN)
ONLY_ONESELF = (401, 401, 403, 403, 403, 403, 403)

WHO_MAY: Mapping[Sequence[int | str], str] = {
    ANYBODY: """
        GET /
        GET /healthz
        GET /v3
        GET /v3/
        POST /v3/auth/tokens
    """,
    # What somebody sees of it, or may change in it, is for the policy, which has tests of its own.
    WHO_HAS_A_TOKEN: """
        GET /v2.0
        GET /v2.0/
        GET /v2.0/extensions
        GET /v2.0/extensions/{alias}
        GET /v2.0/openapi.json
        GET POST /v2.0/networks
        GET PUT DELETE /v2.0/networks/{id}
        GET POST /v2.0/subnets
        GET PUT DELETE /v2.0/subnets/{id}
        GET POST /v2.0/ports
        GET PUT DELETE /v2.0/ports/{id}
        GET POST /v2.0/subnetpools
        GET PUT DELETE /v2.0/subnetpools/{id}
        PUT /v2.0/subnetpools/{id}/add_prefixes
        PUT /v2.0/subnetpools/{id}/remove_prefixes
        PUT /v2.0/subnetpools/{id}/onboard_network_subnets
        GET POST /v2.0/address-scopes
        GET PUT DELETE /v2.0/address-scopes/{id}
        GET POST /v2.0/security-groups
        GET PUT DELETE /v2.0/security-groups/{id}
        GET POST /v2.0/security-group-rules
        GET DELETE /v2.0/security-group-rules/{id}
        GET POST /v2.0/default-security-group-rules
        GET DELETE /v2.0/default-security-group-rules/{id}
        GET POST /v2.0/rbac-policies
        GET PUT DELETE /v2.0/rbac-policies/{id}
        GET /v2.0/agents
        GET PUT DELETE /v2.0/agents/{id}
        GET PUT POST DELETE /v2.0/{collection}/{id}/tags
        GET PUT DELETE /v2.0/{collection}/{id}/tags/{tag:path}
        GET /v2.0/quotas/tenant
        GET /v2.0/quotas/project
        GET /v2.0/availability_zones
        GET /v2.0/service-providers
        GET /v2.0/network-ip-availabilities
        GET /v2.0/network-ip-availabilities/{id}
        GET /v2.1/servers
        GET /v2.1/servers/detail
        GET DELETE /v2.1/servers/{server_id}
        POST /v2.1/servers/{server_id}/action
        GET DELETE /v3/auth/tokens
        GET /v3/auth/catalog
        GET /v3/auth/projects
        GET /v3/auth/domains
        GET /v3/auth/system
        POST /v3/users/{user_id}/password
        GET /v3/regions
        GET /v3/regions/{region_id}
        DELETE GET OPTIONS PATCH POST PUT /v3/{rest:path}
    """,
    MEMBERS: """
        POST /v2.1/servers
    """,
    ADMINS: """
        GET POST /v2.0/agents/{agent_id}/dhcp-networks
        DELETE /v2.0/agents/{agent_id}/dhcp-networks/{network_id}
        GET /v2.0/networks/{network_id}/dhcp-agents
        GET /v2.0/quotas
        GET /v2.0/quotas/{project}/default
        GET /v2.0/quotas/{project}/details
        GET PUT DELETE /v2.0/quotas/{project}
        GET POST /v3/domains
        GET PATCH DELETE /v3/domains/{domain_id}
        GET POST /v3/projects
        GET PATCH DELETE /v3/projects/{project_id}
        GET POST /v3/users
        GET PATCH DELETE /v3/users/{user_id}
        GET /v3/users/{user_id}/projects
        GET /v3/users/{user_id}/groups
        GET /v3/users/{user_id}/access_rules
        GET /v3/users/{user_id}/application_credentials
        GET DELETE /v3/users/{user_id}/application_credentials/{application_credential_id}
        GET /v3/groups
        GET POST /v3/roles
        GET PATCH DELETE /v3/roles/{role_id}
        GET /v3/role_inferences
        GET /v3/roles/{role_id}/implies
        GET PUT DELETE /v3/roles/{role_id}/implies/{implied_role_id}
        GET /v3/role_assignments
        GET /v3/projects/{project_id}/users/{user_id}/roles
        GET PUT DELETE /v3/projects/{project_id}/users/{user_id}/roles/{role_id}
        GET /v3/domains/{domain_id}/users/{user_id}/roles
        GET PUT DELETE /v3/domains/{domain_id}/users/{user_id}/roles/{role_id}
        GET /v3/system/users/{user_id}/roles
        GET PUT DELETE /v3/system/users/{user_id}/roles/{role_id}
        GET POST /v3/services
        GET PATCH DELETE /v3/services/{service_id}
        GET POST /v3/endpoints
        GET PATCH DELETE /v3/endpoints/{endpoint_id}
        POST /v3/regions
        PUT PATCH DELETE /v3/regions/{region_id}
    """,
    ONLY_ONESELF: """
        POST /v3/users/{user_id}/application_credentials
    """,
    THE_MACHINE: """
        GET /cove/v1/status
        POST /cove/v1/shutdown
        GET /cove/v1/timelines/{id}
        GET /cove/v1/dhcp/{id}
        GET /cove/v1/pools
        GET /cove/v1/pools/{pool}/images
        GET POST DELETE /cove/v1/pools/{pool}/images/{image}
        POST /cove/v1/pools/{pool}/images/{image}/exports
        POST PUT DELETE /cove/v1/pools/{pool}/images/{image}/import
    """,
}


def table() -> Iterator[tuple[tuple[str, str], Sequence[int | str]]]:
    for answers, lines in WHO_MAY.items():
        for line in lines.split("\n"):
            *methods, path = line.split() or [""]
            yield from (((method, path), answers) for method in methods)


EXPECTED = dict(table())


def as_written(method: str, path: str) -> tuple[str, str]:
    """A route by the name it has in the table: Identity has two prefixes, and old clients say .json."""
    if path in ("/identity", "/identity/"):
        return method, "/v3"
    path = path.removeprefix("/identity")
    if path.startswith("/v2.0/") and path != "/v2.0/openapi.json":
        path = path.removesuffix(".json")
    return method, path


@pytest.fixture
async def all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Everything]:
    monkeypatch.setattr(passwords, "ARGON2_MEMORY_KIB", 16)
    monkeypatch.setattr(passwords, "ARGON2_PASSES", 1)
    async with everything(tmp_path) as made:
        await made.join("stranger")
        for who, role in (("reader", "reader"), ("member", "member"), ("boss", "admin")):
            await made.join(who, role, "ours")
        yield made


async def test_who_gets_in(all_of_it: Everything) -> None:
    routes = list(dict.fromkeys(all_of_it.routes()))
    assert {as_written(*route) for route in routes} == EXPECTED.keys(), "a line too many or too few above"
    wrong = []
    for method, path in routes:
        body: dict[str, object] | None = {} if method in ("POST", "PUT", "PATCH") else None
        answers = [(await all_of_it.call(who, method, filled(path), body)).status_code for who in PEOPLE]
        assert not [status for status in answers if status >= 500], f"{method} {path}: {answers}"
        seen = tuple(status if status in (401, 403) else IN for status in answers)
        if seen != tuple(EXPECTED[as_written(method, path)]):
            wrong.append(f"{method} {path}: {answers}")
    assert wrong == []


async def test_only_the_machines_own_token_ends_it(all_of_it: Everything) -> None:
    for who in PEOPLE[:-1]:
        for path in ("/cove/v1/shutdown", "/cove/v1/shutdown/", "/cove%2Fv1/shutdown", "//cove/v1/shutdown"):
            assert (await all_of_it.call(who, "POST", path)).status_code in (401, 403, 404), (who, path)
    assert not all_of_it.machine.stopped
    assert (await all_of_it.call("machine", "POST", "/cove/v1/shutdown")).status_code == 202
    assert all_of_it.machine.stopped


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "BREW"])
async def test_no_method_gets_around_it(all_of_it: Everything, method: str) -> None:
    for path in ("/cove/v1/status", "/cove/v1/pools", "/v2.1/servers", "/v2.0/networks", "/v3/users"):
        assert (await all_of_it.call("nobody", method, path)).status_code == 401
    assert (await all_of_it.call("boss", method, "/cove/v1/status")).status_code == 403
