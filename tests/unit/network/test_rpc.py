"""The server's side of the agents' RPC, method by method."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from cove.network import errors
from cove.network.scheduler import dhcp_device_id
from tests.unit.network.fakes import HOST, Cloud

NOBODY = "00000000-0000-4000-8000-000000000000"


def dhcp_port(network: dict[str, Any], *subnets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "port": {
            "name": "",
            "admin_state_up": True,
            "device_id": dhcp_device_id(network["id"], HOST),
            "network_id": network["id"],
            "project_id": network["project_id"],
            "fixed_ips": [{"subnet_id": subnet["id"]} for subnet in subnets],
            **more,
        }
    }


def test_device_id() -> None:
    expected = f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, 'node1')}-n"
    assert dhcp_device_id("n", "node1") == dhcp_device_id("n", "node1.example.org") == expected


async def test_report_state(c: Cloud) -> None:
    assert await c.report("node2", start_flag=True, configurations={"networks": 0}) == "new"
    assert await c.report("node2") == "alive"
    await c.db.write(lambda x: x.exec_driver_sql("UPDATE agents SET heartbeat_at = heartbeat_at - 76") and None)
    assert await c.report("node2") == "revived"
    agents = {agent["host"]: agent for agent in await c.find("agent")}
    assert (agents["node2"]["alive"], agents[HOST]["alive"]) == (True, False)
    assert agents["node2"]["configurations"] == {}


async def test_a_report_from_before_the_start_is_ignored(c: Cloud) -> None:
    def at(seconds: float) -> str:
        return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")

    state = {"agent_state": {"host": "old", "agent_type": "DHCP agent"}}
    assert await c.rpc("report_state", agent_state=state, time=at(-60)) is None
    assert await c.rpc("report_state", agent_state=state, time=at(0)) == "new"
    with pytest.raises(errors.InvalidInput):
        await c.rpc("report_state", agent_state=state, time="yesterday")


async def test_get_network_info(c: Cloud) -> None:
    network = await c.network()
    subnets = [await c.subnet(network, f"10.0.{n}.0/24") for n in range(3)]
    off = await c.subnet(network, "10.0.9.0/24", enable_dhcp=False)
    port = await c.port(network)
    info = await c.rpc("get_network_info", network_id=network["id"], host=HOST)
    assert {k: info[k] for k in ("id", "project_id", "admin_state_up", "mtu", "non_local_subnets")} == {
        "id": network["id"], "project_id": network["project_id"], "admin_state_up": True, "mtu": 1500,
        "non_local_subnets": [],
    }  # fmt: skip
    assert info["subnets"] == sorted(subnets, key=lambda subnet: subnet["id"])
    assert info["ports"] == [port]
    everything = await c.rpc("get_active_networks_info", host=HOST, enable_dhcp_filter=False)
    assert off["id"] in {subnet["id"] for subnet in everything[0]["subnets"]}
    filtered = await c.rpc("get_active_networks_info", host=HOST)
    assert filtered == [info]
    assert await c.rpc("get_network_info", network_id=NOBODY, host=HOST) is None


async def test_networks_to_serve(c: Cloud) -> None:
    served, down, no_dhcp = await c.network(), await c.network(admin_state_up=False), await c.network()
    await c.subnet(served)
    await c.subnet(down)
    await c.subnet(no_dhcp, enable_dhcp=False)
    await c.network()
    assert {i["id"] for i in await c.rpc("get_active_networks_info", host=HOST)} == {served["id"], no_dhcp["id"]}
    assert await c.rpc("get_active_networks_info", host="node2") == []


async def test_what_the_agent_reads_is_there(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.port(network)
    assert {
        "id", "network_id", "ip_version", "cidr", "gateway_ip", "enable_dhcp", "dns_nameservers", "host_routes",
        "ipv6_ra_mode", "ipv6_address_mode", "subnetpool_id",
    } <= set(subnet)  # fmt: skip
    assert {
        "id", "network_id", "mac_address", "device_id", "device_owner", "admin_state_up", "fixed_ips",
        "extra_dhcp_opts", "dns_assignment", "revision_number",
    } <= set(port)  # fmt: skip


async def test_create_dhcp_port(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST)
    assert (port["device_owner"], port["binding:host_id"], port["status"]) == ("network:dhcp", HOST, "ACTIVE")
    assert [entry["subnet_id"] for entry in port["fixed_ips"]] == [subnet["id"]]
    # Asked again, it is the same port; with one more subnet, it gets an address there.
    assert await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST) == port
    second = await c.subnet(network, "198.51.100.0/24")
    more = await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet, second), host=HOST)
    assert more["id"] == port["id"]
    assert [entry["subnet_id"] for entry in more["fixed_ips"]] == [subnet["id"], second["id"]]
    assert len(await c.find("port")) == 1


async def test_create_dhcp_port_when_things_are_gone(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    await c.delete("subnet", subnet["id"])
    assert await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST) is None
    assert await c.rpc("create_dhcp_port", port=dhcp_port({**network, "id": NOBODY}), host=HOST) is None
    with pytest.raises(errors.InvalidInput):
        await c.rpc("create_dhcp_port", port={"port": {"network_id": network["id"]}}, host=HOST)


async def test_create_dhcp_port_on_a_full_subnet(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network, "192.0.2.0/30")
    await c.port(network)
    with pytest.raises(errors.IpAddressGenerationFailure):
        await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST)


async def test_update_dhcp_port(c: Cloud) -> None:
    network = await c.network()
    subnet, second = await c.subnet(network), await c.subnet(network, "198.51.100.0/24")
    port = await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST)
    wanted = {"port": {"network_id": network["id"], "fixed_ips": [*port["fixed_ips"], {"subnet_id": second["id"]}]}}
    changed = await c.rpc("update_dhcp_port", port_id=port["id"], port=wanted, host=HOST)
    assert [entry["subnet_id"] for entry in changed["fixed_ips"]] == [subnet["id"], second["id"]]
    assert await c.rpc("get_dhcp_port", port_id=port["id"]) == changed
    assert await c.rpc("update_dhcp_port", port_id=NOBODY, port=wanted, host=HOST) is None
    assert await c.rpc("update_dhcp_port", port_id=port["id"], port=wanted, host="another") is None
    gone = {"port": {"network_id": network["id"], "fixed_ips": [{"subnet_id": NOBODY}]}}
    assert await c.rpc("update_dhcp_port", port_id=port["id"], port=gone, host=HOST) is None


async def test_a_reserved_dhcp_port_is_adopted(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST)
    await c.update("port", port["id"], device_id="reserved_dhcp_port")
    wanted = {"port": {"network_id": network["id"], "device_id": dhcp_device_id(network["id"], "node2")}}
    adopted = await c.rpc("update_dhcp_port", port_id=port["id"], port=wanted, host="node2")
    assert (adopted["id"], adopted["fixed_ips"], adopted["binding:host_id"]) == (port["id"], port["fixed_ips"], "node2")


async def test_release_dhcp_port(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    port = await c.rpc("create_dhcp_port", port=dhcp_port(network, subnet), host=HOST)
    args = {"network_id": network["id"], "device_id": port["device_id"], "host": HOST}
    for _ in range(2):
        assert await c.rpc("release_dhcp_port", **args) is None
    assert await c.find("port") == []
    with pytest.raises(errors.PortNotFound):
        await c.rpc("get_dhcp_port", port_id=port["id"])


async def test_get_ports_and_networks(c: Cloud) -> None:
    network = await c.network(name="n")
    subnet = await c.subnet(network)
    port = await c.port(network)
    filters = {"device_owner": ["network:distributed"], "device_id": [f"ovnmeta-{network['id']}"]}
    assert await c.rpc("get_ports", filters=filters) == []
    assert await c.rpc("get_ports", filters={"fixed_ips": {"subnet_id": [subnet["id"]]}}) == [port]
    assert await c.rpc("get_ports") == [port]
    assert await c.rpc("get_networks", filters={"name": ["n"]}, fields=["id"]) == [{"id": network["id"]}]


async def test_dhcp_ready_of_nothing(c: Cloud) -> None:
    assert await c.rpc("dhcp_ready_on_ports", port_ids=[]) is None
