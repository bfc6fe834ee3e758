"""What is created with defaults, in bulk, concurrently; and what each role sees and may do."""

from __future__ import annotations

import asyncio
import ipaddress
import uuid
from typing import Any

import pytest

from cove.network import RequestContext, errors, ports
from tests.unit.network.fakes import Cloud

NOBODY = "00000000-0000-4000-8000-000000000000"


async def test_a_network_with_defaults(c: Cloud) -> None:
    network = await c.network(name="n", description="two\nlines")
    assert network["status"] == "ACTIVE"
    assert (network["mtu"], network["shared"], network["router:external"], network["subnets"]) == (
        1500,
        False,
        False,
        [],
    )
    assert network["revision_number"] == 1
    assert network["created_at"] == network["updated_at"]
    assert await c.get("network", network["id"]) == network


async def test_a_subnet_with_defaults(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network, "192.0.2.7/24")
    assert subnet["cidr"] == "192.0.2.0/24"
    assert subnet["gateway_ip"] == "192.0.2.1"
    assert subnet["allocation_pools"] == [{"start": "192.0.2.2", "end": "192.0.2.254"}]
    assert (subnet["enable_dhcp"], subnet["subnetpool_id"], subnet["ipv6_ra_mode"]) == (True, None, None)
    seen = await c.get("network", network["id"])
    assert seen["subnets"] == [subnet["id"]]
    assert seen["revision_number"] == 2


async def test_a_port_with_defaults(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(network)
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "192.0.2.2"}]
    assert port["mac_address"].startswith("fa:16:3e:")
    default = await c.find("security_group", ("name", "default"))
    assert (port["status"], port["binding:vif_type"]) == ("DOWN", "unbound")
    assert port["security_groups"] == [group["id"] for group in default]
    assert port["dns_assignment"] == [
        {"ip_address": "192.0.2.2", "hostname": "host-192-0-2-2", "fqdn": "host-192-0-2-2.openstacklocal."}
    ]
    assert await c.get("port", port["id"]) == port


async def test_addresses_come_in_order_and_are_used_again(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    made = [await c.port(network) for _ in range(5)]
    assert [port["fixed_ips"][0]["ip_address"] for port in made] == [f"192.0.2.{n}" for n in range(2, 7)]
    await c.delete("port", made[1]["id"])
    assert (await c.port(network))["fixed_ips"][0]["ip_address"] == "192.0.2.3"


# --- concurrency and bulk --------------------------------------------------------------------------------------------


async def test_concurrent_creates_never_share_an_address(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    await c.subnet(network, "192.0.2.0/25")
    # Few MACs, so that they collide all the time.
    monkeypatch.setattr(ports._random, "getrandbits", lambda bits: uuid.uuid4().int % 1024)
    results = await asyncio.gather(*(c.port(network) for _ in range(140)), return_exceptions=True)
    made = [result for result in results if isinstance(result, dict)]
    failed = [result for result in results if not isinstance(result, dict)]
    assert {type(error) for error in failed} == {errors.IpAddressGenerationFailure}
    addresses = [port["fixed_ips"][0]["ip_address"] for port in made]
    pool = [str(ipaddress.IPv4Address("192.0.2.0") + n) for n in range(2, 127)]
    assert sorted(addresses, key=ipaddress.IPv4Address) == pool
    assert len({port["mac_address"] for port in made}) == len(made)


async def test_one_requested_address_for_many(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    wanted = [{"ip_address": "192.0.2.77"}]
    results = await asyncio.gather(*(c.port(network, fixed_ips=wanted) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, dict) for result in results) == 1
    assert sum(isinstance(result, errors.IpAddressAlreadyAllocated) for result in results) == 19


async def test_bulk_is_all(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    made = await c.bulk("port", [{"network_id": network["id"], "name": f"p{n}"} for n in range(20)])
    assert [port["name"] for port in made] == [f"p{n}" for n in range(20)]
    assert [port["fixed_ips"][0]["ip_address"] for port in made] == [f"192.0.2.{n}" for n in range(2, 22)]
    assert await c.rows("SELECT count(*) FROM ports") == [(20,)]
    assert [method for _, method, _ in (await c.sent())].count("port_create_end") == 20


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ({"mac_address": "02:00:00:00:00:01"}, errors.MacAddressInUse),
        ({"fixed_ips": [{"ip_address": "192.0.2.2"}]}, errors.IpAddressAlreadyAllocated),
        ({"network_id": NOBODY}, errors.NetworkNotFound),
        ({"colour": 1}, errors.HTTPBadRequest),
        (7, errors.HTTPBadRequest),
    ],
)
async def test_or_nothing(c: Cloud, last: Any, error: type[Exception]) -> None:
    network = await c.network()
    await c.subnet(network)
    await c.sent()
    items: list[Any] = [
        {"network_id": network["id"]},
        {"network_id": network["id"], "mac_address": "02:00:00:00:00:01"},
    ]
    items.append({"network_id": network["id"], **last} if isinstance(last, dict) else last)
    with pytest.raises(error):
        await c.bulk("port", items)
    assert await c.rows("SELECT count(*) FROM ports") == [(0,)]
    assert await c.free() == [(2, 254)]
    assert await c.sent() == []


async def test_bulk_of_networks_and_subnets(c: Cloud) -> None:
    made = await c.bulk("network", [{"name": "a"}, {"name": "b"}])
    cidrs = ["192.0.2.0/25", "192.0.2.128/25"]
    items = [{"network_id": made[0]["id"], "ip_version": 4, "cidr": cidr} for cidr in cidrs]
    assert [subnet["cidr"] for subnet in await c.bulk("subnet", items)] == cidrs
    with pytest.raises(errors.InvalidInput, match="overlaps"):
        await c.bulk("subnet", [{**items[0], "network_id": made[1]["id"]}] * 2)
    assert (await c.get("network", made[1]["id"]))["subnets"] == []


# --- roles -----------------------------------------------------------------------------------------------------------


async def test_what_a_user_sees_and_may_do(c: Cloud) -> None:
    private, shared = await c.network(project_id="a"), await c.network(project_id="a", shared=True)
    hidden, open_subnet = await c.subnet(private), await c.subnet(shared)
    ports_of_a = await c.port(private, project_id="a")
    c.context = RequestContext("b", is_admin=False, roles=frozenset({"member", "reader"}))
    assert [network["id"] for network in await c.find("network")] == [shared["id"]]
    assert [subnet["id"] for subnet in await c.find("subnet")] == [open_subnet["id"]]
    assert await c.find("port") == []
    for resource, item in (("network", private), ("subnet", hidden), ("port", ports_of_a)):
        with pytest.raises(errors.NotFound):
            await c.get(resource, item["id"])
        with pytest.raises(errors.NotFound):
            await c.delete(resource, item["id"])
    for resource, item in (("network", shared), ("subnet", open_subnet)):
        with pytest.raises(errors.PolicyNotAuthorized):
            await c.update(resource, item["id"], name="x")
        with pytest.raises(errors.NotAuthorized):
            await c.delete(resource, item["id"])
    with pytest.raises(errors.NotAuthorized):
        await c.subnet(shared, "10.0.0.0/24")
    with pytest.raises(errors.NotAuthorized):
        await c.network(shared=True)
    with pytest.raises(errors.NetworkNotFound):
        await c.port(private)
    own = await c.port(shared)
    assert own["project_id"] == "b"
    assert "binding:host_id" not in own
    assert [port["id"] for port in await c.find("port")] == [own["id"]]
