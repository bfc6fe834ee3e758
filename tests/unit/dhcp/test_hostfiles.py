"""Lines for dnsmasq."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import pytest

from cove.dhcp.drivers import hostfiles
from cove.dhcp.models import DnsAssignment, ExtraDhcpOpt, FixedIp, HostRoute, PortInfo

from .builders import SUBNET, SUBNET_2, port, subnet

DOMAIN = "openstacklocal"


def lines(item: PortInfo, subnets: AbstractSet[str] = frozenset({SUBNET})) -> list[str]:
    return [entry.host_line for entry in hostfiles.host_entries(item, set(subnets), DOMAIN)]


def test_default_names():
    item = port(1, "1.1.1.10")
    (entry,) = hostfiles.host_entries(item, {SUBNET}, DOMAIN)
    assert entry.host_line == "fa:16:3e:00:00:01,host-1-1-1-10.openstacklocal,1.1.1.10"
    assert entry.names_line == "1.1.1.10\thost-1-1-1-10.openstacklocal host-1-1-1-10"
    assert hostfiles.host_entries(item, {SUBNET}, "")[0].host_line.split(",")[1] == "host-1-1-1-10"


def test_assigned_names_lose_their_last_dot():
    item = port(1, "1.1.1.10", dns_assignment=(DnsAssignment("1.1.1.10", "node1", "node1.lab.test."),))
    (entry,) = hostfiles.host_entries(item, {SUBNET}, DOMAIN)
    assert entry.host_line == "fa:16:3e:00:00:01,node1.lab.test,1.1.1.10"
    assert entry.names_line == "1.1.1.10\tnode1.lab.test node1"


def test_only_ipv4_in_served_subnets():
    item = port(
        1,
        fixed_ips=(FixedIp(SUBNET, "1.1.1.10"), FixedIp(SUBNET_2, "1.1.2.10"), FixedIp(SUBNET, "fd00::1")),
    )
    assert lines(item) == ["fa:16:3e:00:00:01,host-1-1-1-10.openstacklocal,1.1.1.10"]
    assert len(lines(item, {SUBNET, SUBNET_2})) == 2
    assert lines(item, set()) == []


@pytest.mark.parametrize("owner", sorted(hostfiles.NOT_SERVED_OWNERS))
def test_servers_and_routers_have_no_entry(owner):
    assert lines(port(1, "1.1.1.10", device_owner=owner)) == []


def test_extra_options():
    item = port(
        1,
        "1.1.1.10",
        extra_dhcp_opts=(
            ExtraDhcpOpt("bootfile-name", "snponly.efi"),
            ExtraDhcpOpt("tag:ipxe,67", "http://1.1.1.1/boot.ipxe"),
            ExtraDhcpOpt("150", "1.1.1.1"),
            ExtraDhcpOpt("router", None),
            ExtraDhcpOpt("bootfile-url", "tftp://x", 6),
        ),
    )
    tag = f"port-{item.id}"
    assert lines(item) == [f"fa:16:3e:00:00:01,host-1-1-1-10.openstacklocal,1.1.1.10,set:{tag}"]
    assert hostfiles.port_options(item) == (
        f"tag:{tag},option:bootfile-name,snponly.efi\n"
        f"tag:{tag},tag:ipxe,67,http://1.1.1.1/boot.ipxe\n"
        f"tag:{tag},150,1.1.1.1\n"
        f"tag:{tag},option:router\n"
    )
    assert hostfiles.port_options(port(1)) is None


def test_client_id_is_part_of_the_reservation():
    item = port(1, "1.1.1.10", extra_dhcp_opts=(ExtraDhcpOpt("client-id", "01:aa:bb"),))
    assert lines(item) == ["fa:16:3e:00:00:01,id:01:aa:bb,host-1-1-1-10.openstacklocal,1.1.1.10"]
    assert hostfiles.port_options(item) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"gateway_ip": "1.1.1.1"}, ["option:router,1.1.1.1"]),
        ({}, ["option:router"]),
        (
            {"gateway_ip": "1.1.1.1", "dns_nameservers": ("8.8.8.8", "fd00::53", "9.9.9.9")},
            ["option:dns-server,8.8.8.8,9.9.9.9", "option:router,1.1.1.1"],
        ),
        ({"dns_nameservers": ("0.0.0.0",)}, ["option:dns-server", "option:router"]),  # noqa: S104
        (
            {"gateway_ip": "1.1.1.1", "host_routes": (HostRoute("9.0.0.0/8", "1.1.1.9"),)},
            [
                "option:classless-static-route,9.0.0.0/8,1.1.1.9,0.0.0.0/0,1.1.1.1",
                "249,9.0.0.0/8,1.1.1.9,0.0.0.0/0,1.1.1.1",
                "option:router,1.1.1.1",
            ],
        ),
        (
            {"gateway_ip": "1.1.1.1", "host_routes": (HostRoute("0.0.0.0/0", "1.1.1.9"),)},
            [
                "option:classless-static-route,0.0.0.0/0,1.1.1.9",
                "249,0.0.0.0/0,1.1.1.9",
                "option:router,1.1.1.1",
            ],
        ),
    ],
)
def test_subnet_options(values, expected):
    text = hostfiles.subnet_options([subnet(**values)])
    assert text.splitlines() == [f"tag:subnet-{SUBNET},{line}" for line in expected]


def test_two_subnets_reach_each_other_directly():
    both = [subnet(SUBNET_2, "1.1.2.0/24"), subnet(gateway_ip="1.1.1.1")]
    text = hostfiles.subnet_options(both)
    assert f"tag:subnet-{SUBNET},249,1.1.2.0/24,0.0.0.0,0.0.0.0/0,1.1.1.1\n" in text
    assert f"tag:subnet-{SUBNET_2},249,1.1.1.0/24,0.0.0.0\n" in text
    assert text.index(SUBNET) < text.index(f"tag:subnet-{SUBNET_2}")


def test_readable_files():
    entries = [entry for n in (1, 2) for entry in hostfiles.host_entries(port(n, f"1.1.1.{n}"), {SUBNET}, DOMAIN)]
    assert hostfiles.host_file(entries).count("\n") == 2
    assert hostfiles.addn_hosts_file(entries).startswith("1.1.1.1\t")
    assert hostfiles.opts_file([subnet()], {"port-b": "B\n", "port-a": "A\n"}).endswith("A\nB\n")
