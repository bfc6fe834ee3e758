"""Domains, projects, users, roles, assignments, services, endpoints, regions: lives, lists, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.identity.lab import DEMO_PROJECT_ID, LOCAL_TOKEN, Lab

BODIES: dict[str, dict[str, Any]] = {
    "domain": {"name": "thing", "description": "d"},
    "project": {"name": "thing", "description": "d", "tags": ["a", "b"], "colour": "blue"},
    "user": {"name": "thing", "description": "d", "email": "thing@example.org", "password": "pw"},
    "role": {"name": "thing", "description": "d"},
    "service": {"name": "thing", "type": "t", "description": "d"},
    "region": {"id": "thing", "description": "d"},
    "endpoint": {"interface": "public", "url": "https://example.org/%(project_id)s", "region": "RegionOne"},
}
CHANGES: dict[str, dict[str, Any]] = {kind: {"description": "changed"} for kind in BODIES} | {
    "user": {"email": "new@example.org", "name": "other"},
    "project": {"colour": "red", "name": "other", "tags": []},
    "role": {"name": "other"},
    "endpoint": {"url": "https://example.org/", "enabled": False},
}


async def body_of(api: Lab, kind: str) -> dict[str, Any]:
    if kind != "endpoint":
        return {kind: BODIES[kind]}
    services = (await api.ok("GET", "/v3/services?type=network"))["services"]
    return {kind: BODIES[kind] | {"service_id": services[0]["id"]}}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_life(api: Lab, kind: str) -> None:
    before = (await api.ok("GET", f"/v3/{kind}s"))[f"{kind}s"]
    response = await api.call("POST", f"/v3/{kind}s", await body_of(api, kind), LOCAL_TOKEN)
    assert response.status_code == 201, response.text
    made = response.json()[kind]
    path = f"/v3/{kind}s/{made['id']}"
    assert made["links"] == {"self": f"http://cove.test{path}"}
    assert "password" not in made
    for name, value in BODIES[kind].items():
        assert name == "password" or made[name] == value
    assert await api.ok("GET", path) == {kind: made}
    listed = await api.ok("GET", f"/v3/{kind}s")
    assert listed[f"{kind}s"] == sorted([*before, made], key=lambda one: one["id"])
    assert listed["links"] == {"self": f"http://cove.test/v3/{kind}s", "previous": None, "next": None}
    changed = (await api.ok("PATCH", path, {kind: CHANGES[kind]}))[kind]
    assert changed == made | CHANGES[kind]
    assert await api.ok("GET", path) == {kind: changed}
    if kind == "domain":
        assert (await api.call("DELETE", path, token=LOCAL_TOKEN)).status_code == 403, "enabled"
        await api.ok("PATCH", path, {kind: {"enabled": False}})
    response = await api.call("DELETE", path, token=LOCAL_TOKEN)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        response = await api.call(method, path, {kind: {}}, LOCAL_TOKEN)
        assert response.status_code == 404, method
        assert made["id"] in response.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["domain", "project", "user", "role", "region"])
async def test_names_are_taken_once(api: Lab, kind: str) -> None:
    await api.ok("POST", f"/v3/{kind}s", {kind: BODIES[kind]})
    response = await api.call("POST", f"/v3/{kind}s", {kind: BODIES[kind]}, LOCAL_TOKEN)
    assert (response.status_code, response.json()["error"]["title"]) == (409, "Conflict")
    assert "thing" in response.json()["error"]["message"]
    if kind == "region":
        return
    second = await api.ok("POST", f"/v3/{kind}s", {kind: BODIES[kind] | {"name": "second"}})
    path = f"/v3/{kind}s/{second[kind]['id']}"
    assert (await api.call("PATCH", path, {kind: {"name": "thing"}}, LOCAL_TOKEN)).status_code == 409
    assert (await api.call("PATCH", path, {kind: {"name": "second"}}, LOCAL_TOKEN)).status_code == 200
    if kind in ("project", "user"):
        made = await api.ok("POST", "/v3/domains", {"domain": {"name": "d"}})
        again = BODIES[kind] | {"domain_id": made["domain"]["id"]}
        await api.ok("POST", f"/v3/{kind}s", {kind: again})


REFUSED: list[tuple[str, Any, int, str]] = [
    ("project", {}, 400, "'name' is required"),
    ("project", {"name": ""}, 400, "name"),
    ("project", {"name": "  "}, 400, "name"),
    ("project", {"name": 3}, 400, "name"),
    ("project", {"name": "x" * 65}, 400, "1 to 64 characters"),
    ("project", {"name": "x\0"}, 400, "NUL"),
    ("project", {"name": "x", "enabled": "yes"}, 400, "true or false"),
    ("project", {"name": "x", "description": 1}, 400, "description"),
    ("project", {"name": "x", "tags": "a"}, 400, "tags"),
    ("project", {"name": "x", "tags": ["a", "a"]}, 400, "different"),
    ("project", {"name": "x", "tags": ["a,b"]}, 400, "','"),
    ("project", {"name": "x", "tags": [str(n) for n in range(81)]}, 400, "80"),
    ("project", {"name": "x", "is_domain": True}, 400, "/v3/domains"),
    ("project", {"name": "x", "domain_id": "nothing"}, 400, "Could not find domain: nothing"),
    ("project", {"name": "x", "parent_id": "nothing"}, 400, "nothing"),
    ("project", {"name": "x", "more": {"a": 1}}, 400, "Further members"),
    ("project", {"name": "x", "more": "y" * 20000}, 400, "Further members"),
    ("project", {"name": "x", "more": "\0"}, 400, "Further members"),
    ("project", {"name": "x", "options": {"immutable": True}}, 400, "options"),
    ("user", {"password": "sesame"}, 400, "'name' is required"),
    ("user", {"name": "x", "password": ""}, 400, "(not shown)"),
    ("user", {"name": "x", "password": ["sesame"]}, 400, "(not shown)"),
    ("user", {"name": "x", "password": "s" * 4097}, 400, "4096"),
    ("user", {"name": "x", "domain_id": "nothing"}, 404, "Could not find domain"),
    ("user", {"name": "x", "options": {"lock_password": True}}, 400, "options"),
    ("user", {"name": "x", "federated": [{}]}, 400, "federated"),
    ("role", {"name": "x", "domain_id": "default"}, 400, "single domain"),
    ("role", {"name": "x", "options": {"immutable": "yes"}}, 400, "immutable"),
    ("endpoint", {"service_id": "nothing", "interface": "public", "url": "http://x"}, 400, "service"),
    ("endpoint", {"service_id": "nothing", "interface": "secret", "url": "http://x"}, 400, "public, internal, admin"),
    ("endpoint", {"service_id": "nothing", "interface": "public", "url": "/x"}, 400, "http://"),
    ("endpoint", {"service_id": "nothing", "interface": "public", "url": "javascript:x"}, 400, "http://"),
    ("region", {"id": "x", "parent_region_id": "nothing"}, 404, "nothing"),
]


@pytest.mark.parametrize(("kind", "sent", "code", "says"), REFUSED)
async def test_refusals(api: Lab, kind: str, sent: Any, code: int, says: str) -> None:
    response = await api.call("POST", f"/v3/{kind}s", {kind: sent}, LOCAL_TOKEN)
    assert (response.status_code, response.json()["error"]["code"]) == (code, code)
    message = response.json()["error"]["message"]
    assert says in message
    assert "sesame" not in message


@pytest.mark.parametrize("sent", [None, [], "x", {}, {"user": {}}, {"project": []}])
async def test_bodies_without_the_object(api: Lab, sent: Any) -> None:
    response = await api.call("POST", "/v3/projects", sent, LOCAL_TOKEN)
    assert (response.status_code, response.json()["error"]["title"]) == (400, "Bad Request")


FIXED: list[tuple[str, dict[str, Any]]] = [
    ("project", {"domain_id": "other"}),
    ("project", {"parent_id": DEMO_PROJECT_ID}),
    ("user", {"domain_id": "other"}),
]


@pytest.mark.parametrize(("kind", "change"), FIXED)
async def test_what_cannot_be_changed(api: Lab, kind: str, change: dict[str, Any]) -> None:
    made = (await api.ok("POST", f"/v3/{kind}s", {kind: BODIES[kind]}))[kind]
    response = await api.call("PATCH", f"/v3/{kind}s/{made['id']}", {kind: change}, LOCAL_TOKEN)
    assert response.status_code == 400
    same = {name: made[name] for name in change}
    await api.ok("PATCH", f"/v3/{kind}s/{made['id']}", {kind: same})


# --- lists -----------------------------------------------------------------------------------------------------------

FILTERS = [
    ("users?name=ann", ["ann"]),
    ("users?name=ANN", []),
    ("users?name__contains=n", ["admin", "ann", "anna"]),
    ("users?name__icontains=NN", ["ann", "anna"]),
    ("users?name__startswith=an", ["ann", "anna"]),
    ("users?name__endswith=a", ["anna"]),
    ("users?name__contains=%25", []),
    ("users?enabled=false", ["anna"]),
    ("users?enabled=0", ["anna"]),
    ("users?enabled", ["admin", "ann", "demo"]),
    ("users?domain_id=default&name=anna", ["anna"]),
    ("users?domain_id=nothing", []),
    ("users?colour=blue", ["admin", "ann", "anna", "demo"]),
    ("users?name__sounds_like=ann", ["admin", "ann", "anna", "demo"]),
    ("projects?name=demo", ["demo"]),
    ("projects?parent_id=default", ["admin", "demo", "outer"]),
    ("projects?parent_id=OUTER", ["inner"]),
    ("projects?tags=a", ["inner", "outer"]),
    ("projects?tags=a,b", ["outer"]),
    ("projects?tags-any=b,c", ["inner", "outer"]),
    ("projects?not-tags=a,b", ["admin", "demo", "inner"]),
    ("projects?not-tags-any=a,b", ["admin", "demo"]),
    ("projects?is_domain=true", []),
    ("projects?is_domain=false&name=inner", ["inner"]),
    ("roles?name=member", ["member"]),
    ("roles?domain_id=default", []),
    ("domains?name=Default", ["Default"]),
    ("services?type=network", ["neutron"]),
]


@pytest.mark.parametrize(("path", "expected"), FILTERS)
async def test_filters(api: Lab, path: str, expected: list[str]) -> None:
    await api.user("ann")
    await api.user("anna", enabled=False)
    outer = await api.project("outer", tags=["a", "b"])
    await api.project("inner", tags=["a", "c"], parent_id=outer["id"])
    path = path.replace("OUTER", outer["id"])
    answer = await api.ok("GET", f"/v3/{path}")
    assert sorted(one["name"] for one in answer[path.partition("?")[0]]) == expected


async def test_pages(api: Lab) -> None:
    for n in range(5):
        await api.user(f"u{n}")
    everybody = (await api.ok("GET", "/v3/users"))["users"]
    seen: list[Any] = []
    path: str | None = "/v3/users?limit=3&enabled=true"
    while path:
        answer = await api.ok("GET", path)
        assert len(answer["users"]) <= 3
        seen += answer["users"]
        path = answer["links"]["next"]
    assert seen == everybody
    assert (await api.call("GET", "/v3/users?limit=x", token=LOCAL_TOKEN)).status_code == 400


@pytest.mark.parametrize("path", ["/v3/users/x%00y", "/v3/users?name=%00", "/v3/role_assignments?user.id=%00"])
async def test_nul_characters(api: Lab, path: str) -> None:
    assert (await api.call("GET", path, token=LOCAL_TOKEN)).status_code in (400, 404)


# --- projects in projects --------------------------------------------------------------------------------------------


async def test_projects_in_projects(api: Lab) -> None:
    outer = await api.project("a")
    inner = await api.project("b", parent_id=outer["id"])
    leaf = await api.project("c", parent_id=inner["id"])
    assert (outer["parent_id"], inner["parent_id"]) == ("default", outer["id"])
    shown = (await api.ok("GET", f"/v3/projects/{leaf['id']}?parents_as_ids&parents_as_list"))["project"]
    # As keystoneclient expects it: the nearest outside.
    assert shown["parents"] == {inner["id"]: {outer["id"]: {"default": None}}}
    shown = (await api.ok("GET", f"/v3/projects/{outer['id']}?subtree_as_ids"))["project"]
    assert shown["subtree"] == {inner["id"]: {leaf["id"]: {}}}
    shown = (await api.ok("GET", f"/v3/projects/{outer['id']}?subtree_as_list"))["project"]
    assert [one["project"]["name"] for one in shown["subtree"]] == ["b", "c"]

    async def refused(method: str, project: dict[str, Any], change: Any = None) -> str:
        body = None if change is None else {"project": change}
        response = await api.call(method, f"/v3/projects/{project['id']}", body, LOCAL_TOKEN)
        assert response.status_code == 403, response.text
        return str(response.json()["error"]["message"])

    assert "in it" in await refused("DELETE", outer)
    assert "subtree" in await refused("PATCH", outer, {"enabled": False})
    await api.ok("PATCH", f"/v3/projects/{leaf['id']}", {"project": {"enabled": False}})
    await api.ok("PATCH", f"/v3/projects/{inner['id']}", {"project": {"enabled": False}})
    assert "disabled" in await refused("PATCH", leaf, {"enabled": True})
    deep = outer
    for n in range(4):
        deep = await api.project(f"d{n}", parent_id=deep["id"])
    body = {"project": {"name": "too-deep", "parent_id": deep["id"]}}
    assert (await api.call("POST", "/v3/projects", body, LOCAL_TOKEN)).status_code == 403
    body = {"project": {"name": "under-disabled", "parent_id": inner["id"]}}
    assert (await api.call("POST", "/v3/projects", body, LOCAL_TOKEN)).status_code == 403


async def test_a_domain_goes_with_all_that_is_in_it(api: Lab) -> None:
    domain = (await api.ok("POST", "/v3/domains", {"domain": {"name": "d"}}))["domain"]
    inside = {"domain_id": domain["id"]}
    user, project = await api.user("u", **inside), await api.project("p", **inside)
    await api.project("q", parent_id=project["id"])
    await api.grant(user, "member", f"projects/{project['id']}")
    await api.grant(user, "member", f"domains/{domain['id']}")
    await api.ok("PATCH", f"/v3/domains/{domain['id']}", {"domain": {"enabled": False}})
    await api.ok("DELETE", f"/v3/domains/{domain['id']}")
    for path in (f"users/{user['id']}", f"projects/{project['id']}"):
        assert (await api.call("GET", f"/v3/{path}", token=LOCAL_TOKEN)).status_code == 404
    assert domain["id"] not in str(await api.ok("GET", "/v3/role_assignments"))
    assert len((await api.ok("GET", "/v3/projects"))["projects"]) == 2


async def test_the_default_domain_stays(api: Lab) -> None:
    response = await api.call("PATCH", "/v3/domains/default", {"domain": {"enabled": False}}, LOCAL_TOKEN)
    assert response.status_code == 403
    assert (await api.call("DELETE", "/v3/domains/default", token=LOCAL_TOKEN)).status_code == 403


# --- roles and assignments -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["admin", "manager", "member", "reader", "service"])
async def test_roles_that_all_rely_on_are_immutable(api: Lab, name: str) -> None:
    path = f"/v3/roles/{await api.role_id(name)}"
    for method, body in (("DELETE", None), ("PATCH", {"role": {"name": "x"}})):
        response = await api.call(method, path, body, LOCAL_TOKEN)
        assert response.status_code == 403
        assert "immutable" in response.json()["error"]["message"]
    await api.ok("PATCH", path, {"role": {"options": {"immutable": False}}})
    await api.ok("PATCH", path, {"role": {"description": "x"}})


async def test_nothing_implies_admin(api: Lab) -> None:
    reader, admin = await api.role_id("reader"), await api.role_id("admin")
    response = await api.call("PUT", f"/v3/roles/{reader}/implies/{admin}", token=LOCAL_TOKEN)
    assert response.status_code == 403


async def test_implied_roles(api: Lab) -> None:
    reader, service = await api.role_id("reader"), await api.role_id("service")
    path = f"/v3/roles/{service}/implies/{reader}"
    for method in ("GET", "DELETE"):
        assert (await api.call(method, path, token=LOCAL_TOKEN)).status_code == 404
    for _ in range(2):
        response = await api.call("PUT", path, token=LOCAL_TOKEN)
        assert response.status_code == 201
        assert response.json()["role_inference"]["implies"]["name"] == "reader"
    assert (await api.call("HEAD", path, token=LOCAL_TOKEN)).status_code == 204
    shown = await api.ok("GET", f"/v3/roles/{service}/implies")
    assert [role["name"] for role in shown["role_inference"]["implies"]] == ["reader"]
    await api.ok("DELETE", path)
    shown = await api.ok("GET", "/v3/role_inferences")
    pairs = {
        (rule["prior_role"]["name"], implied["name"])
        for rule in shown["role_inferences"]
        for implied in rule["implies"]
    }
    assert pairs == {("admin", "manager"), ("manager", "member"), ("member", "reader")}


@pytest.mark.parametrize("scope", ["project", "domain", "system"])
async def test_grants(api: Lab, scope: str) -> None:
    user = await api.user()
    place = {"project": f"projects/{DEMO_PROJECT_ID}", "domain": "domains/default", "system": "system"}[scope]
    role = await api.role_id("member")
    base = f"/v3/{place}/users/{user['id']}/roles"
    for method in ("HEAD", "GET", "DELETE"):
        assert (await api.call(method, f"{base}/{role}", token=LOCAL_TOKEN)).status_code == 404
    for _ in range(2):
        assert (await api.call("PUT", f"{base}/{role}", token=LOCAL_TOKEN)).status_code == 204
    for method in ("HEAD", "GET"):
        assert (await api.call(method, f"{base}/{role}", token=LOCAL_TOKEN)).status_code == 204
    assert [one["name"] for one in (await api.ok("GET", base))["roles"]] == ["member"]
    assert (await api.call("PUT", f"{base}/nothing", token=LOCAL_TOKEN)).status_code == 404
    missing = f"/v3/{place}/users/nothing/roles/{role}"
    assert (await api.call("PUT", missing, token=LOCAL_TOKEN)).status_code == 404
    assert (await api.call("DELETE", f"{base}/{role}", token=LOCAL_TOKEN)).status_code == 204
    assert (await api.ok("GET", base))["roles"] == []


ASSIGNMENTS = [
    ("", 7),
    ("user.id=USER", 3),
    ("user.id=USER&effective", 7),  # one, two and four
    ("user.id=USER&scope.project.id=PROJECT", 1),
    ("user.id=USER&scope.project.id=PROJECT&effective=true", 2),
    ("user.id=USER&scope.project.id=PROJECT&effective=false", 1),
    ("user.id=USER&scope.domain.id=default", 1),
    ("user.id=USER&scope.system=all", 1),
    ("scope.system=all", 2),
    ("role.id=READER", 1),
    ("role.id=READER&effective", 7),
    ("user.id=nothing", 0),
    ("group.id=x", 0),
    ("scope.OS-INHERIT:inherited_to=projects", 0),
]


@pytest.mark.parametrize("names", ["", "&include_names"])
@pytest.mark.parametrize(("query", "count"), ASSIGNMENTS)
async def test_role_assignments(api: Lab, query: str, count: int, names: str) -> None:
    user, project, _ = await api.member()
    await api.grant(user, "reader", "domains/default")
    await api.grant(user, "admin", "system")
    for name, value in (("USER", user["id"]), ("PROJECT", project["id"]), ("READER", await api.role_id("reader"))):
        query = query.replace(name, value)
    shown = (await api.ok("GET", f"/v3/role_assignments?{query}{names}"))["role_assignments"]
    assert len(shown) == count
    for one in shown:
        assert set(one) == {"links", "role", "scope", "user"}
        assert ("name" in one["user"], "name" in one["role"]) == (bool(names), bool(names))
        scope = one["scope"]
        if names and "project" in scope:
            assert scope["project"]["domain"] == {"id": "default", "name": "Default"}


async def test_contradictions_in_role_assignments(api: Lab) -> None:
    path = "/v3/role_assignments?scope.project.id=x&scope.domain.id=y"
    assert (await api.call("GET", path, token=LOCAL_TOKEN)).status_code == 400


# --- the catalogue ---------------------------------------------------------------------------------------------------


async def test_urls_follow_the_address_by_which_the_client_came(api: Lab) -> None:
    token = await api.token("demo")
    for host in ("cloud.example:8443", "[fd00::1]:9696"):
        shown = await api.ok("GET", "/v3/auth/catalog", token=token, host=host)
        urls = {end["url"] for service in shown["catalog"] for end in service["endpoints"]}
        assert urls == {f"http://{host}", f"http://{host}/identity/v3"}


async def test_placeholders_of_urls(api: Lab) -> None:
    body = await body_of(api, "endpoint")
    await api.ok("POST", "/v3/endpoints", body)

    async def urls(token: str) -> set[str]:
        shown = await api.ok("GET", "/v3/auth/catalog", token=token)
        return {end["url"] for service in shown["catalog"] for end in service["endpoints"]}

    assert f"https://example.org/{DEMO_PROJECT_ID}" in await urls(await api.token("demo"))
    everything = await urls(await api.token("admin", system={"all": True}))
    assert not any("example.org" in url for url in everything), "no project, no URL"


async def test_what_is_disabled_is_not_in_the_catalogue(api: Lab) -> None:
    services = (await api.ok("GET", "/v3/services?type=network"))["services"]
    await api.ok("PATCH", f"/v3/services/{services[0]['id']}", {"service": {"enabled": False}})
    shown = await api.ok("GET", "/v3/auth/catalog", token=await api.token("demo"))
    assert [service["type"] for service in shown["catalog"]] == ["identity"]


async def test_regions(api: Lab) -> None:
    response = await api.call("PUT", "/v3/regions/west", {"region": {"description": "d"}}, LOCAL_TOKEN)
    assert (response.status_code, response.json()["region"]["id"]) == (201, "west")
    await api.ok("POST", "/v3/regions", {"region": {"id": "far-west", "parent_region_id": "west"}})
    for region, why in (("west", "regions"), ("RegionOne", "endpoints")):
        response = await api.call("DELETE", f"/v3/regions/{region}", token=LOCAL_TOKEN)
        assert response.status_code == 403
        assert why in response.json()["error"]["message"]
    change = {"region": {"parent_region_id": "west"}}
    assert (await api.call("PATCH", "/v3/regions/west", change, LOCAL_TOKEN)).status_code == 400
    made = (await api.ok("POST", "/v3/regions", {"region": {}}))["region"]
    assert len(made["id"]) == 32


async def test_an_endpoint_makes_its_region_if_it_is_named_in_the_old_way(api: Lab) -> None:
    body = await body_of(api, "endpoint")
    body["endpoint"] |= {"region": "new"}
    made = (await api.ok("POST", "/v3/endpoints", body))["endpoint"]
    assert (made["region"], made["region_id"]) == ("new", "new")
    body["endpoint"] |= {"region_id": "nothing"}
    assert (await api.call("POST", "/v3/endpoints", body, LOCAL_TOKEN)).status_code == 400
