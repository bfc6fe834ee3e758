from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest

from cove.network import addresses, errors, ipam, subnets
from cove.network.models import networks, ports
from tests.unit.network.address_lab import ADMIN, ALICE, BOB, Lab

MAC = "fa:16:3e:aa:bb:cc"
EUI = "2001:db8::f816:3eff:feaa:bbcc"
OTHER_MAC = "fa:16:3e:00:00:99"
OTHER_EUI = "2001:db8::f816:3eff:fe00:99"
SLAAC: dict[str, Any] = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
STATEFUL: dict[str, Any] = {"ipv6_ra_mode": "dhcpv6-stateful", "ipv6_address_mode": "dhcpv6-stateful"}
ROUTER = "network:router_interface"


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    yield made
    made.engine.dispose()


# --- asking for nothing ----------------------------------------------------------------------------------------------


def test_the_first_address_of_the_oldest_subnet(lab: Lab) -> None:
    network = lab.network()
    oldest = lab.subnet(network, "192.0.2.0/24")
    lab.subnet(network, "198.51.100.0/24")
    _, fixed_ips = lab.port(network)
    assert fixed_ips == [{"subnet_id": oldest["id"], "ip_address": "192.0.2.2"}]


def test_the_next_subnet_when_the_first_is_full(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/30")
    lab.subnet(network, "198.51.100.0/30")
    assert [lab.addresses(network) for _ in range(2)] == [["192.0.2.2"], ["198.51.100.2"]]
    with pytest.raises(errors.IpAddressGenerationFailure):
        lab.port(network)


def test_no_subnet_no_address(lab: Lab) -> None:
    assert lab.addresses(lab.network()) == []


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ({}, ["192.0.2.2", "2001:db8::1"]),
        (STATEFUL, ["192.0.2.2", "2001:db8::1"]),
        ({"ipv6_address_mode": "dhcpv6-stateful"}, ["192.0.2.2", "2001:db8::1"]),
        (SLAAC, ["192.0.2.2", EUI]),
        ({"ipv6_ra_mode": "dhcpv6-stateless", "ipv6_address_mode": "dhcpv6-stateless"}, ["192.0.2.2", EUI]),
        ({"ipv6_address_mode": "slaac"}, ["192.0.2.2", EUI]),
        ({"ipv6_ra_mode": "slaac"}, ["192.0.2.2", EUI]),
    ],
)
def test_one_address_of_each_version(lab: Lab, modes: dict[str, Any], expected: list[str]) -> None:
    network = lab.network()
    lab.subnet(network, "2001:db8::/64", **modes)
    lab.subnet(network, "192.0.2.0/24")
    assert lab.addresses(network, mac=MAC) == expected


def test_one_of_every_automatic_subnet_beside_a_stateful_one(lab: Lab) -> None:
    network = lab.network()
    for cidr, modes in (("2001:db8::/64", SLAAC), ("2001:db8:1::/64", STATEFUL), ("2001:db8:2::/64", SLAAC)):
        lab.subnet(network, cidr, **modes)
    assert lab.addresses(network, mac=MAC) == ["2001:db8:1::1", EUI, EUI.replace("db8::", "db8:2:0:")]


def test_a_full_version_fails_although_the_other_has_addresses(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/30")
    lab.subnet(network, "2001:db8::/64")
    lab.port(network)
    with pytest.raises(errors.IpAddressGenerationFailure):
        lab.port(network)


def test_routers_take_from_the_pool_of_an_automatic_subnet_when_they_ask_for_it(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    assert lab.addresses(network, owner=ROUTER) == []
    assert lab.addresses(network, [{"subnet_id": subnet["id"]}], owner=ROUTER) == ["2001:db8::1"]
    assert lab.addresses(network, [{"ip_address": "2001:db8::"}], owner=ROUTER) == ["2001:db8::"]


# --- asking for something --------------------------------------------------------------------------------------------


def test_by_subnet_by_address_and_both(lab: Lab) -> None:
    network = lab.network()
    first, second = lab.subnet(network, "192.0.2.0/24"), lab.subnet(network, "198.51.100.0/24")
    wanted = [
        {"subnet_id": second["id"]},
        {"ip_address": "192.0.2.2"},
        {"subnet_id": second["id"], "ip_address": "198.51.100.2"},
        {"subnet_id": first["id"]},
    ]
    # Named ones are taken first, so that the others get the next ones.
    assert lab.addresses(network, wanted) == ["198.51.100.3", "192.0.2.2", "198.51.100.2", "192.0.2.3"]


def test_several_of_one_subnet(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    assert lab.addresses(network, [{"subnet_id": subnet["id"]}] * 3) == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]


def test_an_address_outside_the_pools(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", allocation_pools=[{"start": "2001:db8::100", "end": "2001:db8::1ff"}])
    port_id, fixed_ips = lab.port(network, [{"ip_address": "2001:db8::5"}])
    assert fixed_ips[0]["ip_address"] == "2001:db8::5"
    assert lab.free(subnet["id"]) == [(0x100, 0x1FF)]
    lab.release(network, port_id)
    assert lab.free(subnet["id"]) == [(0x100, 0x1FF)]


def test_none_wanted_is_none_but_what_hosts_make_themselves(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    assert lab.addresses(network, []) == []
    lab.subnet(network, "2001:db8::/64", **SLAAC)
    assert lab.addresses(network, [], mac=MAC) == [EUI]


@pytest.mark.parametrize("named", ["subnet", "address", "both"])
def test_an_automatic_subnet_asked_for_by_name(lab: Lab, named: str) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    want = {"subnet_id": subnet["id"], "ip_address": EUI}
    if named != "both":
        del want["ip_address" if named == "subnet" else "subnet_id"]
    assert lab.addresses(network, [want], mac=MAC) == [EUI]


def _id_of(subnet: dict[str, Any]) -> dict[str, str]:
    return {"subnet_id": subnet["id"]}


def test_refusals(lab: Lab) -> None:
    network, elsewhere = lab.network(), lab.network()
    v4, slaac = lab.subnet(network, "192.0.2.0/24"), lab.subnet(network, "2001:db8::/64", **SLAAC)
    stateful = lab.subnet(network, "2001:db8:1::/64")
    far = lab.subnet(elsewhere, "198.51.100.0/24")
    hidden = lab.subnet(lab.network(project_id="bob"), "203.0.113.0/24", BOB)
    lab.port(network, [{"ip_address": "192.0.2.9"}])
    cases: list[tuple[dict[str, str], type[errors.NetworkingError]]] = [
        ({}, errors.InvalidInput),
        ({"ip_address": "203.0.113.1"}, errors.InvalidIpForNetwork),
        ({"ip_address": "192.0.2.0"}, errors.InvalidIpForNetwork),
        ({"ip_address": "192.0.2.255"}, errors.InvalidIpForNetwork),
        (_id_of(v4) | {"ip_address": "192.0.2.255"}, errors.InvalidIpForSubnet),
        (_id_of(v4) | {"ip_address": "2001:db8::1"}, errors.InvalidIpForSubnet),
        (_id_of(stateful) | {"ip_address": "192.0.2.7"}, errors.InvalidIpForSubnet),
        (_id_of(far), errors.InvalidInput),
        (_id_of(hidden), errors.SubnetNotFound),
        ({"subnet_id": "3a06dfc7-a239-4bad-b8e5-80a24b9d1d40"}, errors.SubnetNotFound),
        ({"ip_address": "192.0.2.9"}, errors.IpAddressAlreadyAllocated),
        ({"ip_address": "2001:db8::5"}, errors.AllocationOnAutoAddressSubnet),
        (_id_of(slaac) | {"ip_address": OTHER_EUI}, errors.AllocationOnAutoAddressSubnet),
    ]
    for want, error in cases:
        with pytest.raises(error):
            lab.port(network, [want], mac=MAC)
    with pytest.raises(errors.InvalidInput, match="no subnet"):
        lab.port(lab.network(), [{"ip_address": "192.0.2.1"}])
    with pytest.raises(errors.InvalidInput, match="at most 64"):
        lab.port(network, [_id_of(v4)] * 65)


def test_the_routers_anycast_address_is_for_routers_and_unknown_owners(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "2001:db8::/64", gateway_ip="2001:db8::1")
    with pytest.raises(errors.InvalidIpForNetwork):
        lab.port(network, [{"ip_address": "2001:db8::"}], owner="compute:nova")
    assert lab.addresses(network, [{"ip_address": "2001:db8::"}]) == ["2001:db8::"]


def test_an_automatic_address_that_a_router_has(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "2001:db8::/64", **SLAAC)
    lab.port(network, [{"ip_address": EUI}], owner=ROUTER)
    with pytest.raises(errors.IpAddressAlreadyAllocated):
        lab.port(network, mac=MAC)


# --- service types ---------------------------------------------------------------------------------------------------


def test_service_types(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24", service_types=["compute:nova"])
    with pytest.raises(errors.IpAddressGenerationFailureNoMatchingSubnet):
        lab.port(network, owner="compute:other")
    with pytest.raises(errors.IpAddressGenerationFailureNoMatchingSubnet):
        lab.port(network, [{"ip_address": "192.0.2.5"}])
    assert lab.addresses(network, owner="network:dhcp") == ["192.0.2.2"]  # it serves the subnet
    lab.subnet(network, "198.51.100.0/24")
    assert lab.addresses(network, owner="compute:other") == ["198.51.100.2"]
    assert lab.addresses(network, owner="compute:nova") == ["192.0.2.3"]


def test_the_subnet_for_such_ports_comes_first_although_it_is_younger(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    typed = lab.subnet(network, "198.51.100.0/30", service_types=["compute:nova"])
    assert lab.addresses(network, owner="compute:nova") == ["198.51.100.2"]
    assert lab.addresses(network, owner="compute:nova") == ["192.0.2.2"]  # the first is full
    with pytest.raises(errors.InvalidInput):
        lab.port(network, [_id_of(typed)], owner="compute:other")


def test_a_subnet_without_dhcp_does_not_serve_a_dhcp_server_of_other_types(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24", service_types=["compute:nova"], enable_dhcp=False)
    with pytest.raises(errors.IpAddressGenerationFailureNoMatchingSubnet):
        lab.port(network, owner="network:dhcp")


# --- change ----------------------------------------------------------------------------------------------------------


def test_a_subnet_keeps_the_address_there_is(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    port_id, before = lab.port(network)
    assert lab.change(network, port_id, [_id_of(subnet)]) == before
    assert lab.change(network, port_id, before) == before
    after = lab.change(network, port_id, [*before, _id_of(subnet)])
    assert [entry["ip_address"] for entry in after] == ["192.0.2.2", "192.0.2.3"]
    assert lab.fixed_ips(port_id) == after
    assert lab.change(network, port_id, [after[1]]) == [after[1]]
    assert lab.free(subnet["id"]) == [(2, 2), (4, 254)]


def test_what_does_not_change_is_not_written(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    port_id, before = lab.port(network)
    lab.statements.clear()
    lab.change(network, port_id, [_id_of(subnet)])
    assert not [s for s in lab.statements if not s.startswith("SELECT")]
    assert lab.change(network, port_id, before) is not None


def test_to_another_address_and_away(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    port_id, _ = lab.port(network)
    after = lab.change(network, port_id, [{"ip_address": "192.0.2.77"}])
    assert after == [_id_of(subnet) | {"ip_address": "192.0.2.77"}]
    assert lab.change(network, port_id, []) == []
    assert lab.fixed_ips(port_id) == []
    assert lab.free(subnet["id"]) == [(2, 254)]


def test_automatic_addresses_stay_whatever_is_wanted(lab: Lab) -> None:
    network = lab.network()
    v4, slaac = lab.subnet(network, "192.0.2.0/24"), lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, before = lab.port(network, mac=MAC)
    automatic = _id_of(slaac) | {"ip_address": EUI}
    assert before == [_id_of(v4) | {"ip_address": "192.0.2.2"}, automatic]
    assert lab.change(network, port_id, []) == [automatic]
    assert lab.change(network, port_id, [_id_of(slaac)]) == [automatic]
    assert lab.change(network, port_id, [_id_of(v4), automatic])[1] == automatic
    assert len(lab.fixed_ips(port_id)) == 2


def test_a_routers_addresses_go_when_they_are_not_wanted(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, _ = lab.port(network, [_id_of(subnet)], owner=ROUTER)
    assert lab.change(network, port_id, [], owner=ROUTER) == []


def test_a_failed_change_leaves_everything(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    lab.port(network, [{"ip_address": "192.0.2.9"}])
    port_id, before = lab.port(network)
    free = lab.free(subnet["id"])
    with pytest.raises(errors.IpAddressAlreadyAllocated):
        lab.change(network, port_id, [{"ip_address": "192.0.2.9"}])
    assert lab.fixed_ips(port_id) == before
    assert lab.free(subnet["id"]) == free


def test_swapping_within_one_request(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "192.0.2.0/24")
    port_id, before = lab.port(network, [_id_of(subnet)] * 2)
    after = lab.change(network, port_id, [before[1], {"ip_address": "192.0.2.50"}])
    assert [entry["ip_address"] for entry in after] == ["192.0.2.3", "192.0.2.50"]


# --- MAC addresses ---------------------------------------------------------------------------------------------------


def test_a_new_mac_makes_new_addresses(lab: Lab) -> None:
    network = lab.network()
    v4, slaac = lab.subnet(network, "192.0.2.0/24"), lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, before = lab.port(network, mac=MAC)
    with lab.tx() as tx:
        after = addresses.mac_changed(tx, network, port_id, before, OTHER_MAC)
    assert after == [before[0], _id_of(slaac) | {"ip_address": OTHER_EUI}]
    assert lab.fixed_ips(port_id) == after
    with lab.tx() as tx:
        assert addresses.mac_changed(tx, network, port_id, after, OTHER_MAC) == after
    assert v4["id"] == before[0]["subnet_id"]


def test_a_new_mac_together_with_the_old_addresses(lab: Lab) -> None:
    """What a client sends that reads a port, changes its MAC address, and writes it back."""
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, before = lab.port(network, mac=MAC)
    after = lab.change(network, port_id, before, mac=OTHER_MAC)
    assert [entry["ip_address"] for entry in after] == ["192.0.2.2", OTHER_EUI]


def test_pool_addresses_stay_when_the_mac_changes(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "2001:db8::/64", **STATEFUL)
    port_id, before = lab.port(network, mac=MAC)
    with lab.tx() as tx:
        assert addresses.mac_changed(tx, network, port_id, before, OTHER_MAC) == before


# --- automatic subnets that come and go ------------------------------------------------------------------------------


def test_a_new_automatic_subnet_gives_addresses_to_the_ports_there_are(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    host, bare = lab.port(network, mac=MAC)[0], lab.port(network, [], mac=OTHER_MAC)[0]
    router, typed = lab.port(network, owner=ROUTER)[0], lab.port(network, owner="compute:a")[0]
    stranger = lab.port(lab.network())[0]
    revisions = {port: lab.revision(ports, port) for port in (host, router, stranger)}
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    assert lab.fixed_ips(host)[1] == _id_of(subnet) | {"ip_address": EUI}
    assert lab.fixed_ips(bare) == [_id_of(subnet) | {"ip_address": OTHER_EUI}]
    assert [len(lab.fixed_ips(port)) for port in (router, typed, stranger)] == [1, 2, 0]
    assert lab.revision(ports, host) == revisions[host] + 1
    assert lab.revision(ports, router) == revisions[router]
    assert lab.revision(ports, stranger) == revisions[stranger]


def test_a_new_automatic_subnet_for_some_ports_only(lab: Lab) -> None:
    network = lab.network()
    nova, other = lab.port(network, owner="compute:nova")[0], lab.port(network, owner="compute:other")[0]
    lab.subnet(network, "2001:db8::/64", service_types=["compute:nova"], **SLAAC)
    assert [len(lab.fixed_ips(port)) for port in (nova, other)] == [1, 0]


def test_an_automatic_subnet_takes_its_addresses_along(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    slaac = lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_id, before = lab.port(network)
    revision, network_revision = lab.revision(ports, port_id), lab.revision(networks, network)
    lab.delete(subnets.RESOURCE, slaac["id"])
    assert lab.fixed_ips(port_id) == before[:1]
    assert lab.revision(ports, port_id) == revision + 1
    assert lab.revision(networks, network) == network_revision + 1
    router_net = lab.network()
    used = lab.subnet(router_net, "2001:db8::/64", **SLAAC)
    lab.port(router_net, [_id_of(used)], owner=ROUTER)
    with pytest.raises(errors.SubnetInUse):
        lab.delete(subnets.RESOURCE, used["id"])


def test_the_statements_for_a_new_automatic_subnet_do_not_grow_with_the_ports(lab: Lab) -> None:
    counts = []
    for number in (1, 20):
        network = lab.network()
        for _ in range(number):
            lab.port(network)
        lab.statements.clear()
        lab.subnet(network, "2001:db8::/64", **SLAAC)
        counts.append(len(lab.statements))
    assert counts[0] == counts[1]


# --- cost ------------------------------------------------------------------------------------------------------------


def test_a_ports_first_address_takes_four_statements(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/24")
    with lab.tx() as tx:
        port_id = lab.port_row(tx, network, MAC)
        lab.statements.clear()
        addresses.allocate(tx, network, port_id, None, mac_address=MAC, device_owner="")
    assert [statement.split()[0] for statement in lab.statements] == ["SELECT", "SELECT", "UPDATE", "INSERT"]


def test_automatic_addresses_leave_the_free_ranges_whole(lab: Lab) -> None:
    network = lab.network()
    subnet = lab.subnet(network, "2001:db8::/64", **SLAAC)
    port_ids = [lab.port(network)[0] for _ in range(5)]
    assert lab.free(subnet["id"]) == [(1, (1 << 64) - 1)]
    for port_id in port_ids:
        lab.release(network, port_id)
    assert lab.free(subnet["id"]) == [(1, (1 << 64) - 1)]


def test_a_full_subnet_gives_exactly_its_pool(lab: Lab) -> None:
    network = lab.network()
    lab.subnet(network, "192.0.2.0/28")
    taken = set()
    while True:
        try:
            taken.update(lab.addresses(network))
        except errors.IpAddressGenerationFailure:
            break
    assert taken == {str(address) for address in list(ipaddress.ip_network("192.0.2.0/28"))[2:15]}


# --- who sees --------------------------------------------------------------------------------------------------------


def test_a_subnet_of_another_project_is_not_found(lab: Lab) -> None:
    network = lab.network()
    hidden = lab.subnet(lab.network(project_id="bob"), "203.0.113.0/24", BOB)
    lab.subnet(network, "192.0.2.0/24")
    with pytest.raises(errors.SubnetNotFound):
        lab.port(network, [_id_of(hidden)], context=ALICE)
    with pytest.raises(errors.InvalidInput, match="not on network"):
        lab.port(network, [_id_of(hidden)], context=ADMIN)


def test_eui64() -> None:
    network = ipam.network_of("2001:db8::/64")
    assert ipam.eui64(network, MAC) == EUI
    assert ipam.eui64(network, "00:00:00:00:00:01") == "2001:db8::200:ff:fe00:1"
    assert ipam.is_eui64(EUI)
    assert not ipam.is_eui64("2001:db8::1")
    assert not ipam.is_eui64("192.0.2.1")
