"""The whole agent with real dnsmasq processes and real DHCP clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from cove.dhcp import devices
from cove.dhcp.drivers import dnsmasq as dnsmasq_module
from cove.dhcp.models import dhcp_device_id
from cove.linux import links, namespaces, processes

from .conftest import HOST, until


def pid_of(state_dir: Path, network_id: str) -> int:
    record = processes.read_record(state_dir / "dhcp" / network_id / "process.json")
    return record.pid if record is not None and processes.start_time_of(record.pid) == record.start_time else 0


def log_of(state_dir: Path, network_id: str) -> str:
    return (state_dir / "dhcp" / network_id / "log").read_text()


def gone(network_id: str) -> bool:
    return not namespaces.exists(devices.namespace_name(network_id))


async def test_a_client_gets_exactly_the_lease_of_its_port(agent, server, clients, timeline, settings):
    network_id = await server.create_network("10.66.1.0/24", mtu=1450)
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    lease = await clients.lease(network_id, port["mac_address"])
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"
    assert lease["mask"] in {"24", "255.255.255.0"}
    assert lease["router"] == "10.66.1.1"
    assert lease["dns"] == lease["serverid"] == "10.66.1.2"
    assert lease["lease"] == "86400"
    assert lease["mtu"] == "1450"
    names = [step.name for step in timeline.steps(port["id"])]
    assert names[0] == "host_entry"
    await timeline.wait(port["id"], "DHCPACK", 5)
    names = [step.name for step in timeline.steps(port["id"])]
    assert [name for name in names if name.startswith("DHCP")][:4] == [
        "DHCPDISCOVER",
        "DHCPOFFER",
        "DHCPREQUEST",
        "DHCPACK",
    ]
    detail = timeline.steps(port["id"])[-1].detail
    assert detail["ip_address"] == "10.66.1.17"
    assert detail["mac_address"] == port["mac_address"]
    assert detail["lease_s"] == 86400


async def test_an_unknown_mac_gets_nothing(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    assert await clients.lease(network_id, "fa:16:3e:ff:ff:ff", tries=1) is None


async def test_devices_and_process(agent, server, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    device_id = dhcp_device_id(HOST, network_id)
    own = next(p for p in server.networks[network_id]["ports"].values() if p["device_id"] == device_id)
    namespace = devices.namespace_name(network_id)
    interface = f"ns-{own['id'][:11]}"
    assert await links.addresses(interface, namespace=namespace) == ["10.66.1.2/24"]
    link = await links.get(interface, namespace=namespace)
    assert link is not None
    assert link.mac_address == own["mac_address"]
    assert await links.bridge_members(f"brq{network_id[:11]}") == [f"tap{own['id'][:11]}"]
    pid = pid_of(state_dir, network_id)
    assert processes.uid_of(pid) != 0  # no privileges
    assert os.path.samefile(f"/proc/{pid}/ns/net", namespaces.path_of(namespace))
    directory = state_dir / "dhcp" / network_id
    assert (directory / "interface").read_text() == interface
    assert (directory / "pid").read_text().strip() == str(pid)
    assert (directory / "hosts.d" / "10.66.1.17").exists()
    for path in [directory, *directory.iterdir()]:
        assert not path.stat().st_mode & 0o002, path


async def test_readable_files_follow_within_a_second(agent, server, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    directory = state_dir / "dhcp" / network_id
    line = f"{port['mac_address']},host-10-66-1-17.openstacklocal,10.66.1.17\n"
    await until(lambda: (directory / "host").exists() and (directory / "host").read_text() == line, "host", 1.5)
    names = "10.66.1.17\thost-10-66-1-17.openstacklocal host-10-66-1-17\n"
    await until(lambda: (directory / "addn_hosts").read_text() == names, "addn_hosts", 1)
    assert "option:router,10.66.1.1\n" in (directory / "opts").read_text()
    await server.delete_port(port)
    await until(lambda: (directory / "host").read_text() == "", "empty host file", 1.5)


async def test_names_are_answered(agent, server):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    query = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0)
    query += b"".join(bytes([len(label)]) + label for label in (b"host-10-66-1-17", b"openstacklocal"))
    query += b"\0" + struct.pack("!2H", 1, 1)

    def ask() -> bytes:
        namespace = devices.namespace_name(network_id)
        with namespaces.open_socket(namespace, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.sendto(query, ("10.66.1.2", 53))
            return sock.recv(512)

    deadline = time.monotonic() + 5
    while not (await asyncio.to_thread(ask)).endswith(socket.inet_aton("10.66.1.17")):
        assert time.monotonic() < deadline


async def test_no_reload_and_no_restart_for_additions(agent, server, state_dir):
    network_id = await server.create_network("10.66.0.0/22")
    first = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(first)
    pid, cleared = pid_of(state_dir, network_id), log_of(state_dir, network_id).count("cleared cache")
    ports = [await server.create_port(network_id, f"10.66.2.{n}") for n in range(1, 200)]
    await server.until_ready(*ports)
    assert pid_of(state_dir, network_id) == pid
    assert log_of(state_dir, network_id).count("cleared cache") == cleared
    assert all(len(batch) <= 64 for batch in server.ready_batches)


async def test_a_deleted_address_works_for_another_mac_within_a_second(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    old = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(old)
    old_client = await clients.plug(network_id, old["mac_address"])
    new_client = await clients.plug(network_id, "fa:16:3e:77:00:01")
    assert (await clients.ask(old_client))["ip"] == "10.66.1.17"
    began = time.monotonic()
    await server.delete_port(old)
    new = await server.create_port(network_id, "10.66.1.17", mac="fa:16:3e:77:00:01")
    await server.until_ready(new)
    lease = await clients.ask(new_client)
    took = time.monotonic() - began
    assert lease is not None
    assert lease["ip"] == "10.66.1.17"
    assert took < 1.0
    assert await clients.ask(old_client, tries=1) is None


async def test_a_deleted_port_is_refused_after_the_coalesced_reload(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.0.0/22")
    ports = [await server.create_port(network_id, f"10.66.2.{n}") for n in range(1, 41)]
    await server.until_ready(*ports)
    client = await clients.plug(network_id, ports[0]["mac_address"])
    assert (await clients.ask(client))["ip"] == "10.66.2.1"
    before = log_of(state_dir, network_id).count("cleared cache")
    for port in ports:
        await server.delete_port(port)
        await asyncio.sleep(0.002)
    await until(lambda: log_of(state_dir, network_id).count("cleared cache") > before, "a reload", 3)
    assert "DHCPRELEASE" in log_of(state_dir, network_id)
    assert await clients.ask(client, tries=1) is None
    assert log_of(state_dir, network_id).count("cleared cache") <= before + 2
    leases = state_dir / "dhcp" / network_id / "leases"
    assert "10.66.2.1 " not in leases.read_text()


async def test_a_port_that_gets_another_address(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    client = await clients.plug(network_id, port["mac_address"])
    assert (await clients.ask(client))["ip"] == "10.66.1.17"
    server.ready.clear()
    subnet_id = port["fixed_ips"][0]["subnet_id"]
    await server.update_port(port, fixed_ips=[{"subnet_id": subnet_id, "ip_address": "10.66.1.18"}])
    await server.until_ready(port)
    assert (await clients.ask(client))["ip"] == "10.66.1.18"


async def test_two_ports_swap_addresses(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    one = await server.create_port(network_id, "10.66.1.17")
    two = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(one, two)
    server.ready.clear()
    one_ips, two_ips = one["fixed_ips"], two["fixed_ips"]
    await server.update_port(one, fixed_ips=two_ips)
    await server.update_port(two, fixed_ips=one_ips)
    await server.until_ready(one, two)
    assert (await clients.lease(network_id, one["mac_address"]))["ip"] == "10.66.1.18"
    assert (await clients.lease(network_id, two["mac_address"]))["ip"] == "10.66.1.17"


async def test_an_old_update_changes_nothing(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    subnet_id = port["fixed_ips"][0]["subnet_id"]
    stale = {**port, "fixed_ips": [{"subnet_id": subnet_id, "ip_address": "10.66.1.99"}], "revision_number": 0}
    await server.cast("port_update_end", port=stale)
    other = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(other)
    assert (await clients.lease(network_id, port["mac_address"]))["ip"] == "10.66.1.17"


async def test_extra_options_of_one_port(agent, server, clients):
    network_id = await server.create_network("10.66.1.0/24")
    options = [{"opt_name": "tftp-server", "opt_value": "10.66.1.9", "ip_version": 4}]
    special = await server.create_port(network_id, "10.66.1.17", extra_dhcp_opts=options)
    plain = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(special, plain)
    client = await clients.plug(network_id, special["mac_address"])
    assert (await clients.ask(client))["tftp"] == "10.66.1.9"
    assert (await clients.lease(network_id, plain["mac_address"]))["tftp"] == ""
    server.ready.clear()
    await server.update_port(special, extra_dhcp_opts=[{**options[0], "opt_value": "10.66.1.8"}])
    await server.until_ready(special)
    assert (await clients.ask(client))["tftp"] == "10.66.1.8"


async def test_subnet_options_change_without_a_restart(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    pid = pid_of(state_dir, network_id)
    subnet = next(iter(server.networks[network_id]["subnets"].values()))
    server.ready.clear()
    subnet.update(gateway_ip="10.66.1.254", dns_nameservers=["192.0.2.53"])
    await server.cast("subnet_update_end", subnet=subnet)
    await server.until_ready(port)
    lease = await clients.lease(network_id, port["mac_address"])
    assert (lease["router"], lease["dns"]) == ("10.66.1.254", "192.0.2.53")
    assert pid_of(state_dir, network_id) == pid


async def test_a_second_subnet_restarts_the_server(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    pid = pid_of(state_dir, network_id)
    subnet = server.make_subnet(network_id, "10.66.9.0/24")
    await server.cast("subnet_create_end", subnet=subnet, network={"id": network_id})
    second = await server.create_port(network_id, "10.66.9.40")
    await server.until_ready(second)
    assert pid_of(state_dir, network_id) not in {0, pid}
    assert (await clients.lease(network_id, second["mac_address"]))["ip"] == "10.66.9.40"
    assert (await clients.lease(network_id, port["mac_address"]))["ip"] == "10.66.1.17"


async def test_the_last_dhcp_subnet_takes_everything_away_and_comes_back(agent, server, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    subnet = next(iter(server.networks[network_id]["subnets"].values()))
    subnet["enable_dhcp"] = False
    await server.cast("subnet_update_end", subnet=subnet)
    await until(lambda: gone(network_id) and not (state_dir / "dhcp" / network_id).exists(), "all removed")
    assert server.released == [network_id]
    assert not await links.exists(devices.bridge_name(network_id))
    subnet["enable_dhcp"] = True
    await server.cast("subnet_update_end", subnet=subnet)
    await until(lambda: pid_of(state_dir, network_id), "served again")


async def test_a_network_without_dhcp_gets_nothing_but_ready_ports(agent, server, state_dir):
    network_id = server.make_network()
    server.make_subnet(network_id, "10.66.1.0/24", enable_dhcp=False)
    await server.cast("network_create_end", network={"id": network_id})
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    assert gone(network_id)
    assert not (state_dir / "dhcp" / network_id).exists()


async def test_network_delete_removes_everything(agent, server, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    pid = pid_of(state_dir, network_id)
    await server.delete_network(network_id)
    await until(lambda: not (state_dir / "dhcp" / network_id).exists(), "directory removed")
    assert gone(network_id)
    assert processes.start_time_of(pid) is None
    assert not await links.exists(devices.bridge_name(network_id))


async def test_the_bridge_stays_while_an_instance_is_in_it(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    await clients.plug(network_id, port["mac_address"])
    await server.delete_network(network_id)
    await until(lambda: not (state_dir / "dhcp" / network_id).exists(), "directory removed")
    assert len(await links.bridge_members(devices.bridge_name(network_id))) == 1
    await clients.close()
    assert await links.delete_bridge_if_unused(devices.bridge_name(network_id))


async def test_two_networks_with_the_same_cidr(agent, server, clients, timeline):
    one, two = await server.create_network("10.66.1.0/24"), await server.create_network("10.66.1.0/24")
    first = await server.create_port(one, "10.66.1.17")
    second = await server.create_port(two, "10.66.1.17")
    await server.until_ready(first, second)
    assert (await clients.lease(one, first["mac_address"]))["ip"] == "10.66.1.17"
    assert (await clients.lease(two, second["mac_address"]))["ip"] == "10.66.1.17"
    assert await clients.lease(one, second["mac_address"], tries=1) is None
    assert await clients.lease(two, first["mac_address"], tries=1) is None


async def test_restart_adopts_and_keeps_leases(make_agent, server, clients, state_dir):
    agent = await make_agent()
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    dropped = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(port, dropped)
    client = await clients.plug(network_id, port["mac_address"])
    dropped_client = await clients.plug(network_id, dropped["mac_address"])
    assert await clients.ask(client) is not None
    assert await clients.ask(dropped_client) is not None
    pid = pid_of(state_dir, network_id)
    await agent.stop()
    # While nobody looks: one port is deleted, its address goes to another, and one is added.
    del server.networks[network_id]["ports"][dropped["id"]]
    taker = server.add_port(network_id, "10.66.1.18", mac="fa:16:3e:77:00:02")
    added = server.add_port(network_id, "10.66.1.19")
    server.ready.clear()
    await make_agent()
    await server.until_ready(port, taker, added)
    assert pid_of(state_dir, network_id) == pid
    assert f"{port['mac_address']} 10.66.1.17" in (state_dir / "dhcp" / network_id / "leases").read_text()
    assert (await clients.lease(network_id, taker["mac_address"]))["ip"] == "10.66.1.18"
    assert (await clients.lease(network_id, added["mac_address"]))["ip"] == "10.66.1.19"
    assert (await clients.ask(client))["ip"] == "10.66.1.17"


async def test_orphans_are_removed_and_strangers_left_alone(make_agent, server, state_dir):
    agent = await make_agent()
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    pid = pid_of(state_dir, network_id)
    (state_dir / "dhcp" / network_id / "process.json").unlink()  # as if we had died before writing it
    await agent.stop()
    stranger = "qdhcp-00000000-0000-4000-8000-000000000000"
    namespaces.create(stranger)
    try:
        del server.networks[network_id]
        await make_agent()
        assert gone(network_id)
        assert processes.start_time_of(pid) is None
        assert not (state_dir / "dhcp" / network_id).exists()
        assert not await links.exists(devices.bridge_name(network_id))
        assert namespaces.exists(stranger)
    finally:
        namespaces.remove(stranger)


async def test_another_command_line_replaces_the_process(make_agent, server, state_dir, clients):
    agent = await make_agent()
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    client = await clients.plug(network_id, port["mac_address"])
    await clients.ask(client)
    pid = pid_of(state_dir, network_id)
    await agent.stop()
    server.networks[network_id]["mtu"] = 1400
    await make_agent()
    assert pid_of(state_dir, network_id) not in {0, pid}
    assert processes.start_time_of(pid) is None
    assert "10.66.1.17" in (state_dir / "dhcp" / network_id / "leases").read_text()
    assert (await clients.ask(client))["mtu"] == "1400"


async def test_a_lost_device_is_repaired_at_start(make_agent, server, clients, state_dir):
    agent = await make_agent()
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    await agent.stop()
    await links.delete(devices.bridge_name(network_id))
    await make_agent()
    assert (await clients.lease(network_id, port["mac_address"]))["ip"] == "10.66.1.17"


async def test_a_killed_dnsmasq_comes_back_with_its_leases(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    client = await clients.plug(network_id, port["mac_address"])
    assert await clients.ask(client) is not None
    pid = pid_of(state_dir, network_id)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid_of(state_dir, network_id) not in {0, pid}, "another dnsmasq")
    assert "10.66.1.17" in (state_dir / "dhcp" / network_id / "leases").read_text()
    later = await server.create_port(network_id, "10.66.1.18")
    await server.until_ready(later)
    assert (await clients.ask(client))["ip"] == "10.66.1.17"


async def test_log_rotation_loses_nothing(agent, server, state_dir, monkeypatch):
    monkeypatch.setattr("cove.dhcp.drivers.dnsmasq_process.LOG_SIZE_MAX", 4096)
    network_id = await server.create_network("10.66.1.0/24")
    for n in range(10, 120):
        port = await server.create_port(network_id, f"10.66.1.{n}")
        await server.until_ready(port)
    directory = state_dir / "dhcp" / network_id
    assert (directory / "log.1").exists()
    assert (directory / "log").stat().st_size < 65536


async def test_reports_and_revival(agent, server):
    assert server.reports[0]["start_flag"] is True
    await until(lambda: len(server.reports) > 1, "a second report")
    assert "start_flag" not in server.reports[1]
    network_id = server.make_network("10.66.1.0/24")  # nobody is told
    server.answer = "revived"
    await until(lambda: not gone(network_id), "resync after revival")
    server.answer = "alive"


async def test_agent_set_down_and_up(agent, server, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    await until(lambda: pid_of(state_dir, network_id), "served")
    kept, server.networks = server.networks, {}
    await server.cast("agent_updated", admin_state_up=False)
    await until(lambda: gone(network_id), "torn down")
    server.networks = kept
    await server.cast("agent_updated", admin_state_up=True)
    await until(lambda: pid_of(state_dir, network_id), "served again")


async def test_an_error_is_retried(agent, server, state_dir):
    server.fail["create_dhcp_port"] = RuntimeError("database is on holiday")
    network_id = await server.create_network("10.66.1.0/24")
    await until(lambda: "create_dhcp_port" in server.calls, "a try")
    port = await server.create_port(network_id, "10.66.1.17")
    server.fail.clear()
    await server.until_ready(port)
    assert pid_of(state_dir, network_id)


async def test_start_without_a_server_that_answers(make_agent, server, state_dir):
    server.fail["get_active_networks_info"] = RuntimeError("not yet")
    network_id = server.make_network("10.66.1.0/24")
    await make_agent()
    assert gone(network_id)
    server.fail.clear()
    await until(lambda: pid_of(state_dir, network_id), "served after all")


async def test_its_own_port_deleted_is_made_again(agent, server, clients, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    device_id = dhcp_device_id(HOST, network_id)
    own = next(p for p in server.networks[network_id]["ports"].values() if p["device_id"] == device_id)
    calls = server.calls.count("create_dhcp_port")
    server.ready.clear()
    await server.delete_port(own)
    await server.until_ready(port)
    assert server.calls.count("create_dhcp_port") == calls + 1
    assert len(await links.list_links(namespace=devices.namespace_name(network_id))) == 2
    assert (await clients.lease(network_id, port["mac_address"]))["ip"] == "10.66.1.17"


async def test_a_malformed_port_harms_nobody(agent, server):
    network_id = await server.create_network("10.66.1.0/24")
    for bad in ({"mac_address": "fa:16:3e:00:00:01\nx"}, {"fixed_ips": [{"subnet_id": "x", "ip_address": "1"}]}):
        await server.cast("port_create_end", port={**server.add_port(network_id, "10.66.1.9"), **bad})
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)


async def test_shutdown_leaves_only_leases(make_agent, server, clients, state_dir):
    agent = await make_agent()
    network_id = await server.create_network("10.66.1.0/24")
    port = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(port)
    namespace = await clients.plug(network_id, port["mac_address"])
    assert await clients.ask(namespace) is not None
    await clients.close()
    pid = pid_of(state_dir, network_id)
    await agent.shutdown()
    assert processes.start_time_of(pid) is None
    assert gone(network_id)
    assert not await links.exists(devices.bridge_name(network_id))
    assert os.listdir(state_dir / "dhcp" / network_id) == ["leases"]
    assert server.released == []
    server.ready.clear()
    await make_agent()
    await server.until_ready(port)
    assert "10.66.1.17" in (state_dir / "dhcp" / network_id / "leases").read_text()


async def test_an_unconfirmed_change_is_not_taken_for_done(agent, server, monkeypatch, state_dir):
    network_id = await server.create_network("10.66.1.0/24")
    first = await server.create_port(network_id, "10.66.1.17")
    await server.until_ready(first)
    pid = pid_of(state_dir, network_id)
    monkeypatch.setattr("cove.dhcp.drivers.dnsmasq_process.BARRIER_RESEND_S", 0.05)
    monkeypatch.setattr("cove.dhcp.drivers.dnsmasq_process.BARRIER_TRIES", 2)
    monkeypatch.setattr("cove.dhcp.drivers.dnsmasq_process.RELOAD_TIMEOUT_S", 0.2)
    os.kill(pid, signal.SIGSTOP)
    port = await server.create_port(network_id, "10.66.1.18")
    await asyncio.sleep(0.3)
    assert port["id"] not in server.ready
    os.kill(pid, signal.SIGCONT)
    await server.until_ready(port)


def test_reload_is_coalesced_to_one_a_second():
    assert dnsmasq_module.RELOAD_INTERVAL_S >= 1.0


@pytest.mark.parametrize("count", [300])
async def test_full_synchronisation_of_many_ports(make_agent, server, state_dir, count):
    network_id = server.make_network("10.66.0.0/16")
    ports = [server.add_port(network_id, f"10.66.{2 + n // 200}.{n % 200 + 1}") for n in range(count)]
    await make_agent()
    await server.until_ready(*ports)
    assert len(os.listdir(state_dir / "dhcp" / network_id / "hosts.d")) == count
