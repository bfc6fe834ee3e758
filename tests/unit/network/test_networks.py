"""Networks: values that are taken and refused, what changes with what, who may use and remove them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cove.network import RequestContext, errors
from tests.unit.network.callers import CALLERS, MINE, THEIRS
from tests.unit.network.fakes import Cloud, cloud

LONG = "x" * 256
MEMBER, STRANGER = CALLERS["member"], CALLERS["stranger"]


@pytest.fixture
async def c(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud(tmp_path, tenant_network_type="vxlan") as made:
        await made.report()
        yield made


# --- values ----------------------------------------------------------------------------------------------------------

TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"name": "", "admin_state_up": True, "shared": False, "mtu": 1450, "router:external": False}),
    ({"name": "x" * 255}, {}),
    ({"name": "ä ☃"}, {}),
    ({"admin_state_up": "False"}, {"admin_state_up": False}),
    ({"admin_state_up": 0}, {"admin_state_up": False}),
    ({"mtu": 0}, {"mtu": 1450}),
    ({"mtu": "1400"}, {"mtu": 1400}),
    ({"mtu": 67}, {}),
    ({"dns_domain": "Example.Org."}, {"dns_domain": "example.org."}),
    ({"dns_domain": ""}, {}),
    ({"port_security_enabled": False}, {}),
    ({"description": "two\nlines"}, {}),
    ({"availability_zone_hints": []}, {}),
    ({"availability_zone_hints": ["nova"]}, {}),
    ({"project_id": MINE}, {"tenant_id": MINE}),
    ({"tenant_id": MINE}, {"project_id": MINE}),
    ({"tenant_id": MINE, "project_id": MINE}, {}),
    ({"project_id": ""}, {"tenant_id": ""}),
]


@pytest.mark.parametrize(("given", "shown"), TAKEN)
async def test_values_that_are_taken(c: Cloud, given: dict[str, Any], shown: dict[str, Any]) -> None:
    made = await c.network(**given)
    assert made.items() >= {**given, **shown}.items()
    assert await c.get("network", made["id"]) == {**made, "availability_zones": []}


BAD, INPUT = errors.HTTPBadRequest, errors.InvalidInput
REFUSED: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    ({"name": 5}, BAD, "name"),
    ({"name": None}, BAD, "name"),
    ({"name": LONG}, BAD, "name"),
    ({"name": " x"}, BAD, "white space"),
    ({"name": "x\t"}, BAD, "name"),
    ({"description": None}, BAD, "description"),
    ({"description": LONG}, BAD, "description"),
    ({"admin_state_up": "maybe"}, INPUT, "admin_state_up"),
    ({"admin_state_up": None}, INPUT, "admin_state_up"),
    ({"admin_state_up": 2}, INPUT, "admin_state_up"),
    ({"shared": []}, INPUT, "shared"),
    ({"mtu": "big"}, INPUT, "mtu"),
    ({"mtu": None}, INPUT, "mtu"),
    ({"mtu": -1}, BAD, "mtu"),
    ({"mtu": 1451}, INPUT, "1451"),
    ({"mtu": 1 << 70}, BAD, "mtu"),
    ({"dns_domain": "example.org"}, BAD, "dot"),
    ({"dns_domain": "no good."}, BAD, "dns_domain"),
    ({"dns_domain": "x" * 254 + "."}, BAD, "dns_domain"),
    ({"availability_zone_hints": "nova"}, BAD, "availability_zone_hints"),
    ({"availability_zone_hints": ["nowhere"]}, errors.AvailabilityZoneNotFound, "nowhere"),
    ({"is_default": True}, INPUT, "external"),
    ({"project_id": None}, BAD, "project_id"),
    ({"project_id": 5}, BAD, "project_id"),
    ({"project_id": LONG}, BAD, "project_id"),
    ({"project_id": MINE, "tenant_id": THEIRS}, BAD, "differ"),
    ({"project_id": MINE, "tenant_id": None}, BAD, "differ"),
    ({"id": "00000000-0000-4000-8000-000000000000"}, BAD, "'id' cannot be given"),
    ({"status": "ACTIVE"}, BAD, "'status' cannot be given"),
    ({"subnets": []}, BAD, "'subnets' cannot be given"),
    ({"tags": ["a"]}, BAD, "'tags' cannot be given"),
    ({"bogus": 1}, BAD, "'bogus'"),
]


@pytest.mark.parametrize(("given", "error", "says"), REFUSED)
async def test_values_that_are_refused(
    c: Cloud, given: dict[str, Any], error: type[errors.NetworkingError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        await c.network(**given)
    assert caught.value.type == error.__name__
    assert await c.find("network") == []


NOT_CHANGED = (
    "id",
    "status",
    "subnets",
    "tenant_id",
    "project_id",
    "availability_zone_hints",
    "revision_number",
    "tags",
)


@pytest.mark.parametrize("name", NOT_CHANGED)
async def test_attributes_that_stay(c: Cloud, name: str) -> None:
    network = await c.network()
    with pytest.raises(BAD, match=f"'{name}' of a network cannot be changed"):
        await c.update("network", network["id"], **{name: network[name]})


@pytest.mark.parametrize("who", ["member", "admin"])
async def test_what_members_may_not_say(c: Cloud, who: str) -> None:
    c.context = CALLERS[who]
    for given in ({"shared": True}, {"router:external": True}, {"router:external": True, "is_default": True}):
        if who == "admin":
            assert (await c.network(**given)).items() >= given.items()
        else:
            with pytest.raises(errors.PolicyNotAuthorized):
                await c.network(**given)
    # What one gets anyway is no privilege.
    await c.network(**{"shared": False, "router:external": "false", "mtu": 0, "port_security_enabled": "True"})
    with pytest.raises(BAD, match="another project") if who == "member" else contextlib.nullcontext():
        await c.network(project_id=THEIRS)


# --- revisions -------------------------------------------------------------------------------------------------------

COUNTED: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"name": "n"}, False),
    ({"name": "m"}, True),
    ({"description": "d"}, True),
    ({"admin_state_up": True}, False),
    ({"admin_state_up": False}, True),
    ({"mtu": 1400}, True),
    ({"mtu": 0}, False),
    ({"dns_domain": "a.b."}, True),
    ({"port_security_enabled": False}, True),
    ({"shared": True}, True),
    ({"shared": False}, False),
    ({"router:external": True}, True),
    ({"router:external": False}, False),
    ({"shared": True, "name": "m", "router:external": True}, True),
]


@pytest.mark.parametrize(("changes", "counts"), COUNTED)
async def test_a_revision_counts_what_changed(c: Cloud, changes: dict[str, Any], counts: bool) -> None:
    before = await c.network(name="n")
    after = await c.update("network", before["id"], **changes)
    assert after["revision_number"] == before["revision_number"] + counts
    assert (await c.update("network", before["id"], **changes))["revision_number"] == after["revision_number"]
    await c.service.drained()
    events = [event for event, _ in c.bus.notifications if event == "network.update.end"]
    assert len(events) == 2


async def test_what_else_counts_as_a_change_of_a_network(c: Cloud) -> None:
    network = await c.network(project_id=MINE)

    async def counted() -> bool:
        nonlocal network
        before, network = network, await c.get("network", network["id"])
        return bool(network["revision_number"] > before["revision_number"])

    subnet = await c.subnet(network)
    assert await counted()
    await c.update("subnet", subnet["id"], name="s")
    assert await counted()
    port = await c.port(network)
    await c.update("port", port["id"], name="p")
    await c.delete("port", port["id"])
    assert not await counted()
    about = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
    policy = await c.create("rbac_policy", **about, target_tenant=THEIRS)
    assert await counted()
    await c.delete("rbac_policy", policy["id"])
    assert await counted()
    await c.delete("subnet", subnet["id"])
    assert await counted()


# --- MTU -------------------------------------------------------------------------------------------------------------


async def test_the_mtu_that_its_subnets_need(c: Cloud) -> None:
    network = await c.network()
    assert (await c.update("network", network["id"], mtu=1000))["mtu"] == 1000
    six = {"network_id": network["id"], "ip_version": 6, "cidr": "2001:db8::/64"}
    with pytest.raises(errors.NetworkMTUSubnetConflict):
        await c.create("subnet", **six)
    await c.update("network", network["id"], mtu=1280)
    await c.create("subnet", **six)
    with pytest.raises(errors.NetworkMTUSubnetConflict):
        await c.update("network", network["id"], mtu=1279)
    assert (await c.update("network", network["id"], mtu=0))["mtu"] == 1450
    with pytest.raises(INPUT, match="1451"):
        await c.update("network", network["id"], mtu=1451)


# --- external, default -----------------------------------------------------------------------------------------------


async def test_the_way_outside(c: Cloud) -> None:
    network = await c.network(**{"router:external": True})
    owned = await c.find("rbac_policy")
    assert [(policy["action"], policy["target_tenant"]) for policy in owned] == [("access_as_external", "*")]
    admin, c.context = c.context, STRANGER
    seen = await c.get("network", network["id"])
    assert (seen["router:external"], seen["shared"]) == (True, False)
    with pytest.raises(errors.PolicyNotAuthorized):
        await c.update("network", network["id"], name="mine")
    c.context = admin
    await c.update("network", network["id"], **{"router:external": False})
    assert await c.find("rbac_policy") == []
    c.context = STRANGER
    with pytest.raises(errors.NetworkNotFound):
        await c.get("network", network["id"])


async def test_an_external_network_for_some(c: Cloud) -> None:
    network = await c.network()
    about = {"object_type": "network", "object_id": network["id"], "action": "access_as_external"}
    await c.create("rbac_policy", **about, target_tenant=THEIRS)
    assert (await c.get("network", network["id"]))["router:external"] is True
    for context, sees in ((STRANGER, True), (MEMBER, False)):
        admin, c.context = c.context, context
        assert [found["id"] for found in await c.find("network", ("router:external", "True"))] == [network["id"]] * sees
        c.context = admin
    await c.update("network", network["id"], **{"router:external": False})
    assert await c.find("rbac_policy") == []


async def test_one_default_external_network(c: Cloud) -> None:
    wanted = {"router:external": True, "is_default": True}
    first = await c.network(**wanted)
    with pytest.raises(errors.DefaultExternalNetworkExists, match=first["id"]):
        await c.network(**wanted)
    second = await c.network(**{"router:external": True})
    with pytest.raises(errors.DefaultExternalNetworkExists):
        await c.update("network", second["id"], is_default=True)
    with pytest.raises(INPUT, match="external"):
        await c.update("network", first["id"], **{"router:external": False})
    assert (await c.update("network", first["id"], is_default=True))["is_default"] is True
    await c.update("network", first["id"], is_default=False)
    assert (await c.update("network", second["id"], is_default=True))["is_default"] is True
    assert [found["id"] for found in await c.find("network", ("is_default", "true"))] == [second["id"]]


# --- shared ----------------------------------------------------------------------------------------------------------


async def test_sharing_does_not_end_under_those_who_use_it(c: Cloud) -> None:
    network = await c.network(shared=True, project_id=MINE)
    admin, c.context = c.context, STRANGER
    port = await c.port(network)
    with pytest.raises(errors.HTTPNotFound):  # as it is to become, the caller would not see it
        await c.update("network", network["id"], shared=False)
    c.context = MEMBER
    with pytest.raises(errors.PolicyNotAuthorized):
        await c.update("network", network["id"], shared=False)
    c.context = admin
    with pytest.raises(errors.InvalidSharedSetting):
        await c.update("network", network["id"], shared=False, name="n")
    assert (await c.get("network", network["id"]))["name"] == ""
    await c.delete("port", port["id"])
    assert (await c.update("network", network["id"], shared=False))["shared"] is False
    c.context = STRANGER
    with pytest.raises(errors.NetworkNotFound):
        await c.port(network)


SHARED: list[tuple[RequestContext, list[tuple[str, str]], str]] = [
    (MEMBER, [("shared", "True")], "all theirs"),
    (MEMBER, [("shared", "false")], "own"),
    (MEMBER, [("shared", "True"), ("shared", "False")], "all own theirs"),
    (STRANGER, [("shared", "1")], "all"),
    (STRANGER, [("shared", "0")], ""),
]


@pytest.mark.parametrize(("who", "filters", "names"), SHARED)
async def test_the_filter_shared_is_as_the_caller_sees_it(
    c: Cloud, who: RequestContext, filters: list[tuple[str, str]], names: str
) -> None:
    await c.network(name="own", project_id=MINE)
    await c.network(name="all", shared=True)
    network = await c.network(name="theirs")
    about = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
    await c.create("rbac_policy", **about, target_tenant=MINE)
    c.context = who
    assert sorted(found["name"] for found in await c.find("network", *filters)) == names.split()


@pytest.mark.parametrize("value", ["maybe", "", "2"])
async def test_a_filter_that_is_no_boolean(c: Cloud, value: str) -> None:
    for name in ("shared", "admin_state_up", "router:external"):
        with pytest.raises(INPUT, match=name):
            await c.find("network", (name, value))


# --- removal ---------------------------------------------------------------------------------------------------------


async def test_removal_takes_what_nobody_else_needs(c: Cloud) -> None:
    network = await c.network(shared=True)
    await c.subnet(network)
    await c.rpc("create_dhcp_port", port={"port": {"network_id": network["id"], "device_id": "d"}}, host="node1")
    port = await c.port(network)
    with pytest.raises(errors.NetworkInUse, match=port["id"]):
        await c.delete("network", network["id"])
    assert len(await c.find("port")) == 2
    await c.delete("port", port["id"])
    await c.sent()
    await c.delete("network", network["id"])
    assert [method for _, method, _ in await c.sent()] == ["port_delete_end", "network_delete_end"]
    for resource in ("network", "subnet", "port", "rbac_policy"):
        assert await c.find(resource) == []
    assert (
        await c.rows("SELECT resource, used FROM quota_usages WHERE used != 0 AND resource NOT LIKE 'security%'") == []
    )


@pytest.mark.parametrize("owner", ["network:router_interface", "network:router_gateway", "compute:nova", ""])
async def test_other_ports_keep_it(c: Cloud, owner: str) -> None:
    network = await c.network()
    await c.port(network, device_owner=owner)
    with pytest.raises(errors.NetworkInUse):
        await c.delete("network", network["id"])
