"""How subnets are served, mode by mode."""

from __future__ import annotations

import itertools

import pytest

from cove.dhcp.drivers import ranges
from cove.dhcp.models import IPV6_MODES, SLAAC, STATEFUL, STATELESS

from .builders import SUBNET, SUBNET_6, SUBNET_6B, subnet, subnet_6


@pytest.mark.parametrize(
    ("ra_mode", "address_mode", "mode", "advertised", "answered"),
    [
        (None, None, "static", False, True),
        (None, SLAAC, None, False, False),
        (None, STATELESS, "static", False, True),
        (None, STATEFUL, "static", False, True),
        (SLAAC, SLAAC, "ra-only", True, False),
        (SLAAC, None, "ra-only", True, False),
        (STATELESS, STATELESS, "ra-stateless", True, True),
        (STATELESS, None, "ra-stateless", True, True),
        (STATEFUL, STATEFUL, "static", True, True),
        (STATEFUL, None, "static", True, True),
    ],
)
def test_modes(ra_mode, address_mode, mode, advertised, answered):
    found = subnet_6(ra_mode, address_mode)
    assert ranges.range_mode(found) == mode
    assert ranges.is_advertised(found) is advertised
    assert ranges.answers_dhcpv6(found) is answered


def test_modes_that_contradict_each_other_are_served_as_advertised():
    for ra_mode, address_mode in itertools.permutations([SLAAC, STATELESS, STATEFUL], 2):
        assert ranges.range_mode(subnet_6(ra_mode, address_mode)) == ranges.range_mode(subnet_6(ra_mode, ra_mode))


def test_every_pair_of_modes_has_a_meaning():
    for ra_mode, address_mode in itertools.product(IPV6_MODES, repeat=2):
        ranges.dhcp_ranges([subnet_6(ra_mode, address_mode)], 600)


@pytest.mark.parametrize(
    ("ra_mode", "cidr", "mode"),
    [
        (STATEFUL, "fd77::/63", None),
        (STATEFUL, "fd77::/64", "static"),
        (STATEFUL, "fd77::/120", "static"),
        (SLAAC, "fd77::/63", None),
        (SLAAC, "fd77::/65", None),
        (STATELESS, "fd77::/80", None),
        (None, "fd77::/48", None),
    ],
)
def test_prefixes_that_dnsmasq_takes(ra_mode, cidr, mode):
    found = subnet_6(ra_mode, ra_mode, cidr=cidr)
    assert ranges.range_mode(found) == mode
    assert ranges.is_advertised(found) is (mode is not None and ra_mode is not None)


def test_what_is_not_to_be_advertised_says_nothing_where_all_is():
    made = ranges.dhcp_ranges([subnet_6(None), subnet_6(STATEFUL, STATEFUL, SUBNET_6B, "fd77:2::/64")], 600)
    assert made == [
        f"set:subnet-{SUBNET_6},fd77:1::,static,off-link,64,600s",
        f"set:subnet-{SUBNET_6B},fd77:2::,static,64,600s",
    ]


def test_there_is_always_a_range_for_dhcp():
    assert ranges.dhcp_ranges([subnet()], 600) == [f"set:subnet-{SUBNET},1.1.1.0,static,255.255.255.0,600s"]
    advertised = f"set:subnet-{SUBNET_6},fd77:1::,ra-only,64,600s"
    assert ranges.dhcp_ranges([subnet_6(SLAAC, SLAAC)], 600) == [advertised, ranges.NOBODYS_RANGE]
    assert ranges.dhcp_ranges([subnet_6(None, SLAAC)], 600) == [ranges.NOBODYS_RANGE]
