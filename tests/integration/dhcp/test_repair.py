"""What others take away behind the agent's back comes back, and one network's or subnet's trouble stays its own."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from cove.dhcp import agent as agent_module
from cove.dhcp import devices
from cove.dhcp.models import dhcp_device_id
from cove.dhcp.resync import ResyncSchedule
from cove.linux import links, namespaces

from .conftest import HOST, FakeServer, until


@pytest.fixture(autouse=True)
def _check_often(monkeypatch):
    monkeypatch.setattr(agent_module, "CHECK_INTERVAL_S", 0.2)


def own_port(server: FakeServer, network_id: str) -> dict[str, Any]:
    device_id = dhcp_device_id(HOST, network_id)
    return next(p for p in server.networks[network_id]["ports"].values() if p["device_id"] == device_id)


async def is_whole(server: FakeServer, network_id: str) -> bool:
    port = own_port(server, network_id)
    return await devices.is_plugged(network_id, devices.interface_name(port["id"]), ["10.66.1.2/24"])


async def until_whole(server: FakeServer, network_id: str) -> None:
    async with asyncio.timeout(10):
        while not await is_whole(server, network_id):
            await asyncio.sleep(0.01)


async def served(server: FakeServer) -> tuple[str, str]:
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    return network_id, port["mac_address"]


async def test_a_deleted_namespace_comes_back_with_its_server(agent, server, clients):
    network_id, mac = await served(server)
    pid = agent.describe(network_id)["pid"]
    namespaces.remove(devices.namespace_name(network_id))
    await until(lambda: agent.describe(network_id).get("pid") not in (pid, None), "another dnsmasq")
    lease = await clients.lease(network_id, mac)
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"


async def test_a_deleted_bridge_comes_back_with_the_taps_of_the_ports_in_it(agent, server, clients):
    network_id, _mac = await served(server)
    bridge = devices.bridge_name(network_id)
    vm = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(vm)
    tap = devices.tap_name(vm["id"])
    stranger = f"cvs{uuid.uuid4().hex[:8]}"
    try:
        await links.ensure_tap(tap, bridge=bridge)
        await links.ensure_tap(stranger)
        await links.delete(bridge)
        wanted = {tap, devices.tap_name(own_port(server, network_id)["id"])}
        async with asyncio.timeout(10):
            while set(await links.bridge_members(bridge)) != wanted:
                await asyncio.sleep(0.01)
        found = await links.get(stranger)
        assert found is not None
        assert found.master is None
    finally:
        await links.delete(tap)
        await links.delete(stranger)


@pytest.mark.parametrize("harm", ["address", "down", "out of the bridge"])
async def test_a_device_that_was_changed_is_put_right(agent, server, clients, harm):
    network_id, mac = await served(server)
    port = own_port(server, network_id)
    interface, namespace = devices.interface_name(port["id"]), devices.namespace_name(network_id)
    if harm == "address":
        await links.ensure_addresses(interface, ["10.99.0.1/24"], namespace=namespace)
    elif harm == "down":
        await links.set_state(interface, up=False, namespace=namespace)
    else:
        await links.delete(devices.tap_name(port["id"]))
    assert not await is_whole(server, network_id)
    await until_whole(server, network_id)
    lease = await clients.lease(network_id, mac)
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"


class IpAddressGenerationFailure(Exception):
    """As the server raises it."""


async def test_a_subnet_without_a_free_address_does_not_take_dhcp_from_the_others(agent, server, clients, monkeypatch):
    network_id = server.make_network("10.66.1.0/24", "10.66.2.0/24")
    good, full = server.networks[network_id]["subnets"].values()
    give = server._server_ip

    def give_if_there_is_one(network, subnet_id):
        if subnet_id == full["id"]:
            raise IpAddressGenerationFailure(network["id"])
        return give(network, subnet_id)

    monkeypatch.setattr(server, "_server_ip", give_if_there_is_one)
    monkeypatch.setattr(ResyncSchedule, "want", lambda *_args, **_kwargs: None)  # a change is enough
    await server.cast("network_create_end", network={"id": network_id})
    port = await server.create_port(network_id, "10.66.1.17")
    not_served = await server.create_port(network_id, "10.66.2.17")
    await server.until_ready(port)
    lease = await clients.lease(network_id, port["mac_address"])
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"
    assert not_served["id"] not in server.ready
    monkeypatch.setattr(server, "_server_ip", give)
    await server.delete_port(await server.create_port(network_id, "10.66.2.18"))
    await server.until_ready(not_served)
    assert {fixed["subnet_id"] for fixed in own_port(server, network_id)["fixed_ips"]} == {good["id"], full["id"]}


async def test_a_network_that_cannot_be_understood_keeps_its_dhcp(agent, server, clients):
    network_id, mac = await served(server)
    server.networks[network_id]["mtu"] = 1
    other = server.make_network("10.66.3.0/24")
    waiting = server.add_port(other, "10.66.3.17")
    agent.schedule_resync_all()
    await server.until_ready(waiting)
    assert network_id not in server.released
    lease = await clients.lease(network_id, mac)
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"


async def test_ports_of_a_network_that_is_down_become_ready_when_it_is_up(agent, server):
    network_id = server.make_network("10.66.1.0/24")
    server.networks[network_id]["admin_state_up"] = False
    await server.cast("network_create_end", network={"id": network_id})
    port = await server.create_port(network_id, "10.66.1.17")
    other = await server.create_network("10.66.4.0/24")
    later = await server.create_port(other, "10.66.4.17")
    await server.until_ready(later)
    assert port["id"] not in server.ready
    server.networks[network_id]["admin_state_up"] = True
    await server.cast("network_update_end", network={"id": network_id})
    await server.until_ready(port)


async def test_clients_get_the_servers_name_not_their_own(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    names = {"10.66.1.17": "host-10-66-1-17", "10.66.1.18": "www", "10.66.1.19": "mail"}
    full = {"10.66.1.18": "www.openstacklocal.", "10.66.1.19": "mail.example.org."}
    for ip, name in names.items():
        assignment = [{"ip_address": ip, "hostname": name, "fqdn": full[ip]}] if ip in full else []
        port = await server.create_port(network_id, ip, dns_assignment=assignment)
        await server.until_ready(port)
        lease = await clients.lease(network_id, port["mac_address"], options=("-O", "hostname", "-x", "hostname:evil"))
        assert lease is not None
        assert lease["ip"] == ip
        assert lease["hostname"] == name
    leases = (state_dir / "dhcp" / network_id / "leases").read_text()
    assert "evil" not in leases
