"""The client of the Networking API against Cove's own: the names of fields and errors agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cove.api.app import create_app
from cove.bus import connect
from cove.compute.network_api import (
    FixedIpAlreadyInUse,
    HttpNetworkApi,
    NetworkNotFound,
    NoMoreFixedIps,
    PortInUse,
    PortNotFound,
    PortRequest,
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
    await api.delete_port(port.id)
    await api.delete_port(port.id)
    with pytest.raises(PortNotFound):
        await api.show_port(port.id)
