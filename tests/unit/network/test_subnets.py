from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from cove.network import errors, rbac_policies, subnets
from cove.network.models import networks, ports
from cove.network.tables.subnet import SUBNET
from tests.unit.network.address_lab import ADMIN, ALICE, BOB, Lab

SLAAC: dict[str, Any] = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
RESOURCE = subnets.RESOURCE


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.engine.dispose()


# --- create ----------------------------------------------------------------------------------------------------------


def test_what_a_new_subnet_looks_like(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.77/24", name="a")
    assert subnet == lab.show(RESOURCE, subnet["id"])
    assert {name: subnet[name] for name in ("cidr", "gateway_ip", "allocation_pools", "enable_dhcp")} == {
        "cidr": "192.0.2.0/24",
        "gateway_ip": "192.0.2.1",
        "allocation_pools": [{"start": "192.0.2.2", "end": "192.0.2.254"}],
        "enable_dhcp": True,
    }
    assert (subnet["project_id"], subnet["tenant_id"], subnet["revision_number"]) == ("alice", "alice", 1)
    # Every attribute that is shown is one of the table's, and the others say why they are not shown.
    hidden = {"prefixlen", "use_default_subnetpool", "shared"}
    assert set(subnet) == set(SUBNET.by_name) - hidden


@pytest.mark.parametrize(
    ("body", "gateway", "pools"),
    [
        ({"cidr": "2001:DB8::1/64"}, "2001:db8::", [("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")]),
        (
            {"cidr": "2001:db8::/64", "gateway_ip": "fe80::1"},
            "fe80::1",
            [("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff")],
        ),
        (
            {"cidr": "2001:db8::/64", "gateway_ip": "2001:db8::1"},
            "2001:db8::1",
            [("2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff")],
        ),
        ({"cidr": "192.0.2.0/24", "gateway_ip": None}, None, [("192.0.2.1", "192.0.2.254")]),
        ({"cidr": "192.0.2.0/24", "gateway_ip": "198.51.100.1"}, "198.51.100.1", [("192.0.2.1", "192.0.2.254")]),
        (
            {"cidr": "192.0.2.0/24", "gateway_ip": "192.0.2.7"},
            "192.0.2.7",
            [("192.0.2.1", "192.0.2.6"), ("192.0.2.8", "192.0.2.254")],
        ),
        (
            {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.9", "end": "192.0.2.9"}]},
            "192.0.2.1",
            [("192.0.2.9", "192.0.2.9")],
        ),
        ({"cidr": "192.0.2.0/24", "allocation_pools": []}, "192.0.2.1", [("192.0.2.2", "192.0.2.254")]),
        (
            {
                "cidr": "192.0.2.0/24",
                "allocation_pools": [
                    {"start": "192.0.2.100", "end": "192.0.2.101"},
                    {"start": "192.0.2.9", "end": "192.0.2.9"},
                ],
            },
            "192.0.2.1",
            [("192.0.2.9", "192.0.2.9"), ("192.0.2.100", "192.0.2.101")],
        ),
        ({"cidr": "192.0.2.4/32", "enable_dhcp": False}, "192.0.2.5", [("192.0.2.4", "192.0.2.4")]),
        ({"cidr": "2001:db8::/126", "enable_dhcp": True}, "2001:db8::", [("2001:db8::1", "2001:db8::3")]),
    ],
)
def test_gateway_and_pools(lab: Lab, body: dict[str, Any], gateway: str | None, pools: list[tuple[str, str]]) -> None:
    subnet = lab.subnet(lab.network(), **body)
    assert subnet["gateway_ip"] == gateway
    assert subnet["allocation_pools"] == [{"start": start, "end": end} for start, end in pools]


REFUSED: list[tuple[dict[str, Any], type[errors.NetworkingError], str]] = [
    ({}, errors.BadRequest, "needs a cidr"),
    ({"cidr": "192.0.2.0/24", "prefixlen": 24}, errors.BadRequest, "exclude each other"),
    ({"cidr": "192.0.2.0/24", "ip_version": 6}, errors.InvalidInput, "does not match ip_version"),
    ({"cidr": "::/64", "ip_version": 6}, errors.InvalidInput, "prefix :: is not supported"),
    ({"cidr": "192.0.2.0/31"}, errors.InvalidInput, "longer than /30"),
    ({"cidr": "2001:db8::/127"}, errors.InvalidInput, "longer than /126"),
    ({"cidr": "224.0.0.0/24"}, errors.InvalidInput, "multicast"),
    ({"cidr": "ff02::/64"}, errors.InvalidInput, "multicast"),
    ({"cidr": "127.0.0.0/24"}, errors.InvalidInput, "loopback"),
    ({"cidr": "0.0.0.0/24"}, errors.InvalidInput, "first address is 0.0.0.0"),
    ({"cidr": "192.0.2.0/24", "gateway_ip": "192.0.2.255"}, errors.InvalidInput, "broadcast"),
    ({"cidr": "192.0.2.0/24", "gateway_ip": "fe80::1"}, errors.InvalidInput, "not of IP version 4"),
    ({"cidr": "2001:db8::/64", "gateway_ip": "192.0.2.1"}, errors.InvalidInput, "not of IP version 6"),
    (
        {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.1", "end": "192.0.2.9"}]},
        errors.GatewayConflictWithAllocationPools,
        "192.0.2.1",
    ),
    (
        {"cidr": "192.0.2.0/24", "allocation_pools": [{"start": "192.0.2.9", "end": "192.0.3.9"}]},
        errors.OutOfBoundsAllocationPool,
        "192.0.3.9",
    ),
    ({"cidr": "192.0.2.0/24", "dns_nameservers": ["2001:db8::1"]}, errors.InvalidInput, "dns_nameservers"),
    ({"cidr": "2001:db8::/64", "dns_nameservers": ["192.0.2.1"]}, errors.InvalidInput, "dns_nameservers"),
    (
        {"cidr": "192.0.2.0/24", "dns_nameservers": [f"192.0.2.{n}" for n in range(1, 7)]},
        errors.DNSNameServersExhausted,
        "more than 5",
    ),
    (
        {
            "cidr": "192.0.2.0/24",
            "host_routes": [{"destination": f"10.{n}.0.0/16", "nexthop": "192.0.2.1"} for n in range(21)],
        },
        errors.HostRoutesExhausted,
        "more than 20",
    ),
    (
        {"cidr": "192.0.2.0/24", "host_routes": [{"destination": "2001:db8::/64", "nexthop": "192.0.2.1"}]},
        errors.InvalidInput,
        "host_routes: 2001:db8::/64",
    ),
    (
        {"cidr": "192.0.2.0/24", "host_routes": [{"destination": "10.0.0.0/8", "nexthop": "2001:db8::1"}]},
        errors.InvalidInput,
        "host_routes: 2001:db8::1",
    ),
    ({"cidr": "192.0.2.0/24", "ipv6_ra_mode": "slaac"}, errors.InvalidInput, "ip_version 6"),
    ({"cidr": "192.0.2.0/24", "ipv6_address_mode": "slaac"}, errors.InvalidInput, "ip_version 6"),
    ({"cidr": "2001:db8::/64", "enable_dhcp": False, **SLAAC}, errors.InvalidInput, "enable_dhcp"),
    ({"cidr": "2001:db8::/80", **SLAAC}, errors.InvalidInput, "must be 64"),
    ({"cidr": "2001:db8::/80", "ipv6_address_mode": "dhcpv6-stateless"}, errors.InvalidInput, "must be 64"),
    ({"subnetpool_id": "prefix_delegation", "ip_version": 6, **SLAAC}, errors.BadRequest, "router"),
    ({"use_default_subnetpool": True}, errors.BadRequest, "no default subnet pool"),
    (
        {"subnetpool_id": "3a06dfc7-a239-4bad-b8e5-80a24b9d1d40"},
        errors.SubnetPoolNotFound,
        "3a06dfc7",
    ),
]


@pytest.mark.parametrize(("body", "error", "reason"), REFUSED)
def test_refused(lab: Lab, body: dict[str, Any], error: type[errors.NetworkingError], reason: str) -> None:
    network = lab.network()
    version = 6 if ":" in body.get("cidr", "") else 4
    with pytest.raises(error, match=reason) as caught:
        lab.subnet(network, **{"ip_version": version, **body})
    assert caught.value.code in (400, 404, 409)
    with lab.engine.connect() as connection:
        assert connection.execute(sa.select(subnets.RESOURCE.table.c.id)).all() == []


MODES = (None, "slaac", "dhcpv6-stateful", "dhcpv6-stateless")


@pytest.mark.parametrize("ra_mode", MODES)
@pytest.mark.parametrize("address_mode", MODES)
def test_ipv6_modes(lab: Lab, ra_mode: str | None, address_mode: str | None) -> None:
    body: dict[str, Any] = {"ipv6_ra_mode": ra_mode, "ipv6_address_mode": address_mode}
    if None not in (ra_mode, address_mode) and ra_mode != address_mode:
        with pytest.raises(errors.InvalidInput, match="differ"):
            lab.subnet(lab.network(), "2001:db8::/64", **body)
        return
    subnet = lab.subnet(lab.network(), "2001:db8::/64", **body)
    assert (subnet["ipv6_ra_mode"], subnet["ipv6_address_mode"]) == (ra_mode, address_mode)


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("192.0.2.0/24", "192.0.2.128/25", True),
        ("192.0.2.128/25", "192.0.2.0/24", True),
        ("192.0.2.0/24", "192.0.3.0/24", False),
        ("2001:db8::/64", "2001:db8::/80", True),
        ("2001:db8::/64", "192.0.2.0/24", False),
    ],
)
def test_overlap_on_one_network(lab: Lab, first: str, second: str, clash: bool) -> None:
    network = lab.network()
    lab.subnet(network, first)
    lab.subnet(lab.network(), second)  # elsewhere it does not matter
    if clash:
        # The words that OpenStack's test suite looks for, and not whose subnet it is.
        with pytest.raises(errors.InvalidInput, match="overlaps with another subnet of network"):
            lab.subnet(network, second)
    else:
        lab.subnet(network, second)


def test_ipv6_needs_the_mtu_for_it(lab: Lab) -> None:
    network = lab.network(mtu=1279)
    lab.subnet(network, "192.0.2.0/24")
    with pytest.raises(errors.NetworkMTUSubnetConflict):
        lab.subnet(network, "2001:db8::/64")


def test_a_new_subnet_counts_as_a_change_of_the_network(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    assert lab.revision(networks, network) == 2
    lab.update(RESOURCE, subnet["id"], name="b")
    assert lab.revision(networks, network) == 3


# --- update ----------------------------------------------------------------------------------------------------------


def test_update(lab: Lab) -> None:
    subnet = lab.subnet(lab.network(), "192.0.2.0/24")
    changes: dict[str, Any] = {
        "name": "b",
        "description": "c",
        "gateway_ip": None,
        "enable_dhcp": False,
        "dns_nameservers": ["192.0.2.53"],
        "host_routes": [{"destination": "10.0.0.0/8", "nexthop": "192.0.2.9"}],
        "service_types": ["compute:nova"],
        "dns_publish_fixed_ip": True,
    }
    after = lab.update(RESOURCE, subnet["id"], **changes)
    assert {name: after[name] for name in changes} == changes
    assert after["revision_number"] == 2
    assert after == lab.show(RESOURCE, subnet["id"])
    assert lab.update(RESOURCE, subnet["id"], **changes)["revision_number"] == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"gateway_ip": "192.0.2.9"}, errors.GatewayConflictWithAllocationPools),
        ({"gateway_ip": "192.0.2.255"}, errors.InvalidInput),
        ({"gateway_ip": "fe80::1"}, errors.InvalidInput),
        ({"allocation_pools": [{"start": "192.0.2.1", "end": "192.0.2.5"}]}, errors.GatewayConflictWithAllocationPools),
        ({"allocation_pools": [{"start": "192.0.2.9", "end": "192.0.2.5"}]}, errors.InvalidAllocationPool),
        ({"dns_nameservers": ["2001:db8::1"]}, errors.InvalidInput),
    ],
)
def test_refused_updates(lab: Lab, change: dict[str, Any], error: type[errors.NetworkingError]) -> None:
    subnet = lab.subnet(lab.network(), "192.0.2.0/24")
    with pytest.raises(error):
        lab.update(RESOURCE, subnet["id"], **change)
    assert lab.show(RESOURCE, subnet["id"]) == subnet


def test_new_pools_make_new_free_ranges(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    ports_there = [lab.port(network)[0] for _ in range(3)]
    lab.update(RESOURCE, subnet["id"], allocation_pools=[{"start": "192.0.2.3", "end": "192.0.2.9"}])
    assert lab.free(subnet["id"]) == [(5, 9)]
    for port_id in ports_there:
        lab.release(network, port_id)
    assert lab.free(subnet["id"]) == [(3, 9)]  # 192.0.2.2 is outside of them now


def test_new_pools_of_an_automatic_subnet(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, _ = lab.port(network)
    lab.update(RESOURCE, subnet["id"], allocation_pools=[{"start": "2001:db8::9", "end": "2001:db8:0:0:ffff::"}])
    assert lab.free(subnet["id"]) == [(9, 0xFFFF << 48)]
    lab.release(network, port_id)
    assert lab.free(subnet["id"]) == [(9, 0xFFFF << 48)]


def test_dhcp_cannot_go_where_ipv6_modes_are(lab: Lab) -> None:
    subnet = lab.subnet(lab.network(), "2001:db8::/64", ipv6_address_mode="dhcpv6-stateful")
    with pytest.raises(errors.InvalidInput, match="enable_dhcp"):
        lab.update(RESOURCE, subnet["id"], enable_dhcp=False)


def test_dhcp_cannot_come_where_it_never_works(lab: Lab) -> None:
    subnet = lab.subnet(lab.network(), "192.0.2.0/31", enable_dhcp=False)
    with pytest.raises(errors.InvalidInput, match="longer than"):
        lab.update(RESOURCE, subnet["id"], enable_dhcp=True)
    lab.update(RESOURCE, subnet["id"], name="fine")


def test_a_routers_gateway_stays(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    lab.port(network, [{"ip_address": "192.0.2.1"}], owner="network:router_interface")
    with pytest.raises(errors.GatewayIpInUse):
        lab.update(RESOURCE, subnet["id"], gateway_ip=None)
    lab.update(RESOURCE, subnet["id"], gateway_ip="192.0.2.1", name="fine")


# --- delete ----------------------------------------------------------------------------------------------------------


def test_delete(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    port_id, _ = lab.port(network)
    with pytest.raises(errors.SubnetInUse, match=port_id):
        lab.delete(RESOURCE, subnet["id"])
    lab.release(network, port_id)
    assert lab.delete(RESOURCE, subnet["id"])["id"] == subnet["id"]
    assert lab.free(subnet["id"]) == []
    assert lab.visible(RESOURCE, ALICE) == set()


def test_dhcp_servers_ports_go_with_their_last_subnet(lab: Lab) -> None:
    network = lab.network()
    first, second = lab.subnet(network, "192.0.2.0/24"), lab.subnet(network, "198.51.100.0/24")
    both, one = (
        lab.port(network, [{"subnet_id": each["id"]} for each in of], owner="network:dhcp")[0]
        for of in ((first, second), (first,))
    )
    with lab.tx() as tx:
        subnets.delete(tx, lab.row(tx, RESOURCE, first["id"]))
        assert tx.counted == {("alice", "port"): -1}
    assert [entry["ip_address"] for entry in lab.fixed_ips(both)] == ["198.51.100.2"]
    assert lab.revision(ports, both) == 2
    with lab.engine.connect() as connection:
        assert connection.execute(sa.select(ports.c.id).where(ports.c.id.in_([both, one]))).scalars().all() == [both]


# --- who sees, filters -----------------------------------------------------------------------------------------------


def test_who_sees_a_subnet(lab: Lab) -> None:
    own, shared, external, hidden = (lab.network() for _ in range(4))
    ids = {net: lab.subnet(net, "192.0.2.0/24")["id"] for net in (own, shared, external, hidden)}
    with lab.tx(ADMIN) as tx:
        rbac_policies.set_shared(tx, "network", shared, "alice", True)
        rbac_policies.set_external(tx, external, "alice", True)
    assert lab.visible(RESOURCE, ALICE) == set(ids.values())
    assert lab.visible(RESOURCE, BOB) == {ids[shared], ids[external]}


def test_filters_of_what_follows_from_the_network(lab: Lab) -> None:
    plain, shared, external = lab.network(), lab.network(), lab.network(router_external=True)
    ids = [lab.subnet(net, "192.0.2.0/24")["id"] for net in (plain, shared, external)]
    with lab.tx(ADMIN) as tx:
        rbac_policies.set_shared(tx, "network", shared, "alice", True)
    for name, value, expected in (
        ("shared", True, {ids[1]}),
        ("shared", False, {ids[0], ids[2]}),
        ("router:external", True, {ids[2]}),
        ("router:external", False, {ids[0], ids[1]}),
        ("shared", "?", set()),
    ):
        with lab.reading() as reading:
            condition = RESOURCE.filters[name](reading, [value])
            found = set(reading.connection.execute(sa.select(RESOURCE.table.c.id).where(condition)).scalars())
        assert found == expected, (name, value)
    assert lab.show(RESOURCE, ids[2])["router:external"] is True


def test_a_list_takes_the_same_statements_however_long(lab: Lab) -> None:
    network = lab.network()
    rows = []
    for number in range(12):
        subnet = lab.subnet(network, f"10.{number}.0.0/24")
        with lab.reading() as reading:
            rows.append(lab.row(reading, RESOURCE, subnet["id"]))
    counts = []
    for some in (rows[:2], rows):
        with lab.reading() as reading:
            lab.statements.clear()
            subnets.view(reading, some)
            counts.append(len(lab.statements))
    assert counts[0] == counts[1] <= 2
