"""What agents are sent and when a port is ACTIVE: the path from an event to the bus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.network.fakes import HOST, Cloud, cloud


async def test_the_first_subnet_schedules_the_network(c: Cloud) -> None:
    network = await c.network()
    assert await c.sent() == []
    subnet = await c.subnet(network)
    first, second = await c.sent()
    assert first == (HOST, "network_create_end", {"network": {"id": network["id"]}, "priority": 0})
    host, method, payload = second
    assert (host, method, payload["priority"]) == (HOST, "subnet_create_end", 3)
    assert payload["subnet"] == subnet
    assert payload["network"]["id"] == network["id"]
    assert payload["network"]["subnets"] == [subnet["id"]]
    assert payload["network"]["availability_zones"] == []
    assert (await c.get("network", network["id"]))["availability_zones"] == ["nova"]


async def test_the_payload_of_each_message(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    await c.sent()
    port = await c.port(network)
    full = await c.get("network", network["id"])
    assert await c.sent() == [
        (HOST, "port_create_end", {"port": port, "network": {**full, "availability_zones": []}, "priority": 5})
    ]
    changed = await c.update("port", port["id"], fixed_ips=[{"ip_address": "192.0.2.9"}])
    assert await c.sent() == [(HOST, "port_update_end", {"port": changed, "priority": 6})]
    await c.delete("port", port["id"])
    gone = {"port_id": port["id"], "network_id": network["id"], "fixed_ips": changed["fixed_ips"], "priority": 6}
    assert await c.sent() == [(HOST, "port_delete_end", gone)]
    changed = await c.update("subnet", subnet["id"], name="x")
    assert await c.sent() == [(HOST, "subnet_update_end", {"subnet": changed, "priority": 3})]
    changed = await c.update("network", network["id"], name="x")
    assert await c.sent() == [(HOST, "network_update_end", {"network": changed, "priority": 1})]
    await c.delete("subnet", subnet["id"])
    gone = {"subnet_id": subnet["id"], "network_id": network["id"], "priority": 4}
    assert await c.sent() == [(HOST, "subnet_delete_end", gone)]
    await c.delete("network", network["id"])
    assert await c.sent() == [(None, "network_delete_end", {"network_id": network["id"], "priority": 2})]


@pytest.mark.parametrize(
    "changes", [{"name": "x"}, {"device_id": "vm"}, {"admin_state_up": False}, {"description": "x"}, {}]
)
async def test_updates_that_agents_are_not_told(c: Cloud, changes: dict[str, Any]) -> None:
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network)
    await c.sent()
    await c.update("port", port["id"], **changes)
    assert await c.sent() == []


async def test_without_an_agent_nothing_is_sent_and_one_that_asks_later_gets_it(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c:
        network, empty = await c.network(), await c.network()
        subnet = await c.subnet(network)
        port = await c.port(network)
        assert await c.sent() == []
        infos = await c.rpc("get_active_networks_info", host=HOST, enable_dhcp_filter=False)
        assert [(i["id"], [s["id"] for s in i["subnets"]], [p["id"] for p in i["ports"]]) for i in infos] == [
            (network["id"], [subnet["id"]], [port["id"]])
        ]
        await c.port(network)
        assert [(host, method) for host, method, _ in await c.sent()] == [(HOST, "port_create_end")]
        # It has asked, and so is a living agent: the next network is scheduled to it.
        await c.subnet(empty)
        assert [method for _, method, _ in await c.sent()] == ["network_create_end", "subnet_create_end"]
        assert await c.report(start_flag=True) == "new"


async def test_notifications_can_be_switched_off(tmp_path: Path) -> None:
    async with cloud(tmp_path, dhcp_agent_notification=False) as c:
        await c.report()
        network = await c.network()
        await c.subnet(network)
        await c.port(network)
        await c.delete("port", (await c.port(network))["id"])
        assert await c.sent() == []


async def test_the_agent_with_the_fewest_networks(tmp_path: Path) -> None:
    async with cloud(tmp_path) as c:
        for host in ("a", "b", "c"):
            await c.report(host)
        await c.db.write(lambda x: x.exec_driver_sql("UPDATE agents SET heartbeat_at = 1 WHERE host = 'b'") and None)
        hosts = []
        for _ in range(4):
            await c.subnet(await c.network())
            hosts.append({host for host, _, _ in await c.sent()})
        assert hosts == [{"a"}, {"c"}, {"a"}, {"c"}]


async def test_several_agents_of_a_network_hear_of_a_port(c: Cloud) -> None:
    await c.report("node2")
    network = await c.network()
    await c.subnet(network)
    await c.db.write(
        lambda x: (
            x.exec_driver_sql(
                "INSERT OR IGNORE INTO network_dhcp_agent_bindings SELECT networks.id, agents.id FROM networks, agents"
            )
            and None
        )
    )
    await c.sent()
    await c.port(network)
    sent = await c.sent()
    assert {host for host, _, _ in sent} == {HOST, "node2"}
    assert sorted(payload["priority"] for _, _, payload in sent) == [5, 6]
    await c.db.write(lambda x: x.exec_driver_sql("UPDATE agents SET admin_state_up = 0 WHERE host = 'node2'") and None)
    await c.port(network)
    assert [host for host, _, _ in await c.sent()] == [HOST]
    assert await c.rpc("get_active_networks_info", host="node2") == []


async def test_deleting_a_subnet_takes_the_dhcp_ports_addresses(c: Cloud) -> None:
    network = await c.network()
    first, second = await c.subnet(network), await c.subnet(network, "198.51.100.0/24")
    wanted = {"port": {"network_id": network["id"], "device_id": "dhcp1",
                       "fixed_ips": [{"subnet_id": first["id"]}, {"subnet_id": second["id"]}]}}  # fmt: skip
    port = await c.rpc("create_dhcp_port", port=wanted, host=HOST)
    await c.sent()
    await c.delete("subnet", first["id"])
    assert [method for _, method, _ in await c.sent()] == ["subnet_delete_end"]
    assert [entry["subnet_id"] for entry in (await c.get("port", port["id"]))["fixed_ips"]] == [second["id"]]
    await c.delete("subnet", second["id"])
    sent = await c.sent()
    assert [method for _, method, _ in sent] == ["port_delete_end", "subnet_delete_end"]
    assert sent[0][2]["port_id"] == port["id"]
    assert await c.find("port") == []


async def test_deleting_a_network_takes_its_dhcp_port_and_subnets(c: Cloud) -> None:
    network = await c.network()
    subnet = await c.subnet(network)
    wanted = {"port": {"network_id": network["id"], "device_id": "d", "fixed_ips": [{"subnet_id": subnet["id"]}]}}
    await c.rpc("create_dhcp_port", port=wanted, host=HOST)
    await c.sent()
    await c.delete("network", network["id"])
    assert [(host, method) for host, method, _ in await c.sent()] == [
        (HOST, "port_delete_end"),
        (None, "network_delete_end"),
    ]
    assert await c.find("port") == await c.find("subnet") == await c.find("network") == []


# --- status ----------------------------------------------------------------------------------------------------------


async def status(c: Cloud, port: dict[str, Any]) -> str:
    return str((await c.get("port", port["id"]))["status"])


async def test_a_port_is_active_once_its_server_would_answer(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    made = [await c.port(network) for _ in range(3)]
    off = await c.port(network, admin_state_up=False)
    ids = [port["id"] for port in (*made[:2], off)]
    await c.rpc("dhcp_ready_on_ports", port_ids=[*ids, "00000000-0000-4000-8000-000000000000"])
    assert [await status(c, port) for port in (*made, off)] == ["ACTIVE", "ACTIVE", "DOWN", "DOWN"]
    assert [step.name for step in c.timeline.steps(made[0]["id"])] == ["requested", "committed", "cast", "ready"]
    assert "ready" not in [step.name for port in (made[2], off) for step in c.timeline.steps(port["id"])]
    revision = (await c.get("port", made[0]["id"]))["revision_number"]
    await c.rpc("dhcp_ready_on_ports", port_ids=ids)
    assert (await c.get("port", made[0]["id"]))["revision_number"] == revision == 2
    # Its block is lifted: switching it on makes it ACTIVE at once.
    assert (await c.update("port", off["id"], admin_state_up=True))["status"] == "ACTIVE"
    assert (await c.update("port", off["id"], admin_state_up=False))["status"] == "DOWN"


async def test_a_change_of_what_is_served_blocks_again(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network)
    port = await c.port(network)
    await c.rpc("dhcp_ready_on_ports", port_ids=[port["id"]])
    assert (await c.update("port", port["id"], name="x"))["status"] == "ACTIVE"
    assert (await c.update("port", port["id"], dns_name="x"))["status"] == "DOWN"
    await c.rpc("dhcp_ready_on_ports", port_ids=[port["id"]])
    assert await status(c, port) == "ACTIVE"
    assert (await c.update("port", port["id"], fixed_ips=[]))["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, "DOWN"),
        ({"admin_state_up": False}, "DOWN"),
        ({"fixed_ips": []}, "ACTIVE"),
        ({"fixed_ips": [{"ip_address": "198.51.100.9"}]}, "ACTIVE"),
        ({"device_owner": "network:dhcp"}, "ACTIVE"),
        ({"device_owner": "compute:nova"}, "DOWN"),
    ],
)
async def test_status_at_creation(c: Cloud, attributes: dict[str, Any], expected: str) -> None:
    network = await c.network()
    await c.subnet(network)
    await c.subnet(network, "198.51.100.0/24", enable_dhcp=False)
    port = await c.port(network, **attributes)
    assert port["status"] == expected == await status(c, port)


async def test_a_network_without_dhcp_has_active_ports(c: Cloud) -> None:
    network = await c.network()
    await c.subnet(network, enable_dhcp=False)
    assert (await c.port(network))["status"] == "ACTIVE"
    assert (await c.port(network, admin_state_up=False))["status"] == "DOWN"


async def test_switching_dhcp_off_lifts_the_blocks(c: Cloud) -> None:
    network = await c.network()
    subnet, other = await c.subnet(network), await c.subnet(network, "198.51.100.0/24")
    port = await c.port(network)
    both = await c.port(network, fixed_ips=[{"subnet_id": subnet["id"]}, {"subnet_id": other["id"]}])
    off = await c.port(network, admin_state_up=False)
    await c.update("subnet", subnet["id"], enable_dhcp=False)
    assert [await status(c, p) for p in (port, both, off)] == ["ACTIVE", "DOWN", "DOWN"]
    assert (await c.update("port", off["id"], admin_state_up=True))["status"] == "ACTIVE"


async def test_events(c: Cloud) -> None:
    network = await c.network(name="n")
    await c.update("network", network["id"], name="m")
    await c.delete("network", network["id"])
    assert [event for event, _ in c.bus.notifications] == [
        "network.create.start", "network.create.end", "network.update.start", "network.update.end",
        "network.delete.start", "network.delete.end",
    ]  # fmt: skip
    assert c.bus.notifications[0][1] == {"network": {"name": "n"}}
    assert c.bus.notifications[1][1] == {"network": network}
    assert c.bus.notifications[4][1] == {"network_id": network["id"]}
