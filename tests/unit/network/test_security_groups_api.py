"""Security groups through the whole service: default groups made when they are looked for, policy, quotas, ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cove.network import errors
from cove.network.context import RequestContext
from tests.unit.network.fakes import Cloud, cloud

ME, OTHER, NEW = "a" * 32, "b" * 32, "d" * 32
ADMIN = RequestContext(project_id="c" * 32)


def caller(project_id: str = ME, *roles: str) -> RequestContext:
    named = frozenset(roles or ("member", "reader"))
    return RequestContext(project_id=project_id, is_admin=False, roles=named, user_id=f"user-{project_id}")


class Api:
    """The API in the hands of any caller."""

    def __init__(self, made: Cloud) -> None:
        self.cloud = made

    async def find(
        self, resource: str, context: RequestContext | None = None, *arguments: tuple[str, str]
    ) -> list[dict[str, Any]]:
        return (await self.cloud.service.controllers[resource].find(context or caller(), arguments)).items

    async def make(self, resource: str, context: RequestContext | None = None, **given: Any) -> dict[str, Any]:
        answer = await self.cloud.service.controllers[resource].create(context or caller(), {resource: given})
        made: dict[str, Any] = answer[resource]
        return made

    async def bulk(self, resource: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = await self.cloud.service.controllers[resource].create(caller(), {f"{resource}s": list(items)})
        made: list[dict[str, Any]] = answer[f"{resource}s"]
        return made

    async def change(self, resource: str, item_id: str, context: RequestContext | None = None, **changes: Any) -> Any:
        controller = self.cloud.service.controllers[resource]
        return (await controller.update(context or caller(), item_id, {resource: changes}))[resource]

    async def get(self, resource: str, item_id: str, context: RequestContext | None = None) -> dict[str, Any]:
        answer = await self.cloud.service.controllers[resource].get(context or caller(), item_id)
        found: dict[str, Any] = answer[resource]
        return found

    async def remove(self, resource: str, item_id: str, context: RequestContext | None = None) -> None:
        await self.cloud.service.controllers[resource].delete(context or caller(), item_id)

    async def network(self, **given: Any) -> dict[str, Any]:
        network = await self.make("network", **given)
        await self.make("subnet", network_id=network["id"], ip_version=4, cidr="192.0.2.0/24")
        return network


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with cloud(tmp_path) as made:
        yield Api(made)


async def test_many_lists_at_once_make_one_default_group(api: Api) -> None:
    lists = await asyncio.gather(
        *(api.find(resource) for resource in ("security_group", "security_group_rule") for _ in range(10))
    )
    groups = [items for items in lists if "name" in items[0]]
    assert {item["id"] for items in groups for item in items} == {groups[0][0]["id"]}
    assert groups[0][0]["name"] == "default"
    assert {len(items) for items in lists} == {1, 4}
    assert await api.cloud.rows("SELECT resource, used FROM quota_usages ORDER BY resource") == [
        ("security_group", 1),
        ("security_group_rule", 4),
    ]


async def test_a_reader_and_an_admin_who_asks_for_a_project_make_it_too(api: Api) -> None:
    assert [group["name"] for group in await api.find("security_group", caller(ME, "reader"))] == ["default"]
    (group,) = await api.find("security_group", ADMIN, ("project_id", NEW), ("name", "default"))
    assert group["project_id"] == NEW
    # Who is no admin sees and makes nothing there.
    assert await api.find("security_group", caller(ME), ("project_id", OTHER)) == []
    assert len(await api.cloud.rows("SELECT project_id FROM default_security_groups")) == 2


async def test_new_groups_begin_with_neutrons_rules(api: Api) -> None:
    rules = await api.find("default_security_group_rule", ADMIN)
    seen = {(r["direction"], r["ethertype"], r["remote_group_id"], r["used_in_non_default_sg"]) for r in rules}
    assert seen == {
        (direction, ethertype, remote, remote is None)
        for direction, remote in (("egress", None), ("ingress", "PARENT"))
        for ethertype in ("IPv4", "IPv6")
    }
    assert {r["description"] for r in rules} == {
        "Legacy default SG rule for egress traffic",
        "Legacy default SG rule for ingress traffic",
    }
    assert all(rule["used_in_default_sg"] for rule in rules)


async def test_who_may_do_what(api: Api) -> None:
    group = await api.make("security_group", name="web")
    rule = await api.make("security_group_rule", security_group_id=group["id"], direction="ingress")
    for what in (
        api.get("security_group", group["id"], caller(OTHER)),
        api.change("security_group", group["id"], caller(OTHER), name="mine"),
        api.remove("security_group", group["id"], caller(OTHER)),
        api.make("security_group_rule", caller(OTHER), security_group_id=group["id"], direction="egress"),
    ):
        with pytest.raises(errors.SecurityGroupNotFound):
            await what
    for what in (
        api.get("security_group_rule", rule["id"], caller(OTHER)),
        api.remove("security_group_rule", rule["id"], caller(OTHER)),
    ):
        with pytest.raises(errors.SecurityGroupRuleNotFound):
            await what
    reader = caller(ME, "reader")
    for what in (
        api.change("security_group", group["id"], reader, name="mine"),
        api.remove("security_group", group["id"], reader),
        api.make("security_group_rule", reader, security_group_id=group["id"], direction="egress"),
        api.remove("security_group_rule", rule["id"], reader),
        api.make(
            "default_security_group_rule", direction="egress", used_in_default_sg=True, used_in_non_default_sg=True
        ),
    ):
        with pytest.raises(errors.PolicyNotAuthorized):
            await what
    assert (await api.get("security_group", group["id"], reader))["name"] == "web"


async def test_a_shared_group_can_be_used_and_not_changed(api: Api) -> None:
    group = await api.make("security_group", name="web")
    policy = {"object_type": "security_group", "object_id": group["id"], "action": "access_as_shared"}
    shared = await api.make("rbac_policy", **policy, target_tenant=OTHER)
    assert (await api.get("security_group", group["id"], caller(OTHER)))["shared"] is True
    with pytest.raises(errors.PolicyNotAuthorized):
        await api.change("security_group", group["id"], caller(OTHER), name="mine")
    with pytest.raises(errors.PolicyNotAuthorized):
        await api.make("security_group_rule", caller(OTHER), security_group_id=group["id"], direction="egress")
    network = await api.make("network", caller(OTHER))
    port = await api.make("port", caller(OTHER), network_id=network["id"], security_groups=[group["id"]])
    with pytest.raises(errors.RbacPolicyInUse):
        await api.remove("rbac_policy", shared["id"])
    await api.remove("port", port["id"], caller(OTHER))
    await api.remove("rbac_policy", shared["id"])


async def test_rules_in_bulk_are_all_or_none(api: Api) -> None:
    group = await api.make("security_group", name="web")

    def rule(port: int) -> dict[str, Any]:
        ports = {"port_range_min": port, "port_range_max": port}
        return {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp", **ports}

    assert len(await api.bulk("security_group_rule", [rule(port) for port in range(1, 21)])) == 20
    with pytest.raises(errors.DuplicateSecurityGroupRuleInPost):
        await api.bulk("security_group_rule", [rule(30), rule(31), rule(30)])
    with pytest.raises(errors.SecurityGroupRuleExists):
        await api.bulk("security_group_rule", [rule(30), rule(20)])
    assert len((await api.get("security_group", group["id"]))["security_group_rules"]) == 22


async def test_quotas(tmp_path: Path) -> None:
    async with cloud(tmp_path) as made:
        api = Api(made)
        groups = [await api.make("security_group", name=str(number)) for number in range(9)]
        with pytest.raises(errors.OverQuota, match="security_group "):
            await api.make("security_group", name="one too many")
        await api.remove("security_group", groups[0]["id"])
        group = await api.make("security_group", name="again")
        # 10 groups: 4 rules of the default one, 2 of each other; 78 are left of 100.
        rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "udp"}
        rules = [{**rule, "port_range_min": port, "port_range_max": port} for port in range(1, 80)]
        with pytest.raises(errors.OverQuota, match="security_group_rule"):
            await api.bulk("security_group_rule", rules)
        await api.bulk("security_group_rule", rules[:78])
        await api.remove("security_group", group["id"])
        used = await made.rows("SELECT resource, used FROM quota_usages ORDER BY resource")
        assert used == [("security_group", 9), ("security_group_rule", 20)]


async def test_ports_and_their_groups(api: Api) -> None:
    network, web = await api.network(), await api.make("security_group", name="web")
    (default,) = await api.find("security_group", None, ("name", "default"))
    port = await api.make("port", network_id=network["id"])
    assert port["security_groups"] == [default["id"]]
    changed = await api.change("port", port["id"], security_groups=[web["id"]])
    assert changed["security_groups"] == [web["id"]]
    assert changed["revision_number"] > port["revision_number"]
    assert [p["id"] for p in await api.find("port", None, ("security_groups", web["id"]))] == [port["id"]]
    assert await api.find("port", None, ("security_groups", default["id"])) == []
    with pytest.raises(errors.SecurityGroupInUse):
        await api.remove("security_group", web["id"])
    with pytest.raises(errors.SecurityGroupNotFound):
        await api.change("port", port["id"], security_groups=["00000000-0000-4000-8000-000000000000"])
    with pytest.raises(errors.HTTPBadRequest):
        await api.change("port", port["id"], security_groups=[web["id"], web["id"]])
    with pytest.raises(errors.PortSecurityPortHasSecurityGroup):
        await api.change("port", port["id"], port_security_enabled=False)
    with pytest.raises(errors.PortSecurityAndIPRequiredForSecurityGroups):
        await api.change("port", port["id"], port_security_enabled=False, security_groups=[default["id"]])
    bare = await api.change("port", port["id"], port_security_enabled=False, security_groups=[])
    assert (bare["security_groups"], bare["port_security_enabled"]) == ([], False)
    with pytest.raises(errors.AddressPairAndPortSecurityRequired):
        await api.change("port", port["id"], allowed_address_pairs=[{"ip_address": "192.0.2.77"}])
    back = await api.change("port", port["id"], security_groups=[web["id"]], port_security_enabled=True)
    assert back["security_groups"] == [web["id"]]
    await api.remove("port", port["id"])
    await api.remove("security_group", web["id"])


async def test_what_is_told_of_groups_and_rules(api: Api) -> None:
    group = await api.make("security_group", name="web")
    rule = await api.make("security_group_rule", security_group_id=group["id"], direction="ingress")
    await api.remove("security_group_rule", rule["id"])
    await api.remove("security_group", group["id"])
    told = [(event, body) for event, body in api.cloud.bus.notifications if event.endswith("end")]
    assert [event for event, _ in told] == [
        "security_group.create.end",
        "security_group_rule.create.end",
        "security_group_rule.delete.end",
        "security_group.delete.end",
    ]
    assert told[1][1]["security_group_rule"]["security_group_id"] == group["id"]
    assert told[2][1]["security_group_rule"]["security_group_id"] == group["id"]
    assert told[3][1]["security_group_id"] == group["id"]
