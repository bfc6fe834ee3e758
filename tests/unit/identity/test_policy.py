"""Who may do what: every operation of the API, as everybody. The table of exceptions is the whole of the policy."""

from __future__ import annotations

import pytest

from cove.identity.policy import RULES, Caller, Target, allowed
from cove.identity.routes import OPERATIONS, PREFIXES, Operation
from tests.unit.identity.lab import ADMIN_ID, ADMIN_PROJECT_ID, DEMO_ID, DEMO_PROJECT_ID, Lab

FOR_ALL = {  # what any token is enough for
    ("GET", "/auth/catalog"),
    ("GET", "/auth/projects"),
    ("GET", "/auth/domains"),
    ("GET", "/auth/system"),
    ("GET", "/regions"),
    ("GET", "/regions/{region_id}"),
}
FOR_OWNERS = {  # what a user may do with itself, its project and what it has
    ("GET", "/auth/tokens"),
    ("DELETE", "/auth/tokens"),
    ("GET", "/domains/{domain_id}"),
    ("GET", "/projects/{project_id}"),
    ("GET", "/users/{user_id}"),
    ("POST", "/users/{user_id}/password"),
    ("GET", "/users/{user_id}/projects"),
    ("GET", "/users/{user_id}/groups"),
    ("GET", "/users/{user_id}/access_rules"),
    ("GET", "/users/{user_id}/application_credentials"),
    ("POST", "/users/{user_id}/application_credentials"),
    ("GET", "/users/{user_id}/application_credentials/{application_credential_id}"),
    ("DELETE", "/users/{user_id}/application_credentials/{application_credential_id}"),
}
KNOWS_THE_PASSWORD = {("POST", "/users/{user_id}/password")}
NOT_EVEN_ADMINS = {("POST", "/users/{user_id}/application_credentials")}

MINE = {"user_id": DEMO_ID, "project_id": DEMO_PROJECT_ID, "domain_id": "default"}
OTHERS = {"user_id": ADMIN_ID, "project_id": ADMIN_PROJECT_ID, "domain_id": "other"}


def path_of(operation: Operation, ids: dict[str, str]) -> str:
    path = operation.path
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    for name in ("application_credential_id", "implied_role_id", "role_id", "service_id", "endpoint_id"):
        path = path.replace(f"{{{name}}}", "nothing")
    return f"/v3{path.replace('{region_id}', 'RegionOne')}"


def everything() -> list[Operation]:
    return list(OPERATIONS)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_strangers_get_nothing(api: Lab, prefix: str) -> None:
    for operation in everything():
        for token in ("", "wrong"):
            response = await api.call(operation.method, prefix + path_of(operation, MINE), {}, token)
            assert response.status_code == 401, operation
            assert operation.method == "HEAD" or response.json()["error"]["code"] == 401
            assert response.headers["www-authenticate"] == 'Keystone uri="http://cove.test/v3"'


@pytest.mark.parametrize("role", ["member", "manager", "service"])
async def test_a_user_sees_itself_and_nothing_of_others(api: Lab, role: str) -> None:
    user, project, token = await api.member(role=role)
    other = await api.token("demo")
    mine = {"user_id": user["id"], "project_id": project["id"], "domain_id": "default"}
    for operation in everything():
        if operation.path == "/auth/tokens":
            continue  # below
        key = (operation.method, operation.path)
        own = await api.call(operation.method, path_of(operation, mine), {}, token)
        others = await api.call(operation.method, path_of(operation, OTHERS), {}, token)
        if key in FOR_ALL:
            assert own.status_code == 200, (operation, own.text)
        elif key in FOR_OWNERS:
            # 400 and 404: it may, but there is nothing in the body, or no such thing
            assert own.status_code in (200, 400, 404), (operation, own.text)
            if key not in KNOWS_THE_PASSWORD:
                assert others.status_code == 403, (operation, others.text)
        else:
            for response in (own, others):
                assert response.status_code == 403, (operation, response.text)
                assert operation.method == "HEAD" or "not authorized" in response.json()["error"]["message"]
    shown = await api.call("GET", "/v3/auth/tokens", token=token, x_subject_token=other)
    assert shown.status_code == (200 if role == "service" else 403)
    ended = await api.call("DELETE", "/v3/auth/tokens", token=token, x_subject_token=other)
    assert ended.status_code == 403
    assert (await api.call("GET", "/v3/auth/tokens", token=token, x_subject_token=token)).status_code == 200
    assert (await api.call("DELETE", "/v3/auth/tokens", token=token, x_subject_token=token)).status_code == 204


async def test_an_unscoped_token_can_do_no_more(api: Lab) -> None:
    await api.user("u")
    token = await api.token("u", "pw", unscoped={})
    for operation in everything():
        if (operation.method, operation.path) in FOR_ALL - {("GET", "/auth/catalog")}:
            expected = {200}
        elif operation.path == "/auth/tokens" or (operation.method, operation.path) in KNOWS_THE_PASSWORD:
            expected = {400, 404}
        else:
            expected = {403, 404} if operation.path == "/auth/catalog" else {403}
        response = await api.call(operation.method, path_of(operation, OTHERS), {}, token)
        assert response.status_code in expected, (operation, response.text)


@pytest.mark.parametrize("scope", ["project", "domain", "system"])
async def test_an_admin_may_do_everything(api: Lab, scope: str) -> None:
    user = await api.user("root")
    project = await api.project()
    place = {"project": f"projects/{project['id']}", "domain": "domains/default", "system": "system"}[scope]
    await api.grant(user, "admin", place)
    wanted = {"project": {"id": project["id"]}, "domain": {"id": "default"}, "system": {"all": True}}[scope]
    token = await api.token("root", "pw", **{scope: wanted})
    ids = dict.fromkeys(("user_id", "project_id", "domain_id", "region_id"), "nothing")
    for operation in everything():
        response = await api.call(operation.method, path_of(operation, ids), {}, token)
        forbidden = (operation.method, operation.path) in NOT_EVEN_ADMINS
        assert (response.status_code == 403) == forbidden, (operation, response.text)


@pytest.mark.parametrize("scope", ["system", "domain"])
async def test_readers_of_the_system_and_of_a_domain_read(api: Lab, scope: str) -> None:
    user = await api.user("auditor")
    await api.grant(user, "reader", "system" if scope == "system" else "domains/default")
    token = await api.token("auditor", "pw", **{scope: {"all": True} if scope == "system" else {"id": "default"}})
    for operation in everything():
        if operation.path.startswith("/auth/") or (operation.method, operation.path) in KNOWS_THE_PASSWORD:
            continue
        response = await api.call(operation.method, path_of(operation, MINE), {}, token)
        if operation.writes:
            assert response.status_code == 403, operation
        elif scope == "system":
            assert response.status_code in (200, 404), (operation, response.text)
    if scope == "domain":
        made = await api.ok("POST", "/v3/domains", {"domain": {"name": "d"}})
        inside = {"domain_id": made["domain"]["id"]}
        hidden_user = await api.user("hidden", **inside)
        hidden_project = await api.project("hidden", **inside)
        await api.grant(hidden_user, "member", f"projects/{hidden_project['id']}")
        for kind in ("users", "projects"):
            shown = (await api.ok("GET", f"/v3/{kind}", token=token))[kind]
            assert shown
            assert all(one["domain_id"] == "default" for one in shown)
        shown = await api.ok("GET", "/v3/role_assignments", token=token)
        assert shown["role_assignments"]
        assert hidden_project["id"] not in str(shown)
        for path in (
            f"users/{hidden_user['id']}",
            f"projects/{hidden_project['id']}",
            f"domains/{inside['domain_id']}",
        ):
            assert (await api.call("GET", f"/v3/{path}", token=token)).status_code == 403


async def test_the_token_of_the_machine_is_an_admins(api: Lab) -> None:
    assert await api.ok("GET", "/v3/users")
    assert (await api.ok("GET", "/v3/auth/projects")) == {
        "projects": [],
        "links": {"self": "http://cove.test/v3/auth/projects", "previous": None, "next": None},
    }


def test_an_empty_target_is_nobodys() -> None:
    """A row that is not there, and a caller without a scope, have nothing in common."""
    for action in RULES:
        assert not allowed(action, Caller(roles=frozenset({"reader", "member"})), Target()), action
        assert not allowed(action, Caller(user_id="u", project_id="p", domain_id="d"), Target()), action
