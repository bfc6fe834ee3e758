"""Which addresses a guest comes to by itself."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.compute.addresses import Expected, eui64_address, expected_addresses, missing, strangers
from cove.compute.network_api import FixedIp, Subnet

MAC = "fa:16:3e:3c:a3:3e"
MADE = "fd77:2::f816:3eff:fe3c:a33e"
FOUR, FOUR_B = Subnet("4", "1.1.1.0/24"), Subnet("4b", "2.2.2.0/24")


def six(ra_mode: str | None, address_mode: str | None = None, n: str = "6", cidr: str = "fd77:2::/64") -> Subnet:
    return Subnet(n, cidr, 6, ipv6_ra_mode=ra_mode, ipv6_address_mode=address_mode)


def test_of_several_ipv4_addresses_a_guest_gets_one() -> None:
    found = expected_addresses([FixedIp("1.1.1.10", "4"), FixedIp("2.2.2.10", "4b")], [FOUR, FOUR_B], MAC)
    assert found == [Expected("DHCP", ("1.1.1.10", "2.2.2.10"))]
    assert str(found[0]) == "1.1.1.10 or 2.2.2.10 (DHCP)"


@pytest.mark.parametrize(
    ("ra_mode", "address_mode", "address", "by"),
    [
        ("slaac", "slaac", MADE, "SLAAC"),
        ("slaac", None, MADE, "SLAAC"),
        ("dhcpv6-stateless", "dhcpv6-stateless", MADE, "SLAAC"),
        ("dhcpv6-stateful", "dhcpv6-stateful", "fd77:2::10", "DHCPv6"),
        ("slaac", "slaac", "fd77:2::10", None),  # not what a host makes of its MAC
        ("dhcpv6-stateful", None, "fd77:2::10", None),  # somebody else's DHCP server
        (None, "dhcpv6-stateful", "fd77:2::10", None),  # advertised by somebody else, or nobody
        (None, "slaac", MADE, None),
        (None, None, "fd77:2::10", None),
    ],
)
def test_modes(ra_mode: str | None, address_mode: str | None, address: str, by: str | None) -> None:
    found = expected_addresses([FixedIp(address, "6")], [six(ra_mode, address_mode)], MAC)
    assert found == ([] if by is None else [Expected(by, (address,))])


def test_dhcpv6_gives_one_address_of_each_subnet() -> None:
    subnets = [
        six("dhcpv6-stateful", "dhcpv6-stateful"),
        six("dhcpv6-stateful", "dhcpv6-stateful", "6b", "fd77:3::/64"),
    ]
    fixed = [FixedIp("fd77:2::a", "6"), FixedIp("fd77:3::b", "6b"), FixedIp("fd77:2::c", "6")]
    assert expected_addresses(fixed, subnets, MAC) == [
        Expected("DHCPv6", ("fd77:2::a", "fd77:2::c")),
        Expected("DHCPv6", ("fd77:3::b",)),
    ]


def test_nothing_comes_without_dhcp_or_from_a_subnet_out_of_sight() -> None:
    silent = Subnet("4", "1.1.1.0/24", enable_dhcp=False)
    assert expected_addresses([FixedIp("1.1.1.10", "4")], [silent], MAC) == []
    assert expected_addresses([FixedIp("1.1.1.10", "4")], [], MAC) == []


def test_what_is_missing_and_what_is_strange() -> None:
    wanted = [Expected("DHCP", ("1.1.1.10", "2.2.2.10")), Expected("SLAAC", (MADE,))]
    assert missing(wanted, ["2.2.2.10"]) == [wanted[1]]
    assert missing(wanted, ["1.1.1.10", MADE, "fd99::1"]) == []
    assert strangers(wanted, ["1.1.1.10", MADE, "fd99::1"]) == []
    assert strangers(wanted, ["1.1.1.11", MADE]) == ["1.1.1.11"]
    assert strangers(wanted[1:], ["1.1.1.11"]) == []  # it may have set that up itself


@given(st.binary(min_size=6, max_size=6))
def test_eui64(octets: bytes) -> None:
    made = eui64_address("fd77:2::/64", octets.hex(":"))
    assert isinstance(made, IPv6Address)
    interface = made.packed[8:]
    assert interface[3:5] == b"\xff\xfe"
    assert bytes([interface[0] ^ 2]) + interface[1:3] + interface[5:] == octets
    assert eui64_address("fd77:2::/80", octets.hex(":")) is None
