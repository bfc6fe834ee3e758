"""IPv6 with real dnsmasq processes and real clients: the kernel's SLAAC, and dhcpcd."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from cove.dhcp import devices
from cove.dhcp.models import SLAAC, STATEFUL, STATELESS
from cove.linux import links, processes

from .conftest import until

SLAAC_6, STATELESS_6, STATEFUL_6 = (
    {"ipv6_ra_mode": mode, "ipv6_address_mode": mode} for mode in (SLAAC, STATELESS, STATEFUL)
)
DUID_UUID = "00:04:aa:bb:cc:dd:00:11:22:33:44:55:66:77:88:99:aa:bb"


def pid_of(state_dir: Path, network_id: str) -> int:
    record = processes.read_record(state_dir / "dhcp" / network_id / "process.json")
    return record.pid if record is not None and processes.start_time_of(record.pid) == record.start_time else 0


def read(state_dir: Path, network_id: str, name: str) -> str:
    return (state_dir / "dhcp" / network_id / name).read_text()


async def network_with(server: Any, *subnets: tuple[str, dict[str, Any]], mtu: int = 1450) -> str:
    network_id: str = server.make_network(mtu=mtu)
    for cidr, values in subnets:
        server.make_subnet(network_id, cidr, **values)
    await server.cast("network_create_end", network={"id": network_id})
    return network_id


def eui64(prefix: str, mac: str) -> str:
    """The address that a host makes of a prefix and its MAC; the tests' MACs are fa:16:3e:00:xx:yy."""
    low = mac.split(":")[4:]
    return f"{prefix}f816:3eff:fe00:{int(''.join(low), 16):x}"


async def test_the_kernel_makes_its_address_of_the_advertisement(agent, server, clients6, timeline):
    network_id = await network_with(server, ("fd66:1::/64", SLAAC_6))
    port = await server.create_port(network_id, eui64("fd66:1::", "fa:16:3e:00:00:01"), "fa:16:3e:00:00:01")
    await server.until_ready(port)
    namespace = await clients6.plug(network_id, port["mac_address"], accept_ra=True)
    wanted = [f"{port['fixed_ips'][0]['ip_address']}/64"]
    async with asyncio.timeout(10):
        while await links.addresses("eth0", namespace=namespace) != wanted:
            await asyncio.sleep(0.02)
    await timeline.wait(port["id"], "RTR-SOLICIT", 5)


async def test_slaac(agent, server, clients6):
    network_id = await network_with(server, ("fd66:1::/64", SLAAC_6))
    mac = "fa:16:3e:00:00:01"
    port = await server.create_port(network_id, eui64("fd66:1::", mac), mac)
    await server.until_ready(port)
    advert = await (await clients6.client(network_id, mac)).event("ROUTERADVERT")
    assert advert["nd1_flags"] == ""
    assert advert["nd1_lifetime"] == "0"  # no router here
    assert advert["nd1_mtu"] == "1450"
    assert advert["nd1_addr1"] == f"{eui64('fd66:1::', mac)}/64"
    assert (advert["nd1_prefix_information1_prefix"], advert["nd1_prefix_information1_flags"]) == ("fd66:1::", "LA")
    assert advert["nd1_rdnss1_servers"] == "fd66:1::2"
    assert advert["nd1_dnssl1_search"] == "openstacklocal"


async def test_stateless_with_options(agent, server, clients6):
    network_id = await network_with(server, ("fd66:1::/64", {**STATELESS_6, "dns_nameservers": ["fd66:1::53"]}))
    mac, other = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
    option = {"opt_name": "bootfile-url", "opt_value": "tftp://[fd66:1::9]/x", "ip_version": 6}
    port = await server.create_port(network_id, eui64("fd66:1::", mac), mac, extra_dhcp_opts=[option])
    plain = await server.create_port(network_id, eui64("fd66:1::", other), other)
    await server.until_ready(port, plain)
    client = await clients6.client(network_id, mac)
    advert, reply = await client.event("ROUTERADVERT"), await client.event("INFORM6")
    assert advert["nd1_flags"] == "O"
    assert advert["nd1_addr1"] == f"{eui64('fd66:1::', mac)}/64"
    assert advert["nd1_rdnss1_servers"] == reply["new_dhcp6_name_servers"] == "fd66:1::53"
    assert reply["new_dhcp6_domain_search"] == "openstacklocal"
    assert reply["new_dhcp6_bootfile_url"] == "tftp://[fd66:1::9]/x"
    reply = await (await clients6.client(network_id, other)).event("INFORM6")
    assert "new_dhcp6_bootfile_url" not in reply
    server.ready.clear()
    await server.update_port(plain, extra_dhcp_opts=[{**option, "opt_value": "http://y"}])
    await server.until_ready(plain)
    reply = await (await clients6.client(network_id, other)).event("INFORM6")
    assert reply["new_dhcp6_bootfile_url"] == "http://y"


async def test_stateful(agent, server, clients6, timeline, settings):
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    names = [{"ip_address": "fd66:1::17", "hostname": "node1", "fqdn": "node1.openstacklocal."}]
    options = [{"opt_name": "ntp-server", "opt_value": "fd66:1::7", "ip_version": 6}]
    port = await server.create_port(network_id, "fd66:1::17", dns_assignment=names, extra_dhcp_opts=options)
    await server.until_ready(port)
    client = await clients6.client(network_id, port["mac_address"])
    advert, reply = await client.event("ROUTERADVERT"), await client.event("BOUND6")
    assert advert["nd1_flags"] == "MO"
    assert advert["nd1_prefix_information1_flags"] == "L"
    assert "nd1_addr1" not in advert
    assert reply["new_dhcp6_ia_na1_ia_addr1"] == "fd66:1::17"
    assert reply["new_dhcp6_ia_na1_ia_addr1_vltime"] == str(settings.dhcp_lease_duration_s)
    assert reply["new_dhcp6_name_servers"] == "fd66:1::2"
    assert reply["new_dhcp6_fqdn"] == "node1.openstacklocal"
    assert reply["new_dhcp6_ntp_server_addr"] == "fd66:1::7"
    await timeline.wait(port["id"], "DHCPREPLY", 5)
    steps = {step.name: step.detail for step in timeline.steps(port["id"])}
    assert list(steps)[:2] == ["host_entry", "RTR-SOLICIT"]
    assert [name for name in steps if name.startswith("DHCP")] == [
        "DHCPSOLICIT", "DHCPADVERTISE", "DHCPREQUEST", "DHCPREPLY"
    ]  # fmt: skip
    assert steps["DHCPREPLY"]["ip_address"] == "fd66:1::17"
    assert steps["DHCPREPLY"]["lease_s"] == settings.dhcp_lease_duration_s
    stranger = await clients6.client(network_id, "fa:16:3e:ff:ff:ff")
    await stranger.event("ROUTERADVERT")
    assert agent.describe(network_id)["leases"] == 1


async def test_dual_stack(agent, server, clients, clients6):
    network_id = await network_with(server, ("10.66.1.0/24", {}), ("fd66:1::/64", STATEFUL_6), ("fd66:2::/64", SLAAC_6))
    mac = "fa:16:3e:00:00:01"
    ips = ("10.66.1.17", "fd66:1::17", eui64("fd66:2::", mac))
    port = await server.create_port(network_id, ips, mac)
    await server.until_ready(port)
    namespace = await clients6.plug(network_id, mac)
    lease = await clients.ask(namespace)
    assert lease["ip"] == "10.66.1.17"
    client = await clients6.start(namespace)
    advert, reply = await client.event("ROUTERADVERT"), await client.event("BOUND6")
    assert advert["nd1_flags"] == "MO"
    assert advert["nd1_addr1"] == f"{ips[2]}/64"
    assert set(advert["nd1_rdnss1_servers"].split()) == {"fd66:1::2", "fd66:2::2"}
    assert reply["new_dhcp6_ia_na1_ia_addr1"] == "fd66:1::17"
    assert agent.describe(network_id)["leases"] == 2


async def test_two_stateful_subnets_give_an_address_each(agent, server, clients6):
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6), ("fd66:2::/112", STATEFUL_6))
    port = await server.create_port(network_id, ("fd66:1::17", "fd66:2::18"))
    await server.until_ready(port)
    reply = await (await clients6.client(network_id, port["mac_address"])).event("BOUND6")
    given = {value for name, value in reply.items() if name.startswith("new_dhcp6_ia_na1_ia_addr") and ":" in value}
    assert given == {"fd66:1::17", "fd66:2::18"}


async def test_no_advertisement_where_it_comes_from_elsewhere(agent, server, clients6):
    mode = {"ipv6_ra_mode": None, "ipv6_address_mode": STATEFUL}
    network_id = await network_with(server, ("fd66:1::/64", mode))
    port = await server.create_port(network_id, "fd66:1::17")
    await server.until_ready(port)
    # Told by hand to ask, where no advertisement says so.
    client = await clients6.client(network_id, port["mac_address"], options="interface eth0\n  ia_na 1")
    reply = await client.event("BOUND6", "ROUTERADVERT")
    assert reply["reason"] == "BOUND6"
    assert reply["new_dhcp6_ia_na1_ia_addr1"] == "fd66:1::17"


async def test_additions_need_no_reload_and_no_restart(agent, server, state_dir):
    network_id = await network_with(server, ("10.66.1.0/24", {}), ("fd66:1::/64", STATEFUL_6))
    first = await server.create_port(network_id, ("10.66.1.17", "fd66:1::17"))
    await server.until_ready(first)
    before = pid_of(state_dir, network_id), read(state_dir, network_id, "log").count("cleared cache")
    ports = [await server.create_port(network_id, (f"10.66.1.{n}", f"fd66:1::{n}")) for n in range(20, 120)]
    await server.until_ready(*ports)
    assert (pid_of(state_dir, network_id), read(state_dir, network_id, "log").count("cleared cache")) == before
    assert len(list((state_dir / "dhcp" / network_id / "hosts.d").iterdir())) == 202


@pytest.mark.parametrize("duid", ["ll", DUID_UUID])
async def test_a_deleted_address_works_for_another_guest_at_once(agent, server, clients6, state_dir, duid):
    """Whatever the client calls itself: the lease file tells."""
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    old = await server.create_port(network_id, "fd66:1::17")
    await server.until_ready(old)
    first = await clients6.client(network_id, old["mac_address"], duid=duid)
    await first.event("BOUND6")
    await until(lambda: "fd66:1::17" in read(state_dir, network_id, "leases"), "a lease")
    await clients6.kill(first)
    second = await clients6.plug(network_id, "fa:16:3e:77:00:01")
    began = time.monotonic()
    await server.delete_port(old)
    new = await server.create_port(network_id, "fd66:1::17", mac="fa:16:3e:77:00:01")
    await server.until_ready(new)
    assert time.monotonic() - began < 1.0
    reply = await (await clients6.start(second)).event("BOUND6")
    assert reply["new_dhcp6_ia_na1_ia_addr1"] == "fd66:1::17"
    await until(lambda: read(state_dir, network_id, "leases").count("fd66:1::17") == 1, "one lease")


async def test_a_lease_is_gone_with_its_port(agent, server, clients6, state_dir):
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    port = await server.create_port(network_id, "fd66:1::17")
    await server.until_ready(port)
    await (await clients6.client(network_id, port["mac_address"])).event("BOUND6")
    await until(lambda: "fd66:1::17" in read(state_dir, network_id, "leases"), "a lease")
    await server.delete_port(port)
    await until(lambda: "fd66:1::17" not in read(state_dir, network_id, "leases"), "no lease")
    await until(lambda: agent.describe(network_id)["leases"] == 0, "none counted")


async def test_two_ports_swap_addresses(agent, server, clients6):
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    one = await server.create_port(network_id, "fd66:1::a")
    two = await server.create_port(network_id, "fd66:1::b")
    await server.until_ready(one, two)
    for port, address in ((one, "fd66:1::a"), (two, "fd66:1::b")):
        client = await clients6.client(network_id, port["mac_address"])
        assert (await client.event("BOUND6"))["new_dhcp6_ia_na1_ia_addr1"] == address
        await clients6.kill(client)
    server.ready.clear()
    one_ips, two_ips = one["fixed_ips"], two["fixed_ips"]
    await server.update_port(one, fixed_ips=two_ips)
    await server.update_port(two, fixed_ips=one_ips)
    await server.until_ready(one, two)
    for port, address in ((one, "fd66:1::b"), (two, "fd66:1::a")):
        client = await clients6.client(network_id, port["mac_address"])
        assert (await client.event("BOUND6"))["new_dhcp6_ia_na1_ia_addr1"] == address


async def test_the_next_agent_adopts_keeps_leases_and_gives_up_those_of_gone_ports(
    make_agent, server, clients6, state_dir
):
    agent = await make_agent()
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    kept = await server.create_port(network_id, "fd66:1::17")
    gone = await server.create_port(network_id, "fd66:1::18")
    await server.until_ready(kept, gone)
    for port in (kept, gone):
        await (await clients6.client(network_id, port["mac_address"])).event("BOUND6")
    pid = pid_of(state_dir, network_id)
    await agent.stop()
    # The address has a new owner by the time that somebody looks again, as after a crash.
    del server.networks[network_id]["ports"][gone["id"]]
    new = server.add_port(network_id, "fd66:1::18", "fa:16:3e:77:00:02")
    agent = await make_agent()
    assert pid_of(state_dir, network_id) == pid
    await until(lambda: "fd66:1::18" not in read(state_dir, network_id, "leases"), "the lease is given up")
    await until(lambda: "fd66:1::17" in read(state_dir, network_id, "leases"), "the other is kept")
    assert agent.describe(network_id)["leases"] == 1
    reply = await (await clients6.client(network_id, new["mac_address"])).event("BOUND6")
    assert reply["new_dhcp6_ia_na1_ia_addr1"] == "fd66:1::18"


async def test_a_restart_keeps_leases(agent, server, clients6, state_dir):
    network_id = await network_with(server, ("fd66:1::/64", STATEFUL_6))
    port = await server.create_port(network_id, "fd66:1::17")
    await server.until_ready(port)
    await (await clients6.client(network_id, port["mac_address"], duid=DUID_UUID)).event("BOUND6")
    await until(lambda: agent.describe(network_id)["leases"] == 1, "the lease is seen")
    pid = pid_of(state_dir, network_id)
    subnet = server.make_subnet(network_id, "10.66.9.0/24")
    await server.cast("subnet_create_end", subnet=subnet, network={"id": network_id})
    other = await server.create_port(network_id, "10.66.9.40")
    await server.until_ready(other)
    assert pid_of(state_dir, network_id) not in {0, pid}
    assert "fd66:1::17" in read(state_dir, network_id, "leases")
    assert agent.describe(network_id)["leases"] == 1


async def test_another_mode_restarts_and_other_name_servers_do_not(agent, server, clients6, state_dir):
    network_id = await network_with(server, ("fd66:1::/64", SLAAC_6))
    mac = "fa:16:3e:00:00:01"
    port = await server.create_port(network_id, eui64("fd66:1::", mac), mac)
    await server.until_ready(port)
    pid = pid_of(state_dir, network_id)
    (subnet,) = server.networks[network_id]["subnets"].values()
    server.ready.clear()
    subnet.update(dns_nameservers=["fd66:1::53"])
    await server.cast("subnet_update_end", subnet=subnet)
    await server.until_ready(port)
    assert pid_of(state_dir, network_id) == pid
    advert = await (await clients6.client(network_id, mac)).event("ROUTERADVERT")
    assert advert["nd1_rdnss1_servers"] == "fd66:1::53"
    server.ready.clear()
    subnet.update(**STATELESS_6)
    await server.cast("subnet_update_end", subnet=subnet)
    await server.until_ready(port)
    assert pid_of(state_dir, network_id) not in {0, pid}
    advert = await (await clients6.client(network_id, mac)).event("ROUTERADVERT")
    assert advert["nd1_flags"] == "O"


async def test_the_server_itself_takes_no_advice_and_does_not_wait(agent, server):
    network_id = await network_with(server, ("fd66:1::/64", SLAAC_6))
    port = await server.create_port(network_id, eui64("fd66:1::", "fa:16:3e:00:00:01"), "fa:16:3e:00:00:01")
    await server.until_ready(port)
    described = agent.describe(network_id)
    assert described["addresses"] == ["fd66:1::2/64"]
    assert await links.addresses(described["interface"], namespace=described["namespace"]) == ["fd66:1::2/64"]
    assert await devices.is_plugged(network_id, described["interface"], described["addresses"])


async def test_a_network_whose_advertisements_and_addresses_are_not_ours_has_names(agent, server, state_dir):
    mode = {"ipv6_ra_mode": None, "ipv6_address_mode": SLAAC}
    network_id = await network_with(server, ("fd66:1::/64", mode))
    port = await server.create_port(network_id, "fd66:1::17")
    await server.until_ready(port)
    assert pid_of(state_dir, network_id)
    assert [path.name for path in (state_dir / "dhcp" / network_id / "names.d").iterdir()] == ["fd66:1::17"]
