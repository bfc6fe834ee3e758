"""Lines for dnsmasq."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp.drivers import hostfiles
from cove.dhcp.drivers.hostfiles import PortEntries
from cove.dhcp.models import (
    SLAAC,
    STATEFUL,
    STATELESS,
    DnsAssignment,
    ExtraDhcpOpt,
    FixedIp,
    PortInfo,
    SubnetInfo,
    is_ipv4,
)

from .builders import SUBNET, SUBNET_2, SUBNET_6, SUBNET_6B, port, subnet, subnet_6

DOMAIN = "openstacklocal"


def entries(item: PortInfo, *subnets: SubnetInfo, domain: str = DOMAIN) -> PortEntries:
    return hostfiles.port_entries(item, {found.id: found for found in subnets or (subnet(),)}, domain)


def lines(item: PortInfo, *subnets: SubnetInfo) -> list[str]:
    return [entry.host_line for entry in entries(item, *subnets).hosts]


def reservations(item: PortInfo, *subnets: SubnetInfo) -> list[str]:
    return [entry.reservation for entry in entries(item, *subnets).hosts]


def test_default_names():
    item = port(1, "1.1.1.10")
    assert lines(item) == ["fa:16:3e:00:00:01,host-1-1-1-10.openstacklocal,1.1.1.10"]
    assert entries(item).names == {"1.1.1.10": "1.1.1.10\thost-1-1-1-10.openstacklocal host-1-1-1-10"}
    assert entries(item, domain="").hosts[0].host_line.split(",")[1] == "host-1-1-1-10"


def test_assigned_names_lose_their_last_dot():
    item = port(1, "1.1.1.10", dns_assignment=(DnsAssignment("1.1.1.10", "node1", "node1.lab.test."),))
    assert lines(item) == ["fa:16:3e:00:00:01,node1.lab.test,1.1.1.10"]
    assert entries(item).names == {"1.1.1.10": "1.1.1.10\tnode1.lab.test node1"}


def test_only_served_subnets_have_reservations_but_all_addresses_have_names():
    item = port(1, fixed_ips=(FixedIp(SUBNET, "1.1.1.10"), FixedIp(SUBNET_2, "1.1.2.10")))
    assert lines(item) == ["fa:16:3e:00:00:01,host-1-1-1-10.openstacklocal,1.1.1.10"]
    assert len(lines(item, subnet(), subnet(SUBNET_2, "1.1.2.0/24"))) == 2
    assert lines(item, subnet(SUBNET_6, "3.3.3.0/24")) == []
    assert list(entries(item).names) == ["1.1.1.10", "1.1.2.10"]


@pytest.mark.parametrize("owner", sorted(hostfiles.NOT_SERVED_OWNERS))
def test_servers_and_routers_have_no_entry(owner):
    assert entries(port(1, "1.1.1.10", device_owner=owner)) == PortEntries()


def test_extra_options():
    item = port(
        1,
        "1.1.1.10",
        extra_dhcp_opts=(
            ExtraDhcpOpt("bootfile-name", "snponly.efi"),
            ExtraDhcpOpt("tag:ipxe,67", "http://1.1.1.1/boot.ipxe"),
            ExtraDhcpOpt("150", "1.1.1.1"),
            ExtraDhcpOpt("router", None),
            ExtraDhcpOpt("bootfile-url", "tftp://x", 6),  # of a version that the port has no address of
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


def six(*fixed: tuple[str, str], **values: object) -> PortInfo:
    return port(1, fixed_ips=tuple(FixedIp(subnet_id, address) for subnet_id, address in fixed), **values)


MAC = "fa:16:3e:00:00:01"
A, B = (SUBNET_6, "fd77:1::a"), (SUBNET_6B, "fd77:2::b")
STATEFUL_6, STATEFUL_6B = subnet_6(STATEFUL, STATEFUL), subnet_6(STATEFUL, STATEFUL, SUBNET_6B, "fd77:2::/64")


@pytest.mark.parametrize(
    ("ra_mode", "address_mode", "reserved"),
    [
        (None, None, True),
        (None, STATEFUL, True),
        (STATEFUL, STATEFUL, True),
        (STATEFUL, None, False),
        (None, STATELESS, False),
        (STATELESS, STATELESS, False),
        (STATELESS, None, False),
        (SLAAC, SLAAC, False),
        (SLAAC, None, False),
        (None, SLAAC, False),
    ],
)
def test_ipv6_addresses_are_reserved_where_dhcpv6_gives_them(ra_mode, address_mode, reserved):
    name = "host-fd77-1--a.openstacklocal"
    found = entries(six(A), subnet_6(ra_mode, address_mode))
    assert [entry.host_line for entry in found.hosts] == [f"{MAC},tag:dhcpv6,{name},[fd77:1::a]"] * reserved
    assert found.names == {"fd77:1::a": f"fd77:1::a\t{name} host-fd77-1--a"}


def test_a_prefix_that_dnsmasq_cannot_serve_has_no_reservations():
    assert lines(six(A), subnet_6(None, cidr="fd77:1::/56")) == []
    assert len(lines(six(A), subnet_6(None, cidr="fd77:1::/112"))) == 1


def test_all_ipv6_addresses_of_a_port_are_in_one_line():
    assert lines(six(A, B), STATEFUL_6, STATEFUL_6B) == [
        f"{MAC},tag:dhcpv6,host-fd77-1--a.openstacklocal,[fd77:1::a],[fd77:2::b]"
    ]


def test_a_guest_is_told_its_name_by_one_protocol():
    both = six((SUBNET, "1.1.1.10"), A)
    assert reservations(both, subnet(), STATEFUL_6) == [f"{MAC},1.1.1.10", f"{MAC},tag:dhcpv6,[fd77:1::a]"]
    assert lines(both, subnet(), STATEFUL_6)[1] == f"{MAC},tag:dhcpv6,host-fd77-1--a.openstacklocal,[fd77:1::a]"
    assert reservations(six(A), STATEFUL_6) == [f"{MAC},tag:dhcpv6,[fd77:1::a]"]
    chosen = six(A, dns_assignment=(DnsAssignment("fd77:1::a", "vm", "vm.openstacklocal."),))
    assert reservations(chosen, STATEFUL_6) == [f"{MAC},tag:dhcpv6,vm.openstacklocal,[fd77:1::a]"]
    elsewhere = six(A, dns_assignment=(DnsAssignment("fd77:1::a", "vm", "vm.example.org."),))
    assert reservations(elsewhere, STATEFUL_6) == [f"{MAC},tag:dhcpv6,[fd77:1::a]"]
    assert lines(elsewhere, STATEFUL_6) == [f"{MAC},tag:dhcpv6,vm.example.org,[fd77:1::a]"]


def test_stateless_has_a_line_for_options_only():
    stateless = subnet_6(STATELESS, STATELESS)
    option = ExtraDhcpOpt("bootfile-url", "tftp://x", 6)
    item = six((SUBNET, "1.1.1.10"), A, extra_dhcp_opts=(option,))
    tag = f"set:port-{item.id}"
    assert reservations(item, subnet(), stateless) == [f"{MAC},1.1.1.10,{tag}", f"{MAC},tag:dhcpv6,{tag}"]
    assert lines(six(A), stateless) == []
    # Two lines for the same MAC: dnsmasq would take one, perhaps the one without an address.
    both = six(A, B, extra_dhcp_opts=(option,))
    assert len(lines(both, STATEFUL_6B, stateless)) == 1
    assert "[fd77:2::b]" in lines(both, STATEFUL_6B, stateless)[0]
    assert lines(six(A, extra_dhcp_opts=(option,)), subnet_6(SLAAC, SLAAC)) == []


def test_options_of_ipv6():
    options = (
        ExtraDhcpOpt("bootfile-url", "tftp://[fd77:1::9]/x", 6),
        ExtraDhcpOpt("ntp-server", "fd77:1::9, fd77:1::8", 6),
        ExtraDhcpOpt("31", "[fd77:1::7]", 6),
        ExtraDhcpOpt("tag:ipxe6,59", "http://x", 6),
        ExtraDhcpOpt("dns-server", None, 6),
        ExtraDhcpOpt("client-id", "00:04:aa", 6),
        ExtraDhcpOpt("router", "1.1.1.1"),
    )
    item = six(A, extra_dhcp_opts=options)
    tag = f"tag:port-{item.id}"
    assert hostfiles.port_options(item) == (
        f"{tag},option6:bootfile-url,tftp://[fd77:1::9]/x\n"
        f"{tag},option6:ntp-server,[fd77:1::9],[fd77:1::8]\n"
        f"{tag},option6:31,[fd77:1::7]\n"
        f"{tag},tag:ipxe6,option6:59,http://x\n"
        f"{tag},option6:dns-server\n"
    )
    assert lines(item, STATEFUL_6)[0].startswith(f"{MAC},tag:dhcpv6,id:00:04:aa,")


@given(st.text(max_size=30))
def test_brackets_change_nothing_but_addresses(value):
    made = hostfiles.bracketed(value)
    assert made == value or all(part.startswith("[") for part in made.split(","))


MODES = st.sampled_from([(None, None), (SLAAC, SLAAC), (STATELESS, STATELESS), (STATEFUL, STATEFUL), (None, STATEFUL)])


@given(st.lists(st.sampled_from([(SUBNET, "1.1.1.10"), A, B]), unique=True), MODES, MODES, st.booleans())
def test_a_client_has_at_most_one_line_of_each_version(fixed, mode, mode_b, with_options):
    options = (ExtraDhcpOpt("bootfile-url", "tftp://x", 6),) if with_options else ()
    item = six(*fixed, extra_dhcp_opts=options)
    second = subnet_6(mode_b[0], mode_b[1], SUBNET_6B, "fd77:2::/64")
    found = entries(item, subnet(), subnet_6(mode[0], mode[1]), second)
    clients = [entry.client for entry in found.hosts]
    assert len(clients) == len(set(clients)) == len({entry.key for entry in found.hosts})
    assert set(found.names) == {address for _, address in fixed}
    for entry in found.hosts:
        assert all(is_ipv4(address) != entry.client[1] for address in entry.ip_addresses)


def test_readable_files():
    found = [entries(port(n, f"1.1.1.{n}")) for n in (1, 2)]
    assert hostfiles.host_file(entry for item in found for entry in item.hosts).count("\n") == 2
    assert hostfiles.addn_hosts_file(found[0].names).startswith("1.1.1.1\t")
    assert hostfiles.opts_file("S\n", {"port-b": "B\n", "port-a": "A\n"}) == "S\nA\nB\n"
