"""What may come over the bus, and what may not."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cove.dhcp import models
from cove.dhcp.errors import InvalidPayload

from .builders import NETWORK, SUBNET, uid


def port(**values: Any) -> dict[str, Any]:
    return {
        "id": uid(5),
        "network_id": NETWORK,
        "mac_address": "FA:16:3E:00:00:01",
        "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "1.1.1.10"}],
        "status": "DOWN",
        **values,
    }


def subnet(**values: Any) -> dict[str, Any]:
    return {"id": SUBNET, "network_id": NETWORK, "cidr": "1.1.1.0/24", **values}


def test_port_is_decoded_and_normalised():
    decoded = models.decode_port(port(revision_number=3, dns_assignment=None, device_id=None))
    assert decoded.mac_address == "fa:16:3e:00:00:01"
    assert decoded.addresses() == {(SUBNET, "1.1.1.10")}
    assert decoded.revision_number == 3


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"id": "../../etc"}, "port id"),
        ({"id": uid(5).upper().replace("0", "A")}, "port id"),
        ({"network_id": "x"}, "network_id"),
        ({"mac_address": "fa:16:3e:00:00:01\nx"}, "mac_address"),
        ({"mac_address": "fa:16:3e:00:00"}, "mac_address"),
        ({"mac_address": "fa:16:3e:00:00:01,ignore"}, "mac_address"),
        ({"mac_address": 7}, "mac_address"),
        ({"fixed_ips": [{"subnet_id": SUBNET, "ip_address": "1.1.1"}]}, "ip_address"),
        ({"fixed_ips": [{"subnet_id": SUBNET, "ip_address": "1.1.1.1\n"}]}, "ip_address"),
        ({"fixed_ips": [{"subnet_id": "s", "ip_address": "1.1.1.1"}]}, "subnet_id"),
        ({"fixed_ips": "1.1.1.1"}, "fixed_ips"),
        ({"dns_assignment": [{"ip_address": "1.1.1.1", "hostname": "a,b", "fqdn": "a."}]}, "hostname"),
        ({"dns_assignment": [{"ip_address": "1.1.1.1", "hostname": "a", "fqdn": "a\nb"}]}, "fqdn"),
        ({"dns_assignment": [{"ip_address": "x", "hostname": "a", "fqdn": "a"}]}, "ip_address"),
        ({"extra_dhcp_opts": [{"opt_name": "a b", "opt_value": "x"}]}, "opt_name"),
        ({"extra_dhcp_opts": [{"opt_name": "tag:x,", "opt_value": "x"}]}, "opt_name"),
        ({"extra_dhcp_opts": [{"opt_name": "a\nb", "opt_value": "x"}]}, "opt_name"),
        ({"extra_dhcp_opts": [{"opt_name": "a", "opt_value": "x\ny"}]}, "opt_value"),
        ({"extra_dhcp_opts": [{"opt_name": "a", "opt_value": "é"}]}, "opt_value"),
        ({"extra_dhcp_opts": [{"opt_name": "a", "opt_value": "x" * 256}]}, "opt_value"),
    ],
)
def test_bad_ports(values, word):
    with pytest.raises(InvalidPayload, match=word):
        models.decode_port(port(**values))


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"cidr": "1.1.1.1/24"}, "cidr"),
        ({"cidr": "x"}, "cidr"),
        ({"id": "s"}, "subnet id"),
        ({"gateway_ip": "1.1.1.1,evil"}, "gateway_ip"),
        ({"dns_nameservers": ["8.8.8.8\n"]}, "dns_nameservers"),
        ({"host_routes": [{"destination": "x", "nexthop": "1.1.1.1"}]}, "destination"),
        ({"host_routes": [{"destination": "9.0.0.0/8", "nexthop": "x"}]}, "nexthop"),
        ({"ip_version": "four"}, "ip_version"),
    ],
)
def test_bad_subnets(values, word):
    with pytest.raises(InvalidPayload, match=word):
        models.decode_subnet(subnet(**values))


def test_addresses_are_kept_in_their_usual_form():
    six = {
        "cidr": "FD77:0:0:1::/64",
        "ip_version": 6,
        "gateway_ip": "fd77:0:0:1::0001",
        "dns_nameservers": ["FD77::53"],
    }
    decoded = models.decode_subnet(subnet(**six, ipv6_ra_mode="slaac", ipv6_address_mode=None))
    assert decoded.serving == ("fd77:0:0:1::/64", "slaac", None)
    assert (decoded.gateway_ip, decoded.dns_nameservers) == ("fd77:0:0:1::1", ("fd77::53",))
    address = "FD77:0:0:1:0:0:0:A"
    found = models.decode_port(
        port(
            fixed_ips=[{"subnet_id": SUBNET, "ip_address": address}],
            dns_assignment=[{"ip_address": address, "hostname": "h", "fqdn": "h.lab."}],
        )
    )
    assert found.fixed_ips[0].ip_address == found.dns_assignment[0].ip_address == "fd77:0:0:1::a"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"ip_version": 6}, "not of ip_version 6"),
        ({"cidr": "fd00::/64"}, "not of ip_version 4"),
        ({"ipv6_ra_mode": "slaac"}, "for IPv6 only"),
        ({"cidr": "fd00::/64", "ip_version": 6, "ipv6_ra_mode": "auto"}, "ipv6_ra_mode 'auto'"),
        ({"cidr": "fd00::/64", "ip_version": 6, "ipv6_address_mode": "SLAAC"}, "ipv6_address_mode 'SLAAC'"),
    ],
)
def test_versions_and_modes_that_do_not_fit(values, word):
    with pytest.raises(InvalidPayload, match=word):
        models.decode_subnet(subnet(**{"gateway_ip": None, **values}))


def test_network_leaves_bad_ports_out():
    payload = {"id": NETWORK, "mtu": None, "subnets": [subnet()], "ports": [port(), port(mac_address="x")]}
    decoded, problems = models.decode_network(payload)
    assert len(decoded.ports) == 1
    assert len(problems) == 1
    assert decoded.mtu == 1500
    assert decoded.servings() == {("1.1.1.0/24", None, None)}


@pytest.mark.parametrize("payload", [None, 3, {}, {"id": "x"}, {"id": NETWORK, "mtu": 1}, {"id": NETWORK, "mtu": "y"}])
def test_bad_networks(payload):
    with pytest.raises(InvalidPayload):
        models.decode_network(payload)


@given(st.dictionaries(st.sampled_from(sorted(port())), st.none() | st.integers() | st.text() | st.lists(st.text())))
def test_any_payload_gives_a_port_or_invalid_payload(values):
    try:
        models.decode_port(port(**values))
    except InvalidPayload:
        pass


@given(st.text(max_size=300))
def test_no_text_smuggles_a_separator_into_a_name(text):
    try:
        models.check_host_name("name", text)
    except InvalidPayload:
        return
    assert not set(text) & set(",\n\r\t #:/")


def test_device_id_is_neutrons():
    # uuid5 of the DNS name space and the short host name
    assert models.dhcp_device_id("example.lab", NETWORK) == f"dhcp{uuid5(NAMESPACE_DNS, 'example')}-{NETWORK}"
