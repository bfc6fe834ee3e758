"""Servers of several projects on one machine, with real tokens: what is not one's own is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cove.identity import passwords
from cove.network import DEMO_PROJECT_ID
from tests.unit.api.everything import UNKNOWN, Everything, everything

ACTIONS: tuple[dict[str, Any], ...] = (
    {"os-start": None},
    {"os-stop": None},
    {"os-getConsoleOutput": {}},
    {"os-getConsoleOutput": {"length": 5}},
)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Everything]:
    """Ann is a member of a project with a reader, ben of another, eve of none; the boss is an admin."""
    monkeypatch.setattr(passwords, "ARGON2_MEMORY_KIB", 16)
    monkeypatch.setattr(passwords, "ARGON2_PASSES", 1)
    async with everything(tmp_path) as made:
        for who, role, project in (
            ("ann", "member", "anns"),
            ("reader", "reader", "anns"),
            ("ben", "member", "bens"),
            ("boss", "admin", "bosses"),
        ):
            await made.join(who, role, project)
        await made.join("eve")
        yield made


async def network(site: Everything, who: str, cidr: str = "192.0.2.0/24", **attributes: Any) -> dict[str, Any]:
    made: dict[str, Any] = (await site.ok(who, "POST", "/v2.0/networks", {"network": attributes}))["network"]
    subnet = {"network_id": made["id"], "ip_version": 4, "cidr": cidr, "enable_dhcp": False}
    await site.ok(who, "POST", "/v2.0/subnets", {"subnet": subnet})
    return made


def body(name: str, **place: str) -> dict[str, Any]:
    return {"server": {"name": name, "networks": [place], "cove:disk_bytes": 64 << 20}}


async def boot(site: Everything, who: str, network_id: str, name: str = "vm") -> str:
    """A server with a record and a port. That there is no micro guest here is no reason not to."""
    site.fakes.disks.sizes.setdefault(("images", "tiny"), 8 << 20)
    wanted = body(name, uuid=network_id)
    wanted["server"]["imageRef"] = "tiny"
    server_id: str = (await site.ok(who, "POST", "/v2.1/servers", wanted))["server"]["id"]
    server = await site.compute.wait(server_id, 10)
    assert server.status == "ACTIVE", server.runtime.fault
    return server_id


async def ids(site: Everything, who: str, query: str = "") -> list[str]:
    short = (await site.ok(who, "GET", f"/v2.1/servers{query}"))["servers"]
    long = (await site.ok(who, "GET", f"/v2.1/servers/detail{query}"))["servers"]
    assert [server["id"] for server in short] == [server["id"] for server in long]
    return [server["id"] for server in short]


async def test_another_projects_server_is_not_there(site: Everything) -> None:
    lan = await network(site, "ann", name="lan")
    server_id = await boot(site, "ann", lan["id"])
    path = f"/v2.1/servers/{server_id}"
    [port] = (await site.ok("ann", "GET", f"/v2.0/ports?device_id={server_id}"))["ports"]
    assert port["project_id"] == site.projects["anns"]

    for who in ("ben", "eve"):
        for method, where, given in (
            ("GET", path, None),
            ("DELETE", path, None),
            *(("POST", f"{path}/action", action) for action in ACTIONS),
        ):
            answer = await site.call(who, method, where, given)
            missing = await site.call(who, method, where.replace(server_id, UNKNOWN), given)
            assert answer.status_code == missing.status_code == 404, (who, method, where)
            assert answer.text.replace(server_id, UNKNOWN) == missing.text
        for query in ("", "?name=vm", "?status=ACTIVE", f"?project_id={site.projects['anns']}", "?all_tenants=0"):
            assert await ids(site, who, query) == []
        for query in ("all_tenants=1", "all_tenants=true", "all_tenants=", "name=vm&all_tenants=yes"):
            for list_path in ("/v2.1/servers", "/v2.1/servers/detail"):
                assert (await site.call(who, "GET", f"{list_path}?{query}")).status_code == 403
    assert (await site.ok("ann", "GET", path))["server"]["status"] != "ERROR"
    assert await ids(site, "ann") == await ids(site, "reader") == [server_id]


async def test_names_of_different_projects_do_not_collide(site: Everything) -> None:
    lans = {who: await network(site, who, name="lan") for who in ("ann", "ben", "machine")}
    made = {who: await boot(site, who, lan["id"]) for who, lan in lans.items()}
    shown = {who: (await site.ok(who, "GET", f"/v2.1/servers/{made[who]}"))["server"] for who in made}
    assert {server["name"] for server in shown.values()} == {"vm"}
    disks = {who: server["cove:disk"]["name"] for who, server in shown.items()}
    # That of the machine's own user is called after the server alone, and so tells nobody else what there is.
    assert disks == {"ann": f"vm-disk-{made['ann'][:8]}", "ben": f"vm-disk-{made['ben'][:8]}", "machine": "vm-disk"}
    assert shown["machine"]["tenant_id"] == DEMO_PROJECT_ID
    wanted = body("vm", uuid=lans["ann"]["id"])
    wanted["server"]["imageRef"] = "tiny"
    assert (await site.call("ann", "POST", "/v2.1/servers", wanted)).status_code == 409
    for who in ("ann", "ben"):
        assert (await site.call(who, "DELETE", f"/v2.1/servers/{made[who]}")).status_code == 204
    assert await ids(site, "machine", "?all_tenants=1") == [made["machine"]]
    assert list(site.fakes.disks.sizes) == [("images", "tiny"), ("rbd", "vm-disk")]


async def test_an_admin_sees_all(site: Everything) -> None:
    lans = {who: await network(site, who, name="lan") for who in ("ann", "ben")}
    made = {who: await boot(site, who, lan["id"]) for who, lan in lans.items()}
    for who in ("boss", "machine"):
        assert await ids(site, who) == []
        assert set(await ids(site, who, "?all_tenants=1")) == set(made.values())
        for server_id in made.values():
            assert (await site.call(who, "GET", f"/v2.1/servers/{server_id}")).status_code == 200
    output = await site.call("boss", "POST", f"/v2.1/servers/{made['ann']}/action", {"os-getConsoleOutput": {}})
    assert output.status_code == 200
    assert (await site.call("boss", "DELETE", f"/v2.1/servers/{made['ann']}")).status_code == 204
    assert await ids(site, "ann") == []


async def test_a_reader_changes_nothing(site: Everything) -> None:
    lan = await network(site, "ann", name="lan")
    server_id = await boot(site, "ann", lan["id"])
    path = f"/v2.1/servers/{server_id}"
    assert (await site.ok("reader", "GET", path))["server"]["id"] == server_id
    answer = await site.call("reader", "POST", "/v2.1/servers", body("mine", uuid=lan["id"]))
    assert (answer.status_code, list(answer.json())) == (403, ["forbidden"])
    assert (await site.call("reader", "DELETE", path)).status_code == 403
    for action in ACTIONS:
        assert (await site.call("reader", "POST", f"{path}/action", action)).status_code == 403
    assert await ids(site, "ann") == [server_id]


async def test_nobody_gets_onto_anothers_network_or_port(site: Everything) -> None:
    lan, bens = await network(site, "ann", name="lan"), await network(site, "ben", name="bens")
    theirs = await site.cloud_port("ann", lan["id"])
    site.fakes.disks.sizes["images", "tiny"] = 8 << 20

    async def refused(who: str, **place: str) -> str:
        wanted = body("vm", **place)
        wanted["server"]["imageRef"] = "tiny"
        answer = await site.call(who, "POST", "/v2.1/servers", wanted)
        assert answer.status_code in (400, 403), answer.text
        assert await ids(site, "machine", "?all_tenants=1") == []
        named = place.get("uuid") or place["port"]
        return answer.text.replace(named, "what was named")

    assert await refused("ben", uuid=lan["id"]) == await refused("ben", uuid=UNKNOWN)
    assert await refused("ben", uuid="lan") == await refused("ben", uuid="nowhere")
    assert await refused("ben", port=theirs) == await refused("ben", port=UNKNOWN)
    assert "scoped" in await refused("eve", uuid=lan["id"]) or "member" in await refused("eve", uuid=lan["id"])

    # Who owns a network sees the ports of others on it. That is no right to be in their place.
    policy = {"object_type": "network", "object_id": bens["id"], "action": "access_as_shared"}
    policy["target_tenant"] = site.projects["anns"]
    await site.ok("ben", "POST", "/v2.0/rbac-policies", {"rbac_policy": policy})
    guest = await site.cloud_port("ann", bens["id"])
    assert (await site.call("ben", "GET", f"/v2.0/ports/{guest}")).status_code == 200
    assert "to use" in await refused("ben", port=guest)
    # And who is let onto a network does not choose the addresses in it.
    assert "192.0.2.77" in await refused("ann", uuid=bens["id"], fixed_ip="192.0.2.77")
    assert await boot(site, "ann", bens["id"])


async def test_security_groups_are_the_projects_own(site: Everything) -> None:
    lan = await network(site, "ann", name="lan")
    [theirs] = (await site.ok("ben", "GET", "/v2.0/security-groups"))["security_groups"]
    site.fakes.disks.sizes["images", "tiny"] = 8 << 20
    wanted = body("vm", uuid=lan["id"])
    wanted["server"] |= {"imageRef": "tiny", "security_groups": [{"name": theirs["id"]}]}
    answer = await site.call("ann", "POST", "/v2.1/servers", wanted)
    assert answer.status_code == 400
    assert await ids(site, "ann") == []


@pytest.mark.parametrize("scope", [{"domain": {"id": "default"}}, {"system": {"all": True}}, None])
async def test_a_token_without_a_project_makes_no_server(site: Everything, scope: Any) -> None:
    lan = await network(site, "machine", name="lan", shared=True)
    user_id = site.users["boss"]
    [role] = (await site.ok("machine", "GET", "/v3/roles?name=admin"))["roles"]
    for place in ("domains/default", "system"):
        await site.ok("machine", "PUT", f"/v3/{place}/users/{user_id}/roles/{role['id']}")
    password = {"user": {"id": user_id, "password": "pw-boss"}}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": password}, "scope": scope or "unscoped"}
    answer = await site.client.post("/v3/auth/tokens", json={"auth": auth})
    assert answer.status_code == 201, answer.text
    site.tokens["boss"] = answer.headers["x-subject-token"]
    refusal = await site.call("boss", "POST", "/v2.1/servers", body("vm", uuid=lan["id"]))
    assert (refusal.status_code, list(refusal.json())) == (403, ["forbidden"])
    assert await ids(site, "boss") == []
    assert await ids(site, "machine", "?all_tenants=1") == []
