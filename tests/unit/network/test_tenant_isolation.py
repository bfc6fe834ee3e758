"""One tenant never sees, counts or guesses another's: generated from the registry of resources.

There are two worlds: `member` of one project makes an object of each resource; `stranger`, a member of another project,
has some of the same. Whatever the stranger asks must be answered as if the first project were not there: lists and
pages as before, and an id of a hidden object exactly as an id of none.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from cove.network.attributes import Attribute
from cove.network.registry import RESOURCES
from cove.network.resource import Resource
from tests.unit.network.callers import MINE, THEIRS, Api, networking_api
from tests.unit.network.fakes import Cloud, cloud

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTSIDERS = ("stranger", "strange reader", "nobody")
UNKNOWN = "0f0e0d0c-0b0a-4908-8706-050403020100"
ELSEWHERE = "d" * 32
"""A third project."""

FOR_ALL = frozenset({"default_security_group_rule"})
"""What belongs to no project, and every reader may see."""
OF_NOBODY = frozenset({"agent"})
"""What belongs to no project, and only admins may see."""

HIDDEN = sorted(set(RESOURCES) - FOR_ALL)
NAMES = sorted(RESOURCES)

Objects = dict[str, dict[str, Any]]


def path_of(resource: Resource) -> str:
    return f"/{resource.collection.replace('_', '-')}"


@dataclass
class World:
    """What the projects own: the member's objects are marked by a secret word."""

    api: Api
    cloud: Cloud
    secret: str = field(default_factory=lambda: f"secret-{uuid.uuid4().hex}")
    mine: Objects = field(default_factory=dict)

    async def fill(self, who: str, word: str, number: int) -> Objects:
        """One object of each resource. `number` keeps the prefixes of projects apart."""
        api, made = self.api, {}
        words = {"name": word, "description": word}
        scope = made["address_scope"] = await api.create(who, "address_scope", name=word, ip_version=4)
        made["subnetpool"] = await api.create(
            who, "subnetpool", **words, prefixes=[f"10.{number}.0.0/16"], address_scope_id=scope["id"], min_prefixlen=24
        )
        network = made["network"] = await api.create(who, "network", **words, dns_domain=f"{word}.example.")
        made["subnet"] = await api.create(
            who,
            "subnet",
            **words,
            network_id=network["id"],
            ip_version=4,
            subnetpool_id=made["subnetpool"]["id"],
            gateway_ip=f"10.{number}.0.1",
        )
        group = made["security_group"] = await api.create(who, "security_group", **words)
        made["security_group_rule"] = await api.create(
            who,
            "security_group_rule",
            security_group_id=group["id"],
            description=word,
            direction="ingress",
            protocol="tcp",
            port_range_min=1000 + number,
            port_range_max=2000 + number,
            remote_ip_prefix=f"10.{number}.0.0/24",
        )
        made["port"] = await api.create(
            who,
            "port",
            **words,
            network_id=network["id"],
            security_groups=[group["id"]],
            device_id=word,
            device_owner=f"compute:{word}",
            dns_name=f"n{number}",
        )
        made["rbac_policy"] = await api.create(
            who,
            "rbac_policy",
            object_type="network",
            object_id=(await api.create(who, "network", **words))["id"],
            action="access_as_shared",
            target_tenant=ELSEWHERE,
        )
        for name, item in made.items():
            if RESOURCES[name].tagged:
                response = await api.request(who, "PUT", f"{path_of(RESOURCES[name])}/{item['id']}/tags/{word}")
                assert response.status_code == 201
        for name in OF_NOBODY & set(RESOURCES):
            made[name] = (await api.get("admin", path_of(RESOURCES[name])))[RESOURCES[name].collection][0]
        # As an admin sees them: complete.
        return {
            name: (await api.get("admin", f"{path_of(RESOURCES[name])}/{item['id']}"))[name]
            for name, item in made.items()
        }

    def secrets(self) -> set[str]:
        """Texts that appear nowhere but in the member's objects."""
        found = {self.secret, MINE}
        for item in self.mine.values():
            found |= {str(item["id"]), str(item.get("mac_address", item["id"]))}
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Both projects have something. For what changes nothing that matters to others."""
    async with new_world(tmp_path_factory.mktemp("world")) as made:
        yield await full(made)


@pytest_asyncio.fixture(loop_scope="module")
async def empty(tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(empty: World) -> World:
    return await full(empty)


@asynccontextmanager
async def new_world(directory: Path) -> AsyncIterator[World]:
    async with cloud(directory) as made, networking_api(made) as api:
        await made.report()
        yield World(api, made)


async def full(world: World) -> World:
    await world.fill("stranger", "theirs", 2)
    world.mine = await world.fill("member", world.secret, 1)
    return world


def answer(response: httpx.Response, *ids: str) -> tuple[int, str]:
    """Status and body, with ids made alike."""
    text = response.text
    for item_id in ids:
        text = text.replace(item_id, "ID")
    return response.status_code, text


async def test_there_is_an_object_of_each_resource_to_hide() -> None:
    """A new resource joins this test by joining `World.fill`."""
    made = {"address_scope", "subnetpool", "network", "subnet", "security_group", "security_group_rule", "port"}
    assert set(RESOURCES) == made | {"rbac_policy"} | OF_NOBODY | (FOR_ALL & set(RESOURCES))


# --- lists -----------------------------------------------------------------------------------------------------------


def filter_values(resource: Resource, item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every filter of a resource with values that find the item, or might."""
    for attribute in resource.attributes.attributes:
        value = item.get(attribute.name)
        if not attribute.filter or value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from ((attribute.name, f"{key}={inner}") for key, inner in one.items())
            else:
                yield attribute.name, str(one)
    for name in resource.filters:
        if "tags" in name:
            yield from ((name, tag) for tag in (*item.get("tags", ()), "other"))
        elif name == "changed_since":
            yield name, "2020-01-01T00:00:00Z"


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("who", OUTSIDERS)
async def test_no_filter_finds_it(world: World, who: str, name: str) -> None:
    resource, item = RESOURCES[name], world.mine[name]
    asked = 0
    for key, value in filter_values(resource, item):
        found = await world.api.get("admin", path_of(resource), **{key: value})
        for more in ({}, {"limit": 1}, {"limit": 1, "page_reverse": True}, {"fields": "id"}):
            shown = await world.api.get(who, path_of(resource), **{key: value}, **more)
            assert item["id"] not in json.dumps(shown[resource.collection]), (key, value)
            assert len(shown[resource.collection]) <= len(found[resource.collection])
            if key == "id":  # links, too, are those of a page without it
                assert set(shown) == set(await world.api.get(who, path_of(resource), id=UNKNOWN, **more))
        asked += 1
    assert asked > 2


@pytest.mark.parametrize("name", NAMES)
async def test_lists_and_pages_are_as_if_it_were_not_there(empty: World, name: str) -> None:
    resource = RESOURCES[name]
    sorts = [attribute.name for attribute in resource.attributes.attributes if attribute.sort]
    queries: list[dict[str, Any]] = [{}, {"fields": "id"}]
    queries += [{"limit": limit, "page_reverse": reverse} for limit in (1, 2, 100) for reverse in (False, True)]
    queries += [{"sort_key": key, "sort_dir": way, "limit": 2} for key in sorts for way in ("asc", "desc")]

    async def views() -> list[Any]:
        return [await empty.api.get(who, path_of(resource), **query) for who in OUTSIDERS for query in queries]

    await empty.fill("stranger", "theirs", 2)
    before = await views()
    empty.mine = await empty.fill("member", empty.secret, 1)
    assert await views() == before
    text = json.dumps(before)
    assert not [secret for secret in empty.secrets() if secret in text]


@pytest.mark.parametrize("name", HIDDEN)
async def test_a_marker_is_answered_as_an_unknown_one(world: World, name: str) -> None:
    resource, item_id = RESOURCES[name], world.mine[name]["id"]
    for who in OUTSIDERS:
        answers = {
            answer(
                await world.api.request(who, "GET", path_of(resource), params={"limit": 1, "marker": marker}), marker
            )
            for marker in (item_id, UNKNOWN)
        }
        assert len(answers) == 1


@pytest.mark.parametrize("who", OUTSIDERS)
async def test_a_project_cannot_be_asked_for_by_its_id(world: World, who: str) -> None:
    for resource in RESOURCES.values():
        for name in ("project_id", "tenant_id"):
            if name in resource.attributes.by_name:
                assert (await world.api.get(who, path_of(resource), **{name: MINE}))[resource.collection] == []


# --- one object ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("who", OUTSIDERS)
async def test_it_is_answered_as_an_unknown_one(world: World, who: str, name: str) -> None:
    resource, item = RESOURCES[name], world.mine[name]
    changes: list[dict[str, Any]] = [{}] + [
        {attribute.name: item[attribute.name]}
        for attribute in resource.attributes.attributes
        if attribute.put and attribute.name in item
    ]
    requests: list[tuple[str, str, Any, dict[str, str]]] = [
        ("GET", "", None, {}),
        ("GET", ".json", None, {}),
        ("GET", "?fields=id", None, {}),
    ]
    if resource.update is not None:
        requests += [("PUT", "", {name: change}, {}) for change in changes]
        requests += [("PUT", "", {name: {}}, {"If-Match": f"revision_number={number}"}) for number in (0, 1)]
    if resource.delete is not None:
        requests += [("DELETE", "", None, {})]
        requests += [("DELETE", "", None, {"If-Match": f"revision_number={number}"}) for number in (0, 1)]
    if resource.tagged:
        requests += [
            (method, f"/tags{rest}", body, {})
            for method, rest, body in (
                ("GET", "", None),
                ("PUT", "", {"tags": ["x"]}),
                ("POST", "", {"tags": ["x"]}),
                ("DELETE", "", None),
                ("GET", f"/{world.secret}", None),
                ("PUT", "/x", None),
                ("DELETE", f"/{world.secret}", None),
            )
        ]
    for method, rest, body, headers in requests:
        answers = set()
        for item_id in (item["id"], UNKNOWN):
            response = await world.api.client.request(
                method, f"/v2.0{path_of(resource)}/{item_id}{rest}", json=body, headers={"X-Auth-Token": who, **headers}
            )
            assert response.status_code in (404, 400), (method, rest, response.text)
            answers.add(answer(response, item_id))
        assert len(answers) == 1, (method, rest, body, answers)
    assert (await world.api.get("admin", f"{path_of(resource)}/{item['id']}"))[name] == item


SUB_PATHS = (
    ("GET", "/networks/{network}/dhcp-agents", None),
    ("GET", "/network-ip-availabilities/{network}", None),
    ("GET", "/agents/{agent}/dhcp-networks", None),
    ("POST", "/agents/{agent}/dhcp-networks", {"network_id": "{network}"}),
    ("DELETE", "/agents/{agent}/dhcp-networks/{network}", None),
    ("GET", "/quotas/{project}", None),
    ("GET", "/quotas/{project}/details", None),
    ("GET", "/quotas/{project}/default", None),
    ("PUT", "/quotas/{project}", {"quota": {"port": 1}}),
    ("DELETE", "/quotas/{project}", None),
    ("GET", "/quotas", None),
    ("PUT", "/subnetpools/{subnetpool}/add_prefixes", {"prefixes": ["10.3.0.0/16"]}),
    ("PUT", "/subnetpools/{subnetpool}/remove_prefixes", {"prefixes": ["10.1.0.0/16"]}),
    ("PUT", "/subnetpools/{subnetpool}/onboard_network_subnets", {"network_id": "{network}"}),
)


@pytest.mark.parametrize(
    ("method", "path", "body"), SUB_PATHS, ids=[f"{method} {path}" for method, path, _ in SUB_PATHS]
)
async def test_what_belongs_to_it_is_answered_as_if_it_were_not_there(
    world: World, method: str, path: str, body: Any
) -> None:
    real = {"project": MINE} | {kind: world.mine[kind]["id"] for kind in ("network", "agent", "subnetpool")}
    unknown = {"project": ELSEWHERE} | dict.fromkeys(("network", "agent", "subnetpool"), UNKNOWN)
    for who in OUTSIDERS:
        answers = set()
        for ids in (real, unknown):
            filled = json.loads(json.dumps(body).replace("{network}", ids["network"]))
            response = await world.api.request(who, method, path.format(**ids), filled)
            assert response.status_code in (403, 404), response.text
            answers.add(answer(response, *ids.values()))
        assert len(answers) == 1


# --- what refers to it -----------------------------------------------------------------------------------------------

REFERENCES: list[tuple[str, str, str, dict[str, Any]]] = [
    # what is created or changed, the verb, the kind of the other's object ("ID"), the attributes
    ("port", "POST", "network", {"network_id": "ID"}),
    ("port", "POST", "network", {"network_id": "ID", "tenant_id": MINE}),
    ("port", "POST", "subnet", {"network_id": "OWN network", "fixed_ips": [{"subnet_id": "ID"}]}),
    (
        "port",
        "POST",
        "subnet",
        {"network_id": "OWN network", "fixed_ips": [{"subnet_id": "ID", "ip_address": "10.1.0.9"}]},
    ),
    ("port", "POST", "security_group", {"network_id": "OWN network", "security_groups": ["ID"]}),
    ("port", "PUT", "subnet", {"fixed_ips": [{"subnet_id": "ID"}]}),
    ("port", "PUT", "security_group", {"security_groups": ["ID"]}),
    ("subnet", "POST", "network", {"network_id": "ID", "ip_version": 4, "cidr": "10.1.0.0/24"}),
    ("subnet", "POST", "subnetpool", {"network_id": "OWN network", "ip_version": 4, "subnetpool_id": "ID"}),
    ("subnetpool", "POST", "address_scope", {"name": "x", "prefixes": ["10.9.0.0/16"], "address_scope_id": "ID"}),
    ("subnetpool", "PUT", "address_scope", {"address_scope_id": "ID"}),
    ("security_group_rule", "POST", "security_group", {"security_group_id": "ID", "direction": "ingress"}),
    (
        "security_group_rule",
        "POST",
        "security_group",
        {"security_group_id": "OWN security_group", "direction": "ingress", "remote_group_id": "ID"},
    ),
    *(
        (
            "rbac_policy",
            "POST",
            kind,
            {"object_type": kind, "object_id": "ID", "action": "access_as_shared", "target_tenant": THEIRS},
        )
        for kind in ("network", "subnetpool", "address_scope", "security_group")
    ),
    (
        "rbac_policy",
        "POST",
        "network",
        {"object_type": "network", "object_id": "ID", "action": "access_as_external", "target_tenant": THEIRS},
    ),
]


@pytest.mark.parametrize(("name", "method", "kind", "attributes"), REFERENCES)
async def test_a_reference_is_answered_as_one_to_nothing(
    world: World, name: str, method: str, kind: str, attributes: dict[str, Any]
) -> None:
    own = {
        other: (await world.api.get("stranger", path_of(RESOURCES[other]), name="theirs"))[RESOURCES[other].collection][
            0
        ]
        for other in ("network", "security_group", "port", "subnetpool")
    }
    path = path_of(RESOURCES[name]) + (f"/{own[name]['id']}" if method == "PUT" else "")
    answers = set()
    for item_id in (world.mine[kind]["id"], UNKNOWN):
        text = json.dumps({name: attributes}).replace('"ID"', f'"{item_id}"')
        for other, item in own.items():
            text = text.replace(f'"OWN {other}"', f'"{item["id"]}"')
        response = await world.api.request("stranger", method, path, json.loads(text))
        assert 400 <= response.status_code < 500, response.text
        answers.add(answer(response, item_id))
    assert len(answers) == 1, answers
    assert not [secret for secret in world.secrets() - {MINE} if secret in str(answers)]


async def test_subnets_that_are_not_seen_cannot_be_taken_into_a_pool(world: World) -> None:
    (pool,) = (await world.api.get("stranger", "/subnetpools", name="theirs"))["subnetpools"]
    answers = set()
    for network_id in (world.mine["network"]["id"], UNKNOWN):
        path = f"/subnetpools/{pool['id']}/onboard_network_subnets"
        response = await world.api.request("stranger", "PUT", path, {"network_id": network_id})
        answers.add(answer(response, network_id))
    ((status, _),) = answers
    assert status == 404


async def test_nothing_is_made_for_another_project(world: World) -> None:
    for resource in RESOURCES.values():
        if resource.create is None or "project_id" not in resource.attributes.by_name:
            continue
        for name in ("project_id", "tenant_id"):
            response = await world.api.request("stranger", "POST", path_of(resource), {resource.name: {name: MINE}})
            assert 400 <= response.status_code < 500
            mine = await world.api.get("member", path_of(resource))
            assert "theirs" not in json.dumps(mine)


async def test_what_is_used_elsewhere_is_free_here(world: World) -> None:
    """Names, MACs, addresses and prefixes of a hidden project are no obstacle, hence no hint."""
    mine = world.mine
    network = await world.api.create("stranger", "network", name=mine["network"]["name"])
    await world.api.create("stranger", "subnet", network_id=network["id"], ip_version=4, cidr=mine["subnet"]["cidr"])
    await world.api.create(
        "stranger",
        "port",
        network_id=network["id"],
        mac_address=mine["port"]["mac_address"],
        fixed_ips=[{"ip_address": mine["port"]["fixed_ips"][0]["ip_address"]}],
        dns_name=mine["port"]["dns_name"],
    )
    await world.api.create("stranger", "security_group", name=mine["security_group"]["name"])
    await world.api.create("stranger", "subnetpool", name=world.secret, prefixes=mine["subnetpool"]["prefixes"])


async def test_usage_counts_only_what_is_ones_own(empty: World) -> None:
    await empty.fill("stranger", "theirs", 2)
    before = await empty.api.get("admin", f"/quotas/{THEIRS}/details")
    empty.mine = await empty.fill("member", empty.secret, 1)
    assert await empty.api.get("admin", f"/quotas/{THEIRS}/details") == before


# --- the same project ------------------------------------------------------------------------------------------------


def _may_be_given(attribute: Attribute, value: Any) -> bool:
    try:
        attribute.convert(value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(set(HIDDEN) - OF_NOBODY))
async def test_a_reader_of_the_project_sees_it_and_changes_nothing(world: World, name: str) -> None:
    resource, item = RESOURCES[name], world.mine[name]
    path = f"{path_of(resource)}/{item['id']}"
    shown = (await world.api.get("reader", path))[name]
    assert shown == (await world.api.get("member", path))[name]
    assert item["id"] in {one["id"] for one in (await world.api.get("reader", path_of(resource)))[resource.collection]}
    requests: list[tuple[str, str, Any]] = []
    if resource.update is not None:
        for attribute in resource.attributes.attributes:
            if attribute.put and attribute.name in shown and _may_be_given(attribute, shown[attribute.name]):
                requests.append(("PUT", path, {name: {attribute.name: shown[attribute.name]}}))
    if resource.delete is not None:
        requests.append(("DELETE", path, None))
    if resource.create is not None:
        given = {a.name: shown[a.name] for a in resource.attributes.attributes if a.post and a.name in shown}
        required = {key: value for key, value in given.items() if key not in ("tags", "subnetpool_id")}
        requests.append(("POST", path_of(resource), {name: required}))
    if resource.tagged:
        requests += [("PUT", f"{path}/tags/x", None), ("DELETE", f"{path}/tags", None)]
    for method, where, body in requests:
        response = await world.api.request("reader", method, where, body)
        assert response.status_code == 403, (method, body, response.text)
    assert (await world.api.get("admin", path))[name] == item


@pytest.mark.parametrize("name", sorted(set(HIDDEN) - OF_NOBODY))
async def test_what_only_admins_see_of_ones_own(world: World, name: str) -> None:
    """Attributes that the policy hides are in no answer of a member, however it is asked for."""
    resource, item = RESOURCES[name], world.mine[name]
    path = f"{path_of(resource)}/{item['id']}"
    shown = (await world.api.get("member", path))[name]
    hidden = sorted(set(item) - set(shown))
    assert hidden == {
        "network": ["provider:network_type", "provider:physical_network", "provider:segmentation_id"],
        "port": ["binding:host_id", "binding:profile", "binding:vif_details", "binding:vif_type"],
    }.get(name, [])
    for attribute in hidden:
        assert (await world.api.get("member", path, fields=attribute))[name] == {}
        listed = (await world.api.get("member", path_of(resource), fields=attribute))[resource.collection]
        assert all(one == {} for one in listed)


# --- shared ----------------------------------------------------------------------------------------------------------


async def share(world: World, kind: str, target: str = THEIRS, who: str = "member") -> str:
    """The id of a policy that shares the member's object of a kind."""
    policy = await world.api.create(
        who,
        "rbac_policy",
        object_type=kind,
        object_id=world.mine[kind]["id"],
        action="access_as_shared",
        target_tenant=target,
    )
    return str(policy["id"])


@pytest.mark.parametrize("kind", ["network", "subnetpool", "address_scope", "security_group"])
@pytest.mark.parametrize(("target", "who"), [(THEIRS, "member"), ("*", "admin")])
async def test_what_is_shared_is_seen_and_not_changed(fresh: World, kind: str, target: str, who: str) -> None:
    resource, item = RESOURCES[kind], fresh.mine[kind]
    path = f"{path_of(resource)}/{item['id']}"
    if kind == "subnetpool":  # which can be shared only with who may use its scope
        await share(fresh, "address_scope", target, who)
    policy_id = await share(fresh, kind, target, who)
    shown = (await fresh.api.get("stranger", path))[kind]
    assert shown["shared"] is True
    assert item["id"] in {
        one["id"] for one in (await fresh.api.get("stranger", path_of(resource)))[resource.collection]
    }
    for method, where, body in (
        ("PUT", path, {kind: {"name": "taken"}}),
        ("DELETE", path, None),
        *((("PUT", f"{path}/tags/x", None), ("DELETE", f"{path}/tags", None)) if resource.tagged else ()),
    ):
        response = await fresh.api.request("stranger", method, where, body)
        assert response.status_code == 403, (method, where, response.text)
    # Who shares it with whom is its owner's business.
    assert (await fresh.api.request("stranger", "GET", f"/rbac-policies/{policy_id}")).status_code == 404
    assert policy_id not in json.dumps(await fresh.api.get("stranger", "/rbac-policies"))
    response = await fresh.api.request("stranger", "DELETE", f"/rbac-policies/{policy_id}")
    assert response.status_code == 404
    # What is shared no more is gone.
    assert (await fresh.api.request(who, "DELETE", f"/rbac-policies/{policy_id}")).status_code == 204
    assert (await fresh.api.request("stranger", "GET", path)).status_code == 404


async def test_a_shared_network_shows_its_subnets_and_none_of_its_ports(fresh: World) -> None:
    await share(fresh, "network")
    network_id, subnet, port = fresh.mine["network"]["id"], fresh.mine["subnet"], fresh.mine["port"]
    assert (await fresh.api.get("stranger", f"/subnets/{subnet['id']}"))["subnet"]["cidr"] == subnet["cidr"]
    assert (
        await fresh.api.request("stranger", "PUT", f"/subnets/{subnet['id']}", {"subnet": {"name": "x"}})
    ).status_code in (403, 404)
    assert (await fresh.api.request("stranger", "DELETE", f"/subnets/{subnet['id']}")).status_code in (403, 404)
    assert (await fresh.api.request("stranger", "GET", f"/ports/{port['id']}")).status_code == 404
    for filters in ({"network_id": network_id}, {"device_id": port["device_id"]}, {"mac_address": port["mac_address"]}):
        assert (await fresh.api.get("stranger", "/ports", **filters)) == {"ports": []}
    body = {"subnet": {"network_id": network_id, "ip_version": 4, "cidr": "10.77.0.0/24"}}
    assert (await fresh.api.request("stranger", "POST", "/subnets", body)).status_code == 403


async def test_addresses_of_a_shared_network_cannot_be_probed(fresh: World) -> None:
    """Only its owner chooses addresses and MACs there: a stranger's guesses are refused alike, right or wrong."""
    await share(fresh, "network")
    network_id, port = fresh.mine["network"]["id"], fresh.mine["port"]
    (used,) = port["fixed_ips"]
    guesses: list[list[dict[str, Any]]] = [
        [{"fixed_ips": [{"ip_address": address}]} for address in (used["ip_address"], "10.1.0.77")],
        [{"fixed_ips": [{**used, "ip_address": address}]} for address in (used["ip_address"], "10.1.0.77")],
        [{"mac_address": mac} for mac in (port["mac_address"], "fa:16:3e:77:77:77")],
    ]
    for alike in guesses:
        answers = set()
        for guess in alike:
            response = await fresh.api.request(
                "stranger", "POST", "/ports", {"port": {"network_id": network_id, **guess}}
            )
            answers.add(answer(response))
        assert len(answers) == 1, answers
        assert {status for status, _ in answers} == {403}
    mine = await fresh.api.create("stranger", "port", network_id=network_id)
    assert mine["fixed_ips"][0]["ip_address"] != used["ip_address"]
    for guess in (alike[0] for alike in guesses):
        response = await fresh.api.request("stranger", "PUT", f"/ports/{mine['id']}", {"port": guess})
        assert response.status_code == 403, response.text
    # The owner of the network sees who is on it.
    assert mine["id"] in {item["id"] for item in (await fresh.api.get("member", "/ports"))["ports"]}


async def test_a_shared_group_shows_none_of_its_rules(fresh: World) -> None:
    await share(fresh, "security_group")
    group_id, rule_id = fresh.mine["security_group"]["id"], fresh.mine["security_group_rule"]["id"]
    assert (await fresh.api.request("stranger", "GET", f"/security-group-rules/{rule_id}")).status_code == 404
    assert (await fresh.api.get("stranger", "/security-group-rules", security_group_id=group_id)) == {
        "security_group_rules": []
    }
    for remote in ({}, {"remote_group_id": group_id}):
        body = {"security_group_rule": {"security_group_id": group_id, "direction": "ingress", **remote}}
        response = await fresh.api.request("stranger", "POST", "/security-group-rules", body)
        assert response.status_code in (403, 404), response.text
    assert (await fresh.api.request("stranger", "DELETE", f"/security-group-rules/{rule_id}")).status_code == 404


async def test_what_an_external_network_shows(fresh: World) -> None:
    path = f"/networks/{fresh.mine['network']['id']}"
    assert (await fresh.api.request("admin", "PUT", path, {"network": {"router:external": True}})).status_code == 200
    shown = (await fresh.api.get("stranger", path))["network"]
    assert shown["router:external"] is True
    assert "provider:network_type" not in shown
    assert (await fresh.api.request("stranger", "PUT", path, {"network": {"name": "x"}})).status_code == 403
    assert (await fresh.api.get("stranger", "/ports", network_id=fresh.mine["network"]["id"])) == {"ports": []}
    body = {"port": {"network_id": fresh.mine["network"]["id"]}}
    assert (await fresh.api.request("stranger", "POST", "/ports", body)).status_code == 403
