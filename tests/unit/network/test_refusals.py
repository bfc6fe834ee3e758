"""Subnets and ports that are refused, and what is accepted beside them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cove.network import errors, ports
from tests.unit.network.fakes import Cloud

NOBODY = "00000000-0000-4000-8000-000000000000"


# --- subnets that are refused ----------------------------------------------------------------------------------------

SUBNET_ERRORS: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    ({"cidr": "10.0.0.0"}, errors.InvalidInput, "cidr: "),
    ({"ip_version": 6}, errors.InvalidInput, "10.0.0.0/24 does not match ip_version 6"),
    ({"cidr": None}, errors.InvalidInput, "cidr: "),
    ({"network_id": NOBODY}, errors.NetworkNotFound, NOBODY),
    ({"cidr": "192.0.2.128/25"}, errors.InvalidInput, "overlaps"),
    ({"cidr": "192.0.0.0/16"}, errors.InvalidInput, "overlaps"),
    ({"gateway_ip": "10.0.0.0"}, errors.InvalidInput, "gateway_ip 10.0.0.0"),
    ({"gateway_ip": "10.0.0.255"}, errors.InvalidInput, "gateway_ip 10.0.0.255"),
    (
        {"gateway_ip": "10.0.0.5", "allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}]},
        errors.GatewayConflictWithAllocationPools,
        "10.0.0.5 lies in allocation pool 10.0.0.2-10.0.0.9",
    ),
    (
        {"allocation_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}]},
        errors.GatewayConflictWithAllocationPools,
        "10.0.0.1",
    ),
    (
        {"allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.2"}]},
        errors.InvalidAllocationPool,
        "10.0.0.9-10.0.0.2",
    ),
    ({"allocation_pools": [{"start": "10.0.1.2", "end": "10.0.1.9"}]}, errors.OutOfBoundsAllocationPool, "10.0.0.0/24"),
    (
        {"allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.255"}]},
        errors.OutOfBoundsAllocationPool,
        "10.0.0.0/24",
    ),
    (
        {"allocation_pools": [{"start": "10.0.0.2", "end": "10.0.0.9"}, {"start": "10.0.0.9", "end": "10.0.0.12"}]},
        errors.OverlappingAllocationPools,
        "overlap",
    ),
    ({"cidr": "10.0.0.0/31"}, errors.InvalidInput, "longer than /30"),
    ({"cidr": "10.0.0.0/32"}, errors.InvalidInput, "longer than /30"),
    ({"cidr": "224.0.0.0/24"}, errors.InvalidInput, "multicast"),
    ({"cidr": "127.0.0.0/24"}, errors.InvalidInput, "loopback"),
    ({"cidr": "0.0.0.0/8"}, errors.InvalidInput, "first address"),
    ({"dns_nameservers": [f"10.0.0.{n}" for n in range(6)]}, errors.DNSNameServersExhausted, "5"),
    (
        {"host_routes": [{"destination": f"10.1.{n}.0/24", "nexthop": "10.0.0.9"} for n in range(21)]},
        errors.HostRoutesExhausted,
        "20",
    ),
    ({"subnetpool_id": NOBODY}, errors.SubnetPoolNotFound, NOBODY),
]


@pytest.mark.parametrize(("attributes", "error", "says"), SUBNET_ERRORS)
async def test_subnets_that_are_refused(
    c: Cloud, attributes: dict[str, Any], error: type[Exception], says: str
) -> None:
    network = await c.network()
    await c.subnet(network)
    with pytest.raises(error, match=says):
        await c.create("subnet", **{"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24", **attributes})
    assert len((await c.get("network", network["id"]))["subnets"]) == 1


@pytest.mark.parametrize(
    ("cidr", "given", "gateway", "pools"),
    [
        ("10.0.0.0/30", {}, "10.0.0.1", [("10.0.0.2", "10.0.0.2")]),
        ("10.0.0.0/24", {"gateway_ip": None}, None, [("10.0.0.1", "10.0.0.254")]),
        (
            "10.0.0.0/24",
            {"gateway_ip": "10.0.0.9"},
            "10.0.0.9",
            [("10.0.0.1", "10.0.0.8"), ("10.0.0.10", "10.0.0.254")],
        ),
        ("10.0.0.0/24", {"allocation_pools": []}, "10.0.0.1", [("10.0.0.2", "10.0.0.254")]),
        ("10.0.0.0/31", {"enable_dhcp": False}, "10.0.0.0", [("10.0.0.1", "10.0.0.1")]),
        ("10.0.0.7/32", {"enable_dhcp": False}, "10.0.0.8", [("10.0.0.7", "10.0.0.7")]),
        ("224.0.0.0/24", {"enable_dhcp": False}, "224.0.0.1", [("224.0.0.2", "224.0.0.254")]),
    ],
)
async def test_gateways_and_pools(
    c: Cloud, cidr: str, given: dict[str, Any], gateway: str | None, pools: list[tuple[str, str]]
) -> None:
    subnet = await c.subnet(await c.network(), cidr, **given)
    assert subnet["gateway_ip"] == gateway
    assert subnet["allocation_pools"] == [{"start": start, "end": end} for start, end in pools]


async def test_the_same_cidr_on_two_networks(c: Cloud) -> None:
    for _ in range(2):
        network = await c.network()
        await c.subnet(network)
        assert (await c.port(network))["fixed_ips"][0]["ip_address"] == "192.0.2.2"


# --- ports that are refused ------------------------------------------------------------------------------------------

PORT_ERRORS: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    ({"network_id": NOBODY}, errors.NetworkNotFound, NOBODY),
    ({"network_id": "demo"}, errors.HTTPBadRequest, "'demo' is not a UUID"),
    ({"fixed_ips": [{"ip_address": "198.51.100.1"}]}, errors.InvalidIpForNetwork, "198.51.100.1"),
    ({"fixed_ips": [{"ip_address": "192.0.2.0"}]}, errors.InvalidIpForNetwork, "192.0.2.0"),
    ({"fixed_ips": [{"ip_address": "192.0.2.15"}]}, errors.InvalidIpForNetwork, "broadcast"),
    ({"fixed_ips": [{"subnet_id": "S", "ip_address": "198.51.100.1"}]}, errors.InvalidIpForSubnet, "198.51.100.1"),
    ({"fixed_ips": [{"subnet_id": "S", "ip_address": "192.0.2.15"}]}, errors.InvalidIpForSubnet, "192.0.2.0/28"),
    ({"fixed_ips": [{"subnet_id": NOBODY}]}, errors.SubnetNotFound, NOBODY),
    ({"fixed_ips": [{"subnet_id": "OTHER"}]}, errors.InvalidInput, "not on network"),
    ({"fixed_ips": [{}]}, errors.InvalidInput, "needs a subnet_id or an ip_address"),
    ({"fixed_ips": [{"ip_address": "192.0.2.2"}]}, errors.IpAddressAlreadyAllocated, "192.0.2.2"),
    ({"fixed_ips": [{"subnet_id": "S", "ip_address": "192.0.2.2"}]}, errors.IpAddressAlreadyAllocated, "192.0.2.2"),
    ({"fixed_ips": [{"subnet_id": "S"}] * 65}, errors.InvalidInput, "at most 64"),
    ({"fixed_ips": [{"subnet_id": "S"}] * 13}, errors.IpAddressGenerationFailure, "no more IP addresses"),
    ({"mac_address": "MAC"}, errors.MacAddressInUse, "fa:16:3e"),
    ({"mac_address": "x"}, errors.HTTPBadRequest, "not a MAC address"),
    ({"security_groups": [NOBODY]}, errors.SecurityGroupNotFound, NOBODY),
    ({"status": "ACTIVE"}, errors.HTTPBadRequest, "status"),
    ({"colour": "red"}, errors.HTTPBadRequest, "unrecognized.*'colour'"),
]


@pytest.mark.parametrize(("attributes", "error", "says"), PORT_ERRORS)
async def test_ports_that_are_refused(c: Cloud, attributes: dict[str, Any], error: type[Exception], says: str) -> None:
    network, other = await c.network(), await c.network()
    subnet, other_subnet = await c.subnet(network, "192.0.2.0/28"), await c.subnet(other)
    first = await c.port(network)
    names = {"S": subnet["id"], "OTHER": other_subnet["id"]}
    given = dict(attributes)
    if given.get("mac_address") == "MAC":
        given["mac_address"] = first["mac_address"]
    if "fixed_ips" in given:
        given["fixed_ips"] = [{k: names.get(v, v) for k, v in entry.items()} for entry in given["fixed_ips"]]
    free = await c.rows("SELECT * FROM subnet_free_ranges ORDER BY 1, 2")
    with pytest.raises(error, match=says):
        await c.create("port", **{"network_id": network["id"], **given})
    assert await c.rows("SELECT * FROM subnet_free_ranges ORDER BY 1, 2") == free
    assert await c.rows("SELECT count(*) FROM ports") == [(1,)]


async def test_requested_addresses(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network, allocation_pools=[{"start": "192.0.2.10", "end": "192.0.2.12"}])
    inside = await c.port(network, fixed_ips=[{"ip_address": "192.0.2.11"}])
    outside = await c.port(network, fixed_ips=[{"subnet_id": subnet["id"], "ip_address": "192.0.2.200"}])
    automatic = await c.port(network, fixed_ips=[{"subnet_id": subnet["id"]}])
    assert [p["fixed_ips"][0]["ip_address"] for p in (inside, outside, automatic)] == [
        "192.0.2.11", "192.0.2.200", "192.0.2.10",
    ]  # fmt: skip
    assert (await c.port(network))["fixed_ips"][0]["ip_address"] == "192.0.2.12"
    with pytest.raises(errors.IpAddressGenerationFailure):
        await c.port(network)
    # One outside the pools does not come back as an automatic one.
    await c.delete("port", outside["id"])
    with pytest.raises(errors.IpAddressGenerationFailure):
        await c.port(network)
    await c.delete("port", inside["id"])
    assert (await c.port(network))["fixed_ips"][0]["ip_address"] == "192.0.2.11"


async def test_an_automatic_address_gives_way_to_a_named_one(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(network, fixed_ips=[{"subnet_id": subnet["id"]}, {"ip_address": "192.0.2.2"}])
    assert [entry["ip_address"] for entry in port["fixed_ips"]] == ["192.0.2.3", "192.0.2.2"]


async def test_the_next_subnet_when_one_is_exhausted(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network, "192.0.2.0/30")
    await c.subnet(network, "198.51.100.0/30")
    got = {(await c.port(network))["fixed_ips"][0]["ip_address"] for _ in range(2)}
    assert got == {"192.0.2.2", "198.51.100.2"}
    with pytest.raises(errors.IpAddressGenerationFailure, match=network["id"]):
        await c.port(network)


async def test_ports_without_addresses(c: Cloud) -> None:
    network = await c.network()
    bare = await c.port(network)
    assert (bare["fixed_ips"], bare["status"], bare["ip_allocation"]) == ([], "ACTIVE", "immediate")
    with pytest.raises(errors.InvalidInput, match="has no subnet"):
        await c.port(network, fixed_ips=[{"ip_address": "192.0.2.2"}])
    await c.subnet(network)
    wanted = await c.port(network, fixed_ips=[])
    assert (wanted["fixed_ips"], wanted["status"], wanted["ip_allocation"]) == ([], "ACTIVE", "none")


async def test_mac_addresses(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network, mac_address="02-00-00-00-00-01")
    assert port["mac_address"] == "02:00:00:00:00:01"
    with pytest.raises(errors.MacAddressInUse):
        await c.port(network, mac_address="02:00:00:00:00:01")
    other = await c.network()
    assert (await c.port(other, mac_address="02:00:00:00:00:01"))["mac_address"] == port["mac_address"]
    await c.delete("port", port["id"])
    await c.port(network, mac_address="02:00:00:00:00:01")


async def test_a_random_mac_that_is_taken_is_replaced(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    await c.subnet(network)
    macs = iter(["fa:16:3e:00:00:01"] * 4 + ["fa:16:3e:00:00:02"])
    monkeypatch.setattr(ports, "random_mac", lambda: next(macs))
    first, second = await c.port(network), await c.port(network)
    assert (first["mac_address"], second["mac_address"]) == ("fa:16:3e:00:00:01", "fa:16:3e:00:00:02")
    assert second["fixed_ips"][0]["ip_address"] == "192.0.2.3"


async def test_no_unused_mac_at_all(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    monkeypatch.setattr(ports, "random_mac", lambda: "fa:16:3e:00:00:01")
    await c.port(network)
    with pytest.raises(errors.DatabaseRetriesExhausted):
        await c.port(network)


async def test_a_bulk_avoids_macs_that_are_taken(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    monkeypatch.setattr(ports._random, "getrandbits", lambda _bits: uuid.uuid4().int % 512)
    made = [port for _ in range(4) for port in await c.bulk("port", [{"network_id": network["id"]}] * 100)]
    assert len({port["mac_address"] for port in made}) == 400


async def test_a_bulk_without_enough_macs(c: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await c.network()
    monkeypatch.setattr(ports._random, "getrandbits", lambda _bits: uuid.uuid4().int % 8)
    with pytest.raises(errors.MacAddressGenerationFailure, match=network["id"]):
        await c.bulk("port", [{"network_id": network["id"]}] * 9)
    assert await c.find("port") == []
