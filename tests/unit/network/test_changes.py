"""Updates and deletes: what may change, what must not, and what goes with what."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import RequestContext, errors
from cove.network.models import (
    ip_allocations,
    network_dhcp_agent_bindings,
    networks,
    subnet_free_ranges,
    subnets,
)
from cove.network.models import ports as port_table
from tests.unit.network.fakes import Cloud

NOBODY = "00000000-0000-4000-8000-000000000000"


def count(table: sa.Table, connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


# --- updates ---------------------------------------------------------------------------------------------------------


async def test_update_of_a_network(c: Cloud) -> None:
    network = await c.network()
    changed = await c.update("network", network["id"], name="x", **{"router:external": True})
    assert (changed["name"], changed["router:external"], changed["revision_number"]) == ("x", True, 2)
    assert (await c.update("network", network["id"], name="x"))["revision_number"] == 2
    with pytest.raises(errors.NetworkNotFound):
        await c.update("network", NOBODY, name="x")


async def test_sharing_ends_only_if_nobody_else_is_there(c: Cloud) -> None:
    network = await c.network(shared=True)
    port = await c.port(network, project_id="somebody")
    with pytest.raises(errors.InvalidSharedSetting):
        await c.update("network", network["id"], shared=False)
    await c.delete("port", port["id"])
    assert (await c.update("network", network["id"], shared=False))["shared"] is False


async def test_update_of_pools_keeps_what_is_allocated(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    kept = await c.port(network, fixed_ips=[{"ip_address": "192.0.2.11"}])
    pools = [{"start": "192.0.2.10", "end": "192.0.2.12"}]
    assert (await c.update("subnet", subnet["id"], allocation_pools=pools))["allocation_pools"] == pools
    got = [(await c.port(network))["fixed_ips"][0]["ip_address"] for _ in range(2)]
    assert got == ["192.0.2.10", "192.0.2.12"]
    with pytest.raises(errors.IpAddressGenerationFailure):
        await c.port(network)
    await c.delete("port", kept["id"])
    assert (await c.port(network))["fixed_ips"][0]["ip_address"] == "192.0.2.11"
    await c.update("subnet", subnet["id"], allocation_pools=[])
    with pytest.raises(errors.IpAddressGenerationFailure):
        await c.port(network)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"gateway_ip": "192.0.2.255"}, errors.InvalidInput),
        ({"gateway_ip": "192.0.2.200"}, errors.GatewayConflictWithAllocationPools),
        ({"allocation_pools": [{"start": "192.0.2.1", "end": "192.0.2.9"}]}, errors.GatewayConflictWithAllocationPools),
        ({"allocation_pools": [{"start": "192.0.3.1", "end": "192.0.3.9"}]}, errors.OutOfBoundsAllocationPool),
        ({"cidr": "192.0.3.0/24"}, errors.HTTPBadRequest),
        ({"network_id": NOBODY}, errors.HTTPBadRequest),
        ({"dns_nameservers": [f"10.0.0.{n}" for n in range(6)]}, errors.DNSNameServersExhausted),
    ],
)
async def test_subnet_updates_that_are_refused(c: Cloud, changes: dict[str, Any], error: type[Exception]) -> None:
    subnet = await c.subnet(await c.network())
    with pytest.raises(error):
        await c.update("subnet", subnet["id"], **changes)
    assert await c.get("subnet", subnet["id"]) == subnet


async def test_subnet_updates(c: Cloud) -> None:
    subnet = await c.subnet(await c.network(), allocation_pools=[{"start": "192.0.2.10", "end": "192.0.2.20"}])
    changed = await c.update("subnet", subnet["id"], gateway_ip="192.0.2.5", dns_nameservers=["192.0.2.3"], name="s")
    assert (changed["gateway_ip"], changed["dns_nameservers"], changed["name"]) == ("192.0.2.5", ["192.0.2.3"], "s")
    assert changed["revision_number"] == 2
    assert (await c.update("subnet", subnet["id"], gateway_ip=None))["gateway_ip"] is None


async def test_a_routers_gateway_stays(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(
        network, device_owner="network:router_interface", fixed_ips=[{"ip_address": subnet["gateway_ip"]}]
    )
    with pytest.raises(errors.GatewayIpInUse, match=port["id"]):
        await c.update("subnet", subnet["id"], gateway_ip="192.0.2.254", allocation_pools=[])


async def test_dhcp_cannot_be_switched_on_where_it_cannot_work(c: Cloud) -> None:
    subnet = await c.subnet(await c.network(), "192.0.2.0/31", enable_dhcp=False)
    with pytest.raises(errors.InvalidInput, match="longer than"):
        await c.update("subnet", subnet["id"], enable_dhcp=True)


async def test_port_address_changes(c: Cloud) -> None:
    network = await c.network()
    subnet, second = await c.subnet(network), await c.subnet(network, "198.51.100.0/24")
    port = await c.port(network)
    s = {"subnet_id": subnet["id"]}

    async def change(*wanted: dict[str, str]) -> list[str]:
        changed = await c.update("port", port["id"], fixed_ips=list(wanted))
        assert (await c.get("port", port["id"]))["fixed_ips"] == changed["fixed_ips"]
        return [entry["ip_address"] for entry in changed["fixed_ips"]]

    assert await change(s) == ["192.0.2.2"]  # kept
    assert await change({"ip_address": "192.0.2.50"}) == ["192.0.2.50"]
    assert await change({"ip_address": "192.0.2.50"}, s) == ["192.0.2.50", "192.0.2.2"]
    assert await change(s, {"subnet_id": second["id"]}) == ["192.0.2.50", "198.51.100.2"]
    assert await change({"subnet_id": second["id"], "ip_address": "198.51.100.2"}) == ["198.51.100.2"]
    assert await change() == []
    assert await c.rows("SELECT count(*) FROM ip_allocations") == [(0,)]
    assert await c.free() == [(2, 254), (2, 254)]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ([{"ip_address": "192.0.2.3"}], errors.IpAddressAlreadyAllocated),
        ([{"ip_address": "10.0.0.1"}], errors.InvalidIpForNetwork),
        ([{"ip_address": "192.0.2.9"}, {}], errors.InvalidInput),
    ],
)
async def test_refused_address_changes_change_nothing(c: Cloud, wanted: Any, error: type[Exception]) -> None:
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network)
    await c.port(network)
    with pytest.raises(error):
        await c.update("port", port["id"], fixed_ips=wanted, name="x")
    assert await c.get("port", port["id"]) == port
    assert await c.free() == [(4, 254)]


@pytest.mark.parametrize(
    ("attributes", "mac", "error"),
    [
        ({}, "TAKEN", errors.MacAddressInUse),
        ({"binding:host_id": "node1"}, "02:00:00:00:00:02", errors.PortBound),
        ({"device_owner": "network:dhcp"}, "02:00:00:00:00:02", errors.UnsupportedPortDeviceOwner),
    ],
)
async def test_mac_changes_that_are_refused(c: Cloud, attributes: dict[str, Any], mac: str, error: Any) -> None:
    network = await c.network()
    taken = await c.port(network)
    port = await c.port(network, **attributes)
    with pytest.raises(error):
        await c.update("port", port["id"], mac_address=taken["mac_address"] if mac == "TAKEN" else mac)


async def test_mac_change(c: Cloud) -> None:
    port = await c.port(await c.network())
    assert (await c.update("port", port["id"], mac_address="02:00:00:00:00:02"))["mac_address"] == "02:00:00:00:00:02"


async def test_binding(c: Cloud) -> None:
    network = await c.network()
    c.context = RequestContext(roles=frozenset({"admin", "service"}))  # only services may give a profile
    port = await c.port(network, **{"binding:host_id": "node1", "binding:profile": {"a": 1}})
    assert port["binding:vif_type"] == "bridge"
    assert port["binding:vif_details"] == {"bridge_name": f"brq{network['id'][:11]}"}
    changed = await c.update("port", port["id"], **{"binding:host_id": ""})
    assert (changed["binding:vif_type"], changed["binding:profile"]) == ("unbound", {"a": 1})


async def test_dhcp_options_merge(c: Cloud) -> None:
    def options(*pairs: tuple[str, str | None]) -> list[dict[str, Any]]:
        return [{"opt_name": name, "opt_value": value, "ip_version": 4} for name, value in pairs]

    port = await c.port(
        await c.network(), extra_dhcp_opts=options(("mtu", "1400"), ("none", None), ("tftp-server", "a"))
    )
    assert port["extra_dhcp_opts"] == options(("mtu", "1400"), ("tftp-server", "a"))
    changed = await c.update(
        "port", port["id"], extra_dhcp_opts=options(("mtu", None), ("tftp-server", "b"), ("x", "1"))
    )
    assert changed["extra_dhcp_opts"] == options(("tftp-server", "b"), ("x", "1"))


async def test_an_update_that_changes_nothing(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(network, name="x")
    await c.sent()
    same = {
        "name": "x",
        "fixed_ips": [{"subnet_id": subnet["id"]}],
        "dns_name": "",
        "security_groups": port["security_groups"],
    }
    assert await c.update("port", port["id"], **same) == port
    assert await c.sent() == []


async def test_names_that_ports_have_in_dns(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network, dns_name="VM1")
    assert port["dns_name"] == "vm1"
    assert port["dns_assignment"][0]["fqdn"] == "vm1.openstacklocal."
    full = await c.update("port", port["id"], dns_name="vm1.example.")
    named = full["dns_assignment"][0]
    assert (named["hostname"], named["fqdn"]) == ("vm1.example.", "vm1.example.")


# --- deletes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "error"),
    [("network", errors.NetworkNotFound), ("subnet", errors.SubnetNotFound), ("port", errors.PortNotFound)],
)
async def test_what_is_not_there(c: Cloud, resource: str, error: type[Exception]) -> None:
    for item_id in (NOBODY, "demo"):
        with pytest.raises(error):
            await c.delete(resource, item_id)
        with pytest.raises(error):
            await c.get(resource, item_id)
        with pytest.raises(error):
            await c.update(resource, item_id, name="x")


async def test_networks_and_subnets_in_use(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(network)
    with pytest.raises(errors.NetworkInUse, match=port["id"]):
        await c.delete("network", network["id"])
    with pytest.raises(errors.SubnetInUse, match=port["id"]):
        await c.delete("subnet", subnet["id"])
    await c.delete("port", port["id"])
    await c.delete("subnet", subnet["id"])
    await c.delete("network", network["id"])
    for table in (networks, subnets, port_table, ip_allocations, subnet_free_ranges, network_dhcp_agent_bindings):
        assert await c.db.read(functools.partial(count, table)) == 0


@pytest.mark.parametrize("owner", ["network:router_interface", "network:router_gateway", "network:floatingip"])
async def test_ports_for_routers_can_be_removed_where_there_are_no_routers(c: Cloud, owner: str) -> None:
    port = await c.port(await c.network(), device_owner=owner)
    await c.delete("port", port["id"])
    assert await c.find("port") == []


async def test_a_held_address_named_with_another_subnet(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    other = await c.subnet(network, "198.51.100.0/24")
    port = await c.port(network)
    wanted = [{"subnet_id": other["id"], "ip_address": port["fixed_ips"][0]["ip_address"]}]
    with pytest.raises(errors.InvalidIpForSubnet):
        await c.update("port", port["id"], fixed_ips=wanted)
    assert await c.get("port", port["id"]) == port
