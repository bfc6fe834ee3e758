"""The client of the Networking API against Cove's own: the names of fields and errors agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cove.api.app import create_app
from cove.bus import connect
from cove.compute.addresses import expected_addresses
from cove.compute.network_api import (
    FixedIpAlreadyInUse,
    HttpNetworkApi,
    NetworkNotFound,
    NoMoreFixedIps,
    PortInUse,
    PortNotFound,
    PortRequest,
    SecurityGroupNotFound,
)
from cove.config import Settings
from cove.db import Database
from cove.network import NetworkService
from cove.timeline import Timeline


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(state_dir=tmp_path, run_dir=tmp_path)
    db = Database(settings.database_url)
    await db.start()
    bus = connect("local://")
    await bus.start()
    network = NetworkService(db, bus, Timeline(), settings)
    await network.start()
    try:
        transport = httpx.ASGITransport(create_app(settings, network, [], "token"))
        headers = {"X-Auth-Token": "token"}
        async with httpx.AsyncClient(transport=transport, base_url="http://cove", headers=headers) as client:
            yield client
    finally:
        await network.stop()
        await bus.close()
        await db.close()


async def test_a_port_from_first_to_last(client: httpx.AsyncClient) -> None:
    api = HttpNetworkApi(client)
    made = await client.post("/v2.0/networks", json={"network": {"name": "lan", "mtu": 1450}})
    network_id = made.json()["network"]["id"]
    for wanted in ("lan", network_id):
        network = await api.find_network(wanted)
        assert (network.id, network.name, network.mtu) == (network_id, "lan", 1450)
    with pytest.raises(NetworkNotFound):
        await api.find_network("wan")
    # Three addresses: one for the gateway, two for ports.
    subnet = {"network_id": network_id, "cidr": "1.1.1.0/29", "ip_version": 4, "enable_dhcp": False}
    subnet["allocation_pools"] = [{"start": "1.1.1.2", "end": "1.1.1.3"}]
    answer = await client.post("/v2.0/subnets", json={"subnet": subnet})
    assert answer.status_code == 201, answer.text

    def request(device: str, fixed_ip: str | None = None, macs: set[str] | None = None) -> PortRequest:
        return PortRequest(
            network_id=network_id, device_id=device, host="host1", project_id="demo", fixed_ip=fixed_ip,
            available_macs=macs,
        )  # fmt: skip

    port = await api.create_port(request("vm1", "1.1.1.2"))
    assert [fixed.ip_address for fixed in port.fixed_ips] == ["1.1.1.2"]
    assert (port.device_id, port.device_owner) == ("vm1", "compute:nova")
    with pytest.raises(FixedIpAlreadyInUse):
        await api.create_port(request("vm2", "1.1.1.2"))
    with pytest.raises(PortInUse):
        await api.create_port(request("vm2", None, {port.mac_address}))
    await api.create_port(request("vm2"))
    with pytest.raises(NoMoreFixedIps):
        await api.create_port(request("vm3"))
    assert [found.id for found in await api.list_ports("vm1")] == [port.id]
    await api.unbind_port(port.id)
    assert (await api.show_port(port.id)).device_id == ""
    assert (await api.bind_port(port.id, device_id="vm4", host="host1")).device_id == "vm4"
    assert (await api.bind_port(port.id, device_id="vm4", host="host1")).device_id == "vm4"
    with pytest.raises(PortInUse):
        await api.bind_port(port.id, device_id="vm5", host="host1")
    await api.delete_port(port.id)
    await api.delete_port(port.id)
    with pytest.raises(PortNotFound):
        await api.show_port(port.id)


async def test_dual_stack_and_security_groups(client: httpx.AsyncClient) -> None:
    api = HttpNetworkApi(client)

    async def make(kind: str, **values: object) -> dict[str, Any]:
        answer = await client.post(f"/v2.0/{kind.replace('_', '-')}s", json={kind: values})
        assert answer.status_code == 201, answer.text
        return dict(answer.json()[kind])

    network = await make("network", name="lan")
    await make("subnet", network_id=network["id"], cidr="1.1.1.0/24", ip_version=4)
    mode = "dhcpv6-stateless"
    six = {"cidr": "fd00::/64", "ip_version": 6, "ipv6_ra_mode": mode, "ipv6_address_mode": mode}
    await make("subnet", network_id=network["id"], **six)
    found = await api.find_network("lan")
    assert (found.project_id, found.shared, found.external) == (network["project_id"], False, False)
    subnets = {subnet.ip_version: subnet for subnet in await api.list_subnets(network["id"])}
    assert (subnets[4].cidr, subnets[4].enable_dhcp, subnets[4].ipv6_ra_mode) == ("1.1.1.0/24", True, None)
    assert (subnets[6].cidr, subnets[6].ipv6_ra_mode, subnets[6].ipv6_address_mode) == ("fd00::/64", mode, mode)

    group = await make("security_group", name="web")
    project_id = network["project_id"]
    for wanted in ("web", group["id"]):
        assert [item.id for item in await api.find_security_groups([wanted], project_id=project_id)] == [group["id"]]
    assert await api.find_security_groups([], project_id=project_id) == []
    with pytest.raises(SecurityGroupNotFound):
        await api.find_security_groups(["web", "none"], project_id=project_id)
    with pytest.raises(SecurityGroupNotFound):
        await api.find_security_groups(["web"], project_id="0" * 32)

    port = await api.create_port(
        PortRequest(network_id=network["id"], device_id="vm", host="h", project_id=project_id,
                    security_groups=(group["id"],))
    )  # fmt: skip
    assert {fixed.subnet_id for fixed in port.fixed_ips} == {subnets[4].id, subnets[6].id}
    got = expected_addresses(port.fixed_ips, list(subnets.values()), port.mac_address)
    assert [group.by for group in got] == ["DHCP", "SLAAC"]
    pairs = [{"ip_address": "9.9.9.0/24"}]
    answer = await client.put(f"/v2.0/ports/{port.id}", json={"port": {"allowed_address_pairs": pairs}})
    assert answer.status_code == 200, answer.text
    await make("port", network_id=network["id"])  # nobody's
    for since in (None, "2020-01-01T00:00:00Z"):
        (changed,) = await api.list_changed_ports(since)
        assert changed.id == port.id
        assert [pair.ip_address for pair in changed.allowed_address_pairs] == ["9.9.9.0/24"]
        assert changed.allowed_address_pairs[0].mac_address in ("", port.mac_address)
    assert await api.list_changed_ports("2100-01-01T00:00:00Z") == []
