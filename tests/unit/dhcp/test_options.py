"""The options of subnets: of each by itself, and of the link."""

from __future__ import annotations

import pytest

from cove.dhcp.drivers.options import subnet_options
from cove.dhcp.models import SLAAC, STATEFUL, STATELESS, HostRoute, SubnetInfo

from .builders import SUBNET, SUBNET_2, SUBNET_6, SUBNET_6B, served, subnet, subnet_6

DOMAIN = "openstacklocal"


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
def test_ipv4(values, expected):
    text = subnet_options(served(subnet(**values)), DOMAIN)
    assert text.splitlines() == [f"tag:subnet-{SUBNET},{line}" for line in expected]


def test_two_subnets_reach_each_other_directly():
    both = [subnet(SUBNET_2, "1.1.2.0/24"), subnet(gateway_ip="1.1.1.1")]
    text = subnet_options(served(*both), DOMAIN)
    assert f"tag:subnet-{SUBNET},249,1.1.2.0/24,0.0.0.0,0.0.0.0/0,1.1.1.1\n" in text
    assert f"tag:subnet-{SUBNET_2},249,1.1.1.0/24,0.0.0.0\n" in text
    assert text.index(SUBNET) < text.index(f"tag:subnet-{SUBNET_2}")


SERVERS = ("1.1.1.2/24", "fd77:1::2/64", "fd77:2::2/64")
SIX = f"tag:subnet-{SUBNET_6},option6"
LINK = "tag:!dhcpv6,option6"
SEARCH = f"domain-search,{DOMAIN}"


def lines(*subnets: SubnetInfo, domain: str = DOMAIN) -> list[str]:
    return subnet_options(served(*subnets, addresses=SERVERS), domain).splitlines()


def test_dhcpv6_and_advertisements_name_servers_and_domain():
    own = "dns-server,[fd77:1::2]"
    told = [f"{SIX}:{own}", f"{SIX}:{SEARCH}"]
    advertised = [f"{LINK}:{own}", f"{LINK}:{SEARCH}"]
    assert lines(subnet_6(STATEFUL, STATEFUL)) == told + advertised
    assert lines(subnet_6(STATELESS, STATELESS)) == told + advertised
    assert lines(subnet_6(None, STATEFUL)) == told
    assert lines(subnet_6(None)) == told
    assert lines(subnet_6(SLAAC, SLAAC)) == advertised
    assert lines(subnet_6(None, SLAAC)) == []
    assert lines(subnet_6(SLAAC, SLAAC), domain="") == advertised[:1]


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (("fd77::53", "fd77::54"), "dns-server,[fd77::53],[fd77::54]"),
        (("1.1.1.53", "fd77::53"), "dns-server,[fd77::53]"),
        (("1.1.1.53",), "dns-server,[fd77:1::2]"),
        (("::",), "dns-server"),
    ],
)
def test_name_servers_of_ipv6(servers, expected):
    assert lines(subnet_6(STATEFUL, STATEFUL, dns_nameservers=servers))[0] == f"{SIX}:{expected}"


def test_several_subnets_are_one_link():
    """Whoever asks for options only, and whoever hears an advertisement, is told the name servers of all of them."""
    made = lines(
        subnet(),
        subnet_6(STATEFUL, STATEFUL),
        subnet_6(STATELESS, STATELESS, SUBNET_6B, "fd77:2::/64", dns_nameservers=("fd77::53",)),
    )
    united = "dns-server,[fd77:1::2],[fd77::53]"
    assert made == [
        f"tag:subnet-{SUBNET},option:router",
        f"option6:{united}",
        f"option6:{SEARCH}",
        f"{SIX}:dns-server,[fd77:1::2]",
        f"{SIX}:{SEARCH}",
        f"tag:subnet-{SUBNET_6B},option6:dns-server,[fd77::53]",
        f"tag:subnet-{SUBNET_6B},option6:{SEARCH}",
        f"{LINK}:{united}",
        f"{LINK}:{SEARCH}",
    ]


def test_ipv6_has_no_part_in_the_routes_of_ipv4():
    assert lines(subnet(gateway_ip="1.1.1.1"), subnet_6(None, SLAAC)) == [f"tag:subnet-{SUBNET},option:router,1.1.1.1"]
