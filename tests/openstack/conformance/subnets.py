"""Calls about subnets."""

from __future__ import annotations

from typing import Any

from .calls import ADMIN, ALICE, BOB, MARA, RITA, Call, Scenario, delete, get, post, put
from .networks import LONG, NOWHERE

GROUP = "subnet"
Values = dict[str, Any]
FOUR: Values = {"network_id": "{net}", "ip_version": 4}
SIX: Values = {"network_id": "{net}", "ip_version": 6}
NETWORK = post(ALICE, "networks", {}, save="net")


def four(**values: Any) -> Values:
    """10.0.0.0/24 on the network."""
    return {**FOUR, "cidr": "10.0.0.0/24", **values}


def six(**values: Any) -> Values:
    """fd00::/64 on the network."""
    return {**SIX, "cidr": "fd00::/64", **values}


def modes(ra_mode: str, address_mode: str) -> Values:
    """What routers announce, and where addresses come from."""
    return {"ipv6_ra_mode": ra_mode, "ipv6_address_mode": address_mode}


def pool(start: str, end: str) -> dict[str, str]:
    """A range of addresses; without a dot or colon, the last number of 10.0.0.0/24."""
    first, last = (end if "." in end or ":" in end else f"10.0.0.{end}" for end in (start, end))
    return {"start": first, "end": last}


def route(destination: str, nexthop: str = "10.0.0.3") -> dict[str, str]:
    """A route for the guests."""
    return {"destination": destination, "nexthop": nexthop}


BAD: tuple[Values, ...] = (
    {"ip_version": 4, "cidr": "10.0.0.0/24"},
    {"network_id": "{net}", "cidr": "10.0.0.0/24"},
    {"network_id": "{net}", "ip_version": 4},
    {"network_id": NOWHERE, "ip_version": 4, "cidr": "10.0.0.0/24"},
    {"network_id": "x", "ip_version": 4, "cidr": "10.0.0.0/24"},
    {"network_id": None, "ip_version": 4, "cidr": "10.0.0.0/24"},
    {**FOUR, "cidr": None},
    {**FOUR, "cidr": ""},
    {**FOUR, "cidr": "10.0.0.0"},
    {**FOUR, "cidr": "10.0.0.0/33"},
    {**FOUR, "cidr": "300.0.0.0/24"},
    {**FOUR, "cidr": "10.0.0/24"},
    {**FOUR, "cidr": "10.0.0.5/24"},
    {**FOUR, "cidr": "fd00::/64"},
    {**FOUR, "cidr": "0.0.0.0/0"},
    {**FOUR, "cidr": "224.0.0.0/24"},
    {**FOUR, "cidr": "127.0.0.0/24"},
    {**FOUR, "cidr": "169.254.0.0/24"},
    {**FOUR, "cidr": "10.0.0.0/32"},
    {**FOUR, "cidr": "10.0.0.0/31"},
    {**SIX, "cidr": "10.0.0.0/24"},
    {**SIX, "cidr": "fd00::/129"},
    {**SIX, "cidr": "fe80::/64"},
    {**SIX, "cidr": "ff00::/64"},
    {**SIX, "cidr": "fd00::/128"},
    {"network_id": "{net}", "ip_version": 5, "cidr": "10.0.0.0/24"},
    {"network_id": "{net}", "ip_version": "x", "cidr": "10.0.0.0/24"},
    {"network_id": "{net}", "ip_version": None, "cidr": "10.0.0.0/24"},
    four(name=5),
    four(name=LONG),
    four(description=LONG),
    four(enable_dhcp="x"),
    four(enable_dhcp=None),
    four(gateway_ip="x"),
    four(gateway_ip=""),
    four(gateway_ip="10.0.0.0"),
    four(gateway_ip="10.0.0.255"),
    four(gateway_ip="fd00::1"),
    four(gateway_ip="10.0.0.20", allocation_pools=[pool("10", "30")]),
    four(allocation_pools="x"),
    four(allocation_pools=None),
    four(allocation_pools=["x"]),
    four(allocation_pools=[{"start": "10.0.0.10"}]),
    four(allocation_pools=[pool("10", "5")]),
    four(allocation_pools=[pool("10", "10.0.1.5")]),
    four(allocation_pools=[pool("10", "255")]),
    four(allocation_pools=[pool("0", "9")], gateway_ip=None),
    four(allocation_pools=[pool("fd00::1", "fd00::9")]),
    four(allocation_pools=[pool("x", "y")]),
    four(allocation_pools=[{"start": "10.0.0.10", "end": "10.0.0.20", "more": 1}]),
    four(allocation_pools=[pool("10", "20"), pool("20", "30")]),
    four(dns_nameservers="x"),
    four(dns_nameservers=["x"]),
    four(dns_nameservers=["10.0.0.2", "10.0.0.2"]),
    four(dns_nameservers=[f"10.0.0.{n}" for n in range(2, 9)]),
    four(dns_nameservers=None),
    four(host_routes="x"),
    four(host_routes=[{"destination": "10.5.0.0/16"}]),
    four(host_routes=[route("10.5.0.0/16", "x")]),
    four(host_routes=[route("x")]),
    four(host_routes=[route("fd01::/64", "fd00::3")]),
    four(host_routes=[route("10.5.0.0/16")] * 2),
    four(host_routes=[route(f"10.{n}.0.0/16") for n in range(5, 27)]),
    four(ipv6_ra_mode="slaac"),
    four(ipv6_address_mode="slaac"),
    six(ipv6_ra_mode="x"),
    six(ipv6_address_mode="x"),
    six(ipv6_ra_mode=None),
    six(**modes("slaac", "dhcpv6-stateful")),
    six(ipv6_ra_mode="slaac", enable_dhcp=False),
    six(ipv6_address_mode="slaac", enable_dhcp=False),
    {**SIX, "cidr": "fd00::/65", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"},
    {**SIX, "cidr": "fd00::/48", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"},
    four(subnetpool_id="x"),
    four(subnetpool_id=NOWHERE),
    {**FOUR, "subnetpool_id": NOWHERE},
    four(prefixlen=24),
    {**FOUR, "use_default_subnetpool": True},
    four(service_types=["x"]),
    four(service_types=["compute:nova", "compute:nova"]),
    four(service_types="compute:nova"),
    four(service_types=[5]),
    four(segment_id=NOWHERE),
    four(tenant_id="{bob}"),
    four(shared=True),
    four(id=NOWHERE),
    four(bogus=1),
)
GOOD: tuple[Values, ...] = (
    four(),
    {**FOUR, "cidr": "10.0.0.0/30"},
    {**FOUR, "cidr": "10.0.0.0/8"},
    {"network_id": "{net}", "ip_version": "4", "cidr": "10.0.0.0/24"},
    four(name="s", description="d"),
    four(gateway_ip=None),
    four(gateway_ip="10.0.0.254"),
    four(gateway_ip="10.0.0.100"),
    four(gateway_ip="10.9.0.1"),
    four(enable_dhcp=False),
    four(enable_dhcp="false"),
    four(allocation_pools=[pool("10", "20")]),
    four(allocation_pools=[pool("10", "10")]),
    four(allocation_pools=[pool("30", "40"), pool("10", "20")]),
    four(allocation_pools=[]),
    four(allocation_pools=[pool("1", "9")], gateway_ip=None),
    four(dns_nameservers=["10.0.0.3", "10.0.0.2"]),
    four(dns_nameservers=["fd00::3"]),
    four(dns_nameservers=["0.0.0.0"]),  # noqa: S104 -- "none", to DHCP clients
    four(host_routes=[route("10.5.0.0/16")]),
    four(host_routes=[route("0.0.0.0/0")]),
    four(service_types=["compute:nova", "network:dhcp"]),
    four(dns_publish_fixed_ip=True),
    four(tenant_id="{alice}"),
    four(ipv6_ra_mode=None),
    four(tags=["a"]),
    six(),
    six(enable_dhcp=False),
    {**SIX, "cidr": "FD00:0:0::/64"},
    {**SIX, "cidr": "fd00::/120"},
    {**SIX, "cidr": "fd00::/126", "gateway_ip": "fd00::"},
    six(gateway_ip="fe80::1"),
    six(gateway_ip=None),
    six(**modes("slaac", "slaac")),
    six(ipv6_address_mode="slaac"),
    six(ipv6_ra_mode="slaac"),
    six(**modes("dhcpv6-stateful", "dhcpv6-stateful")),
    six(**modes("dhcpv6-stateless", "dhcpv6-stateless")),
    six(ipv6_address_mode="dhcpv6-stateful"),
    six(allocation_pools=[pool("fd00::10", "fd00::20")]),
)
CHANGES: tuple[Values, ...] = (
    {"name": "b"},
    {"description": "d"},
    {"enable_dhcp": False},
    {"enable_dhcp": "yes"},
    {"gateway_ip": "10.1.0.254"},
    {"gateway_ip": None},
    {"gateway_ip": "10.2.0.1"},
    {"gateway_ip": "10.1.0.0"},
    {"gateway_ip": "10.1.0.60"},
    {"gateway_ip": "x"},
    {"gateway_ip": "fd00::1"},
    {"allocation_pools": [{"start": "10.1.0.50", "end": "10.1.0.100"}]},
    {"allocation_pools": [{"start": "10.1.0.60", "end": "10.1.0.70"}, {"start": "10.1.0.80", "end": "10.1.0.90"}]},
    {"allocation_pools": [{"start": "10.1.0.60", "end": "10.1.0.90"}, {"start": "10.1.0.80", "end": "10.1.0.95"}]},
    {"allocation_pools": [{"start": "10.2.0.60", "end": "10.2.0.90"}]},
    {"allocation_pools": []},
    {"gateway_ip": "10.1.0.65"},
    {"dns_nameservers": ["9.9.9.9"]},
    {"dns_nameservers": []},
    {"dns_nameservers": ["x"]},
    {"host_routes": [{"destination": "10.5.0.0/16", "nexthop": "10.1.0.3"}]},
    {"host_routes": []},
    {"service_types": ["compute:nova"]},
    {"service_types": []},
    {"dns_publish_fixed_ip": True},
    {"cidr": "10.3.0.0/24"},
    {"ip_version": 6},
    {"network_id": "{net}"},
    {"tenant_id": "{alice}"},
    {"ipv6_ra_mode": "slaac"},
    {"subnetpool_id": NOWHERE},
    {"segment_id": NOWHERE},
    {"id": NOWHERE},
    {"name": 5},
    {"bogus": 1},
)


def each(values: tuple[Values, ...], who: str = ALICE) -> tuple[Call, ...]:
    """A network, and with each of the values a subnet on it, which goes before the next comes."""
    calls = [NETWORK]
    for number, one in enumerate(values):
        calls += [post(who, "subnets", one, save=f"sub{number}"), delete(who, f"subnets/{{sub{number}}}")]
    return tuple(calls)


SCENARIOS = (
    Scenario(
        GROUP,
        "life of a subnet",
        (
            NETWORK,
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            get(ALICE, "subnets/{sub}"),
            get(ALICE, "subnets"),
            get(ADMIN, "subnets/{sub}"),
            get(RITA, "subnets/{sub}"),
            get(BOB, "subnets/{sub}"),
            get(BOB, "subnets"),
            put(ALICE, "subnets/{sub}", {"name": "renamed"}),
            put(BOB, "subnets/{sub}", {"name": "mine"}),
            put(RITA, "subnets/{sub}", {"name": "mine"}),
            put(MARA, "subnets/{sub}", {"name": "mara"}),
            delete(BOB, "subnets/{sub}"),
            delete(RITA, "subnets/{sub}"),
            delete(ALICE, "subnets/{sub}"),
            get(ALICE, "subnets/{sub}"),
            delete(ALICE, "subnets/{sub}"),
        ),
    ),
    Scenario(GROUP, "values that are refused", (NETWORK, *(post(ALICE, "subnets", values) for values in BAD))),
    Scenario(GROUP, "values that are taken", each(GOOD)),
    Scenario(
        GROUP,
        "changes by the owner",
        (
            NETWORK,
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            *(put(ALICE, "subnets/{sub}", change) for change in CHANGES),
        ),
    ),
    Scenario(
        GROUP,
        "on a network of somebody else",
        (
            NETWORK,
            post(BOB, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}),
            post(RITA, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}),
            post(ADMIN, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            get(ALICE, "subnets/{sub}"),
            get(ALICE, "networks/{net}"),
            put(ALICE, "subnets/{sub}", {"name": "on mine"}),
            delete(ALICE, "subnets/{sub}"),
        ),
    ),
    Scenario(
        GROUP,
        "that overlap",
        (
            NETWORK,
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}),
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.128/25"}),
            post(ALICE, "subnets", {**FOUR, "cidr": "10.0.0.0/8"}),
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.1.0/24"}),
            post(ALICE, "subnets", {**SIX, "cidr": "fd00::/64"}),
            post(ALICE, "subnets", {**SIX, "cidr": "fd00::/64"}),
            post(ALICE, "subnets", [{**FOUR, "cidr": "10.7.0.0/24"}, {**FOUR, "cidr": "10.7.0.0/25"}]),
            post(ALICE, "subnets", [{**FOUR, "cidr": "10.7.0.0/24"}, {**FOUR, "cidr": "10.7.1.0/24"}], save="a b"),
            get(ALICE, "networks/{net}"),
        ),
    ),
    Scenario(
        GROUP,
        "whose addresses are in use",
        (
            NETWORK,
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            post(ALICE, "ports", {"network_id": "{net}", "fixed_ips": [{"ip_address": "10.1.0.40"}]}, save="port"),
            put(ALICE, "subnets/{sub}", {"gateway_ip": "10.1.0.40"}),
            put(ALICE, "subnets/{sub}", {"allocation_pools": [{"start": "10.1.0.50", "end": "10.1.0.60"}]}),
            get(ALICE, "ports/{port}"),
            delete(ALICE, "subnets/{sub}"),
            put(ALICE, "ports/{port}", {"fixed_ips": []}),
            delete(ALICE, "subnets/{sub}"),
            get(ALICE, "networks/{net}"),
        ),
    ),
    Scenario(
        GROUP,
        "revisions",
        (
            NETWORK,
            get(ALICE, "networks/{net}"),
            post(ALICE, "subnets", {**FOUR, "cidr": "10.1.0.0/24"}, save="sub"),
            get(ALICE, "networks/{net}"),
            put(ALICE, "subnets/{sub}", {"name": "a"}, if_match="revision_number=77"),
            put(ALICE, "subnets/{sub}", {"name": "a"}, if_match="revision_number={sub.revision_number}"),
            get(ALICE, "networks/{net}"),
            delete(ALICE, "subnets/{sub}"),
            get(ALICE, "networks/{net}"),
        ),
    ),
)
